/** Who may come in: the one owner of the counts of connections and sessions. Pure: no sockets, no clock. */
import type { Failure } from "../protocol/errors.ts";

export interface AdmissionLimits {
  readonly maxConnections: number;
  readonly maxSessionsPerPeer: number;
}

/** Connections that have not said yet what they want may take a quarter of all places, so that the rest stays free. */
const UNDECIDED_PART = 4;

export class Admission {
  readonly #limits: AdmissionLimits;
  #connections = 0;
  #undecided = 0;
  readonly #sessions = new Map<string, number>();

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Whether one more connection may be opened; it is counted if so, as one that has not said what it wants. */
  connect(): boolean {
    const { maxConnections } = this.#limits;
    if (this.#connections >= maxConnections) return false;
    if (this.#undecided >= Math.max(1, Math.floor(maxConnections / UNDECIDED_PART))) return false;
    this.#connections++;
    this.#undecided++;
    return true;
  }

  /** A connection opened or joined a session, or closed before it did. */
  decided(): void {
    this.#undecided--;
  }
  disconnect(): void {
    this.#connections--;
  }

  /** Counts a session of the peer, or says why there may not be one more. */
  openSession(peer: string): Failure | undefined {
    const count = this.#sessions.get(peer) ?? 0;
    if (count >= this.#limits.maxSessionsPerPeer) {
      return { code: "E_BUSY", message: `${count} transfers from ${peer} are under way, and that is the most` };
    }
    this.#sessions.set(peer, count + 1);
    return undefined;
  }

  closeSession(peer: string): void {
    const count = (this.#sessions.get(peer) ?? 1) - 1;
    if (count === 0) this.#sessions.delete(peer);
    else this.#sessions.set(peer, count);
  }

  get connections(): number {
    return this.#connections;
  }
}
