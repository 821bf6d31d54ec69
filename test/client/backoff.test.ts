import fc from "fast-check";
import t from "tap";
import { backoffMs } from "../../src/client/backoff.ts";

/** The largest number that Math.random can give. */
const ALMOST_ONE = 1 - 2 ** -53;

t.test("twice as long each time, from a fifth of a second to five", async (t) => {
  const longest = Array.from({ length: 8 }, (_, failures) => Math.ceil(backoffMs(failures, ALMOST_ONE)));
  t.strictSame(longest, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
  const shortest = Array.from({ length: 8 }, (_, failures) => backoffMs(failures, 0));
  t.strictSame(shortest, [100, 200, 400, 800, 1600, 2500, 2500, 2500]);
});

t.test("between half and all of it, whatever chance says and however often it failed", async () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: ALMOST_ONE, noNaN: true }), (failures, random) => {
      const ms = backoffMs(failures, random);
      return ms >= 100 && ms <= 5000 && ms >= backoffMs(failures, 0) && ms <= backoffMs(failures, ALMOST_ONE);
    }),
  );
});

t.test("those who failed together don't come back together", async (t) => {
  const waits = new Set(Array.from({ length: 100 }, () => Math.round(backoffMs(5, Math.random()))));
  t.ok(waits.size > 50, `${waits.size} different waits of a hundred`);
});
