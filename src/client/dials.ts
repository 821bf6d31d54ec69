/**
 * How the connections of a transfer came and broke, each by its number: which dial of one counts, how often it failed in
 * a row, and why it is not there now. Pure: the clock is an argument.
 */
import type { HawserError } from "../protocol/errors.ts";

/** A server that is full may close a connection without a word; and a dial may go wrong by itself. */
const NEVER_CAME_MAX = 1;

export class Dials {
  /** Why each connection that is not there now broke. */
  readonly #broken = new Map<number, HawserError>();
  /** How often each was dialled again in a row, and when last. */
  readonly #failures = new Map<number, { readonly count: number; readonly sinceMs: number }>();
  readonly #attempts = new Map<number, number>();
  /** Of those that have never been there, how often dialling failed. */
  readonly #neverCame = new Map<number, number>();

  /** It is dialled for the first time, or for the first time since it was given up. */
  expect(number: number): void {
    this.#neverCame.set(number, 0);
  }

  /** It is dialled: no earlier dial of it counts any more. Returns the dial's own number. */
  begin(number: number): number {
    const attempt = (this.#attempts.get(number) ?? 0) + 1;
    this.#attempts.set(number, attempt);
    return attempt;
  }

  /** The dial that counts; undefined where there was none. */
  current(number: number): number | undefined {
    return this.#attempts.get(number);
  }

  came(number: number): void {
    this.#broken.delete(number);
    this.#neverCame.delete(number);
  }

  /** Its dial failed. Returns whether it has never been there, and was refused a place, or failed too often to wait for it. */
  failed(number: number, isRefused: boolean): boolean {
    const before = this.#neverCame.get(number);
    if (before === undefined) return false;
    this.#neverCame.set(number, before + 1);
    return isRefused || before >= NEVER_CAME_MAX;
  }

  /** It is not there. Returns how often in a row that was so before; what got on in between begins to count anew. */
  broke(number: number, error: HawserError, nowMs: number, progressMs: number): number {
    this.#broken.set(number, error);
    const before = this.#failures.get(number);
    const count = before === undefined || before.sinceMs < progressMs ? 0 : before.count;
    this.#failures.set(number, { count: count + 1, sinceMs: nowMs });
    return count;
  }

  whyBroken(number: number): HawserError | undefined {
    return this.#broken.get(number);
  }
  /** Of any that is not there. */
  get whyAnyBroke(): HawserError | undefined {
    return this.#broken.values().next().value;
  }

  /** It is not wanted: a dial that is under way doesn't count. */
  forget(number: number): void {
    this.begin(number);
    this.#broken.delete(number);
    this.#failures.delete(number);
    this.#neverCame.delete(number);
  }
}
