/** Accepting connections: each becomes a socket that reads directly where Node allows it. */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { HawserError } from "../protocol/errors.ts";
import { type Endpoint, formatEndpoint } from "./dial.ts";
import { adoptAccepted, type DirectReader } from "./direct-read.ts";
import type { Entrant, Gate } from "./gate.ts";

/** What a connection needs to start: a reader that then gets its socket. */
export interface Acceptor extends DirectReader, Entrant {}

export interface Listener {
  readonly address: Endpoint;
  /** Accepts no more; open connections are their owners' business. */
  close(): void;
}

/**
 * Listens on `endpoint` (port 0: a free one). `accept` returns who reads the new connection, or what is said to it before it is closed.
 * Throws E_ADDRESS_IN_USE, E_CONFIG.
 */
export function listen(
  endpoint: Endpoint,
  accept: (remoteAddress: string) => Acceptor | Uint8Array,
  gate?: Gate,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true }, (accepted) => {
      const { remoteAddress } = accepted;
      // Gone before it was taken.
      if (remoteAddress === undefined) {
        accepted.destroy();
        return;
      }
      const acceptor = accept(remoteAddress);
      if (acceptor instanceof Uint8Array) {
        dismiss(accepted, acceptor);
        return;
      }
      if (gate !== undefined) {
        gate(accepted, acceptor);
        return;
      }
      const adopted = adoptAccepted(accepted, acceptor);
      acceptor.attach(adopted ?? accepted, adopted !== undefined);
    });
    server.once("error", (cause: Error & { code?: string }) => reject(bindError(endpoint, cause)));
    server.listen({ host: endpoint.host, port: endpoint.port, backlog: BACKLOG }, () => {
      server.removeAllListeners("error");
      // Out of descriptors: accept() fails and is tried again when the next connection comes in or one closes.
      server.on("error", () => {});
      resolve({ address: addressOf(server), close: () => server.close() });
    });
  });
}

/**
 * As many as Linux takes by default (net.core.somaxconn): who comes when it is full waits a second before it tries again
 * (RFC 6298), and so does an honest client in a crowd.
 */
const BACKLOG = 4096;

/** Connections at once that are being told why they are not taken; more than these are just closed. */
const DISMISSALS_MAX = 64;
const DISMISSAL_MS = 2000;
let dismissals = 0;

function dismiss(socket: Socket, farewell: Uint8Array): void {
  socket.on("error", () => {});
  if (dismissals >= DISMISSALS_MAX) {
    socket.destroy();
    return;
  }
  dismissals++;
  const timer = setTimeout(() => socket.destroy(), DISMISSAL_MS);
  socket.on("close", () => {
    dismissals--;
    clearTimeout(timer);
  });
  // What it says is read and dropped: closing over unread bytes would reset the connection before it has heard us.
  socket.resume();
  socket.end(farewell);
}

function addressOf(server: Server): Endpoint {
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

function bindError(endpoint: Endpoint, cause: Error & { code?: string }): HawserError {
  const where = formatEndpoint(endpoint);
  if (cause.code === "EADDRINUSE") {
    return new HawserError("E_ADDRESS_IN_USE", `${where} is in use by another program`, { cause });
  }
  return new HawserError("E_CONFIG", `can't listen on ${where}: ${cause.message}`, { cause });
}
