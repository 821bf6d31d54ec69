/** Who a connection's other end is, and whether it is let in: by its ticket, its certificate, or, in plain, its address. */
import { randomBytes } from "node:crypto";
import type { Connection } from "../net/connection.ts";
import { isProof, proofOf } from "../net/proof.ts";
import { HawserError } from "../protocol/errors.ts";
import { PROOF_BYTES } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import type { Tickets } from "./tickets.ts";

export class Doorkeeper {
  readonly #tickets: Tickets | undefined;
  /** Who names no ticket that exists waits as long as who has a wrong token. */
  readonly #nobodysKey = randomBytes(PROOF_BYTES);

  /** Without tickets everybody is let in, and known by the address. */
  constructor(tickets: Tickets | undefined) {
    this.#tickets = tickets;
  }

  /**
   * The peer that asks, and on the connection the proof for its answer. Throws E_NEEDS_TLS, E_TOKEN; to who has proved a
   * token E_REVOKED, E_EXPIRED; E_IO.
   */
  admit(
    connection: Connection,
    address: string,
    question: "HELLO" | "ATTACH",
    { ticket: id, proof }: Message<"HELLO"> | Message<"ATTACH">,
    nowMs: number,
  ): string {
    if (this.#tickets === undefined) return address;
    const { channel } = connection;
    if (channel === undefined) {
      throw new HawserError("E_NEEDS_TLS", "this server takes encrypted connections only, and this one is plain");
    }
    if (id === undefined) {
      if (channel.certifiedName !== undefined) return `cert:${channel.certifiedName}`;
      throw new HawserError("E_TOKEN", "this server lets nobody in without a ticket, and none was shown");
    }
    const ticket = this.#tickets.find(id);
    const isRight = isProof(proof, question, ticket?.key ?? this.#nobodysKey, channel.exporter);
    if (ticket === undefined || !isRight) throw new HawserError("E_TOKEN", "the server does not accept this ticket");
    if (ticket.revokedMs !== null) throw new HawserError("E_REVOKED", `the ticket of '${ticket.name}' was revoked`);
    if (ticket.expiresMs !== null && nowMs >= ticket.expiresMs) {
      const since = new Date(ticket.expiresMs).toISOString();
      throw new HawserError("E_EXPIRED", `the ticket of '${ticket.name}' expired at ${since}, by the server's clock`);
    }
    connection.answerProof = proofOf(question === "HELLO" ? "WELCOME" : "ATTACHED", ticket.key, channel.exporter);
    return ticket.name;
  }
}
