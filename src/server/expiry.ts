/**
 * Lets go of what nobody comes back for. A server counts by the monotonic clock, so that a wall clock that jumps shortens
 * nobody's time; over a restart only the wall clock remains, and then it may at most be as if nothing had been waited.
 */
import type { KeptSession, SessionStore } from "../sink/session-store.ts";
import type { Unfinished } from "../sink/unfinished.ts";

export interface ExpiryOptions {
  readonly store: SessionStore;
  readonly unfinished: Unfinished;
  readonly ttlMs: number;
  readonly onExpired: (session: { readonly transferId: string; readonly peer: string }) => void;
}

export class Expiry {
  readonly #options: ExpiryOptions;
  /** When a session that nobody has open is to go, by the monotonic clock; by its id and when it was seen. */
  readonly #dueMs = new Map<string, number>();
  /** What is found after the first time was let go of by this server. */
  #hasSwept = false;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(options: ExpiryOptions) {
    this.#options = options;
  }

  /** Drops what has waited long enough; one sweep at a time. Never rejects. */
  sweep(): Promise<void> {
    this.#sweeping = this.#sweeping.then(() => this.#sweep()).catch(() => {});
    return this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { store, unfinished, ttlMs, onExpired } = this.#options;
    const kept = (await store.list()).filter(({ live }) => !live);
    const known = new Set(kept.map(keyOf));
    for (const key of this.#dueMs.keys()) if (!known.has(key)) this.#dueMs.delete(key);
    for (const record of kept) {
      const { id, seenMs, transferId, peer } = record;
      // What was let go of since the last sweep has waited for nothing worth counting.
      const waitedMs = this.#hasSwept ? 0 : Math.min(Math.max(0, Date.now() - seenMs), ttlMs);
      const dueMs = this.#dueMs.get(keyOf(record)) ?? performance.now() + ttlMs - waitedMs;
      this.#dueMs.set(keyOf(record), dueMs);
      if (performance.now() < dueMs) continue;
      const session = await store.load(id);
      if (session === undefined || session.record.live) continue;
      await unfinished.drop(session);
      onExpired({ transferId, peer });
    }
    this.#hasSwept = true;
  }
}

const keyOf = ({ id, seenMs }: KeptSession) => `${id} ${seenMs}`;
