/**
 * What is known of one file that is being sent: what this run has read of it, what the sink says that it has, and what of
 * that has to be sent all the same. Pure: no files, no sockets, no clock.
 */
import { ChunkDigests } from "../protocol/chunk-digests.ts";
import { ChunkLedger } from "../protocol/chunks.ts";
import type { Failure } from "../protocol/errors.ts";
import { CHUNK_DIGEST_BYTES } from "../protocol/limits.ts";
import type { Message, SettledFile } from "../protocol/messages.ts";
import { type Range, RangeSet } from "../protocol/ranges.ts";
import type { Piece } from "./dispatcher.ts";
import type { ItemDigest, SourceItem } from "./item.ts";

/** Made once: without a reason each abort makes one, with its stack. */
const OVER = new Error("the file is settled");

export class SentFile {
  /** In the transfer; another one when the session is begun anew. */
  index: number;
  readonly item: SourceItem;
  /** What this run knows of the content: chunks that it has read, or trusts. */
  ledger: ChunkLedger;
  /**
   * `matching`: chunks of what has its name at the sink are compared with it, and more of them may come. `confirming`: it
   * was committed by an earlier run, and what it is now is being read.
   */
  phase: "offered" | "comparing" | "matching" | "sending" | "sealed" | "confirming" = "offered";
  /** Of what was compared. */
  digest: ItemDigest | undefined;
  /** Of the whole, read once more after all of it was read, where the session verifies. */
  verified: ItemDigest | undefined;
  /** It is being read for that, by the one that this names. */
  verifying: symbol | undefined;
  withdrawn: Failure | undefined;
  outcome: SettledFile | undefined;
  /** Chunks that the sink has from earlier runs, or of another file. */
  #have: ChunkLedger;
  /** Chunks that the sink has to get once more, by offset. */
  readonly #again = new Set<number>();
  /** Chunks that this run sends, by number. */
  #brought = new RangeSet();
  readonly #over = new AbortController();
  /** Chunks that the sink has of another file, by number; of those that are not compared yet, the digest. */
  #claimed = new RangeSet();
  readonly #digests = new ChunkDigests();
  /** Of these, those that are the same, and those that are not and were given to be sent. */
  #matched = new RangeSet();
  #differing = new RangeSet();
  /** Chunks whose CRC this run took from the sink, by --trust-mtime, and does not send, by number. */
  #trusted = new RangeSet();

  constructor(index: number, item: SourceItem, chunkBytes: number) {
    this.index = index;
    this.item = item;
    this.ledger = new ChunkLedger(item.size, chunkBytes);
    this.#have = new ChunkLedger(item.size, chunkBytes);
  }

  /** Whether something of it is sent, or was there and is counted. */
  get wasBegun(): boolean {
    return this.phase === "matching" || this.phase === "sending" || this.phase === "sealed";
  }
  /** Withdrawn or settled: nothing more of it is read. */
  get isOver(): boolean {
    return this.#over.signal.aborted;
  }
  get over(): AbortSignal {
    return this.#over.signal;
  }
  end(): void {
    this.#over.abort(OVER);
  }

  /** The session is begun anew: the sink knows nothing of this file but what it will say. */
  restart(index: number, chunkBytes: number): void {
    this.index = index;
    if (this.phase !== "confirming") this.phase = "offered";
    if (this.ledger.chunkBytes !== chunkBytes) {
      this.ledger = new ChunkLedger(this.item.size, chunkBytes);
      this.#brought = new RangeSet();
      this.#trusted = new RangeSet();
    }
    this.#claimed = new RangeSet();
    this.#digests.clear();
    this.#matched = new RangeSet();
    this.#differing = new RangeSet();
    this.#have = new ChunkLedger(this.item.size, chunkBytes);
    this.#again.clear();
    this.verified = undefined;
    this.verifying = undefined;
  }

