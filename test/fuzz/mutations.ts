/**
 * What is done to bytes: flipped, set to what decoders stumble over, cut, repeated, mixed with others. In one piece of
 * memory that is used again and again, so that a hundred thousand a second are nothing for the garbage collector.
 */
import { crc32 } from "node:zlib";
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import type { Random } from "./random.ts";

/** Bytes that begin something in msgpack, and the ends of ranges. */
const BYTES = [
  ...[0x00, 0x01, 0x7f, 0x80, 0x81, 0x82, 0x8f, 0x90, 0x91, 0x92, 0x9f, 0xa0, 0xa4, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3],
  ...[0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5],
  ...[0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff],
];

/** Around the limits of the protocol, and of what numbers hold. */
const WORDS = [
  ...[0, 1, 2, 3, 4, 27, 28, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 4063, 4064, 4095, 4096, 4097, 8191, 8192],
  ...[0x7fff, 0x8000, 0xffff, 0x10000, 0x10001, 0x1fffff, 0x200000, 0xffffff, 0x1000000, 0x1000001],
  ...[0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff],
];

/** Texts that mean something to JavaScript or to a decoder of records. */
const TEXTS = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "then",
  "length",
  "files",
  "count",
  "name",
  "..",
].map((text) => Buffer.from([0xa0 + text.length, ...Buffer.from(text)]));

/** Bytes that are worked on; they lie at the start of `bytes`. */
export class Draft {
  readonly bytes: Buffer;
  length = 0;

  constructor(room: number) {
    this.bytes = Buffer.allocUnsafeSlow(room);
  }

  get content(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  set(bytes: Uint8Array): void {
    this.length = Math.min(bytes.length, this.bytes.length);
    this.bytes.set(bytes.length > this.length ? bytes.subarray(0, this.length) : bytes);
  }

  /** Puts another draft behind this one, or as much of it as there is room for. */
  append({ bytes, length }: Draft): void {
    const count = Math.min(length, this.bytes.length - this.length);
    bytes.copy(this.bytes, this.length, 0, count);
    this.length += count;
  }

  /** Puts `bytes` in at `at`, or as much of them as there is room for. */
  insert(at: number, bytes: Uint8Array): void {
    const count = Math.min(bytes.length, this.bytes.length - this.length);
    this.bytes.copyWithin(at + count, at, this.length);
    this.bytes.set(count < bytes.length ? bytes.subarray(0, count) : bytes, at);
    this.length += count;
  }

  delete(at: number, count: number): void {
    const end = Math.min(this.length, at + count);
    this.bytes.copyWithin(at, end, this.length);
    this.length -= end - at;
  }
}

/** One change in what lies from `from` on; `others` is what may be mixed in. */
export function mutate(draft: Draft, from: number, random: Random, others: readonly Uint8Array[]): void {
  const { bytes } = draft;
  const span = draft.length - from;
  if (span <= 0) {
    draft.insert(from, random.pick(TEXTS));
    return;
  }
  // As often near the start, where lengths and names stand, as anywhere.
  const at = from + random.below(random.oneIn(2) ? Math.min(span, 48) : span);
  switch (random.below(14)) {
    case 0:
    case 1:
      bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
      break;
    case 2:
    case 3:
    case 4:
      bytes[at] = random.pick(BYTES);
      break;
    case 5:
      bytes[at] = random.word();
      break;
    case 6:
      if (at + 4 <= draft.length) bytes.writeUInt32BE(random.pick(WORDS), at);
      break;
    case 7:
      if (at + 2 <= draft.length) bytes.writeUInt16BE(random.pick(WORDS) & 0xffff, at);
      break;
    case 8:
      draft.delete(at, random.few(random.oneIn(8) ? span : 8));
      break;
    case 9: {
      // What is repeated is small, or payloads would grow without end.
      const start = from + random.below(span);
      draft.insert(at, Buffer.from(bytes.subarray(start, Math.min(draft.length, start + random.few(64)))));
      break;
    }
    case 10: {
      const other = random.pick(others);
      const start = random.below(other.length);
      const part = other.subarray(start, start + random.few(64));
      if (random.oneIn(2)) draft.insert(at, part);
      else bytes.set(part.subarray(0, draft.length - at), at);
      break;
    }
    case 11: {
      // Two halves of two.
      const other = random.pick(others);
      draft.length = at;
      const start = random.oneIn(2) ? at - from : random.below(other.length);
      if (start < other.length) draft.insert(at, other.subarray(start));
      break;
    }
    case 12:
      draft.length = at;
      break;
    default:
      draft.insert(at, random.pick(TEXTS));
  }
}

/** One change of a frame's header, whose CRC is wrong then. */
export function mutateHeader({ bytes }: Draft, random: Random): void {
  switch (random.below(10)) {
    case 0:
      bytes[0] = random.oneIn(4) ? random.word() : random.below(36);
      break;
    case 1:
      bytes[1] = random.below(4);
      break;
    case 2:
      bytes[2 + random.below(2)] = random.word();
      break;
    case 3:
      bytes.writeUInt32BE(random.oneIn(2) ? random.below(8) : random.pick(WORDS), 4);
      break;
    case 4:
      bytes.writeUInt32BE(random.oneIn(2) ? 0 : random.pick(WORDS), 8);
      bytes.writeUInt32BE(random.pick(WORDS), 12);
      break;
    case 5:
      bytes.writeUInt32BE(random.oneIn(2) ? random.pick(WORDS) : (bytes.readUInt32BE(16) + random.below(9)) >>> 0, 16);
      break;
    case 6:
      bytes.writeUInt32BE(random.pick(WORDS), 20);
      break;
    case 7: {
      const both = random.pick(WORDS);
      bytes.writeUInt32BE(both, 16);
      bytes.writeUInt32BE(both, 20);
      break;
    }
    case 8:
      bytes.writeUInt32BE(random.word(), 24);
      break;
    default:
      bytes[random.below(HEADER_BYTES)] = random.word();
  }
}

/** Makes the header say what the payload is, as far as that can be known of one that is encoded. */
export function settleLengths(draft: Draft): void {
  const { bytes } = draft;
  const payloadBytes = draft.length - HEADER_BYTES;
  bytes.writeUInt32BE(payloadBytes, 16);
  if (bytes[1] !== 0) return;
  bytes.writeUInt32BE(payloadBytes, 20);
  bytes.writeUInt32BE(crc32(bytes.subarray(HEADER_BYTES, draft.length)), 24);
}

/** Makes the header whole: what stands in it is believed. */
export function sumHeader({ bytes }: Draft): void {
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 28)), 28);
}
