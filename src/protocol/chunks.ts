/**
 * How a file is cut into chunks, and what is known of each: which are there, with which CRC, and from that the CRC-32 of
 * the whole. Both ends keep one of these per file. Pure.
 */
import { combineCrc32, combineEqualParts } from "./crc32.ts";
import { type Range, RangeSet } from "./ranges.ts";

/**
 * CRCs are kept in pages made when first needed, so that memory follows what arrived, not what was declared. Small ones: a
 * chunk of zeros is 34 bytes on the wire, and a peer may scatter such chunks so that each needs a page of its own.
 */
const PAGE_CHUNKS = 64;

export class ChunkLedger {
  readonly chunkBytes: number;
  readonly #present = new RangeSet();
  readonly #pages = new Map<number, Uint32Array>();
  /** In bytes; null until the source knows it. */
  #size: number | null;
  /** While the size isn't known: where the one chunk ends that is shorter than the others, which must be the last. */
  #shortEnd: number | undefined;

  constructor(size: number | null, chunkBytes: number) {
    this.#size = size;
    this.chunkBytes = chunkBytes;
  }

  get size(): number | null {
    return this.#size;
  }

  /** The size that became known. Returns false where another was declared, or where the chunks tell of another. */
  settleSize(size: number): boolean {
    if (this.#size !== null) return this.#size === size;
    const last = [...this.#present].at(-1);
    if (last !== undefined && last.end > this.#countFor(size)) return false;
    if (this.#shortEnd !== undefined && this.#shortEnd !== size) return false;
    const lastIsWhole = last?.end === this.#countFor(size) && this.#shortEnd === undefined;
    if (lastIsWhole && size % this.chunkBytes !== 0) return false;
    this.#size = size;
    return true;
  }

  /** Whether [offset, offset + bytes) is exactly one chunk of this file. */
  isChunk(offset: number, bytes: number): boolean {
    if (offset < 0 || offset % this.chunkBytes !== 0 || bytes < 1 || bytes > this.chunkBytes) return false;
    if (this.#size === null) return this.#mayBeChunk(offset, bytes);
    return bytes === Math.min(this.chunkBytes, this.#size - offset);
  }

  /** While the size isn't known: only the last chunk may be short, and nothing lies behind that. */
  #mayBeChunk(offset: number, bytes: number): boolean {
    const end = offset + bytes;
    const isShort = bytes < this.chunkBytes;
    if (this.#shortEnd !== undefined) return end < this.#shortEnd ? !isShort : end === this.#shortEnd && isShort;
    if (!isShort) return end <= Number.MAX_SAFE_INTEGER;
    const last = [...this.#present].at(-1);
    return last === undefined || last.end * this.chunkBytes <= offset;
  }

  /** Records the CRC of a chunk (see `isChunk`). 'different' leaves what is known in place. */
  record(offset: number, bytes: number, crc: number): "new" | "same" | "different" {
    const chunk = offset / this.chunkBytes;
    const known = this.crcAt(offset);
    if (known !== undefined) return known === crc ? "same" : "different";
    if (this.#size === null && bytes < this.chunkBytes) {
      if (this.#shortEnd !== undefined) return "different";
      this.#shortEnd = offset + bytes;
    }
    const index = Math.floor(chunk / PAGE_CHUNKS);
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = new Uint32Array(PAGE_CHUNKS);
      this.#pages.set(index, page);
    }
    page[chunk % PAGE_CHUNKS] = crc;
    this.#present.add(chunk, chunk + 1);
    return "new";
  }

  /** The chunk at `offset` is not there after all. */
  forget(offset: number): void {
    const chunk = offset / this.chunkBytes;
    this.#present.subtract(chunk, chunk + 1);
  }

  /** Length of the chunk at `offset`, in bytes; only where the size is known. */
  bytesAt(offset: number): number {
    return Math.min(this.chunkBytes, (this.#size ?? 0) - offset);
  }

  /** Where the chunks that are there start, in order. */
  *offsets(): Generator<number> {
    for (const { start, end } of this.#present) {
      for (let chunk = start; chunk < end; chunk++) yield chunk * this.chunkBytes;
    }
  }

  /** What is there, in bytes. */
  get presentRanges(): Range[] {
    return [...this.#present].map(({ start, end }) => this.#bytesOf(start, end));
  }
  /** What of a file of known size is not there, in bytes. */
  get missingRanges(): Range[] {
    const count = this.#countFor(this.#size ?? 0);
    return this.#present.missing(0, count).map(({ start, end }) => this.#bytesOf(start, end));
  }
  get bytesPresent(): number {
    return this.presentRanges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  #bytesOf(start: number, end: number): Range {
    const limit = this.#size ?? Number.POSITIVE_INFINITY;
    return { start: start * this.chunkBytes, end: Math.min(end * this.chunkBytes, limit) };
  }

  /** The recorded CRC of the chunk at `offset`. */
  crcAt(offset: number): number | undefined {
    const chunk = offset / this.chunkBytes;
    if (!this.#present.covers(chunk, chunk + 1)) return undefined;
    return this.#pages.get(Math.floor(chunk / PAGE_CHUNKS))?.[chunk % PAGE_CHUNKS];
  }

  /** Runs of neighbouring chunks that are there: what it costs to know of them follows these, and not only their number. */
  get runs(): number {
    return this.#present.count;
  }

  /** Whether a chunk at `offset` would make one run more. */
  startsRun(offset: number): boolean {
    const chunk = offset / this.chunkBytes;
    return !this.#present.touches(chunk, chunk + 1);
  }

  get chunksPresent(): number {
    return this.#present.size;
  }

  /** Whether every chunk of a file of known size is there. */
  get isComplete(): boolean {
    return this.#size !== null && this.#present.covers(0, this.#countFor(this.#size));
  }

  /** The CRC-32 of the whole file; only when it is complete. */
  wholeCrc32(): number {
    const size = this.#size;
    if (size === null || !this.isComplete) throw new RangeError("the CRC-32 of a file that is not complete");
    const lastBytes = size % this.chunkBytes;
    const whole = combineEqualParts(this.#crcs(Math.floor(size / this.chunkBytes)), this.chunkBytes);
    if (lastBytes === 0) return whole;
    return combineCrc32(whole, this.crcAt(size - lastBytes) as number, lastBytes);
  }

  *#crcs(count: number): Generator<number> {
    for (let chunk = 0; chunk < count; chunk++) {
      yield this.#pages.get(Math.floor(chunk / PAGE_CHUNKS))?.[chunk % PAGE_CHUNKS] as number;
    }
  }

  #countFor(size: number): number {
    return Math.ceil(size / this.chunkBytes);
  }
}
