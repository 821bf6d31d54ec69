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
  readonly #sessions = new Map<string, number>();

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Whether one more connection may be opened; it is counted if so. */
  connect(): boolean {
    if (this.#connections >= this.#limits.maxConnections) return false;
    this.#connections++;
    return true;
  }

  /** Of the connections, how many may have said nothing yet of what they want. */
  get undecidedMax(): number {
    return Math.max(1, Math.floor(this.#limits.maxConnections / UNDECIDED_PART));
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
