/**
 * What a new connection speaks, by its first byte: TLS, a sealed stream, or plain. Until that is known, and its handshake
 * or its first record is there, nobody else gets it.
 */
import type { Socket } from "node:net";
import type { HawserError } from "../protocol/errors.ts";
import { SEALED_FIRST_BYTE } from "../protocol/sealed.ts";
import type { Carrier, Channel } from "./channel.ts";

/** Who waits for a connection to become usable; its own deadline is over all of it. */
export interface Entrant {
  /** Until `attach`, this socket is what the connection is: ending one ends the other. */
  hold(socket: Socket): void;
  attach(socket: Carrier, direct: boolean, channel?: Channel): void;
  /** It is of no use; whoever keeps a log is told why. */
  destroy(error?: HawserError): void;
}

/** What a connection has to pass before its entrant gets it. */
export type Gate = (accepted: Socket, entrant: Entrant) => void;

/** Goes on with a connection whose first bytes were read. */
export type Entrance = (raw: Socket, first: Buffer, entrant: Entrant) => void;

/** The type of a record that begins a handshake (RFC 8446, 5.1). */
const TLS_HANDSHAKE = 0x16;

export function gateOf({ tls, sealed }: { readonly tls: Entrance; readonly sealed: Entrance }): Gate {
  return (raw, entrant) => {
    entrant.hold(raw);
    raw.on("error", () => {});
    raw.once("end", () => raw.destroy());
    raw.on("readable", function first() {
      const bytes = raw.read() as Buffer | null;
      if (bytes === null) return;
      raw.off("readable", first);
      if (bytes[0] === TLS_HANDSHAKE) tls(raw, bytes, entrant);
      else if (bytes[0] === SEALED_FIRST_BYTE) sealed(raw, bytes, entrant);
      else {
        // In plain its owner says what is wanted.
        raw.unshift(bytes);
        entrant.attach(raw, false);
      }
    });
  };
}
