/** Which streams a transfer should have, by their numbers: the lowest ones that are free come first, the highest go first. Pure. */

export interface StreamChange {
  readonly open: readonly number[];
  readonly close: readonly number[];
}

export class StreamNumbers {
  readonly #most: number;
  readonly #wanted = new Set<number>();
  /** Those that are about to close, whose numbers are in use until they have. */
  readonly #leaving = new Set<number>();

  /** `most`: numbers are below it. */
  constructor(most: number) {
    this.#most = most;
  }

  get count(): number {
    return this.#wanted.size;
  }

  has(number: number): boolean {
    return this.#wanted.has(number);
  }

  get all(): number[] {
    return [...this.#wanted];
  }

  /** There should be `count`. Returns what has to be done; fewer may be opened, while numbers are in use by those that leave. */
  resize(count: number): StreamChange {
    const close: number[] = [];
    for (const number of [...this.#wanted].sort((a, b) => b - a)) {
      if (this.#wanted.size <= count) break;
      this.#wanted.delete(number);
      this.#leaving.add(number);
      close.push(number);
    }
    const open: number[] = [];
    for (let number = 0; number < this.#most && this.#wanted.size < count; number++) {
      if (this.#wanted.has(number) || this.#leaving.has(number)) continue;
      this.#wanted.add(number);
      open.push(number);
    }
    return { open, close };
  }

  /** A stream that should not be there any more is gone, or never came: its number is free. */
  gone(number: number): void {
    this.#leaving.delete(number);
  }

  /** It can't be had, and is not waited for. */
  giveUp(number: number): void {
    this.#wanted.delete(number);
    this.#leaving.delete(number);
  }
}
