import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { type PlanOptions, planFiles } from "../../src/client/plan.ts";
import type { SourceEntry } from "../../src/source/entry.ts";

const CHUNK = 1024 * 1024;

function entriesOf(options: Omit<PlanOptions, "chunkBytes">): SourceEntry[] {
  const { feed } = planFiles({ chunkBytes: CHUNK, ...options });
  const entries: SourceEntry[] = [];
  for (let entry = feed.next(); entry !== undefined; entry = feed.next()) if (entry !== "later") entries.push(entry);
  return entries;
}

const namesOf = (options: Omit<PlanOptions, "chunkBytes">) =>
  entriesOf(options).map(({ name }) => Buffer.from(name).toString());

t.test("names at the destination", async (t) => {
  const dir = t.testdir({ a: "1", b: "22", sub: { c: "333" } });
  const at = (path: string) => join(dir, path);
  t.strictSame(namesOf({ paths: [at("a"), at("sub/c")] }), ["a", "c"]);
  t.strictSame(namesOf({ paths: [at("a"), at("b")], into: "x/y" }), ["x/y/a", "x/y/b"]);
  t.strictSame(namesOf({ paths: [at("a")], into: "x/y///" }), ["x/y/a"]);
  t.strictSame(namesOf({ paths: [at("a")], into: "", name: "other" }), ["other"]);
  t.strictSame(namesOf({ paths: [at("a")], into: "x", name: "other" }), ["x/other"]);
  t.match(entriesOf({ paths: [at("b")] }), [{ size: 2 }]);
});

t.test("what makes no sense as a whole", async (t) => {
  const dir = t.testdir({ a: "", sub: { a: "" } });
  t.throws(() => entriesOf({ paths: [] }), { code: "E_USAGE" });
  t.throws(() => entriesOf({ paths: [join(dir, "a"), join(dir, "sub/a")] }), { code: "E_USAGE" });
  t.throws(() => entriesOf({ paths: ["a", "b"], name: "c" }), { code: "E_USAGE" });
});

t.test("files that can't be sent are refused by themselves, with the reason", async (t) => {
  const dir = t.testdir({ good: "x", sub: {} });
  execFileSync("mkfifo", [join(dir, "fifo")]);
  const paths = ["good", "sub", "fifo", "missing", "good/below"].map((name) => join(dir, name));
  t.strictSame(
    entriesOf({ paths }).map((entry) => [
      Buffer.from(entry.name).toString(),
      entry.kind,
      entry.kind === "failed" ? entry.failure.code : undefined,
    ]),
    [
      ["good", "small", undefined],
      ["sub", "directory", undefined],
      ["fifo", "failed", "E_SOURCE_SPECIAL"],
      ["missing", "failed", "E_SOURCE_MISSING"],
      ["below", "failed", "E_SOURCE_MISSING"],
    ],
  );
});
