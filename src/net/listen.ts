/** Accepting connections: each becomes a socket that reads directly where Node allows it. */
import { type AddressInfo, createServer, isIPv6, type Server, type Socket } from "node:net";
import { HawserError } from "../protocol/errors.ts";
import type { Endpoint } from "./dial.ts";
import { adoptAccepted, type DirectReader } from "./direct-read.ts";

/** What a connection needs to start: a reader that then gets its socket. */
export interface Acceptor extends DirectReader {
  attach(socket: Socket, direct: boolean): void;
}

export interface Listener {
  readonly address: Endpoint;
  /** Accepts no more; open connections are their owners' business. */
  close(): void;
}

/**
 * Listens on `endpoint` (port 0: a free one). `accept` returns who reads the new connection, or undefined to refuse it.
 * Throws E_ADDRESS_IN_USE, E_CONFIG.
 */
export function listen(endpoint: Endpoint, accept: (remoteAddress: string) => Acceptor | undefined): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true }, (accepted) => {
      const acceptor = accepted.remoteAddress === undefined ? undefined : accept(accepted.remoteAddress);
      if (acceptor === undefined) {
        accepted.on("error", () => {});
        accepted.destroy();
        return;
      }
      const adopted = adoptAccepted(accepted, acceptor);
      acceptor.attach(adopted ?? accepted, adopted !== undefined);
    });
    server.once("error", (cause: Error & { code?: string }) => reject(bindError(endpoint, cause)));
    server.listen({ host: endpoint.host, port: endpoint.port, backlog: 1024 }, () => {
      server.removeAllListeners("error");
      // Out of descriptors: accept() fails and is tried again when the next connection comes in or one closes.
      server.on("error", () => {});
      resolve({ address: addressOf(server), close: () => server.close() });
    });
  });
}

function addressOf(server: Server): Endpoint {
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

function bindError({ host, port }: Endpoint, cause: Error & { code?: string }): HawserError {
  const where = isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
  if (cause.code === "EADDRINUSE") {
    return new HawserError("E_ADDRESS_IN_USE", `${where} is in use by another program`, { cause });
  }
  return new HawserError("E_CONFIG", `can't listen on ${where}: ${cause.message}`, { cause });
}