  /** The sink has chunks from an earlier run; what can't be chunks of this file is left out. */
  has({ offset, crcs, digests }: Message<"HAVE">): void {
    const view = Buffer.from(crcs.buffer, crcs.byteOffset, crcs.byteLength);
    for (let i = 0; 4 * i < crcs.length; i++) {
      const at = offset + i * this.ledger.chunkBytes;
      const bytes = this.#have.bytesAt(at);
      if (this.#have.size === null || !this.#have.isChunk(at, bytes)) continue;
      const chunk = this.#chunkAt(at);
      // It says so again after a control connection broke.
      if (this.#claimed.covers(chunk, chunk + 1)) continue;
      if (digests !== undefined) {
        this.#claimed.add(chunk, chunk + 1);
        this.#digests.set(chunk, digests.subarray(i * CHUNK_DIGEST_BYTES, (i + 1) * CHUNK_DIGEST_BYTES));
      }
      this.#have.forget(at);
      this.#have.record(at, bytes, view.readUInt32BE(4 * i));
    }
  }

  /** What a HAVE speaks of and is to be compared, as far as that is so when each is asked for. */
  *claims({ offset, crcs }: Message<"HAVE">): Generator<Piece> {
    for (let i = 0; 4 * i < crcs.length; i++) {
      if (this.isOver) return;
      const at = offset + i * this.ledger.chunkBytes;
      if (this.isClaimed(at)) yield this.pieceAt(at);
    }
  }
  /** Whether a chunk is to be compared. */
  isClaimed(offset: number): boolean {
    return this.#digests.get(this.#chunkAt(offset)) !== undefined;
  }
  /** It was read. Returns whether it is what the sink has; where it is not, it is to be sent. */
  compare(offset: number, crc32: number, digest: Uint8Array): boolean {
    const chunk = this.#chunkAt(offset);
    const theirs = this.#digests.get(chunk);
    const isSame =
      theirs !== undefined &&
      this.#have.crcAt(offset) === crc32 &&
      Buffer.compare(theirs, digest.subarray(0, CHUNK_DIGEST_BYTES)) === 0;
    this.#digests.delete(chunk);
    if (isSame) {
      this.#matched.add(chunk, chunk + 1);
      this.#brought.subtract(chunk, chunk + 1);
    } else {
      this.#differing.add(chunk, chunk + 1);
      this.#again.add(offset);
    }
    return isSame;
  }
  /** Of a file that is there now, what was in the one that gave way to it. */
  get bytesMatched(): number {
    return this.#bytesOf(this.#matched);
  }

  /** What earlier runs brought. */
  get bytesThere(): number {
    let bytes = 0;
    for (const { start, end } of this.#inChunks(this.#have.presentRanges)) {
      bytes += this.#bytesOf(this.#claimed.missing(start, end));
    }
    return bytes;
  }

  /** Of a file that is there now, what this run did not bring. */
  get bytesResumed(): number {
    const { chunkBytes } = this.ledger;
    const missing = this.#brought.missing(0, Math.ceil((this.ledger.size ?? 0) / chunkBytes));
    return this.#bytesOf(missing) - this.bytesMatched;
  }
  /** Of that, what it did not read either. */
  get bytesTrusted(): number {
    return this.#bytesOf(this.#trusted);
  }

  #bytesOf(chunks: Iterable<Range>): number {
    const { chunkBytes, size } = this.ledger;
    let bytes = 0;
    for (const { start, end } of chunks) bytes += Math.min(end * chunkBytes, size ?? 0) - start * chunkBytes;
    return bytes;
  }

  #inChunks(ranges: readonly Range[]): Range[] {
    const { chunkBytes } = this.ledger;
    return ranges.map(({ start, end }) => ({ start: start / chunkBytes, end: Math.ceil(end / chunkBytes) }));
  }

  /** What has to be sent, since the sink has it not; of a file of known size. */
  get missing(): Range[] {
    return this.#have.missingRanges;
  }

  /** Takes what the sink says of its chunks for true. */
  trust(): void {
    for (const offset of this.#have.offsets()) {
      // What another file has is no word of this one.
      if (this.#claimed.covers(this.#chunkAt(offset), this.#chunkAt(offset) + 1)) continue;
      const bytes = this.ledger.bytesAt(offset);
      if (this.ledger.record(offset, bytes, this.#have.crcAt(offset) ?? 0) !== "new") continue;
      this.#trusted.add(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
    }
  }

  /** Chunks that the sink has and this run did not read yet, as far as that is so when each is asked for. */
  *unread(): Generator<Piece> {
    // What the sink turns out not to have is taken out meanwhile.
    for (const { start, end } of this.#have.presentRanges) {
      for (let offset = start; offset < end; offset += this.ledger.chunkBytes) {
        if (this.isOver) return;
        const isThere = this.#have.crcAt(offset) !== undefined;
        if (isThere && !this.isClaimed(offset) && this.ledger.crcAt(offset) === undefined) yield this.pieceAt(offset);
      }
    }
  }
  /** All chunks that this run did not read yet. */
  *unreadOfAll(): Generator<Piece> {
    for (const { start, end } of this.ledger.missingRanges) {
      for (let offset = start; offset < end; offset += this.ledger.chunkBytes) {
        if (this.isOver) return;
        yield this.pieceAt(offset);
      }
    }
  }

  /** Of the chunks that this run has read, those that the sink has otherwise. */
  get differing(): Piece[] {
    const isKnown = (offset: number) => !this.#claimed.covers(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
    return [...this.#have.offsets()]
      .filter((offset) => isKnown(offset) && this.differs(offset))
      .map((offset) => this.pieceAt(offset));
  }
  /** Whether the sink has a chunk with another CRC-32 than this one. */
  differs(offset: number, ours = this.ledger.crcAt(offset)): boolean {
    const theirs = this.#have.crcAt(offset);
    return theirs !== undefined && ours !== undefined && theirs !== ours;
  }

  /** The sink has to get a chunk once more. Returns false where that is known. */
  sendAgain(offset: number): boolean {
    this.#have.forget(offset);
    this.#digests.delete(this.#chunkAt(offset));
    // What the sink said of it was not so: it is read after all.
    if (this.#trusted.covers(this.#chunkAt(offset), this.#chunkAt(offset) + 1)) this.ledger.forget(offset);
    if (this.#again.has(offset)) return false;
    this.#again.add(offset);
    return true;
  }
  acknowledged(offset: number): void {
    this.#again.delete(offset);
  }

  /** A stream sends a chunk. (What it brought, the sink may tell before it acknowledges it.) */
  sent(offset: number): void {
    this.#brought.add(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
    for (const set of [this.#trusted, this.#matched]) set.subtract(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
  }

  /** Whether all of it was read and compared, and nothing is on its way that the sink has otherwise. */
  get isRead(): boolean {
    return this.ledger.isComplete && this.#again.size === 0 && this.#digests.size === 0;
  }

  #chunkAt(offset: number): number {
    return offset / this.ledger.chunkBytes;
  }

  pieceAt(offset: number): Piece {
    return { file: this.index, offset, bytes: this.ledger.bytesAt(offset) };
  }
}
