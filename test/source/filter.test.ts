import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import ignore from "ignore";
import t from "tap";
import { Filter } from "../../src/source/filter.ts";
import { type FilterRule, readPatternFile } from "../../src/source/filter-rules.ts";
import { textOf } from "../../src/source/name-text.ts";

/** Of these paths (directories end in a slash) those that are left out, as a walk finds it: nothing below them is asked. */
function leftOut(filter: Filter, paths: readonly string[]): string[] {
  return paths.filter((path) => filter.excludes(path.replace(/\/$/, ""), path.endsWith("/")));
}

const filterOf = (rules: readonly FilterRule[], files: Readonly<Record<string, string>> = {}) =>
  new Filter(rules, (path) => files[path] as string);

t.test("patterns, as in a .gitignore", async (t) => {
  const paths = ["build/", "src/build/", "a.o", "src/a.o", "src/o", "docs/a.txt", "docs/x/a.txt", "A.O", ".git/"];
  const cases: Record<string, string[]> = {
    "*.o": ["a.o", "src/a.o"],
    build: ["build/", "src/build/"],
    "/build": ["build/"],
    "a.o/": [],
    "docs/*.txt": ["docs/a.txt"],
    "docs/**/*.txt": ["docs/a.txt", "docs/x/a.txt"],
    "**/a.o": ["a.o", "src/a.o"],
    ".*": [".git/"],
    "[A-Z]*": ["A.O"],
    "?.o": ["a.o", "src/a.o"],
    "#a": [],
  };
  for (const [pattern, expected] of Object.entries(cases)) {
    t.strictSame(leftOut(filterOf([{ exclude: pattern }]), paths), expected, pattern);
  }
});

t.test("one list: the last that matches decides", async (t) => {
  const paths = ["a.o", "keep.o", "b.c"];
  t.strictSame(leftOut(filterOf([{ exclude: "*.o" }, { include: "keep.o" }]), paths), ["a.o"]);
  t.strictSame(leftOut(filterOf([{ include: "keep.o" }, { exclude: "*.o" }]), paths), ["a.o", "keep.o"]);
  t.strictSame(leftOut(filterOf([{ include: "*.o" }]), paths), [], "what is not left out is sent");
  t.strictSame(leftOut(filterOf([{ exclude: "*.o" }, { exclude: "!keep.o" }]), paths), ["a.o"], "'!' as git has it");
  const jpegs = filterOf([{ exclude: "*" }, { include: "*/" }, { include: "*.jpg" }]);
  t.strictSame(leftOut(jpegs, ["a.jpg", "a.txt", "x/", "x/b.jpg", "x/b.txt"]), ["a.txt", "x/b.txt"]);
  const files = { list: "\ufeff# objects\n\n*.o\r\n!keep.o\nb.c \n\\#c\n" };
  const listed = filterOf([{ exclude: "a.*" }, { excludeFrom: "list" }, { include: "b.c" }], files);
  t.strictSame(leftOut(listed, ["a.x", "a.o", "keep.o", "b.c", "#c", "# objects"]), ["a.x", "a.o", "#c"]);
  t.strictSame(
    leftOut(filterOf([{ include: "keep.o" }, { excludeFrom: "list" }, { exclude: "keep.o" }], files), paths),
    ["a.o", "keep.o", "b.c"],
  );
});

t.test("nothing below a directory that is left out comes back", async (t) => {
  const filter = filterOf([{ exclude: "cache/" }, { include: "cache/keep" }]);
  t.ok(filter.excludes("cache", true));
  t.ok(filter.excludes("cache/keep", false));
  t.notOk(filter.excludes("cache", false), "a slash at the end means directories only");
  const back = filterOf([{ exclude: "cache/*" }, { include: "cache/keep" }]);
  t.strictSame(leftOut(back, ["cache/", "cache/keep", "cache/a"]), ["cache/a"], "what lies in it can");
});

t.test("a pattern on the command line means what it says", async (t) => {
  const paths = ["#a#", "x ", "x", "!b", "b"];
  t.strictSame(leftOut(filterOf([{ exclude: "#*#" }]), paths), ["#a#"], "no comment");
  t.strictSame(leftOut(filterOf([{ exclude: "x " }]), paths), ["x "], "a space at the end");
  t.strictSame(leftOut(filterOf([{ exclude: "x\\ " }]), paths), ["x "], "and one that is escaped");
  t.strictSame(leftOut(filterOf([{ exclude: "\\!b" }]), paths), ["!b"]);
  t.strictSame(leftOut(filterOf([{ exclude: "*" }, { include: "#*#" }, { include: "x " }, { include: "!b" }]), paths), [
    "x",
    "b",
  ]);
  for (const rule of [{ exclude: "" }, { include: "" }, { exclude: "!" }, { exclude: "a\\" }, { include: "a\\\\\\" }]) {
    t.throws(() => new Filter([rule]), { code: "E_USAGE" }, JSON.stringify(rule));
  }
  t.doesNotThrow(() => new Filter([{ exclude: "a\\\\" }]));
});

