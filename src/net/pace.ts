/**
 * How fast bytes may go: a token bucket that computes delays from a clock value it is given, and never waits by itself.
 * What was taken too early is a debt, which is paid before more may go; what was not used is soon forgotten.
 */

/**
 * What may be caught up when nobody was there to take it, or a timer was late: 2% of five seconds. Timers and busy event
 * loops are late by less, and an idle pause is followed by no burst.
 */
export const CATCH_UP_MS = 100;

/**
 * Bytes are written in slices of this much time, so that the rate holds in between chunks as well. Each costs a timer and a
 * system call: at 2 ms sending takes twice the processor time that it takes without a limit.
 */
export const WRITE_SLICE_MS = 10;

/**
 * The same for reading. Here each connection that has nothing to read holds one that is paid for, and all of them may come
 * at once: of 128 streams and a control connection that is 129 ms, which with CATCH_UP_MS has to stay below 5% of five seconds.
 */
export const READ_SLICE_MS = 1;

/** At slow rates slices are of this size: smaller ones would be headers of TCP mostly. */
const SLICE_BYTES_MIN = 256;

/** What is taken at once at this rate, in slices of `sliceMs`; null is no limit. */
export function sliceBytesOf(bytesPerSecond: number | null, sliceMs: number): number {
  if (bytesPerSecond === null) return Number.POSITIVE_INFINITY;
  return Math.max(SLICE_BYTES_MIN, Math.floor((bytesPerSecond * sliceMs) / 1000));
}

export class Pace {
  #bytesPerSecond: number | null;
  /** What may go at once; below zero what went too early. */
  #tokens = 0;
  #countedMs: number;

  /** null: no limit. */
  constructor(bytesPerSecond: number | null, nowMs: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#countedMs = nowMs;
  }

  get bytesPerSecond(): number | null {
    return this.#bytesPerSecond;
  }

  /** From now on another rate holds. A debt that was made at the old one is paid within the catch-up time. */
  set(bytesPerSecond: number | null, nowMs: number): void {
    this.#count(nowMs);
    this.#bytesPerSecond = bytesPerSecond;
    const most = this.#catchUpBytes;
    this.#tokens = Math.max(-most, Math.min(this.#tokens, most));
  }

  /**
   * `bytes` go now, or were read; fewer than none were taken before and not used. Returns for how long nothing more may
   * follow, in milliseconds.
   */
  take(bytes: number, nowMs: number): number {
    this.#count(nowMs);
    if (this.#bytesPerSecond !== null) this.#tokens = Math.min(this.#tokens - bytes, this.#catchUpBytes);
    return this.#owedMs;
  }

  /** For how long nothing may go. */
  delayMs(nowMs: number): number {
    this.#count(nowMs);
    return this.#owedMs;
  }

  /** How long so many bytes take by this limit alone; 0 without one. */
  msFor(bytes: number): number {
    return this.#bytesPerSecond === null ? 0 : (bytes / this.#bytesPerSecond) * 1000;
  }

  get #owedMs(): number {
    return this.#tokens >= 0 ? 0 : this.msFor(-this.#tokens);
  }

  get #catchUpBytes(): number {
    return this.#bytesPerSecond === null ? 0 : (this.#bytesPerSecond * CATCH_UP_MS) / 1000;
  }

  #count(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.#countedMs);
    this.#countedMs = Math.max(this.#countedMs, nowMs);
    if (this.#bytesPerSecond === null) return;
    this.#tokens = Math.min(this.#catchUpBytes, this.#tokens + (this.#bytesPerSecond * elapsedMs) / 1000);
  }
}
