import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { planFiles } from "../../src/client/plan.ts";

const namesOf = (plan: ReturnType<typeof planFiles>) => plan.items.map(({ name }) => Buffer.from(name).toString());

t.test("names at the destination", async (t) => {
  const dir = t.testdir({ a: "1", b: "22", sub: { c: "333" } });
  const at = (path: string) => join(dir, path);
  t.strictSame(namesOf(planFiles({ paths: [at("a"), at("sub/c")] })), ["a", "c"]);
  t.strictSame(namesOf(planFiles({ paths: [at("a"), at("b")], into: "x/y" })), ["x/y/a", "x/y/b"]);
  t.strictSame(namesOf(planFiles({ paths: [at("a")], into: "x/y///" })), ["x/y/a"]);
  t.strictSame(namesOf(planFiles({ paths: [at("a")], into: "", name: "other" })), ["other"]);
  t.strictSame(namesOf(planFiles({ paths: [at("a")], into: "x", name: "other" })), ["x/other"]);
  t.strictSame(planFiles({ paths: [at("b")] }).items[0]?.size, 2);
});

t.test("what makes no sense as a whole", async (t) => {
  const dir = t.testdir({ a: "", sub: { a: "" } });
  t.throws(() => planFiles({ paths: [] }), { code: "E_USAGE" });
  t.throws(() => planFiles({ paths: [join(dir, "a"), join(dir, "sub/a")] }), { code: "E_USAGE" });
  t.throws(() => planFiles({ paths: ["a", "b"], name: "c" }), { code: "E_USAGE" });
});

t.test("files that can't be sent are refused by themselves, with the reason", async (t) => {
  const dir = t.testdir({ good: "x", sub: {} });
  execFileSync("mkfifo", [join(dir, "fifo")]);
  const paths = ["good", "sub", "fifo", "missing", "good/below"].map((name) => join(dir, name));
  const { items, refused } = planFiles({ paths });
  t.equal(items.length, 1);
  t.strictSame(
    refused.map(({ name, failure: { code } }) => [name, code]),
    [
      ["sub", "E_SOURCE_DIRECTORY"],
      ["fifo", "E_SOURCE_SPECIAL"],
      ["missing", "E_SOURCE_MISSING"],
      ["below", "E_SOURCE_MISSING"],
    ],
  );
});
