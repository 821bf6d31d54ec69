/**
 * Buffers for chunks, used again and again: never zeroed, and no work for the garbage collector while data flows.
 */

/** Free buffers kept for each size; more than these are left to the garbage collector. */
const KEPT_PER_SIZE = 64;

/** Smaller ones are cheap to make and would waste a kept one. */
const POOLED_BYTES_MIN = 64 * 1024;

export class BlockPool {
  readonly #free = new Map<number, Uint8Array[]>();

  /** A buffer of `bytes`, with whatever it held before. */
  take(bytes: number): Uint8Array {
    return this.#free.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Gives back a buffer that `take` gave and that nobody reads or writes any more. */
  give(block: Uint8Array): void {
    if (block.length < POOLED_BYTES_MIN) return;
    const free = this.#free.get(block.length);
    if (free === undefined) this.#free.set(block.length, [block]);
    else if (free.length < KEPT_PER_SIZE) free.push(block);
  }
}
