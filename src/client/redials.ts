/**
 * Dials connections again that broke: each after a while that grows, a number of times. What is known of each is in
 * dials.ts; here is who has the timers.
 */
import type { HawserError } from "../protocol/errors.ts";
import { backoffMs } from "./backoff.ts";
import { Dials } from "./dials.ts";

/** The number of the control connection; streams have their own. */
export const CONTROL = -1;

export class Redials {
  readonly dials = new Dials();
  readonly #most: number;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Connections that broke; dialling in vain is no new break. */
  count = 0;

  /** `most`: how often one is dialled again, one after the other. */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most;
  }

  /**
   * A connection is not there, and is dialled again by `again`, unless it was dialled otherwise meanwhile. Returns how
   * often in a row that was so before; undefined where it is given up instead.
   */
  broke(number: number, error: HawserError, progressMs: number, again: () => void): number | undefined {
    const count = this.dials.broke(number, error, performance.now(), progressMs);
    if (count >= this.#most) return undefined;
    if (count === 0) this.count++;
    const attempt = this.dials.current(number);
    void this.pause(backoffMs(count, Math.random())).then(() => {
      if (this.dials.current(number) === attempt) again();
    });
    return count;
  }

  /** For ever where it is stopped meanwhile. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }

  /** Nothing is dialled again any more. */
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
