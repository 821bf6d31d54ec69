/**
 * What is known of one file that is being received: which chunks are there, which of them an earlier run left and nobody
 * has checked yet, and which turned out to be spoilt. Pure: no files, no sockets, no clock.
 */
import { ChunkDigests } from "../protocol/chunk-digests.ts";
import { ChunkLedger } from "../protocol/chunks.ts";
import { CHUNK_DIGEST_BYTES, HAVE_CHUNKS_MAX, HAVE_DIGESTS_MAX } from "../protocol/limits.ts";
import type { FileExtent, Message, OfferedFile } from "../protocol/messages.ts";
import { RangeSet } from "../protocol/ranges.ts";
import type { CommitRecord, StoredChunk } from "./session-store.ts";
import type { Clobber, Committed, ExistingFile, Part } from "./sink.ts";

export class ReceivedFile {
  readonly index: number;
  readonly offer: OfferedFile;
  readonly ledger: ChunkLedger;
  /** `settling`: its outcome is being made, and nothing that comes changes it. */
  phase: "planning" | "comparing" | "receiving" | "settling" = "planning";
  part: Part | undefined;
  /** No earlier run has written to the part. */
  isPartNew = false;
  /** What may be the same as it, and is to be compared: what has its name, or copies beside that. */
  candidates: readonly ExistingFile[] = [];
  /** What has the name, and gives way: chunks of it are copied to the part. */
  base: ExistingFile | undefined;
  /** While they are: only what starts below this may come, since the source has heard of it. */
  copiedBelow: number | undefined;
  /** What its commit does where something has the name. */
  clobber: Clobber | undefined;
  /** What its commit came to. */
  outcome: Committed | undefined;
  seal: { readonly size: number; readonly crc32: number; readonly blake3?: Uint8Array | undefined } | undefined;
  /** Of what is committed, where the session verifies. */
  blake3: Uint8Array | undefined;
  /** In the session's store; undefined until it is there, and of a file that can't be known again. */
  id: number | undefined;
  partId: string | undefined;
  /** A commit of an earlier run, whose outcome the source may not have heard. */
  committed: CommitRecord | undefined;
  /** Chunks that an earlier run left, by number. What comes now takes their place. */
  readonly #inherited = new RangeSet();
  /** Of these, those that are not compared with their records yet. */
  readonly #unchecked = new RangeSet();
  /** Bytes of chunks that are still as an earlier run left them, or were when they were checked. */
  bytesInherited = 0;
  /** Chunks that were copied from another file, by number; what comes now takes their place, whatever its CRC-32. */
  readonly #copied = new RangeSet();
  readonly #digests = new ChunkDigests();
  bytesCopied = 0;
  /** Chunks that were found spoilt, and are not here again yet, by offset. */
  readonly #spoilt = new Set<number>();

  constructor(offer: OfferedFile, chunkBytes: number) {
    this.index = offer.file;
    this.offer = offer;
    this.ledger = new ChunkLedger(offer.size, chunkBytes);
  }

