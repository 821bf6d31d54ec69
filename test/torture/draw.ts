/** What a case draws: all of it from its campaign's seed, its kind and its number, so that one case can be had again. */
import { crc32 } from "node:zlib";
import { randomFrom } from "../helpers/random.ts";

export class Draw {
  readonly #random: () => number;

  constructor(...from: readonly (string | number)[]) {
    this.#random = randomFrom(crc32(from.join(":")));
    // The first numbers of seeds that differ in one bit are alike.
    for (let i = 0; i < 8; i++) this.#random();
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** From `first` to `last`, both included. */
  whole(first: number, last: number): number {
    return first + Math.floor(this.#random() * (last - first + 1));
  }

  /** From `first` (at least 1) to `last`, and as often from 1 to 10 as from 10 to 100. */
  log(first: number, last: number): number {
    return Math.min(last, Math.floor(first * ((last + 1) / first) ** this.#random()));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.whole(0, from.length - 1)] as T;
  }

  list<T>(length: number, make: (index: number) => T): T[] {
    return Array.from({ length }, (_, index) => make(index));
  }
}
