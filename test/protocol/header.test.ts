import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { decodeHeader, encodeHeader, FRAME_TYPES, type FrameName } from "../../src/protocol/header.ts";
import { FILE_BYTES_MAX, HEADER_BYTES } from "../../src/protocol/limits.ts";
import { bytesOf, hexOf, vectorFile } from "../helpers/vectors.ts";

const { vectors } = vectorFile("headers");
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const names = Object.keys(FRAME_TYPES) as FrameName[];

for (const { name, hex, expect } of vectors) {
  t.test(`vector: ${name}`, async (t) => {
    const bytes = bytesOf(hex);
    t.equal(bytes.length, HEADER_BYTES);
    const inTheMiddle = bytesOf(`0102${hex}0304`);
    if ("error" in expect) {
      t.throws(() => decodeHeader(bytes), { name: "HawserError", code: expect.error });
      t.throws(() => decodeHeader(inTheMiddle, 2), { name: "HawserError", code: expect.error });
    } else {
      t.strictSame(decodeHeader(bytes), expect);
      t.strictSame(decodeHeader(inTheMiddle, 2), expect, "at an offset");
      t.strictSame(decodeHeader(inTheMiddle.subarray(2, 34)), expect, "in a view of a larger buffer");
      t.equal(hexOf(encodeHeader(expect)), hex);
    }
  });
}

t.test("there is a vector of every type", async (t) => {
  const covered = vectors.flatMap(({ expect }) => ("error" in expect ? [] : [expect.name]));
  t.strictSame([...new Set(covered)].toSorted(), names.toSorted());
});

t.test("every header comes back", async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      uint32,
      fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 52, FILE_BYTES_MAX)),
      uint32,
      uint32,
      fc.constantFrom("raw", "zstd", "sparse"),
      fc.integer({ min: 1, max: 0xffffffff }),
      (name, anyFile, anyOffset, anyBytes, payloadCrc32, anyEncoding, anyDecoded) => {
        const [file, offset] = name === "CHUNK" ? [anyFile, anyOffset] : [0, 0];
        const encoding = name === "CHUNK" ? anyEncoding : "raw";
        const payloadBytes = encoding === "raw" ? anyBytes : anyBytes % anyDecoded;
        const decodedBytes = encoding === "raw" ? anyBytes : anyDecoded;
        const header = { name, file, offset, payloadBytes, payloadCrc32, encoding, decodedBytes };
        const back = decodeHeader(encodeHeader(header));
        assert.deepEqual(back, header);
      },
    ),
  );
});

t.test("each flipped bit is found by the CRC", async (t) => {
  for (const { hex, expect } of vectors) {
    if ("error" in expect) continue;
    for (let bit = 0; bit < HEADER_BYTES * 8; bit++) {
      const bytes = bytesOf(hex);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      let code: string | undefined;
      try {
        decodeHeader(bytes);
      } catch (error) {
        code = (error as { code?: string }).code;
      }
      if (code !== "E_DAMAGED") t.fail(`bit ${bit} of ${hex}`);
    }
  }
});

t.test("types are given once, and stay", async (t) => {
  t.strictSame(FRAME_TYPES, {
    HELLO: 1,
    WELCOME: 2,
    OFFER: 3,
    PLAN: 4,
    DIGEST: 5,
    SEAL: 6,
    WITHDRAW: 7,
    OUTCOME: 8,
    FINISH: 9,
    RECEIPT: 10,
    PING: 11,
    PONG: 12,
    ERROR: 13,
    ATTACH: 14,
    ATTACHED: 15,
    ACK: 16,
    RESEND: 17,
    HAVE: 18,
    CHUNK: 32,
    BUNDLE: 33,
  });
});