  /** Takes over what an earlier run left; what can't be a chunk of this file is left out. */
  inherit(chunks: readonly StoredChunk[]): void {
    for (const { offset, crc32 } of chunks) {
      const bytes = this.ledger.bytesAt(offset);
      if (!this.ledger.isChunk(offset, bytes)) continue;
      this.ledger.record(offset, bytes, crc32);
      for (const set of [this.#inherited, this.#unchecked]) set.add(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
      this.bytesInherited += bytes;
    }
  }

  /** A chunk that the part has not was copied to it. */
  copied(offset: number, crc32: number, digest: Uint8Array): void {
    const bytes = this.ledger.bytesAt(offset);
    this.ledger.record(offset, bytes, crc32);
    this.#copied.add(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
    this.#digests.set(this.#chunkAt(offset), digest);
    this.bytesCopied += bytes;
  }
  isCopied(offset: number): boolean {
    return this.#copied.covers(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
  }
  /** Whether it is what had the name, and nothing else. */
  get isAllCopied(): boolean {
    return this.base !== undefined && this.bytesCopied === this.ledger.size && this.base.size === this.ledger.size;
  }

  get hasUnchecked(): boolean {
    return !this.#unchecked.isEmpty;
  }
  isUnchecked(offset: number): boolean {
    return this.#unchecked.covers(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
  }
  isInherited(offset: number): boolean {
    return this.#inherited.covers(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
  }
  /** Whether nothing was ever written in the place of a chunk: what is no data there is zeros already. */
  isFresh(offset: number): boolean {
    return this.isPartNew && this.ledger.crcAt(offset) === undefined;
  }
  /** Some chunk that is not checked yet. */
  nextUnchecked(): number | undefined {
    const [first] = this.#unchecked;
    return first && first.start * this.ledger.chunkBytes;
  }

  /** An inherited chunk is what was recorded of it. */
  checked(offset: number): void {
    this.#unchecked.subtract(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
  }
  /** It is not: it has to be sent again. */
  spoil(offset: number): void {
    this.#giveWay(offset);
    this.#spoilt.add(offset);
  }

  /** A chunk arrived and was written. An inherited or copied one gives way to it. */
  record(offset: number, bytes: number, crc32: number): "new" | "same" | "different" {
    if (this.isInherited(offset)) this.#giveWay(offset);
    else if (this.isCopied(offset)) this.#uncopy(offset);
    this.#spoilt.delete(offset);
    return this.ledger.record(offset, bytes, crc32);
  }

  #uncopy(offset: number): void {
    this.#copied.subtract(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
    this.#digests.delete(this.#chunkAt(offset));
    this.ledger.forget(offset);
    this.bytesCopied -= this.ledger.bytesAt(offset);
  }

  #giveWay(offset: number): void {
    this.checked(offset);
    this.#inherited.subtract(this.#chunkAt(offset), this.#chunkAt(offset) + 1);
    this.ledger.forget(offset);
    this.bytesInherited -= this.ledger.bytesAt(offset);
  }

  #chunkAt(offset: number): number {
    return offset / this.ledger.chunkBytes;
  }

  /** Whether all of it is there, checked, and sealed. */
  get isWhole(): boolean {
    return (
      this.phase === "receiving" &&
      this.seal !== undefined &&
      this.ledger.isComplete &&
      !this.hasUnchecked &&
      this.copiedBelow === undefined
    );
  }

  /** What the source is told of the chunks that are here already, in pages. */
  *have(): Generator<Message<"HAVE">> {
    const { chunkBytes } = this.ledger;
    for (const { start, end } of this.ledger.presentRanges) {
      const [first, last] = [this.#chunkAt(start), Math.ceil(end / chunkBytes)];
      for (const range of this.#copied.missing(first, last)) {
        for (let at = range.start; at < range.end; at += HAVE_CHUNKS_MAX) {
          yield this.#haveOf(at, Math.min(range.end, at + HAVE_CHUNKS_MAX));
        }
      }
    }
    yield* this.haveCopied(0, this.ledger.size ?? 0);
  }

  /** Of these, what was copied: bytes from `from` to `end`. */
  *haveCopied(from: number, end: number): Generator<Message<"HAVE">> {
    const [first, last] = [this.#chunkAt(from), Math.ceil(end / this.ledger.chunkBytes)];
    for (const range of this.#copied) {
      const stop = Math.min(range.end, last);
      for (let at = Math.max(range.start, first); at < stop; at += HAVE_DIGESTS_MAX) {
        const to = Math.min(stop, at + HAVE_DIGESTS_MAX);
        const digests = new Uint8Array((to - at) * CHUNK_DIGEST_BYTES);
        for (let chunk = at; chunk < to; chunk++) {
          digests.set(this.#digests.get(chunk) ?? [], (chunk - at) * CHUNK_DIGEST_BYTES);
        }
        yield { ...this.#haveOf(at, to), digests };
      }
    }
  }

  #haveOf(first: number, end: number): Message<"HAVE"> {
    const { chunkBytes } = this.ledger;
    const crcs = Buffer.alloc(4 * (end - first));
    for (let chunk = first; chunk < end; chunk++) {
      crcs.writeUInt32BE(this.ledger.crcAt(chunk * chunkBytes) ?? 0, 4 * (chunk - first));
    }
    return { file: this.index, offset: first * chunkBytes, crcs };
  }

  /** What has to be sent again, though it was said to be here. */
  get spoiltExtents(): FileExtent[] {
    return [...this.#spoilt].map((offset) => [this.index, offset, this.ledger.bytesAt(offset)]);
  }
}
