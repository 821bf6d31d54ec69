/**
 * Reading from a socket straight into the buffers where the data belongs. Node offers it for sockets that dial
 * (`onread`), and for accepted ones only by wrapping their handle in a new Socket; where that fails the accepted socket
 * is used as it is, and its 'data' is copied to its place.
 */
import { Socket } from "node:net";

export interface DirectReader {
  /** Where the next bytes go. */
  target(): Uint8Array;
  /** `count` bytes were put there. Returns false to be paused. */
  advance(count: number): boolean;
}

interface OnRead {
  buffer: () => Uint8Array;
  callback: (count: number) => boolean;
}

/** Node's `onread` option for a reader that becomes known later than the socket. */
export function onreadOf(reader: () => DirectReader): OnRead {
  return { buffer: () => reader().target(), callback: (count) => reader().advance(count) };
}

interface WithHandle {
  _handle: object | null;
}

/**
 * A socket over an accepted connection that reads directly. Before the first byte of it was read: the listener accepts
 * with `pauseOnConnect`. Returns undefined where this Node can't.
 */
export function adoptAccepted(accepted: Socket, reader: DirectReader): Socket | undefined {
  const { _handle: handle } = accepted as unknown as WithHandle;
  if (handle === null || handle === undefined) return undefined;
  let adopted: Socket;
  try {
    adopted = new Socket({ handle, onread: onreadOf(() => reader) } as ConstructorParameters<typeof Socket>[0]);
  } catch {
    return undefined;
  }
  // The old wrapper lets go of the handle, and destroying it then only tells the listener that it is gone.
  (accepted as unknown as WithHandle)._handle = null;
  accepted.destroy();
  return adopted;
}
