/** The rules of what has a name already. */
import fc from "fast-check";
import t from "tap";
import { COMPONENT_BYTES_MAX, NAME_BYTES_MAX } from "../../src/protocol/limits.ts";
import { nameRefusal } from "../../src/protocol/names.ts";
import { clobberFor, isSameTime, judgeExisting, nextName, type Overwrite } from "../../src/sink/clobber.ts";
import type { ExistingFile } from "../../src/sink/sink.ts";

const bytes = (name: string) => Buffer.from(name, "latin1");
const next = (name: string, nth = 1) => Buffer.from(nextName(bytes(name), nth)).toString("latin1");

t.test("the next name", async (t) => {
  for (const [name, expected] of [
    ["a", "a (1)"],
    ["dump.sql", "dump (1).sql"],
    ["dir/dump.sql", "dir/dump (1).sql"],
    ["dir.d/dump", "dir.d/dump (1)"],
    [".hidden", ".hidden (1)"],
    ["dir/.hidden", "dir/.hidden (1)"],
    [".hidden.txt", ".hidden (1).txt"],
    ["a.tar.gz", "a.tar (1).gz"],
    ["trailing.", "trailing (1)."],
    ["...", ".. (1)."],
    ["a (1).b", "a (1) (1).b"],
    [`a.${"x".repeat(15)}`, `a (1).${"x".repeat(15)}`],
    [`a.${"x".repeat(16)}`, `a.${"x".repeat(16)} (1)`],
    ["x".repeat(255), `${"x".repeat(251)} (1)`],
    [`${"x".repeat(251)}.txt`, `${"x".repeat(247)} (1).txt`],
    ["\xff\xfe", "\xff\xfe (1)"],
  ] as const) {
    t.equal(next(name), expected);
  }
  t.equal(next("a.b", 12345), "a (12345).b");
});

t.test("any name's next ones are legal, all different, and in the same directory", async (t) => {
  const component = fc
    .uint8Array({ minLength: 1, maxLength: 255 })
    .map((all) => all.map((byte) => (byte === 0 || byte === 0x2f ? 0x2e : byte)));
  const name = fc
    .array(component, { minLength: 1, maxLength: 20 })
    .map((parts) => Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [Buffer.from("/"), part]))))
    .filter((name) => nameRefusal(name, "posix") === undefined);
  fc.assert(
    fc.property(name, (name) => {
      const directory = name.subarray(0, name.lastIndexOf(0x2f) + 1);
      const seen = new Set([name.toString("latin1")]);
      for (const nth of [1, 2, 9, 10, 1000]) {
        let made: Uint8Array;
        try {
          made = nextName(name, nth);
        } catch (thrown) {
          if (directory.length + 20 < NAME_BYTES_MAX) throw thrown;
          continue;
        }
        if (nameRefusal(made, "posix") !== undefined) throw new Error(nameRefusal(made, "posix"));
        if (!Buffer.from(made).subarray(0, directory.length).equals(directory)) throw new Error("another directory");
        if (seen.has(Buffer.from(made).toString("latin1"))) throw new Error("twice the same");
        seen.add(Buffer.from(made).toString("latin1"));
      }
    }),
  );
  t.pass("all of them");
});

t.test("a path so long that its next name would be too long is cut, or refused where nothing is left", async (t) => {
  const deep = "d/".repeat((NAME_BYTES_MAX - 255) / 2);
  const longest = deep + "x".repeat(NAME_BYTES_MAX - deep.length);
  t.equal(bytes(longest).length, NAME_BYTES_MAX);
  const cut = nextName(bytes(longest), 1);
  t.equal(cut.length, NAME_BYTES_MAX);
  t.equal(nameRefusal(cut, "posix"), undefined);
  const short = `${"d/".repeat(2046)}xyz`;
  t.equal(bytes(short).length, NAME_BYTES_MAX);
  t.throws(() => nextName(bytes(short), 1), { code: "E_EXISTS" });
  t.equal(COMPONENT_BYTES_MAX, 255);
});

const offer = { file: 0, name: bytes("f"), size: 10, mtime: [1000, 500_000] as [number, number], mode: 0o644 };
const there = (more: Partial<ExistingFile>): ExistingFile => ({
  size: 10,
  isDirectory: false,
  mtimeMs: 1_000_000.5,
  digest: () => Promise.reject(new Error("not asked for")),
  ...more,
});

t.test("what is there decides", async (t) => {
  const judge = (more: Partial<ExistingFile>, overwrite: Overwrite, quick: boolean) => {
    try {
      const verdict = judgeExisting({ ...offer, quick }, there(more), overwrite);
      return verdict.action === "send" ? `send ${verdict.clobber}` : verdict.action;
    } catch (thrown) {
      return (thrown as { code: string }).code;
    }
  };
  const modes = ["never", "if-different", "always", "rename"] as const;
  const all = (more: Partial<ExistingFile>, quick = true) => modes.map((mode) => judge(more, mode, quick));
  t.same(all({}), ["unchanged", "unchanged", "send replace", "unchanged"], "same size and time");
  t.same(all({}, false), ["compare", "compare", "send replace", "compare"], "which are not trusted");
  t.same(all({ mtimeMs: 1_000_001 }), ["compare", "compare", "send replace", "compare"], "another time");
  t.same(all({ size: 11 }), ["E_EXISTS", "send replace", "send replace", "send rename"], "another size");
  t.same(all({ size: null, isDirectory: true }), ["E_EXISTS", "E_EXISTS", "E_EXISTS", "send rename"], "a directory");
  const target = Buffer.from("x");
  t.same(all({ size: null, target }), ["E_EXISTS", "send replace", "send replace", "send rename"], "a link");
  t.equal(clobberFor(offer.name, there({}), "if-different"), "replace");
});

t.test("times are the same to a microsecond", async (t) => {
  t.equal(isSameTime([1000, 500_000], 1_000_000.5), true);
  t.equal(isSameTime([1000, 500_999], 1_000_000.5), true);
  t.equal(isSameTime([1000, 502_000], 1_000_000.5), false);
  t.equal(isSameTime([-1, 0], -1000), true);
  t.equal(isSameTime([-1, 999_000_000], -1), true);
  t.equal(isSameTime([4_102_444_800, 123_456_789], 4_102_444_800_123.457), true);
});
