/** The server's end of TLS: a connection is shaken hands with, and its owner gets it when that is done. */
import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { HawserError } from "../protocol/errors.ts";
import { authorities, channelOf } from "./channel.ts";
import { cipherList } from "./ciphers.ts";
import type { Entrance, Entrant } from "./gate.ts";

export interface ServerCertificate {
  /** PEM: the certificate, with those between it and its authority behind it. */
  readonly cert: string;
  readonly key: string;
  /** PEM: clients with a certificate that these have signed are known by the name in it. */
  readonly clientCa?: string | undefined;
}

/** From the first byte on; the owner's own deadline is over all of it. */
const HANDSHAKE_MS = 10_000;

/** Throws E_CONFIG where key and certificate can't be used. */
export function tlsEntrance({ cert, key, clientCa }: ServerCertificate): Entrance {
  const waiting = new Map<string, Entrant>();
  const server = usable(() =>
    createServer({
      cert,
      key,
      minVersion: "TLSv1.3",
      ciphers: cipherList(),
      honorCipherOrder: true,
      // A client without AES puts ChaCha20 first. No tickets; and Node resumes no session that it has no store for.
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_PRIORITIZE_CHACHA,
      handshakeTimeout: HANDSHAKE_MS,
      // Who has no certificate that is good may have a ticket that is.
      ...(clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: false, ca: authorities(clientCa) }),
    }),
  );
  server.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => {});
    const entrant = waiting.get(nameOf(socket));
    if (entrant === undefined) {
      socket.destroy();
      return;
    }
    try {
      entrant.attach(socket, false, channelOf(socket, clientCa !== undefined && socket.authorized));
    } catch (thrown) {
      entrant.destroy(failed(thrown as Error));
      socket.destroy();
    }
  });
  server.on("tlsClientError", (cause, socket) => {
    waiting.get(nameOf(socket))?.destroy(failed(cause));
    socket.destroy();
  });
  return (raw, first, entrant) => {
    const name = nameOf(raw);
    raw.once("close", () => {
      if (waiting.get(name) === entrant) waiting.delete(name);
    });
    raw.unshift(first);
    waiting.set(name, entrant);
    server.emit("connection", raw);
  };
}

/** Tells open connections of one listener apart: Node doesn't say which socket a TLSSocket was made of. */
function nameOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

/** What a client hears whose address may not come: a fatal alert, access_denied (RFC 8446, 6), before any handshake. */
export const TLS_NOT_ADMITTED = Uint8Array.of(0x15, 3, 1, 0, 2, 2, 49);

function failed(cause: Error & { code?: string; reason?: string }): HawserError {
  const why = cause.reason ?? cause.code ?? cause.message;
  return new HawserError("E_NOT_HAWSER", `the TLS handshake failed: ${why}`, { cause });
}

function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    const message = `the certificate, its key and the authority can't be used together: ${(cause as Error).message}`;
    throw new HawserError("E_CONFIG", message, { cause });
  }
}
