/**
 * CRC-32 (the polynomial of zlib, gzip and IEEE 802.3) of bytes, and of a whole from the CRCs of its parts.
 * For more than a few bytes the native module is several times as fast as zlib's. It takes longer to load than a small
 * transfer to sum, so zlib's serves until then, and where there is no prebuilt binary of it.
 */
import { createRequire } from "node:module";
import { crc32 as zlibCrc32 } from "node:zlib";

/** Zlib takes a millisecond or two to load, and what a small transfer sums is a few headers and messages. */
const OWN_BYTES_MAX = 512;
/** What own code may sum, all in all: after that zlib's, which is the faster one on all but the shortest. */
const OWN_BYTES_IN_ALL = 8 * 1024;

type Crc32 = (bytes: Uint8Array, previous?: number) => number;

/** Below this zlib's is the faster one: a call into the native module costs more. */
const NATIVE_BYTES_MIN = 512;
/** Zlib's loses about as much time on these as it takes to load the native module: 8 ms. */
const BYTES_BEFORE_NATIVE = 8 * 1024 * 1024;

let native: Crc32 | undefined;
let bytesBeforeNative = 0;
let ownBytes = 0;

function load(): Crc32 {
  try {
    return (createRequire(import.meta.url)("@node-rs/crc32") as { crc32: Crc32 }).crc32;
  } catch {
    return zlibCrc32;
  }
}

/** The CRC-32 of `bytes`, going on from `previous` (0 at the start), as an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  if (ownBytes < OWN_BYTES_IN_ALL && bytes.length < OWN_BYTES_MAX) {
    ownBytes += bytes.length;
    return ownCrc32(bytes, previous);
  }
  if (bytes.length < NATIVE_BYTES_MIN) return zlibCrc32(bytes, previous);
  if (native === undefined) {
    bytesBeforeNative += bytes.length;
    if (bytesBeforeNative < BYTES_BEFORE_NATIVE) return zlibCrc32(bytes, previous);
    native = load();
  }
  return native(bytes, previous);
}

/** A byte in two halves, out of a table of sixteen, which is soon made. */
function ownCrc32(bytes: Uint8Array, previous: number): number {
  halves ??= Uint32Array.from({ length: 16 }, (_, half) => {
    let crc = half;
    for (let bit = 0; bit < 4; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    return crc;
  });
  let crc = ~previous;
  for (const byte of bytes) {
    crc = (crc >>> 4) ^ (halves[(crc ^ byte) & 15] as number);
    crc = (crc >>> 4) ^ (halves[(crc ^ (byte >>> 4)) & 15] as number);
  }
  return ~crc >>> 0;
}

let halves: Uint32Array | undefined;

/** x^0, x^1, ... in the reflected representation: bit 31 is x^0. */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000;

/** The product of two polynomials over GF(2), modulo the CRC's. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= shifted;
    shifted = shifted & 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return product >>> 0;
}

/** x^(8 * 2^k) for k = 0, 1, ...: what appending 2^k bytes multiplies a CRC by. */
const powers: number[] = [0x00800000];

function power(k: number): number {
  while (powers.length <= k) {
    const last = powers[powers.length - 1] as number;
    powers.push(multiply(last, last));
  }
  return powers[k] as number;
}

/** What a CRC is multiplied by when `bytes` zero bytes follow: x^(8 * bytes), by repeated squaring. */
export function shiftOperator(bytes: number): number {
  let operator = ONE;
  for (let k = 0, rest = bytes; rest > 0; k++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) operator = multiply(operator, power(k));
  }
  return operator;
}

/** The CRC-32 of what `crc` is that of, followed by so many zero bytes: these shift its register, and nothing else. */
export function appendZeros(crc: number, bytes: number): number {
  return ~multiply(shiftOperator(bytes), ~crc >>> 0) >>> 0;
}

/**
 * The CRC-32 of A followed by B, from that of A, that of B and B's length in bytes; neither is read again.
 * The CRC is linear: crc(AB) = crc(A) * x^(8 * |B|) + crc(B), a method first published in zlib's crc32_combine.
 */
export function combineCrc32(crcA: number, crcB: number, bytesB: number): number {
  return (multiply(shiftOperator(bytesB), crcA) ^ crcB) >>> 0;
}

/** The same for many parts of one length, such as the chunks of a file: the operator is computed once. */
export function combineEqualParts(crcs: Iterable<number>, partBytes: number): number {
  const operator = shiftOperator(partBytes);
  let whole = 0;
  for (const crc of crcs) whole = (multiply(operator, whole) ^ crc) >>> 0;
  return whole;
}

const BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * Eight lower-case hexadecimal digits, as `crc32`, `cksum -a crc32b` and gzip -lv print it. Of each file that is sent: out of a
 * table it takes 0.2 us, and `toString(16)` 0.9.
 */
export function formatCrc32(crc: number): string {
  const high = `${BYTES[crc >>> 24]}${BYTES[(crc >>> 16) & 0xff]}`;
  return `${high}${BYTES[(crc >>> 8) & 0xff]}${BYTES[crc & 0xff]}`;
}
