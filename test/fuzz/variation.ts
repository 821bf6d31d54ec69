/**
 * Other values in the same message: each frame that is right says something that none before it said, and most stay right.
 * What changes what a message looks like is in mutations.ts.
 */
import { crc32 } from "node:zlib";
import { ENCODING_FLAGS } from "../../src/protocol/header.ts";
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import { type Draft, sumHeader } from "./mutations.ts";
import type { Random } from "./random.ts";

/** A value in a payload, and where its bytes begin. */
export interface Slot {
  readonly kind: "small" | "number" | "double" | "bytes" | "text" | "boolean";
  readonly at: number;
  readonly bytes: number;
}

/** Text that is one of a few words: another would be illegal. */
const isWord = (text: string) => /^(source|sink|[a-z]+-?[a-z]*)$/.test(text);

/** A small map or list: where its head is, and where each of its entries begins; at last where they end. */
export interface Listing {
  readonly at: number;
  readonly isMap: boolean;
  readonly entries: readonly number[];
}

export interface Shape {
  readonly slots: readonly Slot[];
  readonly listings: readonly Listing[];
}

export const NO_SHAPE: Shape = { slots: [], listings: [] };

/** What may be changed in a message of plain data: values, but no names of fields and no lengths; and entries. */
export function shapeOf(payload: Buffer): Shape {
  const slots: Slot[] = [];
  const listings: Listing[] = [];
  let at = 0;
  const many = (count: number, isMap: boolean) => {
    const head = at - 1;
    const entries = [at];
    for (let i = 0; i < count; i++) {
      if (isMap) value(true);
      value(false);
      entries.push(at);
    }
    if (count > 0 && count < 16) listings.push({ at: head, isMap, entries });
  };
  const bytes = (length: number, kind: "bytes" | "text", isName: boolean) => {
    const isFixed = kind === "text" && isWord(payload.toString("latin1", at, at + length));
    if (length > 0 && !isName && !isFixed) slots.push({ kind, at, bytes: length });
    at += length;
  };
  const number = (length: number, kind: "number" | "double") => {
    slots.push({ kind, at, bytes: length });
    at += length;
  };
  const length = (count: 1 | 2 | 4): number => {
    at += count;
    return payload.readUIntBE(at - count, count);
  };
  const value = (isName: boolean): void => {
    const type = payload.readUInt8(at++);
    if (type < 0x80 || type >= 0xe0) slots.push({ kind: "small", at: at - 1, bytes: 1 });
    else if (type < 0x90) many(type & 15, true);
    else if (type < 0xa0) many(type & 15, false);
    else if (type < 0xc0) bytes(type & 31, "text", isName);
    else if (type === 0xc2 || type === 0xc3) slots.push({ kind: "boolean", at: at - 1, bytes: 1 });
    else if (type >= 0xc4 && type <= 0xc6) bytes(length((1 << (type - 0xc4)) as 1 | 2 | 4), "bytes", isName);
    else if (type === 0xcb) number(8, "double");
    else if (type >= 0xcc && type <= 0xce) number(1 << (type - 0xcc), "number");
    else if (type >= 0xd0 && type <= 0xd2) number(1 << (type - 0xd0), "number");
    else if (type === 0xd9 || type === 0xda) bytes(length((1 << (type - 0xd9)) as 1 | 2), "text", isName);
    else if (type === 0xdc) many(length(2), false);
    else if (type === 0xde) many(length(2), true);
    else if (type !== 0xc0) throw new Error(`a message with a value of type 0x${type.toString(16)}`);
  };
  value(false);
  return { slots, listings };
}

/** Fields that nobody knows: of a later version, or such as no version may have. */
const UNKNOWN = [
  ...[
    [0xc0],
    [0xc3],
    [0x05],
    [0xa1, 0x78],
    [0xc4, 2, 1, 2],
    [0x92, 1, 2],
    [0x81, 0xa1, 0x78, 0xc0],
    [0xca, 0, 0, 0, 0],
  ],
  ...[[0xc1], [0xd4, 0, 0], [0xd6, 0xff, 1, 2, 3, 4], [0xc7, 1, 5, 9], [0xd4, 0x72, 0x40], [0xd4, 0x69, 1]],
  ...[Array<number>(9).fill(0x91), Array<number>(5).fill(0x91)].map((lists) => [...lists, 0xc0]),
].map((value) => Buffer.from([0xa3, ...Buffer.from("new"), ...value]));

/**
 * An entry twice, or missing, or in another's place; one that nobody knows; bytes or text of another length. And no longer right,
 * in some. The header is the caller's to settle.
 */
export function reshape(draft: Draft, { slots, listings }: Shape, random: Random): void {
  if (slots.length > 0 && random.oneIn(4)) resize(draft, random.pick(slots), random);
  else if (listings.length > 0) relist(draft, random.pick(listings), random);
}

