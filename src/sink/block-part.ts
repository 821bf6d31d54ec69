/**
 * Lets chunks be written in any order to a sink that takes whole blocks only, such as the parts of a multipart upload:
 * chunks are held until their block is whole. Memory is a block for each stream, since ranges meet at block boundaries.
 */
import { HawserError } from "../protocol/errors.ts";
import { RangeSet } from "../protocol/ranges.ts";
import type { Committed, Part, WriterDescriptor } from "./sink.ts";

interface OpenBlock {
  readonly bytes: Uint8Array;
  /** By position in the block. */
  readonly filled: RangeSet;
}

export class BlockPart implements Part {
  readonly #part: Part;
  readonly #blockBytes: number;
  /** In bytes; null until the commit says it. */
  readonly #size: number | null;
  readonly #open = new Map<number, OpenBlock>();
  /** Blocks that were handed on, and when each is written: a chunk of one that comes again waits for it. */
  readonly #handedOn = new Map<number, Promise<void>>();

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
    const before = this.#handedOn.get(index);
    if (before !== undefined) return before;
    const start = index * this.#blockBytes;
    const block = this.#blockAt(index);
    block.bytes.set(bytes, offset - start);
    block.filled.add(offset - start, offset - start + bytes.length);
    if (!block.filled.covers(0, block.bytes.length)) return;
    await this.#handOn(index, block.bytes);
  }

  written(): void {}

  /** What a store holds of an upload can't be read before it is complete, nor gone on with. */
  read(): Promise<number> {
    return Promise.resolve(0);
  }
  sync(): Promise<void> {
    return Promise.resolve();
  }
  get fingerprint(): string {
    return this.#part.fingerprint;
  }

  async commit(size: number, crc32: number): Promise<Committed> {
    // Of a file whose size wasn't known the last block ends early.
    for (const [index, { bytes, filled }] of [...this.#open]) {
      const end = Math.min(bytes.length, size - index * this.#blockBytes);
      if (!filled.covers(0, end)) throw new HawserError("E_INTERNAL", "a block has holes at the commit");
      await this.#handOn(index, bytes.subarray(0, end));
    }
    await Promise.all(this.#handedOn.values());
    return this.#part.commit(size, crc32);
  }

  close(): Promise<void> {
    this.#open.clear();
    return this.#part.close();
  }

  abort(): Promise<void> {
    this.#open.clear();
    return this.#part.abort();
  }

  #blockAt(index: number): OpenBlock {
    let block = this.#open.get(index);
    if (block === undefined) {
      const left = (this.#size ?? Number.POSITIVE_INFINITY) - index * this.#blockBytes;
      block = { bytes: new Uint8Array(Math.min(this.#blockBytes, left)), filled: new RangeSet() };
      this.#open.set(index, block);
    }
    return block;
  }

  #handOn(index: number, bytes: Uint8Array): Promise<void> {
    this.#open.delete(index);
    const writing = Promise.resolve(this.#part.write(index * this.#blockBytes, bytes));
    this.#handedOn.set(index, writing);
    return writing;
  }
}
