/**
 * How long to wait before something is tried again: twice as long each time, up to a bound, and never exactly as long as
 * everybody else (Brooker, Exponential Backoff And Jitter, 2015). Pure: chance is an argument.
 */

const FIRST_MS = 200;
const LONGEST_MS = 5_000;

/** Milliseconds before the try that follows `failures` of them; `random` is in [0, 1). */
export function backoffMs(failures: number, random: number): number {
  const fullMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 16));
  return fullMs / 2 + (fullMs / 2) * random;
}
