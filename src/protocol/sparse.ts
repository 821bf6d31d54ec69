/**
 * Chunks with runs of zeros, and what of them goes over the wire: a table of where data is, and the data, back to back.
 *
 * offset  bytes  field
 *      0      2  count of extents
 *      2  8 each  start of the extent in the chunk (4) and its length (4), in bytes; ascending, apart from each other
 *
 * All numbers unsigned and big-endian. What no extent covers is zeros. Pure: slices of what is handed in, no copies.
 */
import { appendZeros, crc32 } from "./crc32.ts";

/** Data of a chunk, and where in the chunk it starts, in bytes. */
export interface DataSlice {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Zeros are looked for in blocks of this, counted from the start of the chunk: what disks and page caches have holes of. */
export const ZERO_BLOCK_BYTES = 4096;

const COUNT_BYTES = 2;
const EXTENT_BYTES = 8;

const ZEROS = Buffer.alloc(ZERO_BLOCK_BYTES);

/**
 * What of a chunk is data, in order; undefined where no block of it is all zeros. That costs a look at the first word of
 * each block: a fiftieth of what the CRC-32 of the chunk costs.
 */
export function findData(chunk: Uint8Array): DataSlice[] | undefined {
  const { buffer, byteOffset } = aligned(chunk);
  const words = new Int32Array(buffer, byteOffset, chunk.length >>> 2);
  let slices: DataSlice[] | undefined;
  let dataStart = 0;
  for (let at = nextCandidate(words, 0); at < chunk.length; at = nextCandidate(words, at + ZERO_BLOCK_BYTES)) {
    const end = Math.min(at + ZERO_BLOCK_BYTES, chunk.length);
    if (!isZeros(chunk, at, end)) continue;
    slices ??= [];
    if (at > dataStart) slices.push({ start: dataStart, bytes: chunk.subarray(dataStart, at) });
    dataStart = end;
  }
  if (slices !== undefined && dataStart < chunk.length) {
    slices.push({ start: dataStart, bytes: chunk.subarray(dataStart) });
  }
  return slices;
}

/** Words lie at multiples of four in memory, and so does what is read from a disk; anything else is copied. */
const aligned = (chunk: Uint8Array) => (chunk.byteOffset % 4 === 0 ? chunk : new Uint8Array(chunk));

const STEP = ZERO_BLOCK_BYTES / 4;

/** Where the next block begins whose first word is zero, from `at` on; the end of the last block where there is none. */
function nextCandidate(words: Int32Array, at: number): number {
  let word = at / 4;
  // Four at a time: that halves the price.
  for (const last = words.length - 3 * STEP; word < last; word += 4 * STEP) {
    if (words[word] === 0 || words[word + STEP] === 0 || words[word + 2 * STEP] === 0 || words[word + 3 * STEP] === 0) {
      break;
    }
  }
  while (word < words.length && words[word] !== 0) word += STEP;
  return 4 * word;
}

/** A block that begins with zeros: its end and its middle are looked at before all of it is. */
function isZeros(chunk: Uint8Array, at: number, end: number): boolean {
  if (chunk[end - 1] !== 0 || chunk[at + ((end - at) >>> 1)] !== 0) return false;
  return ZEROS.compare(chunk, at, end, 0, end - at) === 0;
}

export const bytesOf = (slices: readonly DataSlice[]): number =>
  slices.reduce((sum, { bytes }) => sum + bytes.length, 0);

/** The payload without the data, which goes behind it as it is. */
export function encodeTable(slices: readonly DataSlice[]): Uint8Array {
  const table = new Uint8Array(COUNT_BYTES + EXTENT_BYTES * slices.length);
  const view = new DataView(table.buffer);
  view.setUint16(0, slices.length);
  for (const [i, { start, bytes }] of slices.entries()) {
    view.setUint32(COUNT_BYTES + EXTENT_BYTES * i, start);
    view.setUint32(COUNT_BYTES + EXTENT_BYTES * i + 4, bytes.length);
  }
  return table;
}

/** The data of a payload that stands for `decodedBytes`; undefined where it is no legal one. */
export function decodeSparse(payload: Uint8Array, decodedBytes: number): DataSlice[] | undefined {
  if (payload.length < COUNT_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const count = view.getUint16(0);
  let dataAt = COUNT_BYTES + EXTENT_BYTES * count;
  if (payload.length < dataAt) return undefined;
  const slices: DataSlice[] = [];
  for (let i = 0, free = 0; i < count; i++) {
    const start = view.getUint32(COUNT_BYTES + EXTENT_BYTES * i);
    const length = view.getUint32(COUNT_BYTES + EXTENT_BYTES * i + 4);
    if (start < free || length === 0 || start + length > decodedBytes || dataAt + length > payload.length) {
      return undefined;
    }
    slices.push({ start, bytes: payload.subarray(dataAt, dataAt + length) });
    free = start + length;
    dataAt += length;
  }
  return dataAt === payload.length ? slices : undefined;
}

/** The CRC-32 of the chunk that these are the data of: zeros are reckoned, not read. */
export function sparseCrc32(slices: readonly DataSlice[], chunkBytes: number): number {
  let crc = 0;
  let at = 0;
  for (const { start, bytes } of slices) {
    if (start > at) crc = appendZeros(crc, start - at);
    crc = crc32(bytes, crc);
    at = start + bytes.length;
  }
  return at < chunkBytes ? appendZeros(crc, chunkBytes - at) : crc;
}

/** Where these are not data, in bytes of the chunk. */
export function* zerosBetween(
  slices: readonly DataSlice[],
  chunkBytes: number,
): Generator<[start: number, end: number]> {
  let at = 0;
  for (const { start, bytes } of slices) {
    if (start > at) yield [at, start];
    at = start + bytes.length;
  }
  if (at < chunkBytes) yield [at, chunkBytes];
}
