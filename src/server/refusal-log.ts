/**
 * How much is said of refusals: whoever is refused a thousand times a second must not fill the log. So many of each
 * address and in all are told in a minute, and the rest is counted. Pure: time is an argument, by the monotonic clock.
 */

const WINDOW_MS = 60_000;
const PER_NETWORK_MAX = 30;
const TOTAL_MAX = 300;

export class RefusalLog {
  readonly #told = new Map<string, number>();
  #total = 0;
  #untold = 0;
  #sinceMs = Number.NEGATIVE_INFINITY;

  /** Whether one more refusal of this address is to be told. */
  tells(network: string, nowMs: number): boolean {
    if (nowMs - this.#sinceMs >= WINDOW_MS) this.#begin(nowMs);
    const told = this.#told.get(network) ?? 0;
    if (told >= PER_NETWORK_MAX || this.#total >= TOTAL_MAX) {
      this.#untold++;
      return false;
    }
    this.#told.set(network, told + 1);
    this.#total++;
    return true;
  }

  /** How many were not told in a minute that is over; once. */
  takeUntold(nowMs: number): number {
    if (nowMs - this.#sinceMs < WINDOW_MS) return 0;
    const untold = this.#untold;
    this.#untold = 0;
    return untold;
  }

  /** What was not told of the minute before is still to be asked for. */
  #begin(nowMs: number): void {
    this.#told.clear();
    this.#total = 0;
    this.#sinceMs = nowMs;
  }
}
