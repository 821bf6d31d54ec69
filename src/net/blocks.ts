/**
 * Buffers for chunks, used again and again: never zeroed, and no work for the garbage collector while data flows. They
 * come in a few sizes, whatever sizes are asked for, and what is kept is bounded.
 */
import { SLACK_BYTES } from "../protocol/decoder.ts";

/** Smaller ones are cheap to make, and are not kept. */
const KEPT_BYTES_MIN = 64 * 1024;

/** Free buffers of all sizes together; more than these are left to the garbage collector. */
const FREE_BYTES_MAX = 64 * 1024 * 1024;

export class BlockPool {
  readonly #free = new Map<number, Uint8Array[]>();
  #freeBytes = 0;

  /** A buffer of `bytes` or more, with whatever it held before. */
  take(bytes: number): Uint8Array {
    if (bytes < KEPT_BYTES_MIN) return Buffer.allocUnsafeSlow(bytes);
    const size = blockBytesFor(bytes);
    const block = this.#free.get(size)?.pop();
    if (block === undefined) return Buffer.allocUnsafeSlow(size);
    this.#freeBytes -= size;
    return block;
  }

  /** Gives back a buffer that `take` gave and that nobody reads or writes any more. */
  give(block: Uint8Array): void {
    const size = block.length;
    if (size < KEPT_BYTES_MIN) return;
    this.#makeRoom(size);
    if (this.#freeBytes + size > FREE_BYTES_MAX) return;
    this.#freeBytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [block]);
    else free.push(block);
  }

  /** Of other sizes, which were used once and may never be asked for again. */
  #makeRoom(bytes: number): void {
    for (const [size, free] of this.#free) {
      while (size !== bytes && this.#freeBytes + bytes > FREE_BYTES_MAX && free.pop() !== undefined) {
        this.#freeBytes -= size;
      }
    }
  }
}

/**
 * What a buffer of `bytes` takes: the next power of two, with the slack that the decoder asks for, so that a chunk of 1 MiB and its
 * slack fit exactly.
 */
export function blockBytesFor(bytes: number): number {
  if (bytes < KEPT_BYTES_MIN) return bytes;
  return 2 ** Math.ceil(Math.log2(bytes - SLACK_BYTES)) + SLACK_BYTES;
}
