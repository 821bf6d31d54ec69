/**
 * Who may come in: the one owner of the counts of connections and sessions, in all, of connections for each address, of
 * sessions for each client (`networkOf` of either: a ticket's name stands for itself).
 * Pure: no sockets, no clock.
 */
import type { Failure } from "../protocol/errors.ts";

export interface AdmissionLimits {
  /** Connections that have said what they want, all clients together. */
  readonly maxConnections: number;
  /** The same from one address. */
  readonly maxConnectionsPerPeer: number;
  readonly maxSessions: number;
  readonly maxSessionsPerPeer: number;
}

/**
 * Of the places this part is kept for whoever needs it to begin or go on at all: a client that finds out how many streams pay
 * takes what there is, and would leave none to the next one.
 */
const KEPT_PART = 4;

/** Connections that have not said yet what they want have places of their own, a quarter as many as the others. */
const UNDECIDED_PART = 4;

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #connections = new Counts();
  readonly #sessions = new Counts();

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** How many may have said nothing yet of what they want, besides those that have; all together, or of one address. */
  get undecidedMax(): number {
    return Math.max(1, Math.floor(this.#limits.maxConnections / UNDECIDED_PART));
  }
  get undecidedMaxPerPeer(): number {
    return Math.max(1, Math.floor(this.#limits.maxConnectionsPerPeer / UNDECIDED_PART));
  }

  /**
   * Counts a connection that said what it wants, or says why there may not be one more. `isExtra`: its transfer goes on
   * without it.
   */
  connect(network: string, isExtra = false): Failure | undefined {
    const { maxConnections, maxConnectionsPerPeer } = isExtra ? this.#limitsOfExtra : this.#limits;
    if (this.#connections.of(network) >= maxConnectionsPerPeer) {
      return busy("the server has as many connections from this address as it allows");
    }
    if (this.#connections.total >= maxConnections) return busy("the server has as many connections as it allows");
    this.#connections.add(network);
    return undefined;
  }

  get #limitsOfExtra(): Pick<AdmissionLimits, "maxConnections" | "maxConnectionsPerPeer"> {
    const { maxConnections, maxConnectionsPerPeer } = this.#limits;
    const spare = (most: number) => most - Math.floor(most / KEPT_PART);
    return { maxConnections: spare(maxConnections), maxConnectionsPerPeer: spare(maxConnectionsPerPeer) };
  }

  disconnect(network: string): void {
    this.#connections.remove(network);
  }

  /** Why there may not be one more session of this client. */
  sessionRefusal(network: string): Failure | undefined {
    const { maxSessions, maxSessionsPerPeer } = this.#limits;
    const count = this.#sessions.of(network);
    if (count >= maxSessionsPerPeer) {
      return busy(`${count} transfers of this client are under way, and that is the most`);
    }
    if (this.#sessions.total >= maxSessions) return busy("the server has as many transfers under way as it allows");
    return undefined;
  }

  /** Counts a session, or says why there may not be one more. */
  openSession(network: string): Failure | undefined {
    const refusal = this.sessionRefusal(network);
    if (refusal === undefined) this.#sessions.add(network);
    return refusal;
  }

  closeSession(network: string): void {
    this.#sessions.remove(network);
  }

  /** Whether it is this client that has its share of sessions, whatever others have. */
  hasAllItsSessions(network: string): boolean {
    return this.#sessions.of(network) >= this.#limits.maxSessionsPerPeer;
  }

  get connectionsMax(): number {
    return this.#limits.maxConnections;
  }

  get connections(): number {
    return this.#connections.total;
  }
}

const busy = (message: string): Failure => ({ code: "E_BUSY", message });

/** Of each address, and all together; nothing is kept of one that has none. */
class Counts {
  readonly #counts = new Map<string, number>();
  total = 0;

  of(network: string): number {
    return this.#counts.get(network) ?? 0;
  }

  add(network: string): void {
    this.total++;
    this.#counts.set(network, this.of(network) + 1);
  }

  remove(network: string): void {
    const count = this.of(network);
    if (count === 0) return;
    this.total--;
    if (count === 1) this.#counts.delete(network);
    else this.#counts.set(network, count - 1);
  }
}
