/** Connections that end with a reset (RST), as when a program or a machine at the other end is gone. */
import type { Socket } from "node:net";

/**
 * Resets a connection; one that is being ended is dropped. Node takes a socket that is reset during its shutdown for closed,
 * though libuv refuses that (uv_tcp_close_reset: EINVAL): its descriptor is lost, and the process turns for ever in its own end.
 */
export function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
