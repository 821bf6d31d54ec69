import { createRequire, registerHooks } from "node:module";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import t, { type Test } from "tap";
import {
  appendZeros,
  combineCrc32,
  combineEqualParts,
  crc32,
  formatCrc32,
  shiftOperator,
} from "../../src/protocol/crc32.ts";

const ascii = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

/** Bit by bit, as the polynomial is written down: slow, and plain to see. */
function naiveCrc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

t.test("known values", async (t) => {
  t.equal(crc32(ascii("")), 0);
  t.equal(crc32(ascii("123456789")), 0xcbf43926, "the check value of CRC catalogues");
  t.equal(crc32(ascii("a")), 0xe8b7be43);
  t.equal(crc32(new Uint8Array(1024 * 1024)), 0xa738ea1c, "1 MiB of zeros");
  t.equal(crc32(ascii("56789"), crc32(ascii("1234"))), 0xcbf43926, "going on from an earlier CRC");
});

t.test("is the CRC of the polynomial, and zlib's", async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, cut) => {
      const whole = crc32(bytes);
      return (
        whole === naiveCrc32(bytes) &&
        whole === zlibCrc32(bytes) &&
        whole === crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))
      );
    }),
  );
});

t.test("zeros are appended without being read", async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), fc.nat(10_000), (bytes, count) => {
      return appendZeros(crc32(bytes), count) === crc32(new Uint8Array(count), crc32(bytes));
    }),
  );
});

t.test("reads the view that it is given, not the buffer behind it", async (t) => {
  const buffer = ascii("xx123456789yy");
  t.equal(crc32(buffer.subarray(2, 11)), 0xcbf43926);
});

/** So many are summed before the native module is loaded. */
const BYTES_BEFORE_NATIVE = 8 * 1024 * 1024;

/** A module of its own, which has loaded nothing yet, and the names that it asks for. */
async function anew(t: Test, resolves: boolean): Promise<{ fresh: typeof crc32; asked: () => number }> {
  // What was resolved once is not asked for again while it is in the cache.
  const require = createRequire(import.meta.url);
  delete require.cache[require.resolve("@node-rs/crc32")];
  let asked = 0;
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      if (specifier !== "@node-rs/crc32") return next(specifier, context);
      asked++;
      if (!resolves) throw new Error("not here");
      return next(specifier, context);
    },
  });
  t.teardown(() => hooks.deregister());
  const specifier = `../../src/protocol/crc32.ts?anew=${resolves}`;
  const { crc32: fresh } = (await import(specifier)) as typeof import("../../src/protocol/crc32.ts");
  return { fresh, asked: () => asked };
}

t.test("the native module is loaded when there is much to sum, and not before", async (t) => {
  const { fresh, asked } = await anew(t, true);
  const bytes = Buffer.alloc(BYTES_BEFORE_NATIVE / 4, "hawser");
  const expected = zlibCrc32(bytes);
  for (let i = 0; i < 3; i++) t.equal(fresh(bytes), expected);
  for (let i = 0; i < 100_000; i++) fresh(bytes.subarray(0, 28));
  t.equal(asked(), 0, "also of headers, of which there are many, not");
  t.equal(fresh(bytes), expected);
  t.equal(asked(), 1);
  t.equal(
    fresh(bytes.subarray(1000), zlibCrc32(bytes.subarray(0, 1000))),
    expected,
    "and goes on from what zlib summed",
  );
  t.equal(asked(), 1);
});

t.test("zlib's serves where the native module is missing", async (t) => {
  const { fresh, asked } = await anew(t, false);
  const bytes = Buffer.alloc(BYTES_BEFORE_NATIVE, "hawser");
  t.equal(fresh(bytes), zlibCrc32(bytes));
  t.equal(fresh(bytes), zlibCrc32(bytes));
  t.equal(asked(), 1);
});

t.test("two CRCs combine into that of the whole", async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.uint8Array({ maxLength: 500 }), (a, b) => {
      const combined = combineCrc32(crc32(a), crc32(b), b.length);
      return combined === crc32(Buffer.concat([a, b]));
    }),
  );
  t.equal(combineCrc32(0, 0, 0), 0);
  t.equal(combineCrc32(0x12345678, 0, 0), 0x12345678, "nothing appended");
});

t.test("parts combine in any grouping, as long as their order stays", async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { minLength: 1, maxLength: 8 }), (parts) => {
      const whole = crc32(Buffer.concat(parts));
      const left = parts.reduce((crc, part) => combineCrc32(crc, crc32(part), part.length), 0);
      let right = 0;
      let bytes = 0;
      for (const part of parts.toReversed()) {
        right = combineCrc32(crc32(part), right, bytes);
        bytes += part.length;
      }
      return left === whole && right === whole;
    }),
  );
});

t.test("lengths above 32 bits", async (t) => {
  // Zeros after A, appended as one run or as two, up to the largest file there can be.
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.maxSafeNat(),
      fc.maxSafeNat(),
      fc.integer({ min: 0, max: 0xffffffff }),
      (crcA, x, y, crcB) => {
        const a = Math.floor(x / 2);
        const b = Math.floor(y / 2);
        const once = combineCrc32(crcA, crcB, a + b);
        const twice = combineCrc32(combineCrc32(crcA, 0, a), crcB, b);
        return once === twice;
      },
    ),
  );
  // 4 GiB and one byte of zeros: x^(8n) by n steps of one byte would take too long, so by a doubling of known CRCs.
  let crc = crc32(new Uint8Array(1024 * 1024));
  for (let bytes = 1024 * 1024; bytes < 2 ** 32; bytes *= 2) crc = combineCrc32(crc, crc, bytes);
  t.equal(crc, 0xd202ef8d, "4 GiB of zeros, as zlib computes it");
  t.equal(shiftOperator(0), 0x80000000, "the polynomial 1");
});

t.test("equal parts", async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.nat(9), fc.nat(255), (partBytes, count, seed) => {
      const whole = Uint8Array.from({ length: partBytes * count }, (_, i) => (i * 7 + seed) & 0xff);
      const crcs = Array.from({ length: count }, (_, i) => crc32(whole.subarray(i * partBytes, (i + 1) * partBytes)));
      return combineEqualParts(crcs, partBytes) === crc32(whole);
    }),
  );
  t.equal(combineEqualParts([], 1024), 0);
});

t.test("is shown in eight digits", async (t) => {
  t.equal(formatCrc32(0), "00000000");
  t.equal(formatCrc32(0xabc), "00000abc");
  t.equal(formatCrc32(0xcbf43926), "cbf43926");
  t.equal(formatCrc32(0xffffffff), "ffffffff");
});
