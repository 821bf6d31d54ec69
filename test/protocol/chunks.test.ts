import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { ChunkLedger } from "../../src/protocol/chunks.ts";
import { crc32 } from "../../src/protocol/crc32.ts";

/** Tiny chunks: the arithmetic is the same, and whole files fit a test. */
const CHUNK = 8;

const anyFile = fc
  .tuple(fc.nat(100), fc.nat(255))
  .map(([length, seed]) => Uint8Array.from({ length }, (_, i) => (i * 37 + seed) & 0xff));

function chunksOf(file: Uint8Array): { offset: number; bytes: Uint8Array }[] {
  const chunks = [];
  for (let offset = 0; offset < file.length; offset += CHUNK) {
    chunks.push({ offset, bytes: file.subarray(offset, offset + CHUNK) });
  }
  return chunks;
}

t.test("chunks in any order, some twice, make up the file and its CRC-32", async () => {
  const shuffled = fc.tuple(anyFile, fc.boolean(), fc.infiniteStream(fc.nat()));
  fc.assert(
    fc.property(shuffled, ([file, sizeKnown, random]) => {
      const chunks = chunksOf(file)
        .map((chunk) => ({ ...chunk, order: random.next().value as number }))
        .toSorted((a, b) => a.order - b.order);
      const ledger = new ChunkLedger(sizeKnown ? file.length : null, CHUNK);
      assert.equal(ledger.isComplete, sizeKnown && file.length === 0);
      for (const [i, { offset, bytes, order }] of chunks.entries()) {
        assert.ok(ledger.isChunk(offset, bytes.length));
        assert.equal(ledger.crcAt(offset), undefined);
        assert.equal(ledger.record(offset, bytes.length, crc32(bytes)), "new");
        assert.equal(ledger.crcAt(offset), crc32(bytes));
        if (order % 3 === 0) assert.equal(ledger.record(offset, bytes.length, crc32(bytes)), "same");
        if (order % 3 === 1) assert.equal(ledger.record(offset, bytes.length, (crc32(bytes) ^ 1) >>> 0), "different");
        assert.equal(ledger.crcAt(offset), crc32(bytes), "the first one stays");
        assert.equal(ledger.chunksPresent, i + 1);
        if (i + 1 < chunks.length) {
          assert.equal(ledger.isComplete, false);
          assert.throws(() => ledger.wholeCrc32(), RangeError);
        }
      }
      assert.equal(ledger.settleSize(file.length), true);
      assert.equal(ledger.size, file.length);
      assert.equal(ledger.isComplete, true);
      assert.equal(ledger.wholeCrc32(), crc32(file));
      assert.equal(ledger.settleSize(file.length), true, "twice the same");
      assert.equal(ledger.settleSize(file.length + 1), false, "another size");
    }),
  );
});

t.test("what is a chunk of a file of known size", async () => {
  fc.assert(
    fc.property(fc.nat(60), fc.integer({ min: 0, max: 80 }), fc.integer({ min: 0, max: 20 }), (size, offset, bytes) => {
      const ledger = new ChunkLedger(size, CHUNK);
      const expected = chunksOf(new Uint8Array(size)).some((c) => c.offset === offset && c.bytes.length === bytes);
      assert.equal(ledger.isChunk(offset, bytes), expected);
    }),
    { numRuns: 2000 },
  );
});

t.test("while the size is not known, any chunk up to the largest file", async (t) => {
  const ledger = new ChunkLedger(null, 65536);
  t.ok(ledger.isChunk(0, 1));
  t.ok(ledger.isChunk(65536 * 1000, 65536));
  t.notOk(ledger.isChunk(1, 65536));
  t.notOk(ledger.isChunk(0, 0));
  t.notOk(ledger.isChunk(0, 65537));
  t.ok(ledger.isChunk(2 ** 53 - 65536, 65535));
  t.notOk(ledger.isChunk(2 ** 53 - 65536, 65536), "would end above 2^53 - 1");
  t.equal(ledger.isComplete, false, "never complete without a size");
});

t.test("the size that SEAL brings must be the one that the chunks tell of", async (t) => {
  const whole = new ChunkLedger(null, CHUNK);
  for (const offset of [0, 8, 16]) whole.record(offset, CHUNK, 1);
  for (const size of [0, 8, 16, 17, 23]) t.notOk(whole.settleSize(size), `${size} of 24 bytes`);
  t.equal(whole.size, null);
  t.ok(whole.settleSize(24));

  const overtaken = new ChunkLedger(null, CHUNK);
  overtaken.record(0, CHUNK, 1);
  t.ok(overtaken.settleSize(25), "SEAL may come before the last chunks");
  t.notOk(overtaken.isComplete);
  t.ok(overtaken.isChunk(24, 1));

  const short = new ChunkLedger(null, CHUNK);
  short.record(8, 3, 1);
  t.equal(short.record(16, 2, 1), "different", "only one chunk, the last, is shorter");
  for (const size of [8, 10, 12, 16]) t.notOk(short.settleSize(size), `${size} of 11 bytes`);
  t.ok(short.settleSize(11));

  const shortInTheMiddle = new ChunkLedger(null, CHUNK);
  shortInTheMiddle.record(0, 3, 1);
  shortInTheMiddle.record(8, CHUNK, 1);
  for (const size of [3, 8, 11, 16]) t.notOk(shortInTheMiddle.settleSize(size), "no size fits");
});

t.test("a file of chunks far apart", async (t) => {
  const ledger = new ChunkLedger(2 ** 53 - 65536, 65536);
  const last = 2 ** 53 - 2 * 65536;
  t.ok(ledger.isChunk(last, 65536));
  t.equal(ledger.record(last, 65536, 7), "new");
  t.equal(ledger.crcAt(last), 7);
  t.equal(ledger.crcAt(last - 65536), undefined);
  t.equal(ledger.crcAt(0), undefined);
});
