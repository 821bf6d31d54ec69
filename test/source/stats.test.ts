import { execFileSync } from "node:child_process";
import { lstatSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { kindOf, mtimeOf } from "../../src/source/stats.ts";

t.test("times, to the microsecond", async (t) => {
  const path = join(t.testdir(), "a");
  writeFileSync(path, "");
  const times: Record<string, [number, number]> = {
    "2026-11-27 10:00:00.123456000 UTC": [1795773600, 123_456_000],
    "2026-11-27 10:00:00.999999900 UTC": [1795773601, 0],
    "1969-12-31 23:59:58.250000000 UTC": [-2, 250_000_000],
    "1970-01-01 00:00:00.000000000 UTC": [0, 0],
  };
  for (const [text, expected] of Object.entries(times)) {
    execFileSync("touch", ["-d", text, path]);
    t.strictSame(mtimeOf(lstatSync(path)), expected, text);
  }
});

t.test("any time of this age is within a microsecond, and well formed", async () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 33), max: 2 ** 33 }), fc.integer({ min: 0, max: 999_999_999 }), (s, ns) => {
      // As Node makes it of what the system says.
      const [seconds, nanoseconds] = mtimeOf({ mtimeMs: s * 1000 + ns / 1_000_000 });
      const off = (seconds - s) * 1e9 + nanoseconds - ns;
      return Math.abs(off) <= 1000 && nanoseconds >= 0 && nanoseconds < 1e9 && Number.isInteger(nanoseconds);
    }),
  );
});

t.test("kinds", async (t) => {
  const dir = t.testdir({ d: {}, f: "" });
  symlinkSync("f", join(dir, "l"));
  execFileSync("mkfifo", [join(dir, "p")]);
  const kinds = ["d", "f", "l", "p"].map((name) => kindOf(lstatSync(join(dir, name))));
  t.strictSame(kinds, ["directory", "file", "symlink", "special"]);
  t.equal(kindOf(lstatSync("/dev/null")), "special");
});
