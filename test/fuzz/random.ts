/**
 * Numbers for a fuzzer: sfc32 (Doty-Humphrey's small fast counter), a few nanoseconds each, the same for the same seed
 * and case.
 */

export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;

  constructor(seed: number, number = 0) {
    this.reset(seed, number);
  }

  /** Begins the numbers of another case, without a new object. */
  reset(seed: number, number: number): void {
    this.#a = seed | 0;
    this.#b = number | 0;
    this.#c = Math.floor(number / 2 ** 32) | 0;
    this.#counter = 1;
    for (let i = 0; i < 12; i++) this.word();
  }

  /** 32 bits, unsigned. */
  word(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** From 0 to below `end`. */
  below(end: number): number {
    return Math.floor((this.word() / 2 ** 32) * end);
  }

  /** Once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** From 1 to `most`, small ones more often. */
  few(most: number): number {
    return 1 + this.below(1 + this.below(most));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}
