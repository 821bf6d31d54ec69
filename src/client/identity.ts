/** From what a caller gives of keys and tickets to what a connection is opened with. */
import type { Endpoint } from "../net/dial.ts";
import { ticketKeyOf } from "../net/proof.ts";
import { parseTicket } from "../protocol/ticket.ts";
import type { ClientIdentity } from "./handshake.ts";
import type { ClientKeys } from "./types.ts";

/** Throws E_TICKET. */
export function identityOf({ ticket: text, ca, cert, key, tlsStreams }: ClientKeys, to: Endpoint): ClientIdentity {
  const ticket = text === undefined ? undefined : parseTicket(text);
  return {
    // Whoever names authorities trusts these: a certificate may be renewed with another key.
    trust: { pin: ca === undefined ? ticket?.pin : undefined, ca, name: to.host, cert, key },
    ticket: ticket === undefined ? undefined : { id: ticket.id, key: ticketKeyOf(ticket.token) },
    tlsStreams,
  };
}
