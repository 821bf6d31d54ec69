/** Other entries and other lengths in a message, whose msgpack stays whole. */
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import type { Draft } from "./mutations.ts";
import type { Random } from "./random.ts";
import type { Listing, Shape, Slot } from "./shapes.ts";

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
