/** Makes a chunk shorter for the wire: zstd, in the thread pool. */
import { constants, zstdCompress } from "node:zlib";
import { bytesOf, type DataSlice } from "../protocol/sparse.ts";
import type { Compressed } from "./compression.ts";

/** On two cores level 3 takes twice as long and saves a tenth more; what is below 1 saves far less and is no faster. */
const LEVEL = 1;

/** What of a chunk is tried on its own: enough for zstd to find what repeats. */
const SAMPLE_BYTES = 128 * 1024;

/** Zeros that are left out save this part of a chunk at least: for less, it is sent as it is. */
const SPARSE_PART_MIN = 1 / 64;

/** Whether it is worth telling zeros from data. */
export function isWorthSparse(data: readonly DataSlice[], chunkBytes: number): boolean {
  return chunkBytes > SMALLEST_SPARSE_BYTES && chunkBytes - bytesOf(data) >= chunkBytes * SPARSE_PART_MIN;
}

/** A chunk as long as the table that says that it is zeros is not encoded. */
const SMALLEST_SPARSE_BYTES = 16;

/** Calls back with one zstd frame, in a buffer of its own; with nothing where there is none that is shorter. */
export function compress(chunk: Uint8Array, done: (frame: Uint8Array | undefined, came: Compressed) => void): void {
  const sinceMs = performance.now();
  const options = {
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    pledgedSrcSize: chunk.length,
    // Room for all of it in one piece: nothing has to be put together.
    chunkSize: Math.max(constants.Z_MIN_CHUNK, chunk.length),
  };
  zstdCompress(chunk, options, (error, frame) => {
    const compressedBytes = error === null ? frame.length : chunk.length;
    const came = { bytes: chunk.length, compressedBytes, ms: performance.now() - sinceMs };
    done(compressedBytes < chunk.length ? frame : undefined, came);
  });
}

/** Compresses a copy of a piece out of the middle: the chunk itself may be used again at once. */
export function sample(chunk: Uint8Array, done: (came: Compressed) => void): void {
  const start = Math.max(0, chunk.length - SAMPLE_BYTES) >>> 1;
  compress(new Uint8Array(chunk.subarray(start, start + SAMPLE_BYTES)), (_frame, came) => done(came));
}
