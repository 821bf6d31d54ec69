/** One rate for each client (`networkOf` its name): all its connections share a limit, which is kept until it owes nothing. */
import { RateLimit } from "../net/rate-limit.ts";

interface Entry {
  readonly limit: RateLimit;
  connections: number;
}

export class PeerLimits {
  readonly #entries = new Map<string, Entry>();
  #bytesPerSecond: number | null;

  constructor(bytesPerSecond: number | null) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  get bytesPerSecond(): number | null {
    return this.#bytesPerSecond;
  }

  /** The limit for one more connection of this peer; `leave` when it is closed. */
  enter(peer: string): RateLimit {
    const entry = this.#entries.get(peer) ?? { limit: new RateLimit(this.#bytesPerSecond), connections: 0 };
    this.#entries.set(peer, entry);
    entry.connections++;
    return entry.limit;
  }

  leave(peer: string): void {
    const entry = this.#entries.get(peer);
    if (entry === undefined || --entry.connections > 0) return;
    // Who comes back at once goes on with what it owes.
    const forget = () => {
      if (entry.connections > 0 || this.#entries.get(peer) !== entry) return;
      if (entry.limit.owedMs > 0) setTimeout(forget, entry.limit.owedMs).unref();
      else this.#entries.delete(peer);
    };
    forget();
  }

  /** Another rate, or none, also for what is under way. */
  set(bytesPerSecond: number | null): void {
    this.#bytesPerSecond = bytesPerSecond;
    for (const { limit } of this.#entries.values()) limit.set(bytesPerSecond);
  }
}
