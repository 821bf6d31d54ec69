/** Which name an entry has of its own, asked of a directory whose names are led to lower case: what a folding one does. */
import { linkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mock } from "node:test";
import t, { type Test } from "tap";
import { Folding, rememberedBytes } from "../../src/sink/folding.ts";

function directory(t: Test, ...names: string[]) {
  const dir = t.testdir({});
  for (const name of names) writeFileSync(join(dir, name), "");
  let looks = 0;
  const of = (lead: (name: string) => string) => {
    const folding = new Folding((name) => {
      looks++;
      return Buffer.from(join(dir, lead(Buffer.from(name).toString())));
    });
    return (name: string) => {
      const own = folding.ownNameOf(Buffer.from(name));
      return own && Buffer.from(own).toString();
    };
  };
  return { dir, of, looks: () => looks };
}
const lower = (name: string) => name.toLowerCase();

t.test("a name, another of it, and one that came later", (t) => {
  const { dir, of } = directory(t, "one", "two", "\u00e9");
  const own = of(lower);
  t.same(["one", "ONE", "Two", "two", "\u00c9", "\u00e9"].map(own), [
    undefined,
    "one",
    "two",
    undefined,
    "\u00e9",
    undefined,
  ]);
  writeFileSync(join(dir, "late"), "");
  t.same(["late", "LATE", "one"].map(own), [undefined, "late", undefined]);
  t.end();
});

t.test("two names of one file are no folding", (t) => {
  const { dir, of } = directory(t, "one");
  linkSync(join(dir, "one"), join(dir, "ONE"));
  const own = of((name) => name);
  for (let i = 0; i < 2; i++) t.same(["one", "ONE"].map(own), [undefined, undefined]);
  t.end();
});

t.test("a file system with rules of its own", (t) => {
  const { of } = directory(t, "a1", "b");
  const own = of((name) => name.toLowerCase().replace("2", "1"));
  t.same(["B", "a2", "a1"].map(own), ["b", "a1", undefined]);
  t.end();
});

t.test("names are remembered for a minute, and for no longer than their directory is held", (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const before = rememberedBytes();
  const { of } = directory(t, "one", "two");
  const own = of(lower);
  t.equal(own("ONE"), "one");
  t.equal(rememberedBytes() - before, 2 * 67);
  mock.timers.tick(59_999);
  t.equal(own("TWO"), "two");
  t.ok(rememberedBytes() > before);
  mock.timers.tick(1);
  t.equal(rememberedBytes(), before);
  t.equal(own("TWO"), "two", "it is read again");
  mock.timers.tick(60_000);
  t.equal(rememberedBytes(), before);
  t.end();
});

t.test("a large directory is read once, for whatever is asked", (t) => {
  const names = Array.from({ length: 3000 }, (_, i) => `file-${i}`);
  const { of, looks } = directory(t, ...names);
  const own = of(lower);
  for (const name of names) t.equal(own(name), undefined);
  t.ok(looks() < 10, `${looks()} were looked at, the directory among them`);
  for (const name of names) if (own(name.toUpperCase()) !== name) t.fail(name);
  t.ok(looks() <= 10 + 2 * names.length, `each with its own name: ${looks()}`);
  t.end();
});

t.test("where nothing folds, one look for all", (t) => {
  const { of, looks } = directory(t, "one", "two", "three");
  const own = of((name) => name);
  t.same(["one", "two", "three"].map(own), [undefined, undefined, undefined]);
  t.equal(looks(), 2);
  t.end();
});
