/** OFFER as it is written entry by entry: the bytes that any other encoder would make of the same body. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { byteTextOf } from "../../src/protocol/byte-text.ts";
import {
  CONTROL_PAYLOAD_BYTES_MAX,
  HEADER_BYTES,
  NAME_BYTES_MAX,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
} from "../../src/protocol/limits.ts";
import { decodeMessage, encodeMessage, type Message, type OfferedFile } from "../../src/protocol/messages.ts";
import { type Offer, OfferPage } from "../../src/protocol/offer-page.ts";
import { MESSAGES } from "../helpers/arbitraries.ts";
import { bytesOf, hexOf, vectorFile } from "../helpers/vectors.ts";

const UNSAID = { key: undefined, kind: undefined, target: undefined, whole: undefined, quick: undefined };
const offerOf = (file: OfferedFile): Offer => ({ ...UNSAID, ...file });

/** All of it in one page. */
function encode({ settledBelow, files }: Message<"OFFER">, offers = files.map(offerOf)): Uint8Array {
  const page = new OfferPage();
  for (const offer of offers) assert.ok(page.add(offer));
  return page.take(settledBelow);
}

t.test("vectors: byte for byte", async (t) => {
  for (const { name, hex, expect } of vectorFile("messages").vectors) {
    const [event] = expect;
    if (event === undefined || !("message" in event) || event.message !== "OFFER") continue;
    const payload = bytesOf(hex).subarray(HEADER_BYTES);
    t.equal(hexOf(encode(event.body as Message<"OFFER">)), hexOf(payload), name);
  }
});

/** With its fields in the order in which they are written. */
function ordered({ file, name, size, mtime, mode, kind, target, whole, quick, key }: OfferedFile): OfferedFile {
  const said = Object.entries({ kind, target, whole, quick, key }).filter(([, value]) => value !== undefined);
  return { file, name, size, mtime, mode, ...Object.fromEntries(said) };
}

t.test("any offers, their names as bytes and as text: as every message is encoded", async () => {
  fc.assert(
    fc.property(MESSAGES.OFFER as fc.Arbitrary<Message<"OFFER">>, ({ settledBelow, files }) => {
      const body = { settledBelow, files: files.map(ordered) };
      const expected = hexOf(encodeMessage("OFFER", body));
      assert.equal(hexOf(encode(body)), expected);
      const asText = body.files.map((file) => ({ ...offerOf(file), name: byteTextOf(file.name) }));
      assert.equal(hexOf(encode(body, asText)), expected);
    }),
    { numRuns: 300 },
  );
});

t.test("numbers of every length", async (t) => {
  const powers = Array.from({ length: 53 }, (_, i) => 2 ** i);
  const numbers = [0, ...powers.flatMap((n) => [n - 1, n, n + 1, -n, 1 - n, -n - 1])].filter(Number.isSafeInteger);
  const name = new Uint8Array([1]);
  for (const seconds of numbers) {
    const size = Math.abs(seconds);
    const body = {
      settledBelow: 1,
      files: [{ file: 1, name, size, mtime: [seconds, 5] as [number, number], mode: 0 }],
    };
    if (hexOf(encode(body)) !== hexOf(encodeMessage("OFFER", body))) t.fail(String(seconds));
  }
});

t.test("a page takes what fits a frame, and so many entries", async (t) => {
  const offer = offerOf({ file: 0, name: new Uint8Array(1), size: 1, mtime: [0, 0], mode: 0 });
  const page = new OfferPage();
  const filled = (one: Offer, settledBelow = 0) => {
    t.ok(page.isEmpty);
    let count = 0;
    while (page.add(one)) count++;
    t.notOk(page.isEmpty);
    return { count, payload: page.take(settledBelow) };
  };
  const short = filled(offer);
  t.equal(short.count, PAGE_ENTRIES_MAX);
  t.equal(decodeMessage("OFFER", short.payload).files.length, PAGE_ENTRIES_MAX);
  const { count, payload } = filled({ ...offer, name: "x".repeat(100) });
  t.ok(payload.length <= PAGE_BYTES && payload.length > PAGE_BYTES - 1000, `${payload.length} bytes`);
  t.equal(decodeMessage("OFFER", payload).files.length, count);
  const target = new Uint8Array(NAME_BYTES_MAX);
  const name = new Uint8Array(NAME_BYTES_MAX + 1);
  const link = { ...offer, name, target, kind: "symlink" as const, key: new Uint8Array(16), quick: true };
  const largest = filled({ ...link, file: 0xffffffff, mode: 0o7777 }, 0xffffffff);
  t.ok(largest.count > 1);
  t.ok(largest.payload.length <= CONTROL_PAYLOAD_BYTES_MAX);
});