/** What says its length in the byte before it. */
function resize(draft: Draft, { kind, at, bytes }: Slot, random: Random): void {
  const start = HEADER_BYTES + at;
  const head = draft.bytes[start - 1] as number;
  const isSmall = head === bytes || head === 0xa0 + bytes;
  if ((kind !== "bytes" && kind !== "text") || !isSmall) return;
  const step = random.few(random.oneIn(2) ? 2 : bytes);
  if (random.oneIn(2)) {
    draft.delete(start + bytes - step, step);
    draft.bytes[start - 1] = head - step;
  } else if (head + step <= (head === bytes ? 0xff : 0xbf)) {
    draft.insert(start + bytes, Buffer.from(draft.bytes.subarray(start, start + step)));
    draft.bytes[start - 1] = head + step;
  }
}

function relist(draft: Draft, { at, isMap, entries }: Listing, random: Random): void {
  const count = entries.length - 1;
  const entry = random.below(count);
  const [start, end] = [HEADER_BYTES + (entries[entry] as number), HEADER_BYTES + (entries[entry + 1] as number)];
  const bytes = Buffer.from(draft.bytes.subarray(start, end));
  const how = random.below(4);
  if (how === 0) {
    draft.delete(start, end - start);
    draft.bytes[HEADER_BYTES + at] = (draft.bytes[HEADER_BYTES + at] as number) - 1;
    return;
  }
  const place = HEADER_BYTES + (entries[random.below(entries.length)] as number);
  if (how === 1) {
    draft.delete(start, end - start);
    draft.insert(place > start ? place - bytes.length : place, bytes);
    return;
  }
  if (count === 15) return;
  if (isMap && random.oneIn(3)) {
    draft.bytes[HEADER_BYTES + at] = (draft.bytes[HEADER_BYTES + at] as number) + 1;
    draft.insert(place, random.pick(UNKNOWN));
    return;
  }
  draft.bytes[HEADER_BYTES + at] = (draft.bytes[HEADER_BYTES + at] as number) + 1;
  // Of a field its value, which comes last, and is often a single byte.
  if (random.oneIn(2)) bytes[bytes.length - random.few(Math.min(bytes.length, 8))] = random.word();
  draft.insert(place, bytes);
}

/** Puts other values into the message in `draft`, and settles its sums. */
export function varyMessage(draft: Draft, slots: readonly Slot[], random: Random): void {
  if (slots.length === 0) return;
  const times = random.few(3);
  for (let i = 0; i < times; i++) vary(draft.bytes, random.pick(slots), random);
  draft.bytes.writeUInt32BE(crc32(draft.bytes.subarray(HEADER_BYTES, draft.length)), 24);
  sumHeader(draft);
}

function vary(bytes: Buffer, slot: Slot, random: Random): void {
  const at = HEADER_BYTES + slot.at;
  switch (slot.kind) {
    case "small":
      // One byte, negative or not.
      if (random.oneIn(64)) bytes[at] = 0xe0 + random.below(32);
      else bytes[at] = random.oneIn(4) ? random.word() & 0x7f : (bytes[at] as number) ^ (1 << random.below(3));
      return;
    case "boolean":
      bytes[at] = (bytes[at] as number) ^ 1;
      return;
    case "double": {
      // A whole number that needs more than 32 bits, as these are.
      const value = (1 + random.below(2 ** random.below(22))) * 2 ** 32 + random.word();
      bytes.writeDoubleBE(Math.min(value, Number.MAX_SAFE_INTEGER), at);
      return;
    }
    case "text":
      bytes[at + random.below(slot.bytes)] = 0x20 + random.below(0x5f);
      return;
    case "bytes":
      bytes[at + random.below(slot.bytes)] = random.word();
      return;
    default: {
      // Low bits more often than high ones: what has an upper bound mostly stays below it.
      const bit = random.below(1 + random.below(8 * slot.bytes));
      const byte = at + slot.bytes - 1 - (bit >>> 3);
      bytes[byte] = (bytes[byte] as number) ^ (1 << (bit & 7));
    }
  }
}

/** Another byte in a raw payload, but not in the table of a bundle: so that it stays one, whose CRC-32s are wrong. */
export function varyContent(draft: Draft, isBundle: boolean, random: Random): boolean {
  const { bytes, length } = draft;
  const from = HEADER_BYTES + (isBundle ? 4 + 12 * bytes.readUInt32BE(HEADER_BYTES) : 0);
  if (bytes[1] !== ENCODING_FLAGS.raw || from >= length) return false;
  bytes[from + random.below(length - from)] = random.word();
  bytes.writeUInt32BE(crc32(bytes.subarray(HEADER_BYTES, length)), 24);
  sumHeader(draft);
  return true;
}

/** Another place, other content: of a frame with bytes of files. */
export function varyData(draft: Draft, isBundle: boolean, random: Random): void {
  const { bytes, length } = draft;
  if (random.oneIn(2)) bytes.writeUInt32BE(random.oneIn(2) ? random.below(8) : random.word(), 4);
  if (!isBundle && random.oneIn(2)) {
    bytes.writeUInt32BE(random.oneIn(2) ? 0 : random.below(0x20_0000), 8);
    bytes.writeUInt32BE(random.word(), 12);
  }
  if (!varyContent(draft, isBundle, random) && bytes[1] === ENCODING_FLAGS.sparse) {
    // Data, or where it stands: tables are what is read of it.
    const at = HEADER_BYTES + random.below(length - HEADER_BYTES);
    bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
  }
  sumHeader(draft);
}
