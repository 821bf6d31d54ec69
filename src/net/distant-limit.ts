/**
 * A rate limit as it is seen from another thread than its owner's: connections here queue for turns that its owner grants,
 * one after the other with its own. A turn is ten milliseconds of the rate, so that a hundred messages a second at most
 * go to and fro, and none while there is no limit.
 */
import { sliceBytesOf, WRITE_SLICE_MS } from "./pace.ts";
import type { SendingLimit } from "./rate-limit.ts";

/** What is asked of the limit's owner. */
export type LimitRequest =
  /** A turn, in which so many bytes go. */
  | { readonly type: "turn"; readonly bytes: number }
  /** So many bytes go or went outside of turns; fewer than none were granted and not used. */
  | { readonly type: "took"; readonly bytes: number };

export class DistantLimit implements SendingLimit {
  readonly #ask: (request: LimitRequest) => void;
  readonly #waiting = new Set<() => void>();
  #bytesPerSecond: number | null = null;
  /** Of the turn that is on, what is granted and not taken. */
  #grantedBytes = 0;

  constructor(ask: (request: LimitRequest) => void) {
    this.#ask = ask;
  }

  get isOff(): boolean {
    return this.#bytesPerSecond === null;
  }
  sliceBytes(sliceMs: number): number {
    return sliceBytesOf(this.#bytesPerSecond, sliceMs);
  }

  /** The owner says what holds from now on. */
  set(bytesPerSecond: number | null): void {
    this.#bytesPerSecond = bytesPerSecond;
    if (bytesPerSecond === null) for (const go of this.#waiting) this.#begin(go, 0);
  }

  turn(go: () => void): void {
    this.#waiting.add(go);
    if (this.isOff) this.#begin(go, 0);
    else this.#ask({ type: "turn", bytes: this.sliceBytes(WRITE_SLICE_MS) });
  }

  /** What it asked for comes all the same, and is given back. */
  forget(go: () => void): void {
    this.#waiting.delete(go);
  }

  /** The owner has granted a turn and counted so many bytes for it. */
  granted(bytes: number): void {
    const [go] = this.#waiting;
    if (go === undefined) this.#took(-bytes);
    else this.#begin(go, bytes);
  }

  take(bytes: number): void {
    this.#grantedBytes -= bytes;
    if (this.#grantedBytes >= 0) return;
    this.#took(-this.#grantedBytes);
    this.#grantedBytes = 0;
  }

  #begin(go: () => void, bytes: number): void {
    this.#waiting.delete(go);
    this.#grantedBytes = bytes;
    go();
    this.#took(-this.#grantedBytes);
    this.#grantedBytes = 0;
  }

  #took(bytes: number): void {
    if (bytes !== 0 && !this.isOff) this.#ask({ type: "took", bytes });
  }
}
