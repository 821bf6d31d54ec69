/**
 * Who a connection's other end is, and whether it is let in: by its ticket, its certificate, its control connection, or, in
 * plain, its address.
 */
import { randomBytes } from "node:crypto";
import type { StreamGrant } from "../net/channel.ts";
import type { Connection } from "../net/connection.ts";
import { isProof, proofOf } from "../net/proof.ts";
import { HawserError } from "../protocol/errors.ts";
import { PROOF_BYTES } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import type { TicketRecord, Tickets } from "./tickets.ts";

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
   * token E_REVOKED, E_EXPIRED; on a sealed stream E_ILLEGAL, E_UNKNOWN_SESSION; E_IO.
   */
  admit(
    connection: Connection,
    address: string,
    question: "HELLO" | "ATTACH",
    body: Message<"HELLO"> | Message<"ATTACH">,
    nowMs: number,
  ): string {
    if (this.#tickets === undefined) return address;
    const { channel } = connection;
    if (channel === undefined) {
      throw new HawserError("E_NEEDS_TLS", "this server takes encrypted connections only, and this one is plain");
    }
    if (channel.kind === "sealed") return this.#admitSealed(channel.grant, question, body, nowMs);
    const { ticket: id, proof } = body;
    if (id === undefined) {
      if (channel.certifiedName !== undefined) return `cert:${channel.certifiedName}`;
      throw new HawserError("E_TOKEN", "this server lets nobody in without a ticket, and none was shown");
    }
    const ticket = this.#tickets.find(id);
    const isRight = isProof(proof, question, ticket?.key ?? this.#nobodysKey, channel.exporter);
    if (ticket === undefined || !isRight) throw new HawserError("E_TOKEN", "the server does not accept this ticket");
    checkGood(ticket, nowMs);
    connection.answerProof = proofOf(question === "HELLO" ? "WELCOME" : "ATTACHED", ticket.key, channel.exporter);
    return ticket.name;
  }

  /** Who has the secret has proved the ticket on the control connection; since then it may have been revoked. */
  #admitSealed(
    grant: StreamGrant | undefined,
    question: "HELLO" | "ATTACH",
    body: Message<"HELLO"> | Message<"ATTACH">,
    nowMs: number,
  ): string {
    if (grant === undefined || question !== "ATTACH") {
      throw new HawserError("E_ILLEGAL", "a sealed connection is a stream, and this one is not");
    }
    if (Buffer.compare(grant.session, (body as Message<"ATTACH">).session) !== 0) {
      throw new HawserError("E_UNKNOWN_SESSION", "a sealed stream belongs to the session of its control connection");
    }
    if (grant.ticket !== undefined) {
      const ticket = this.#tickets?.find(grant.ticket);
      if (ticket === undefined) throw new HawserError("E_TOKEN", "the server does not accept this ticket");
      checkGood(ticket, nowMs);
    }
    return grant.peer;
  }
}

/** Throws E_REVOKED, E_EXPIRED. */
function checkGood({ name, revokedMs, expiresMs }: TicketRecord, nowMs: number): void {
  if (revokedMs !== null) throw new HawserError("E_REVOKED", `the ticket of '${name}' was revoked`);
  if (expiresMs !== null && nowMs >= expiresMs) {
    const since = new Date(expiresMs).toISOString();
    throw new HawserError("E_EXPIRED", `the ticket of '${name}' expired at ${since}, by the server's clock`);
  }
}
