/** What a list names: each path stands for itself, and a directory comes after what the list has of it. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Filter } from "../../src/source/filter.ts";
import { listed } from "../../src/source/listed.ts";
import type { TreeOptions } from "../../src/source/tree-entries.ts";

const OPTIONS: TreeOptions = { filter: new Filter([]), copyLinks: false, quick: true, smallMax: 1000 };

function tree(t: Test): string {
  const dir = t.testdir({ a: { "x.txt": "x", b: { "y.txt": "y" }, "left-out": "z" }, "z.txt": "z" });
  mkdirSync(join(dir, "empty"));
  symlinkSync("nowhere", join(dir, "link"));
  writeFileSync(join(dir, "large"), Buffer.alloc(2000));
  return dir;
}

/** Kind and name of all that comes of these paths, in a directory of its own. */
function entriesOf(t: Test, paths: readonly string[], options = OPTIONS, below = ""): string[] {
  const before = process.cwd();
  process.chdir(tree(t));
  t.teardown(() => process.chdir(before));
  const list = listed(Buffer.from(below), options);
  const entries = [...paths.flatMap((path) => [...list.entriesOf(Buffer.from(path))]), ...list.rest()];
  return entries.map(({ kind = "file", name }) => `${kind} ${Buffer.from(name)}`);
}

t.test("a directory stands for itself, and comes after what is listed of it", async (t) => {
  const paths = [".", "./a", "./a/x.txt", "./a/b", "./a/b/y.txt", "./z.txt", "./empty", "./link", "./large"];
  t.same(entriesOf(t, paths), [
    "small a/x.txt",
    "small a/b/y.txt",
    "directory a/b",
    "directory a",
    "small z.txt",
    "directory empty",
    "symlink link",
    "file large",
  ]);
});

t.test("names begin where they are to lie, and what is wrong with one path is said of it alone", async (t) => {
  const found = entriesOf(t, ["a", "a/x.txt", "../up", "missing", "z.txt"], OPTIONS, "in/to");
  t.same(found, [
    "small in/to/a/x.txt",
    "failed ../up",
    "directory in/to/a",
    "failed in/to/missing",
    "small in/to/z.txt",
  ]);
});

t.test("patterns hold for the whole path", async (t) => {
  const filter = new Filter([{ exclude: "b/" }, { exclude: "z.txt" }]);
  t.same(entriesOf(t, ["a/x.txt", "a/b/y.txt", "z.txt"], { ...OPTIONS, filter }), ["small a/x.txt"]);
});

t.test("--copy-links: what a link leads to", async (t) => {
  t.same(entriesOf(t, ["link"], { ...OPTIONS, copyLinks: true }), ["failed link"]);
});
