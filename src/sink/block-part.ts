/**
 * Lets chunks be written in any order to a sink that takes whole blocks only, such as the parts of a multipart upload:
 * chunks are held until their block is whole. Memory is a block for each stream, since ranges meet at block boundaries.
 */
import { RangeSet } from "../protocol/ranges.ts";
import type { Part, WriterDescriptor } from "./sink.ts";

interface OpenBlock {
  readonly bytes: Uint8Array;
  /** By position in the file. */
  readonly filled: RangeSet;
}

export class BlockPart implements Part {
  readonly #part: Part;
  readonly #blockBytes: number;
  readonly #blocks = new Map<number, OpenBlock>();
  #size: number | null;

  constructor(part: Part, blockBytes: number, size: number | null) {
    this.#part = part;
    this.#blockBytes = blockBytes;
    this.#size = size;
  }

  open(): WriterDescriptor {
    this.#part.open();
    return { kind: "local", part: this };
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const index = Math.floor(offset / this.#blockBytes);
    const start = index * this.#blockBytes;
    const end = Math.min(start + this.#blockBytes, this.#size ?? Number.POSITIVE_INFINITY);
    let block = this.#blocks.get(index);
    if (block === undefined) {
      block = { bytes: new Uint8Array(end - start), filled: new RangeSet() };
      this.#blocks.set(index, block);
    }
    block.bytes.set(bytes, offset - start);
    block.filled.add(offset, offset + bytes.length);
    if (block.filled.size < block.bytes.length) return;
    this.#blocks.delete(index);
    await this.#part.write(start, block.bytes);
  }

  written(): void {}

  async commit(size: number): Promise<void> {
    // Of a file whose size wasn't known the last block ends early.
    this.#size = size;
    try {
      for (const [index, block] of this.#blocks) {
        await this.#part.write(index * this.#blockBytes, block.bytes.subarray(0, block.filled.size));
      }
    } catch (error) {
      await this.abort();
      throw error;
    }
    this.#blocks.clear();
    await this.#part.commit(size);
  }

  abort(): Promise<void> {
    this.#blocks.clear();
    return this.#part.abort();
  }
}
