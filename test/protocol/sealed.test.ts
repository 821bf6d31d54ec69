/** How a sealed stream begins, and that a number is used once. */
import * as fc from "fast-check";
import t from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { SEALED_NUMBERS_WINDOW } from "../../src/protocol/limits.ts";
import {
  decodeSealedOpening,
  encodeSealedOpening,
  NumbersUsed,
  SEALED_FIRST_BYTE,
  SEALED_OPENING_BYTES,
} from "../../src/protocol/sealed.ts";

const secretName = Uint8Array.from({ length: 16 }, (_, i) => i);

t.test("an opening is 32 bytes, and says what it was made of", async (t) => {
  const bytes = encodeSealedOpening({ secretName, number: 0x01020304 });
  t.equal(bytes.length, SEALED_OPENING_BYTES);
  t.equal(bytes[0], SEALED_FIRST_BYTE);
  t.equal(Buffer.from(bytes).toString("hex"), "8a4841575345414c000102030405060708090a0b0c0d0e0f01020304a9c1816e");
  t.same(decodeSealedOpening(bytes), { secretName, number: 0x01020304 });
});

t.test("a changed byte of it is damage, or another program", async (t) => {
  const bytes = encodeSealedOpening({ secretName, number: 7 });
  for (let i = 0; i < bytes.length; i++) {
    const changed = Uint8Array.from(bytes);
    changed[i] = (changed[i] ?? 0) ^ 0x10;
    try {
      decodeSealedOpening(changed);
      t.fail(`byte ${i}`);
    } catch (error) {
      t.ok(error instanceof HawserError && error.code === (i < 8 ? "E_NOT_HAWSER" : "E_DAMAGED"), `byte ${i}`);
    }
  }
});

t.test("each number is good once, in any order, and not when it comes far too late", async (t) => {
  const used = new NumbersUsed();
  t.same([used.use(5), used.use(3), used.use(5), used.use(3), used.use(4)], [true, true, false, false, true]);
  t.equal(used.use(5 + SEALED_NUMBERS_WINDOW), true);
  t.equal(used.has(5), true, "out of the window: as good as used");
  t.equal(used.use(5), false);
  t.equal(used.use(6), true, "the oldest in it");
  t.equal(used.use(0xffffffff), true, "a leap over all of it");
  t.equal(used.use(0xffffffff - 1), true);
  t.equal(used.use(5 + SEALED_NUMBERS_WINDOW), false);
});

t.test("as a set of all numbers that came would say, within the window", async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 * SEALED_NUMBERS_WINDOW }), { maxLength: 200 }), (numbers) => {
      const used = new NumbersUsed();
      const all = new Set<number>();
      let highest = -1;
      for (const number of numbers) {
        const isFree = !all.has(number) && number > highest - SEALED_NUMBERS_WINDOW;
        if (used.has(number) === isFree || used.use(number) !== isFree) return false;
        if (isFree) all.add(number);
        highest = Math.max(highest, number);
      }
      return true;
    }),
  );
});
