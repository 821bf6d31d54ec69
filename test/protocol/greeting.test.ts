import fc from "fast-check";
import t from "tap";
import { FrameDecoder } from "../../src/protocol/decoder.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import {
  chooseVersion,
  decodeGreeting,
  encodeGreeting,
  isGreetingSoFar,
  OUR_VERSIONS,
  type VersionRange,
} from "../../src/protocol/greeting.ts";
import { GREETING_BYTES } from "../../src/protocol/limits.ts";
import { DELIVERIES, everyCut } from "../helpers/slices.ts";
import { bytesOf, hexOf, vectorFile } from "../helpers/vectors.ts";

const { vectors } = vectorFile("greeting");
const uint16 = fc.integer({ min: 0, max: 0xffff });

for (const { name, hex, expect } of vectors) {
  t.test(`vector: ${name}`, async (t) => {
    const bytes = bytesOf(hex);
    t.equal(bytes.length, GREETING_BYTES);
    if ("error" in expect) {
      t.throws(() => decodeGreeting(bytes), { name: "HawserError", code: expect.error });
    } else {
      const { min, max, chosen } = expect;
      t.strictSame(decodeGreeting(bytes), { min, max });
      if (chosen) t.throws(() => chooseVersion({ min, max }), { name: "HawserError", code: chosen.error });
      else t.equal(chooseVersion({ min, max }), 1);
    }
    // The decoder comes to the same, whatever the slices.
    for (const [via, deliver] of Object.entries(DELIVERIES)) {
      for (const { how, slices } of everyCut(bytes, new Uint8Array(31))) {
        let versions: VersionRange | undefined;
        let code: string | undefined;
        const decoder = new FrameDecoder({
          admit: () => t.fail("no frame came") as never,
          onFrame: () => t.fail("no frame came"),
          onGreeting: (range) => {
            versions = range;
          },
        });
        try {
          for (const slice of slices) deliver(decoder, slice);
        } catch (error) {
          code = (error as HawserError).code;
        }
        const same = "error" in expect ? code === expect.error : versions?.min === expect.min && code === undefined;
        if (!same) t.fail(`${how}, by ${via}`, { versions, code });
      }
    }
  });
}

t.test("what we send is the first vector", async (t) => {
  t.equal(hexOf(encodeGreeting()), vectors[0]!.hex);
  t.equal(hexOf(encodeGreeting({ min: 1, max: 3 })), vectors[1]!.hex);
});

t.test("every range comes back", async () => {
  fc.assert(
    fc.property(uint16, uint16, (min, max) => {
      const back = decodeGreeting(encodeGreeting({ min, max }));
      return back.min === min && back.max === max;
    }),
  );
});

t.test("a flipped bit is found, but for the magic's: that is another program", async (t) => {
  for (let bit = 0; bit < GREETING_BYTES * 8; bit++) {
    const bytes = encodeGreeting();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    t.throws(() => decodeGreeting(bytes), { code: bit < 64 ? "E_NOT_HAWSER" : "E_DAMAGED" }, `bit ${bit}`);
  }
});

t.test("the first byte tells", async (t) => {
  t.ok(isGreetingSoFar(new Uint8Array(0)));
  for (let byte = 0; byte < 256; byte++) t.equal(isGreetingSoFar(Uint8Array.of(byte)), byte === 0x89);
  const greeting = encodeGreeting();
  for (let length = 0; length <= greeting.length; length++) t.ok(isGreetingSoFar(greeting.subarray(0, length)));
});

t.test("says what another program looks like", async (t) => {
  const looks: Record<string, RegExp> = {
    "HTTP request": /HTTP/,
    "HTTP response": /HTTP/,
    "TLS ClientHello": /TLS/,
    SSH: /SSH/,
    SMTP: /SMTP/,
    rsync: /rsync/,
    zeros: /unknown/,
  };
  for (const [name, message] of Object.entries(looks)) {
    const vector = vectors.find((v) => v.name === name)!;
    t.throws(() => decodeGreeting(bytesOf(vector.hex)), { code: "E_NOT_HAWSER", message });
  }
});

t.test("the highest common version, by trying all of them", async (t) => {
  const small = fc.nat(6);
  fc.assert(
    fc.property(small, small, small, small, (min, max, ourMin, more) => {
      const ours = { min: ourMin, max: ourMin + more };
      let expected: number | undefined;
      for (let version = 0; version <= 12; version++) {
        if (version >= min && version <= max && version >= ours.min && version <= ours.max) expected = version;
      }
      try {
        return chooseVersion({ min, max }, ours) === expected;
      } catch (error) {
        return expected === undefined && error instanceof HawserError && error.code === "E_VERSION";
      }
    }),
    { numRuns: 2000 },
  );
  t.throws(
    () => chooseVersion({ min: 4, max: 7 }, { min: 1, max: 2 }),
    { message: /versions 4 to 7, this end 1 to 2/ },
    "the message names both ranges",
  );
  t.throws(() => chooseVersion({ min: OUR_VERSIONS.max + 1, max: OUR_VERSIONS.max + 1 }), { code: "E_VERSION" });
  t.throws(() => chooseVersion({ min: OUR_VERSIONS.min - 1, max: OUR_VERSIONS.min - 1 }), { code: "E_VERSION" });
});
