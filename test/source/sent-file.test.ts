import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { type Range, RangeSet } from "../../src/protocol/ranges.ts";
import type { Piece } from "../../src/source/dispatcher.ts";
import type { SourceItem } from "../../src/source/item.ts";
import { SentFile } from "../../src/source/sent-file.ts";
import { bigEndian } from "../helpers/arbitraries.ts";
import { nameOf } from "../helpers/bytes.ts";

/** Tiny chunks: the arithmetic is the same. */
const CHUNK = 8;

/** Nothing of it is asked here but its size. */
const itemOf = (size: number | null) => ({ name: nameOf("a"), size }) as SourceItem;
const fileOf = (size: number | null, chunkBytes = CHUNK) => new SentFile(3, itemOf(size), chunkBytes);

const countOf = (size: number) => Math.ceil(size / CHUNK);
const bytesOf = (ranges: Iterable<Range>) => [...ranges].reduce((sum, { start, end }) => sum + end - start, 0);
const offsetsOf = (pieces: Iterable<Piece>) => [...pieces].map(({ offset }) => offset);

/** What the sink says, as it may say it: any offset, any number of chunks. */
const anyHave = fc.record({
  chunk: fc.nat(20),
  skew: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 7 }) }),
  crcs: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 12 }),
});
type Have = { chunk: number; skew: number; crcs: number[] };
const say = (file: SentFile, { chunk, skew, crcs }: Have) =>
  file.has({ file: file.index, offset: chunk * CHUNK + skew, crcs: bigEndian(crcs) });

/** The same, chunk by chunk: what the sink is known to have, by number. */
function modelOf(size: number, haves: readonly Have[]): Map<number, number> {
  const there = new Map<number, number>();
  for (const { chunk, skew, crcs } of haves) {
    if (skew !== 0) continue;
    for (const [i, crc] of crcs.entries()) if (chunk + i < countOf(size)) there.set(chunk + i, crc);
  }
  return there;
}

const anySize = fc.nat(120);

t.test("whatever HAVE says: what is missing and what is there make up the file, each byte once", async () => {
  fc.assert(
    fc.property(anySize, fc.array(anyHave, { maxLength: 6 }), (size, haves) => {
      const file = fileOf(size);
      for (const have of haves) say(file, have);
      const there = modelOf(size, haves);
      const whole = new RangeSet(file.missing);
      assert.equal(bytesOf(file.missing) + file.bytesThere, size);
      for (const chunk of there.keys()) {
        const [start, end] = [chunk * CHUNK, Math.min(size, (chunk + 1) * CHUNK)];
        assert.deepEqual(whole.missing(start, end), [{ start, end }], "what is there is not sent");
        whole.add(start, end);
      }
      assert.ok(whole.covers(0, size));
      for (const { start, end } of file.missing) assert.ok(start % CHUNK === 0 && (end % CHUNK === 0 || end === size));
      assert.equal(file.isRead, size === 0, "nothing was read");
    }),
    { numRuns: 500 },
  );
});

t.test("what is there and was not read is read; what this run has read is not", async () => {
  fc.assert(
    fc.property(anySize, fc.array(anyHave, { maxLength: 6 }), fc.array(fc.nat(20)), (size, haves, read) => {
      const file = fileOf(size);
      for (const have of haves) say(file, have);
      const known = new Set(read.filter((chunk) => chunk < countOf(size)));
      for (const chunk of known) file.ledger.record(chunk * CHUNK, file.ledger.bytesAt(chunk * CHUNK), 1);
      const there = modelOf(size, haves);
      const numbers = [...there.keys()].toSorted((a, b) => a - b);
      assert.deepEqual(
        [...file.unread()],
        numbers.filter((chunk) => !known.has(chunk)).map((chunk) => file.pieceAt(chunk * CHUNK)),
      );
      assert.deepEqual(
        offsetsOf(file.differing),
        numbers.filter((chunk) => known.has(chunk) && there.get(chunk) !== 1).map((chunk) => chunk * CHUNK),
      );
      const all = Array.from({ length: countOf(size) }, (_, chunk) => chunk);
      assert.deepEqual(
        offsetsOf(file.unreadOfAll()),
        all.filter((chunk) => !known.has(chunk)).map((chunk) => chunk * CHUNK),
      );
    }),
    { numRuns: 500 },
  );
});

