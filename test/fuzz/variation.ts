/**
 * Other values in the same message: each frame that is right says something that none before it said, and most stay right.
 * What changes what a message looks like is in reshaping.ts and mutations.ts.
 */
import { crc32 } from "node:zlib";
import { ENCODING_FLAGS } from "../../src/protocol/header.ts";
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import { type Draft, sumHeader } from "./mutations.ts";
import type { Random } from "./random.ts";
import type { Slot } from "./shapes.ts";

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
