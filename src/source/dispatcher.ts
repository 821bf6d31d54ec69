/**
 * Who sends which bytes: the owner of all ranges of a transfer. Each stream works through a range of its own, in order,
 * which disks and caches like; one that runs out takes over part of the range that has most left, so that no stream
 * idles and a slow one never holds up the end. Pure: no files, no sockets, no clock.
 */
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
  readonly path: Uint8Array;
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
  /** Files whose end isn't known: where the next chunk of each starts. Streams take turns. */
  readonly #endless = new Map<number, number>();

  /** Ranges of different streams meet at multiples of `splitBytes`, itself a multiple of `chunkBytes`. */
  constructor(chunkBytes: number, splitBytes: number) {
    this.#chunkBytes = chunkBytes;
    this.#splitBytes = Math.max(splitBytes, chunkBytes);
  }

  /** Adds what is to be sent of a file: ranges of whole chunks, in bytes. */
  add(file: number, ranges: Iterable<Range>): void {
    for (const { start, end } of ranges) this.#pending.push({ file, start, end });
  }

  /** Adds a file whose end isn't known. */
  addEndless(file: number): void {
    this.#endless.set(file, 0);
  }

  addBundle(bundle: Piece): void {
    this.#bundles.push(bundle);
  }

  /** The next chunk or bundle for a stream; undefined when nothing is left to hand out. */
  take(stream: number): Piece | undefined {
    return this.#again.shift() ?? this.#bundles.shift() ?? this.#next(stream) ?? this.#nextEndless();
  }

  /** A chunk is to be sent again. */
  giveBack(piece: Piece): void {
    this.#again.push(piece);
  }

  /** A stream is gone: what it had not begun goes to the others. */
  release(stream: number): void {
    const range = this.#working.get(stream);
    this.#working.delete(stream);
    if (range !== undefined && range.start < range.end) this.#pending.unshift(range);
  }

  /** Ends a file of unknown size after what was handed out. Returns its size, in bytes. */
  endEndless(file: number): number {
    const end = this.#endless.get(file) ?? 0;
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
    let range = this.#working.get(stream);
    if (range === undefined || range.start >= range.end) {
      range = this.#pending.shift() ?? this.#takeOver();
      if (range === undefined) {
        this.#working.delete(stream);
        return undefined;
      }
      this.#working.set(stream, range);
    }
    const bytes = Math.min(this.#chunkBytes, range.end - range.start);
    const piece = { file: range.file, offset: range.start, bytes };
    range.start += bytes;
    return piece;
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
    for (const [file, offset] of this.#endless) {
      this.#endless.set(file, offset + this.#chunkBytes);
      return { file, offset, bytes: this.#chunkBytes };
    }
    return undefined;
  }
}
