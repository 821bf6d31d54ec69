/** Faults: names. Each of the corpus by the rules of each platform, whatever this one is. */
import t from "tap";
import { byteTextOf } from "../../src/protocol/byte-text.ts";
import { displayName, isPlainName, nameRefusal } from "../../src/protocol/names.ts";
import { ODD_NAMES } from "../helpers/odd-names.ts";

const shown = (name: Buffer) => displayName(name).slice(0, 60);

for (const platform of ["posix", "windows"] as const) {
  t.test(`odd names on ${platform}: refused with the reason, or taken`, async (t) => {
    for (const one of ODD_NAMES) {
      const refusal = nameRefusal(one.name, platform);
      const expected = one[platform];
      if (expected === undefined) t.equal(refusal, undefined, `'${shown(one.name)}' is taken`);
      else t.match(refusal ?? "taken", expected, `'${shown(one.name)}' is refused`);
    }
  });
}

t.test("the corpus is large, of each kind, and none is there twice", async (t) => {
  const count = (is: (one: (typeof ODD_NAMES)[number]) => boolean) => ODD_NAMES.filter(is).length;
  const all = new Set(ODD_NAMES.map(({ name }) => name.toString("hex")));
  t.ok(all.size >= 300, `${all.size} names`);
  t.ok(count(({ posix }) => posix !== undefined) > 50);
  t.ok(count(({ posix, windows }) => posix === undefined && windows !== undefined) > 100);
  t.ok(count(({ windows }) => windows === undefined) > 100);
});

t.test("none that is refused passes for plain, nor is shown with what a terminal obeys", async (t) => {
  for (const { name, posix } of ODD_NAMES) {
    if (posix !== undefined) t.notOk(isPlainName(byteTextOf(name)), shown(name));
    t.notMatch(displayName(name), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  }
});
