/**
 * Who sends which bytes: the owner of all ranges of a transfer. Each stream works through a range of its own, in order,
 * which disks and caches like; one that runs out takes over part of the range that has most left, so that no stream
 * idles and a slow one never holds up the end. Pure: no files, no sockets, no clock.
 */
import type { ByteText } from "../protocol/byte-text.ts";
import { type Range, splitRange } from "../protocol/ranges.ts";

/** A chunk to send; or a bundle of whole files, which has the number of its first file, and `bytes` of all of them. */
export interface Piece {
  readonly file: number;
  /** In bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly bundle?: readonly BundleMember[];
}

/** A small file as whoever reads it needs to know it: plain data. */
export interface BundleMember {
  readonly file: number;
  readonly path: ByteText;
  /** As it was when it was offered: in bytes, and in milliseconds since 1970. */
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly inode: number;
}

interface FileRange {
  readonly file: number;
  start: number;
  end: number;
}

export class Dispatcher {
  readonly #chunkBytes: number;
  readonly #splitBytes: number;
  /** Chunks that were lost or arrived damaged: they go first, with whichever stream asks next. */
  #again: Piece[] = [];
  /** Bundles: before the ranges, so that both ends open and close files while large ones keep the path busy. */
  readonly #bundles: Piece[] = [];
  /** What no stream has taken on, in order. */
  #pending: FileRange[] = [];
  /** What each stream is working through. */
  readonly #working = new Map<number, FileRange>();
  /** Files whose end isn't known: where the next chunk of each starts, and up to where it may be sent. Streams take turns. */
  readonly #endless = new Map<number, { next: number; readonly end: number }>();
  readonly #inOrder: boolean;

  /**
   * Ranges of different streams meet at multiples of `splitBytes`, itself a multiple of `chunkBytes`. `inOrder`: there are
   * no ranges; streams take turns, and of what is left the first goes next.
   */
  constructor(chunkBytes: number, splitBytes: number, inOrder = false) {
    this.#inOrder = inOrder;
    this.#chunkBytes = chunkBytes;
    this.#splitBytes = Math.max(splitBytes, chunkBytes);
  }

  /** Adds what is to be sent of a file: ranges of whole chunks, in bytes. */
  add(file: number, ranges: Iterable<Range>): void {
    for (const { start, end } of ranges) this.#pending.push({ file, start, end });
  }

  /** Adds a file whose end isn't known, and of which all is there; or as much as `extend` says. */
  addEndless(file: number, end = Number.POSITIVE_INFINITY): void {
    this.#endless.set(file, { next: 0, end });
  }

  /** Of a file whose end isn't known, or is known now, what comes before `end` may be sent: whole chunks, but for the last. */
  extend(file: number, end: number): void {
    const known = this.#endless.get(file);
    if (known !== undefined) this.#endless.set(file, { next: known.next, end });
  }

  addBundle(bundle: Piece): void {
    this.#bundles.push(bundle);
  }

  /** The next chunk or bundle for a stream; undefined when nothing is left to hand out. */
  take(stream: number): Piece | undefined {
    return this.#again.shift() ?? this.#bundles.shift() ?? this.#next(stream) ?? this.#nextEndless();
  }

  /** What is there to be handed out, in bytes; infinite while a file's end isn't known. */
  get remainingBytes(): number {
    let bytes = 0;
    for (const piece of this.#again) bytes += piece.bytes;
    for (const bundle of this.#bundles) bytes += bundle.bytes;
    for (const { start, end } of [...this.#pending, ...this.#working.values()]) bytes += end - start;
    return this.#endless.size > 0 ? Number.POSITIVE_INFINITY : bytes;
  }

  /** The next of the chunks that are to be sent again. */
  takeAgain(): Piece | undefined {
    return this.#again.shift();
  }

  /** A chunk is to be sent again. */
  giveBack(piece: Piece): void {
    this.#again.push(piece);
    if (this.#inOrder) this.#again.sort((a, b) => a.file - b.file || a.offset - b.offset);
  }

  /** A stream is gone: what it had not begun goes to the others. */
  release(stream: number): void {
    const range = this.#working.get(stream);
    this.#working.delete(stream);
    if (range !== undefined && range.start < range.end) this.#pending.unshift(range);
  }

  /** Ends a file of unknown size after what was handed out. Returns its size, in bytes. */
  endEndless(file: number): number {
    const end = this.#endless.get(file)?.next ?? 0;
    this.#endless.delete(file);
    return end;
  }

  /** Hands out nothing more of a file. */
  drop(file: number): void {
    this.#again = this.#again.filter((piece) => piece.file !== file);
    this.#pending = this.#pending.filter((range) => range.file !== file);
    for (const [stream, range] of this.#working) if (range.file === file) this.#working.delete(stream);
    this.#endless.delete(file);
  }

  #next(stream: number): Piece | undefined {
    if (this.#inOrder) return this.#first();
    let range = this.#working.get(stream);
    if (range === undefined || range.start >= range.end) {
      range = this.#pending.shift() ?? this.#takeOver();
      if (range === undefined) {
        this.#working.delete(stream);
        return undefined;
      }
      this.#working.set(stream, range);
    }
    return this.#cut(range);
  }

  #first(): Piece | undefined {
    const range = this.#pending[0];
    if (range === undefined) return undefined;
    const piece = this.#cut(range);
    if (range.start >= range.end) this.#pending.shift();
    return piece;
  }

  #cut(range: FileRange): Piece {
    const { file, start: offset } = range;
    const bytes = Math.min(this.#chunkBytes, range.end - offset);
    range.start += bytes;
    return { file, offset, bytes };
  }

  /** Half of the range that has most left; all of it when it is too small to be cut. */
  #takeOver(): FileRange | undefined {
    let most: FileRange | undefined;
    for (const range of this.#working.values()) {
      if (range.end > range.start && (most === undefined || range.end - range.start > most.end - most.start)) {
        most = range;
      }
    }
    if (most === undefined) return undefined;
    const { file, start } = most;
    const halves = splitRange(most, this.#splitBytes);
    const taken = { file, start: halves?.[1].start ?? start, end: most.end };
    most.end = taken.start;
    return taken;
  }

  #nextEndless(): Piece | undefined {
    for (const [file, range] of this.#endless) {
      const { next: offset, end } = range;
      if (offset >= end) continue;
      range.next += this.#chunkBytes;
      return { file, offset, bytes: Math.min(this.#chunkBytes, end - offset) };
    }
    return undefined;
  }
}
