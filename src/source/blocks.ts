/**
 * Memory that chunks are read into: of all streams of this thread, whatever transfer they belong to. What one has sent the next reads
 * into, while it is in the processor's cache; and 200 transfers at once are no 200 times as much for the garbage collector.
 */
import { BlockPool } from "../net/blocks.ts";

/** While more is in use no stream gets a second block: each of so many is slow, and what the system has of it lasts. */
const CROWDED_BYTES = 64 * 1024 * 1024;

let pool = new BlockPool();
let streams = 0;
let usedBytes = 0;

export const sourceBlocks = {
  /** A stream more. Each says when it is gone: memory is kept while there are any. */
  opened(): void {
    streams++;
  },
  closed(): void {
    streams--;
    if (streams === 0) pool = new BlockPool();
  },

  get isCrowded(): boolean {
    return usedBytes > CROWDED_BYTES;
  },

  take(bytes: number): Uint8Array {
    const block = pool.take(bytes);
    usedBytes += block.length;
    return block;
  },
  give(block: Uint8Array): void {
    usedBytes -= block.length;
    if (streams > 0) pool.give(block);
  },
};
