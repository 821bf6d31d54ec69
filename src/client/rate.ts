/**
 * A rate smoothed over time, and what it lets one expect. Pure: the clock is an argument. The average forgets with a
 * time constant, so it doesn't matter how often it is updated.
 */

/** After this long two thirds of what the meter shows is new. */
const TIME_CONSTANT_MS = 3000;

/** Until then the average since the start is shown: there is too little to smooth. */
const WARM_UP_MS = 1000;

export class RateMeter {
  readonly #startMs: number;
  #lastMs: number;
  #lastBytes = 0;
  #smoothed = 0;

  constructor(nowMs: number) {
    this.#startMs = nowMs;
    this.#lastMs = nowMs;
  }

  /** Tells how many bytes there are in all by now. Returns bytes a second. */
  update(totalBytes: number, nowMs: number): number {
    const elapsedMs = nowMs - this.#startMs;
    const stepMs = nowMs - this.#lastMs;
    if (stepMs <= 0) return this.#smoothed;
    if (elapsedMs < WARM_UP_MS) {
      this.#smoothed = (totalBytes / elapsedMs) * 1000;
    } else {
      const latest = ((totalBytes - this.#lastBytes) / stepMs) * 1000;
      const weight = 1 - Math.exp(-stepMs / TIME_CONSTANT_MS);
      this.#smoothed += (latest - this.#smoothed) * weight;
    }
    this.#lastMs = nowMs;
    this.#lastBytes = totalBytes;
    return this.#smoothed;
  }
}

/** Milliseconds until `remainingBytes` are done; null when the rate says nothing of it. */
export function etaMs(remainingBytes: number, bytesPerSecond: number): number | null {
  return bytesPerSecond > 0 ? (remainingBytes / bytesPerSecond) * 1000 : null;
}