t.test("what is named itself", async (t) => {
  const filter = filterOf([{ exclude: "*.o" }, { exclude: "/build" }, { exclude: "docs/a" }, { exclude: "**/tmp/" }]);
  t.ok(filter.excludesNamed("a.o", false));
  t.notOk(filter.excludesNamed("build", true), "an anchored pattern is about what lies in a tree");
  t.ok(filter.excludesNamed("tmp", true));
  t.notOk(filter.excludesNamed("tmp", false));
  t.notOk(filter.excludesNamed("", true), "what has no name of its own");
  t.notOk(filter.excludes("", true), "nor has the top of a tree");
  t.notOk(filterOf([{ exclude: "/x" }]).excludesNamed("x", false));
  t.notOk(new Filter([]).excludesNamed("x", false));
});

t.test("names that are no UTF-8 are names", async (t) => {
  const bytes = (...parts: (string | number)[]) =>
    Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from([part]))));
  const filter = filterOf([{ exclude: "é/*.txt" }, { exclude: "?" }], {});
  t.ok(filter.excludes(bytes("é/", 0xff, ".txt"), false));
  t.ok(filter.excludes(bytes(0xff), false), "one byte is one character");
  t.notOk(filter.excludes(bytes(0xff, 0xfe), false));
  t.ok(filter.excludes(bytes("é"), false));
  const exact = filterOf([{ excludeFrom: "list" }], { list: textOf(bytes(0xff, "\n")) });
  t.ok(exact.excludes(bytes(0xff), false), "a file of patterns may say the bytes");
  t.notOk(exact.excludes(bytes(0xfe), false));
  t.equal(textOf(bytes("a", 0xe2, 0x82, "b", 0xe2, 0x82, 0xac)), "a\udce2\udc82b€");
});

t.test("any name gives an answer, and different names are different", async () => {
  const filter = filterOf([{ exclude: "a*" }, { include: "**/b" }, { exclude: "/x/" }]);
  const name = fc.uint8Array({ maxLength: 12 });
  fc.assert(
    fc.property(name, name, fc.boolean(), (a, b, isDirectory) => {
      filter.excludes(a, isDirectory);
      filter.excludesNamed(a, isDirectory);
      return (textOf(a) === textOf(b)) === Buffer.from(a).equals(b);
    }),
  );
  // Nor does what comes from no walk.
  for (const path of ["../a", "./a", "/a", ".", "..", "a//b"]) filter.excludes(path, false);
});

t.test("the library's rules without its memory say what the library says", async () => {
  const part = fc.constantFrom("a", "b", "aa", "ab", "a\n", "x");
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
  const glob = fc.constantFrom("a", "b", "*", "**", "a*", "?", "[!a]", "*b");
  const pattern = fc
    .tuple(fc.constantFrom("", "!", "/"), fc.array(glob, { minLength: 1, maxLength: 3 }), fc.constantFrom("", "/"))
    .map(([before, globs, after]) => `${before}${globs.join("/")}${after}`);
  const patterns = fc.array(pattern, { minLength: 1, maxLength: 4 });
  const paths = fc.array(fc.tuple(path, fc.boolean()), { maxLength: 30 });
  fc.assert(
    fc.property(patterns, paths, (patterns, paths) => {
      const filter = filterOf([{ excludeFrom: "list" }], { list: patterns.join("\n") });
      const library = ignore({ ignoreCase: false }).add(patterns);
      return paths.every(
        ([path, isDirectory]) =>
          filter.excludes(path, isDirectory) === library.ignores(isDirectory ? `${path}/` : path),
      );
    }),
    { numRuns: 1000 },
  );
});

t.test("two thousand levels", async (t) => {
  const filter = filterOf([{ exclude: "x/" }]);
  const deep = "d/".repeat(2000);
  t.notOk(filter.excludes(`${deep}d`, true));
  t.notOk(filter.excludes(`${deep}x`, false));
  t.ok(filter.excludes(`${deep}x/d`, false));
});

t.test("files of patterns", async (t) => {
  const dir = t.testdir();
  writeFileSync(join(dir, "list"), Buffer.from([0x2a, 0x2e, 0x6f, 0x0a, 0xff]));
  t.equal(readPatternFile(join(dir, "list")), "*.o\n\udcff");
  t.ok(new Filter([{ excludeFrom: join(dir, "list") }]).excludes("a.o", false));
  mkdirSync(join(dir, "d"));
  writeFileSync(join(dir, "large"), Buffer.alloc(1024 * 1024 + 1, "a\n"));
  const cases: Record<string, RegExp> = {
    missing: /'.*missing' can't be read: it does not exist$/,
    d: /it is a directory$/,
    large: /larger than 1 MiB/,
    "no\nsuch": /no\\u\{a\}such'/,
  };
  for (const [name, message] of Object.entries(cases)) {
    t.throws(() => readPatternFile(join(dir, name)), { code: "E_CONFIG", message }, name);
  }
  t.throws(() => readPatternFile("/dev/zero"), { code: "E_CONFIG" }, "one without end");
  t.throws(() => readPatternFile("-"), { code: "E_USAGE" });
});
