import { createRequire, registerHooks } from "node:module";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import t from "tap";
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

t.test("zlib's serves where the native module is missing", async (t) => {
  // What was resolved once is not asked for again while it is in the cache.
  const require = createRequire(import.meta.url);
  delete require.cache[require.resolve("@node-rs/crc32")];
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "@node-rs/crc32") throw new Error("not here");
      return next(specifier, context);
    },
  });
  t.teardown(() => hooks.deregister());
  // Another query makes it another module, which loads what it needs again.
  const specifier = "../../src/protocol/crc32.ts?without-native";
  const fallback: typeof import("../../src/protocol/crc32.ts") = await import(specifier);
  t.not(fallback.crc32, crc32);
  t.equal(fallback.crc32, zlibCrc32);
  fc.assert(
    fc.property(
      fc.uint8Array(),
      fc.integer({ min: 0, max: 0xffffffff }),
      (bytes, previous) => fallback.crc32(bytes, previous) === crc32(bytes, previous),
    ),
  );
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
