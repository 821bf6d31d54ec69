/**
 * Reads from a socket under a rate limit: a slice, then a pause until it is paid for and others had their turns. Which
 * bytes they are doesn't matter, so that the limit holds whatever the other end sends.
 */
import { READ_SLICE_MS } from "./pace.ts";
import type { RateLimit } from "./rate-limit.ts";

export class PacedReading {
  #limit: RateLimit;
  readonly #resume: () => void;
  /** Paid in advance for the read that may come: who has nothing to read has it saved up for when there is. */
  #paidBytes = 0;
  #paused = false;
  #boundsReads = false;
  readonly #go = () => {
    this.#paused = false;
    if (!this.#limit.isOff) {
      this.#paidBytes = this.#limit.sliceBytes(READ_SLICE_MS);
      this.#limit.take(this.#paidBytes);
    }
    this.#resume();
  };

  /** `resume` is called when a pause is over. */
  constructor(limit: RateLimit, resume: () => void) {
    this.#limit = limit;
    this.#resume = resume;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /** Before anything is read: the first slice waits for its turn as well. */
  begin(): void {
    if (!this.#limit.isOff) this.#wait();
  }

  /** What is read from here on counts for another limit. */
  moveTo(limit: RateLimit): void {
    this.stop();
    this.#limit = limit;
    this.#paused = false;
    this.begin();
  }

  /** As much of `target` as may be read at once. */
  sliceOf(target: Uint8Array): Uint8Array {
    this.#boundsReads = true;
    const sliceBytes = this.#limit.sliceBytes(READ_SLICE_MS);
    return target.length <= sliceBytes ? target : target.subarray(0, sliceBytes);
  }

  /** So many bytes were read; after that `isPaused` says whether more may be. */
  took(bytes: number): void {
    if (this.#limit.isOff) {
      this.#paidBytes = 0;
      return;
    }
    // A read into what was given before the limit was lowered may be a large one, once.
    const counted = this.#boundsReads ? Math.min(bytes, this.#limit.sliceBytes(READ_SLICE_MS)) : bytes;
    this.#limit.take(counted - this.#paidBytes);
    this.#paidBytes = 0;
    this.#wait();
  }

  /** Nothing more comes. */
  stop(): void {
    this.#limit.forget(this.#go);
    this.#limit.take(-this.#paidBytes);
    this.#paidBytes = 0;
  }

  #wait(): void {
    this.#paused = true;
    this.#limit.turn(this.#go);
  }
}
