/** What a stream writes chunks with, made from a descriptor. The one place where payload bytes reach the disk. */
import { readSync, writeSync } from "node:fs";
import { type DataSlice, zerosBetween } from "../protocol/sparse.ts";
import { ioError } from "./io-error.ts";
import type { WriterDescriptor } from "./sink.ts";

/** A chunk that is zeros but for its data. */
export interface SparseChunk {
  readonly bytes: number;
  readonly data: readonly DataSlice[];
}

/** Both throw E_NO_SPACE, E_IO. */
export interface Writer {
  /** Puts `bytes` at `offset`. */
  write(offset: number, bytes: Uint8Array): void | Promise<void>;
  /** Puts a chunk at `offset` and leaves holes for its zeros. `fresh`: nothing was ever written in its place. */
  writeSparse(offset: number, chunk: SparseChunk, fresh: boolean): void | Promise<void>;
}

const NOWHERE: Writer = { write: () => {}, writeSparse: () => {} };

export function openWriter(descriptor: WriterDescriptor): Writer {
  if (descriptor.kind === "discard") return NOWHERE;
  if (descriptor.kind === "file") return new FileWriter(descriptor.fd, descriptor.shownName);
  const { part } = descriptor;
  return {
    write: (offset, bytes) => part.write(offset, bytes),
    writeSparse: (offset, chunk) => part.write(offset, expanded(chunk)),
  };
}

const ZEROS = Buffer.alloc(64 * 1024);
/** Zeros that lie where zeros are to be are left alone. Made when first needed, as many as a look takes at once. */
let found = Buffer.alloc(0);

class FileWriter implements Writer {
  readonly #fd: number;
  readonly #shownName: string;

  constructor(fd: number, shownName: string) {
    this.#fd = fd;
    this.#shownName = shownName;
  }

  write(offset: number, bytes: Uint8Array): void {
    writeAll(this.#fd, offset, bytes, this.#shownName);
  }

  writeSparse(offset: number, { bytes, data }: SparseChunk, fresh: boolean): void {
    for (const slice of data) this.write(offset + slice.start, slice.bytes);
    if (fresh) return;
    for (const [start, end] of zerosBetween(data, bytes)) this.#makeZeros(offset + start, offset + end);
  }

  /** What an earlier run left in the place of zeros goes; where it left a hole, that stays. */
  #makeZeros(start: number, end: number): void {
    if (found.length === 0) found = Buffer.allocUnsafeSlow(ZEROS.length);
    for (let at = start; at < end; ) {
      const count = this.#read(at, Math.min(ZEROS.length, end - at));
      // Behind the end of a file is nothing but a hole.
      if (count === 0) return;
      if (ZEROS.compare(found, 0, count, 0, count) !== 0) this.write(at, ZEROS.subarray(0, count));
      at += count;
    }
  }

  #read(offset: number, bytes: number): number {
    try {
      return readSync(this.#fd, found, 0, bytes, offset);
    } catch (thrown) {
      throw ioError(`reading the part of '${this.#shownName}'`, thrown);
    }
  }
}

/** The chunk as it is, for what has no holes. */
function expanded({ bytes, data }: SparseChunk): Uint8Array {
  const whole = new Uint8Array(bytes);
  for (const { start, bytes: slice } of data) whole.set(slice, start);
  return whole;
}

/** Writes at once, without the thread pool: on two cores that costs a tenth less, and the page cache takes it. */
export function writeAll(fd: number, offset: number, bytes: Uint8Array, shownName: string): void {
  try {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(fd, bytes, at, bytes.length - at, offset + at);
    }
  } catch (thrown) {
    throw ioError(`writing '${shownName}'`, thrown);
  }
}