t.test("pieces are a chunk long, and the last as long as it is", async (t) => {
  const file = fileOf(2 * CHUNK + 3);
  t.strictSame(
    [...file.unreadOfAll()],
    [
      { file: 3, offset: 0, bytes: CHUNK },
      { file: 3, offset: CHUNK, bytes: CHUNK },
      { file: 3, offset: 2 * CHUNK, bytes: 3 },
    ],
  );
});

t.test("what is asked for one by one may become less meanwhile", async (t) => {
  const file = fileOf(5 * CHUNK);
  say(file, { chunk: 0, skew: 0, crcs: [1, 1, 1, 1, 1] });
  const pieces = file.unread();
  t.equal(pieces.next().value?.offset, 0);
  file.sendAgain(CHUNK);
  file.ledger.record(3 * CHUNK, CHUNK, 1);
  t.strictSame(offsetsOf(pieces), [2 * CHUNK, 4 * CHUNK], "a spoilt one is sent, a read one is known");
});

t.test("what the sink says later of a chunk counts", async (t) => {
  const file = fileOf(2 * CHUNK);
  file.ledger.record(0, CHUNK, 7);
  say(file, { chunk: 0, skew: 0, crcs: [7, 8] });
  t.notOk(file.differs(0));
  say(file, { chunk: 0, skew: 0, crcs: [9] });
  t.ok(file.differs(0));
  t.notOk(file.differs(CHUNK), "of a chunk that was not read nobody knows");
});

t.test("HAVE of a file without a size, of no byte, and outside of the file", async (t) => {
  const endless = fileOf(null);
  say(endless, { chunk: 0, skew: 0, crcs: [1] });
  t.equal(endless.bytesThere, 0);
  const empty = fileOf(0);
  say(empty, { chunk: 0, skew: 0, crcs: [1] });
  t.strictSame([empty.bytesThere, empty.missing, empty.isRead], [0, [], true]);
  const file = fileOf(CHUNK);
  file.has({ file: 3, offset: Number.MAX_SAFE_INTEGER - 7, crcs: bigEndian([1, 1]) });
  file.has({ file: 3, offset: 8 * CHUNK, crcs: bigEndian([1, 1]) });
  t.equal(file.bytesThere, 0);
});

t.test("CRCs are read from anywhere in a buffer", async (t) => {
  const file = fileOf(2 * CHUNK);
  const room = new Uint8Array(20);
  room.set(bigEndian([0xcbf43926, 0xffffffff]), 3);
  file.has({ file: 3, offset: 0, crcs: room.subarray(3, 11) });
  file.trust();
  t.strictSame([file.ledger.crcAt(0), file.ledger.crcAt(CHUNK)], [0xcbf43926, 0xffffffff]);
});

t.test("trusted chunks count as read, and are counted", async () => {
  const content = Uint8Array.from({ length: 150 }, (_, i) => i * 5);
  fc.assert(
    fc.property(fc.nat(150), fc.array(fc.nat(20)), fc.array(fc.nat(20)), (size, haves, read) => {
      const file = fileOf(size);
      const crcOf = (chunk: number) => crc32(content.subarray(chunk * CHUNK, Math.min(size, (chunk + 1) * CHUNK)));
      for (const chunk of haves) say(file, { chunk, skew: 0, crcs: [crcOf(chunk)] });
      const known = new Set(read.filter((chunk) => chunk < countOf(size)));
      for (const chunk of known) file.ledger.record(chunk * CHUNK, file.ledger.bytesAt(chunk * CHUNK), crcOf(chunk));
      file.trust();
      const trusted = new Set(haves.filter((chunk) => chunk < countOf(size) && !known.has(chunk)));
      assert.equal(
        file.bytesTrusted,
        [...trusted].reduce((sum, chunk) => sum + Math.min(CHUNK, size - chunk * CHUNK), 0),
      );
      assert.deepEqual([...file.unread()], []);
      for (const piece of file.unreadOfAll()) {
        file.ledger.record(piece.offset, piece.bytes, crcOf(piece.offset / CHUNK));
      }
      assert.equal(file.ledger.wholeCrc32(), crc32(content.subarray(0, size)));
    }),
    { numRuns: 300 },
  );
});

