import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import {
  type DataSlice,
  decodeSparse,
  encodeTable,
  findData,
  sparseCrc32,
  ZERO_BLOCK_BYTES,
  zerosBetween,
} from "../../src/protocol/sparse.ts";

const BLOCK = ZERO_BLOCK_BYTES;

/** Block by block, with every byte looked at. */
function naiveFind(chunk: Uint8Array): [start: number, end: number][] | undefined {
  const extents: [number, number][] = [];
  let anyZeros = false;
  for (let at = 0; at < chunk.length; at += BLOCK) {
    const end = Math.min(at + BLOCK, chunk.length);
    if (chunk.subarray(at, end).every((byte) => byte === 0)) {
      anyZeros = true;
      continue;
    }
    const last = extents.at(-1);
    if (last?.[1] === at) last[1] = end;
    else extents.push([at, end]);
  }
  return anyZeros ? extents : undefined;
}

/** A naive reader of the payload as PROTOCOL.md has it; throws where it is illegal. */
function naiveDecode(payload: Uint8Array, decodedBytes: number): Uint8Array {
  const bytes = Buffer.from(payload);
  const chunk = new Uint8Array(decodedBytes);
  const count = bytes.readUInt16BE(0);
  let data = bytes.subarray(2 + 8 * count);
  assert.equal(bytes.length >= 2 + 8 * count, true);
  let free = 0;
  for (let i = 0; i < count; i++) {
    const start = bytes.readUInt32BE(2 + 8 * i);
    const length = bytes.readUInt32BE(6 + 8 * i);
    assert.ok(start >= free && length > 0 && start + length <= decodedBytes && length <= data.length);
    chunk.set(data.subarray(0, length), start);
    data = data.subarray(length);
    free = start + length;
  }
  assert.equal(data.length, 0);
  return chunk;
}

const payloadOf = (slices: readonly DataSlice[]) =>
  new Uint8Array(Buffer.concat([encodeTable(slices), ...slices.map(({ bytes }) => bytes)]));

function expanded(slices: readonly DataSlice[], chunkBytes: number): Uint8Array {
  const chunk = new Uint8Array(chunkBytes);
  for (const { start, bytes } of slices) chunk.set(bytes, start);
  return chunk;
}

/** What a block may be: zeros, all data, or one byte somewhere, which is where a look at one place would miss it. */
const blocks = fc.array(
  fc.oneof(
    fc.constant<number | "zeros" | "data">("zeros"),
    fc.constant<number | "zeros" | "data">("data"),
    fc.constantFrom<number | "zeros" | "data">(0, 1, 3, 4, 2047, 2048, 4094, 4095),
    fc.nat(BLOCK - 1),
  ),
  { minLength: 1, maxLength: 24 },
);

function chunkOf(kinds: readonly (number | "zeros" | "data")[], cut: number, misaligned: number): Uint8Array {
  const room = new Uint8Array(kinds.length * BLOCK + misaligned);
  const chunk = room.subarray(misaligned);
  for (const [i, kind] of kinds.entries()) {
    if (kind === "data") chunk.fill(7, i * BLOCK, (i + 1) * BLOCK);
    else if (kind !== "zeros") chunk[i * BLOCK + kind] = 1;
  }
  return chunk.subarray(0, Math.max(1, chunk.length - cut));
}

t.test("finds what a naive search finds, wherever the chunk lies and ends", async () => {
  fc.assert(
    fc.property(blocks, fc.nat(BLOCK), fc.nat(7), (kinds, cut, misaligned) => {
      const chunk = chunkOf(kinds, cut, misaligned);
      const found = findData(chunk)?.map(({ start, bytes }) => [start, start + bytes.length]);
      assert.deepEqual(found, naiveFind(chunk));
    }),
    { numRuns: 500 },
  );
});

t.test("comes back as it was, by this decoder and by a naive one, with its CRC-32", async () => {
  fc.assert(
    fc.property(blocks, fc.nat(BLOCK), (kinds, cut) => {
      const chunk = chunkOf(kinds, cut, 0);
      const slices = findData(chunk) ?? [{ start: 0, bytes: chunk }];
      const payload = payloadOf(slices);
      assert.deepEqual(naiveDecode(payload, chunk.length), chunk);
      const decoded = decodeSparse(payload, chunk.length);
      assert.ok(decoded !== undefined);
      assert.deepEqual(expanded(decoded, chunk.length), chunk);
      assert.equal(sparseCrc32(decoded, chunk.length), crc32(chunk));
      const zeros = [...zerosBetween(decoded, chunk.length)];
      assert.ok(zeros.every(([start, end]) => start < end && chunk.subarray(start, end).every((byte) => byte === 0)));
      const covered = zeros.reduce((sum, [start, end]) => sum + end - start, 0);
      assert.equal(covered, chunk.length - decoded.reduce((sum, { bytes }) => sum + bytes.length, 0));
    }),
    { numRuns: 300 },
  );
});

t.test("slices of what is handed in, and no copies", async (t) => {
  const chunk = chunkOf(["zeros", "data", "zeros"], 0, 0);
  const [slice] = findData(chunk) ?? [];
  t.equal(slice?.bytes.buffer, chunk.buffer);
  const payload = payloadOf(findData(chunk) ?? []);
  t.equal(decodeSparse(payload, chunk.length)?.[0]?.bytes.buffer, payload.buffer);
});

t.test("any bytes decode to what a naive decoder makes of them, or to nothing", async (t) => {
  let legal = 0;
  let illegal = 0;
  const small = fc.nat(40);
  const tables = fc
    .record({
      extents: fc.array(fc.tuple(small, small), { maxLength: 4 }),
      count: fc.option(fc.nat(6), { nil: undefined }),
      data: fc.uint8Array({ maxLength: 80 }),
      fits: fc.boolean(),
      decodedBytes: fc.integer({ min: 1, max: 120 }),
    })
    .map(({ extents, count, data, fits, decodedBytes }) => {
      const sorted = fits ? extents.toSorted(([a], [b]) => a - b) : extents;
      const table = Buffer.alloc(2 + 8 * sorted.length);
      table.writeUInt16BE(count ?? sorted.length);
      for (const [i, [start, length]] of sorted.entries()) {
        table.writeUInt32BE(start, 2 + 8 * i);
        table.writeUInt32BE(length, 6 + 8 * i);
      }
      const needed = sorted.reduce((sum, [, length]) => sum + length, 0);
      const behind = fits ? Buffer.alloc(needed, 5) : data;
      return { payload: new Uint8Array(Buffer.concat([table, behind])), decodedBytes };
    });
  const any = fc.record({ payload: fc.uint8Array({ maxLength: 40 }), decodedBytes: fc.integer({ min: 1, max: 120 }) });
  fc.assert(
    fc.property(fc.oneof(tables, any), ({ payload, decodedBytes }) => {
      let naive: Uint8Array | undefined;
      try {
        naive = naiveDecode(payload, decodedBytes);
      } catch {
        naive = undefined;
      }
      const decoded = decodeSparse(payload, decodedBytes);
      if (decoded === undefined) illegal++;
      else legal++;
      assert.deepEqual(decoded && expanded(decoded, decodedBytes), naive);
    }),
    { numRuns: 3000 },
  );
  t.ok(legal > 30 && illegal > 30, "both come about", { legal, illegal });
});
