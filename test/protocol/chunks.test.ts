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
  t.notOk(ledger.isChunk(-65536, 65536));
  t.notOk(new ChunkLedger(65536, 65536).isChunk(-65536, 65536));
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

t.test("while the size is not known, nothing lies behind a chunk that is short", async (t) => {
  const ledger = new ChunkLedger(null, CHUNK);
  ledger.record(2 * CHUNK, CHUNK, 1);
  t.notOk(ledger.isChunk(CHUNK, 3), "there is a chunk behind it already");
  t.ok(ledger.isChunk(3 * CHUNK, 3));
  ledger.record(3 * CHUNK, 3, 1);
  t.ok(ledger.isChunk(3 * CHUNK, 3), "it may come once more");
  t.ok(ledger.isChunk(0, CHUNK), "and so may what lies before it");
  t.notOk(ledger.isChunk(0, 3), "one is short");
  t.notOk(ledger.isChunk(3 * CHUNK, 4));
  t.notOk(ledger.isChunk(3 * CHUNK, CHUNK));
  t.notOk(ledger.isChunk(4 * CHUNK, CHUNK));
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

/** The same, done the slow way: a map from chunk number to CRC. */
class Model {
  readonly chunks = new Map<number, number>();
  readonly #size: number;
  constructor(size: number) {
    this.#size = size;
  }

  get numbers(): number[] {
    return [...this.chunks.keys()].toSorted((a, b) => a - b);
  }
  get count(): number {
    return Math.ceil(this.#size / CHUNK);
  }
  endOf = (chunk: number): number => Math.min(this.#size, (chunk + 1) * CHUNK);

  /** Bytes that are there, or not, as ranges: looked at one by one. */
  ranges(wanted: boolean): { start: number; end: number }[] {
    const ranges: { start: number; end: number }[] = [];
    for (let at = 0; at < this.#size; at++) {
      if (this.chunks.has(Math.floor(at / CHUNK)) !== wanted) continue;
      const last = ranges.at(-1);
      if (last?.end === at) last.end = at + 1;
      else ranges.push({ start: at, end: at + 1 });
    }
    return ranges;
  }
}

t.test("what is there and what is missing, whatever is recorded and forgotten", async () => {
  const step = fc.record({ chunk: fc.nat(14), crc: fc.integer({ min: 0, max: 0xffffffff }), forgets: fc.boolean() });
  fc.assert(
    fc.property(fc.nat(110), fc.array(step, { maxLength: 40 }), (size, steps) => {
      const ledger = new ChunkLedger(size, CHUNK);
      const model = new Model(size);
      for (const { chunk: any, crc, forgets } of steps) {
        if (model.count === 0) break;
        const chunk = any % model.count;
        const offset = chunk * CHUNK;
        assert.equal(ledger.bytesAt(offset), model.endOf(chunk) - offset);
        assert.ok(ledger.isChunk(offset, ledger.bytesAt(offset)));
        if (forgets) {
          ledger.forget(offset);
          model.chunks.delete(chunk);
        } else {
          const known = model.chunks.get(chunk);
          const expected = known === undefined ? "new" : known === crc ? "same" : "different";
          assert.equal(ledger.record(offset, ledger.bytesAt(offset), crc), expected);
          if (known === undefined) model.chunks.set(chunk, crc);
        }
        assert.equal(ledger.crcAt(offset), model.chunks.get(chunk));
        assert.deepEqual(
          [...ledger.offsets()],
          model.numbers.map((number) => number * CHUNK),
        );
        assert.deepEqual(ledger.presentRanges, model.ranges(true));
        assert.deepEqual(ledger.missingRanges, model.ranges(false));
        assert.equal(
          ledger.bytesPresent,
          model.ranges(true).reduce((sum, { start, end }) => sum + end - start, 0),
        );
        assert.equal(ledger.chunksPresent, model.chunks.size);
        assert.equal(ledger.isComplete, model.chunks.size === model.count);
      }
    }),
    { numRuns: 400 },
  );
});

t.test("a chunk that was forgotten may come with another CRC, and the whole follows it", async (t) => {
  const file = Uint8Array.from({ length: 3 * CHUNK + 5 }, (_, i) => i * 3);
  const ledger = new ChunkLedger(file.length, CHUNK);
  for (const { offset, bytes } of chunksOf(file)) ledger.record(offset, bytes.length, 1);
  t.not(ledger.wholeCrc32(), crc32(file));
  for (const { offset, bytes } of chunksOf(file)) {
    ledger.forget(offset);
    t.notOk(ledger.isComplete);
    t.throws(() => ledger.wholeCrc32(), RangeError);
    t.equal(ledger.record(offset, bytes.length, crc32(bytes)), "new");
  }
  t.equal(ledger.wholeCrc32(), crc32(file));
});

t.test("forgetting what is not there changes nothing", async (t) => {
  const ledger = new ChunkLedger(3 * CHUNK, CHUNK);
  ledger.record(CHUNK, CHUNK, 7);
  ledger.forget(0);
  ledger.forget(2 * CHUNK);
  ledger.forget(99 * CHUNK);
  t.strictSame([...ledger.offsets()], [CHUNK]);
  ledger.forget(CHUNK);
  ledger.forget(CHUNK);
  t.strictSame([...ledger.offsets()], []);
  t.strictSame(ledger.missingRanges, [{ start: 0, end: 3 * CHUNK }]);
});

t.test("ranges of a file of unknown size end at a whole chunk", async (t) => {
  const ledger = new ChunkLedger(null, CHUNK);
  for (const offset of [0, CHUNK, 4 * CHUNK]) ledger.record(offset, CHUNK, 1);
  t.strictSame(ledger.presentRanges, [
    { start: 0, end: 2 * CHUNK },
    { start: 4 * CHUNK, end: 5 * CHUNK },
  ]);
  t.strictSame(ledger.missingRanges, [], "nobody knows yet");
});

t.test("ranges across pages of CRCs, in a file of many chunks", async (t) => {
  const chunks = 5000;
  const ledger = new ChunkLedger(chunks * CHUNK - 3, CHUNK);
  const crcOf = (chunk: number) => (chunk * 2654435761) >>> 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (chunk % 1000 !== 999) ledger.record(chunk * CHUNK, ledger.bytesAt(chunk * CHUNK), crcOf(chunk));
  }
  t.strictSame(
    ledger.missingRanges,
    [999, 1999, 2999, 3999, 4999].map((chunk) => ({
      start: chunk * CHUNK,
      end: Math.min((chunk + 1) * CHUNK, chunks * CHUNK - 3),
    })),
  );
  let wrong = 0;
  for (const offset of ledger.offsets()) if (ledger.crcAt(offset) !== crcOf(offset / CHUNK)) wrong++;
  t.equal(wrong, 0);
});

t.test("chunks that are scattered over a file of unknown size cost little memory each", async (t) => {
  const ledger = new ChunkLedger(null, 65_536);
  const before = process.memoryUsage().arrayBuffers;
  const chunks = 5000;
  for (let i = 0; i < chunks; i++) ledger.record(i * 4096 * 65_536, 65_536, i);
  const bytesEach = (process.memoryUsage().arrayBuffers - before) / chunks;
  t.ok(bytesEach < 512, `${bytesEach} bytes each`);
  t.equal(ledger.chunksPresent, chunks);
});