t.test("what has to be sent again holds up the seal until it is acknowledged", async (t) => {
  const file = fileOf(2 * CHUNK);
  say(file, { chunk: 0, skew: 0, crcs: [1, 2] });
  for (const offset of [0, CHUNK]) file.ledger.record(offset, CHUNK, 1);
  t.ok(file.isRead);
  t.ok(file.differs(CHUNK));
  t.ok(file.sendAgain(CHUNK));
  t.notOk(file.sendAgain(CHUNK), "once");
  t.notOk(file.isRead);
  t.notOk(file.differs(CHUNK), "the sink has it not");
  t.equal(file.bytesThere, CHUNK);
  t.strictSame(file.missing, [{ start: CHUNK, end: 2 * CHUNK }]);
  file.acknowledged(0);
  t.notOk(file.isRead);
  file.acknowledged(CHUNK);
  t.ok(file.isRead);
});

t.test("what counts as resumed is what this run did not bring", async () => {
  fc.assert(
    fc.property(anySize, fc.array(fc.nat(20)), (size, sent) => {
      const file = fileOf(size);
      const brought = new Set(sent.filter((chunk) => chunk < countOf(size)));
      for (const chunk of sent) if (brought.has(chunk)) file.sent(chunk * CHUNK);
      const bytes = [...brought].reduce((sum, chunk) => sum + Math.min(CHUNK, size - chunk * CHUNK), 0);
      assert.equal(file.bytesResumed, size - bytes);
    }),
  );
});

t.test("begun anew: what was read stays, what the sink said does not", async (t) => {
  const file = fileOf(4 * CHUNK);
  say(file, { chunk: 0, skew: 0, crcs: [1, 2] });
  for (const offset of [0, CHUNK, 2 * CHUNK]) file.ledger.record(offset, CHUNK, 1);
  file.sent(2 * CHUNK);
  file.sendAgain(CHUNK);
  file.phase = "sending";
  file.restart(0, CHUNK);
  t.match(file, { index: 0, phase: "offered", bytesThere: 0 });
  t.strictSame(file.missing, [{ start: 0, end: 4 * CHUNK }]);
  t.strictSame(offsetsOf(file.unreadOfAll()), [3 * CHUNK], "what was read is not read again");
  t.equal(file.bytesResumed, 3 * CHUNK, "and what was brought was brought by this run");
  file.ledger.record(3 * CHUNK, CHUNK, 1);
  t.ok(file.isRead, "nothing is owed from before");
  t.match(file.pieceAt(CHUNK), { file: 0, offset: CHUNK });
});

t.test("begun anew with another chunk size: nothing that was known fits", async (t) => {
  const file = fileOf(4 * CHUNK);
  for (const offset of [0, CHUNK, 2 * CHUNK, 3 * CHUNK]) {
    file.ledger.record(offset, CHUNK, 1);
    file.sent(offset);
  }
  t.ok(file.isRead);
  file.restart(1, 2 * CHUNK);
  t.notOk(file.isRead);
  t.equal(file.ledger.chunkBytes, 2 * CHUNK);
  t.strictSame(offsetsOf(file.unreadOfAll()), [0, 2 * CHUNK]);
  t.equal(file.bytesResumed, 4 * CHUNK);
});

t.test("begun anew while it is being confirmed: it still is", async (t) => {
  const file = fileOf(CHUNK);
  file.phase = "confirming";
  file.restart(0, CHUNK);
  t.equal(file.phase, "confirming");
});
