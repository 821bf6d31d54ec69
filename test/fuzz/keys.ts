/** A server's keys, an honest client's ticket, and tickets that hostile clients have: some of them are good no more. */

import { serverKeys } from "../../src/cli/server-keys.ts";
import type { ClientKeys } from "../../src/client/types.ts";
import { ticketKeyOf } from "../../src/net/proof.ts";
import { formatTicket } from "../../src/protocol/ticket.ts";
import { Tickets } from "../../src/server/tickets.ts";
import type { ServerKeys } from "../../src/server/types.ts";
import type { TicketKey } from "./way-in.ts";

/** What one of them opens counts against that one's bound. */
const HOSTILE = 12;

export interface Keys {
  readonly server: ServerKeys;
  readonly honest: ClientKeys;
  readonly hostile: readonly TicketKey[];
}

/** Made in `directory`, which is made. */
export async function makeKeys(directory: string): Promise<Keys> {
  const { pin, ...server } = await serverKeys(directory);
  const tickets = Tickets.open(server.tickets);
  const nowMs = Date.now();
  const { id, token } = tickets.add("honest", nowMs);
  const hostile = Array.from({ length: HOSTILE }, (_, i) => {
    const given = tickets.add(`hostile-${i}`, nowMs, i === 0 ? nowMs : null);
    return { id: given.id, key: ticketKeyOf(given.token) };
  });
  tickets.revoke("hostile-1", nowMs);
  tickets.close();
  return { server, honest: { ticket: formatTicket({ id, token, pin, host: "127.0.0.1", port: 1 }) }, hostile };
}
