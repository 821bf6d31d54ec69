import { execFileSync } from "node:child_process";
import {
  chmodSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  type Stats,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { bytesOf } from "../../src/protocol/byte-text.ts";
import { Filter } from "../../src/source/filter.ts";
import { TREE_SYSTEM, type TreeSystem } from "../../src/source/tree-system.ts";
import { type TreeEntry, type WalkOptions, walk } from "../../src/source/walk.ts";

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** Directories are read bit by bit, as large ones are. */
const BIT_BY_BIT: Partial<TreeSystem> = { namesOf: () => undefined };
/** Both ways of reading a directory: a small one all at once. */
const SYSTEMS = { "at once": TREE_SYSTEM, "bit by bit": { ...TREE_SYSTEM, ...BIT_BY_BIT } };

/** An entry in a line: what it is, where, and what more there is to say. */
function lineOf(entry: TreeEntry): string {
  const line = `${entry.kind} ${entry.relative}`;
  if (entry.kind === "symlink") return `${line} -> ${latin1(entry.target)}`;
  return entry.kind === "failed" ? `${line} ${entry.error.code}` : line;
}

const linesOf = (top: Uint8Array | string, options?: WalkOptions) => [...walk(top, options)].map(lineOf);
const sorted = (top: Uint8Array | string, options?: WalkOptions) => linesOf(top, options).sort();

/** The system's own calls, watched; those given in their place. */
function watched(instead: Partial<TreeSystem> = {}) {
  const seen = { opened: [] as string[], looked: [] as string[], open: 0, openMost: 0 };
  const system: TreeSystem = {
    ...TREE_SYSTEM,
    ...instead,
    openDirectory(path) {
      const directory = (instead.openDirectory ?? TREE_SYSTEM.openDirectory)(path);
      seen.opened.push(path);
      seen.openMost = Math.max(seen.openMost, ++seen.open);
      return {
        readSync: () => directory.readSync(),
        closeSync() {
          seen.open--;
          directory.closeSync();
        },
      };
    },
    lstat(path) {
      seen.looked.push(path);
      return (instead.lstat ?? TREE_SYSTEM.lstat)(path);
    },
  };
  return { system, seen };
}

const systemError = (code: string) => Object.assign(new Error(`${code}: as it happens, scandir '/x'`), { code });

t.test("a tree: what it holds comes before each directory", async (t) => {
  const top = t.testdir({ a: "", empty: {}, d: { e: { f: "123" }, g: "" } });
  symlinkSync("nowhere", join(top, "link"));
  execFileSync("mkfifo", [join(top, "fifo")]);
  const entries = [...walk(top)];
  const lines = entries.map(lineOf);
  t.strictSame(lines.toSorted(), [
    "directory ",
    "directory d",
    "directory d/e",
    "directory empty",
    "file a",
    "file d/e/f",
    "file d/g",
    "special fifo",
    "symlink link -> nowhere",
  ]);
  t.equal(lines.at(-1), "directory ", "the top is the last");
  for (const [inner, outer] of [
    ["file d/e/f", "directory d/e"],
    ["directory d/e", "directory d"],
    ["file d/g", "directory d"],
  ]) {
    t.ok(lines.indexOf(inner as string) < lines.indexOf(outer as string), `${inner} before ${outer}`);
  }
  for (const entry of entries) {
    const found = lstatSync(entry.path);
    t.equal(entry.path, entry.relative.length === 0 ? top : `${top}/${entry.relative}`);
    if (entry.kind !== "failed") t.strictSame([entry.stats.ino, entry.stats.size], [found.ino, found.size]);
  }
});

t.test("a top under any name", async (t) => {
  const dir = t.testdir({ d: { a: "" }, file: "" });
  symlinkSync("d", join(dir, "link"));
  for (const top of ["d", "d/", "d///", "./d/.", "link", "link/"]) {
    t.strictSame(linesOf(`${dir}/${top}`), ["file a", "directory "], top);
  }
  t.strictSame(linesOf(Buffer.from(join(dir, "d"))), ["file a", "directory "]);
  t.strictSame(linesOf(join(dir, "no")), ["failed  E_SOURCE_MISSING"]);
  t.strictSame(linesOf(join(dir, "file")), ["failed  E_SOURCE_CHANGED"]);
  for (const { path, relative } of walk("/")) {
    t.equal(`/${relative}`, path, "the root");
    break;
  }
});

/** A tree as names with what they are: a string for a file, null for a link that leads to nothing. */
interface Tree {
  readonly [name: string]: Tree | string | null;
}
const anyName = fc
  .uint8Array({ minLength: 1, maxLength: 8 })
  .map((bytes) => latin1(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x80 : byte))))
  .filter((name) => name !== "." && name !== "..");
const anyTree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.dictionary(
    anyName,
    fc.oneof({ depthSize: "small", withCrossShrink: true }, fc.constant(""), fc.constant(null), tie("tree")),
    { maxKeys: 5 },
  ) as fc.Arbitrary<Tree>,
})).tree;

function make(path: Buffer, tree: Tree): void {
  mkdirSync(path);
  for (const [name, what] of Object.entries(tree)) {
    const inner = Buffer.concat([path, Buffer.from(`/${name}`, "latin1")]);
    if (what === null) symlinkSync("nowhere", inner);
    else if (typeof what === "string") writeFileSync(inner, what);
    else make(inner, what);
  }
}

/** The plain way: all of a directory at once, each in turn. */
function naive(path: Buffer, relative: string, filter: Filter): string[] {
  const lines = readdirSync(path, { encoding: "buffer" }).flatMap((name) => {
    const inner = Buffer.concat([path, Buffer.from("/"), name]);
    const below = `${relative}${relative === "" ? "" : "/"}${latin1(name)}`;
    const stats = lstatSync(inner);
    if (filter.excludes(Buffer.from(below, "latin1"), stats.isDirectory())) return [];
    if (stats.isDirectory()) return naive(inner, below, filter);
    return stats.isFile() ? [`file ${below}`] : [`symlink ${below} -> ${readlinkSync(inner)}`];
  });
  return [...lines, `directory ${relative}`];
}

t.test("any tree, with and without a filter, as the plain way finds it", async (t) => {
  const dir = t.testdir();
  let number = 0;
  const filters = [new Filter([]), new Filter([{ exclude: "[a-m]*" }, { exclude: "?/" }, { include: "b*" }])];
  fc.assert(
    fc.property(anyTree, (tree) => {
      const top = Buffer.from(join(dir, String(number++)));
      make(top, tree);
      for (const filter of filters) {
        const found = linesOf(top, { filter });
        t.strictSame(sorted(top, { filter, system: SYSTEMS["bit by bit"] }), found.toSorted());
        t.strictSame(found.toSorted(), naive(top, "", filter).toSorted());
        const places = new Map(found.map((line, i) => [line.slice(line.indexOf(" ") + 1), i]));
        for (const [i, line] of found.entries()) {
          const name = line.slice(line.indexOf(" ") + 1).replace(/ -> nowhere$/, "");
          const parent = name.includes("/") ? name.slice(0, name.lastIndexOf("/")) : "";
          if (name !== "" && !((places.get(parent) as number) > i))
            throw new Error(`${line} comes after its directory`);
        }
      }
    }),
    { numRuns: 60 },
  );
});

t.test("every name that Linux allows", async (t) => {
  const top = Buffer.from(join(t.testdir({ d: {} }), "d"));
  const names = ["\n", "a\tb\r\n", "'\"`", "\\", "-rf", " ", "...", "\u001b[2J", "x".repeat(255), "\xff".repeat(255)];
  for (let byte = 1; byte < 256; byte++) {
    if (byte !== 0x2f && byte !== 0x2e) names.push(`_${String.fromCharCode(byte)}`);
  }
  for (const name of names) writeFileSync(Buffer.concat([top, Buffer.from(`/${name}`, "latin1")]), name.slice(0, 2));
  symlinkSync(Buffer.from("\xff\n", "latin1"), Buffer.concat([top, Buffer.from("/\xfe", "latin1")]));
  const expected = [...names.map((name) => `file ${name}`), "directory ", "symlink \xfe -> \xff\n"];
  for (const [way, system] of Object.entries(SYSTEMS)) t.strictSame(sorted(top, { system }), expected.toSorted(), way);
  for (const entry of walk(top)) t.strictSame(lstatSync(bytesOf(entry.path)).isFile(), entry.kind === "file");
});

t.test("what links lead to in their place", async (t) => {
  const top = t.testdir({ d: { f: "12345" }, other: { deep: { g: "" } } });
  symlinkSync("d/f", join(top, "to-file"));
  symlinkSync("other", join(top, "to-directory"));
  symlinkSync("nowhere", join(top, "dangling"));
  symlinkSync("self", join(top, "self"));
  symlinkSync("..", join(top, "d", "up"));
  symlinkSync(".", join(top, "other", "here"));
  execFileSync("mkfifo", [join(top, "fifo")]);
  symlinkSync("fifo", join(top, "to-fifo"));
  const entries = [...walk(top, { copyLinks: true })];
  t.strictSame(entries.map(lineOf).sort(), [
    "directory ",
    "directory d",
    "directory other",
    "directory other/deep",
    "directory to-directory",
    "directory to-directory/deep",
    "failed d/up E_SOURCE_LOOP",
    "failed dangling E_SOURCE_MISSING",
    "failed other/here E_SOURCE_LOOP",
    "failed self E_SOURCE_LOOP",
    "failed to-directory/here E_SOURCE_LOOP",
    "file d/f",
    "file other/deep/g",
    "file to-directory/deep/g",
    "file to-file",
    "special fifo",
    "special to-fifo",
  ]);
  const said = (name: string) => {
    const entry = entries.find(({ relative }) => String(relative) === name);
    return entry?.kind === "failed" ? entry.error.message : undefined;
  };
  t.equal(said("dangling"), `'${top}/dangling' is a link to 'nowhere', which does not exist`);
  t.equal(said("d/up"), `'${top}/d/up' leads back to '${top}', in which it lies`);
  const file = entries.find(({ relative }) => String(relative) === "to-file");
  t.equal(file?.kind === "file" && file.stats.size, 5, "the file's size");
  const filter = new Filter([
    { exclude: "to-directory/" },
    { exclude: "dangling" },
    { exclude: "d/" },
    { exclude: "self" },
  ]);
  const left = sorted(top, { copyLinks: true, filter });
  t.strictSame(
    left.filter((line) => /to-dir|dangling|self| d/.test(line)),
    [],
    "patterns match what a link stands for",
  );
  t.ok(sorted(top, { filter }).includes("symlink to-directory -> other"), "and a link where it is sent as one");
});

t.test("what is left out is not looked at, and not entered", async (t) => {
  const top = t.testdir({ keep: { a: "" }, cache: { b: "", c: {} }, "x.tmp": "" });
  const { system, seen } = watched();
  const filter = new Filter([{ exclude: "cache/" }, { exclude: "*.tmp" }]);
  t.strictSame(sorted(top, { system, filter }), ["directory ", "directory keep", "file keep/a"]);
  t.strictSame(seen.opened, [top, join(top, "keep")]);
  t.notOk(seen.looked.includes(join(top, "x.tmp")));
});

t.test("what may not be read is said, and the rest goes on", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hawser-walk-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  chmodSync(dir, 0o755);
  for (const name of ["closed", "listed", "open"]) {
    mkdirSync(join(dir, name));
    writeFileSync(join(dir, name, "f"), "");
  }
  const isRoot = process.geteuid?.() === 0;
  chmodSync(join(dir, "closed"), 0o000);
  chmodSync(join(dir, "listed"), 0o744);
  if (!isRoot) chmodSync(join(dir, "listed"), 0o444);
  try {
    // Nobody, as who root is not what it may do is asked.
    if (isRoot) process.seteuid?.(65534);
    for (const [way, system] of Object.entries(SYSTEMS)) {
      const expected = ["directory ", "directory listed", "directory open", "failed closed E_SOURCE_UNREADABLE"];
      expected.push("failed listed/f E_SOURCE_UNREADABLE", "file open/f");
      t.strictSame(sorted(dir, { system }), expected, way);
    }
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(join(dir, "closed"), 0o755);
    chmodSync(join(dir, "listed"), 0o755);
  }
});

t.test("what vanishes or changes while it is walked", async (t) => {
  /** Does something when a call reaches the entry of this name. */
  const at = (name: string, action: (path: string) => void) => (path: string) => {
    if (path.endsWith(`/${name}`)) action(path);
  };
  const looking = (before: (path: string) => void): Partial<TreeSystem> => ({
    lstat(path) {
      before(path);
      return TREE_SYSTEM.lstat(path);
    },
  });
  const opening = (before: (path: string) => void): Partial<TreeSystem> => ({
    ...BIT_BY_BIT,
    openDirectory(path) {
      before(path);
      return TREE_SYSTEM.openDirectory(path);
    },
  });
  const naming = (before: (path: string) => void): Partial<TreeSystem> => ({
    namesOf(path, stats) {
      before(path);
      return TREE_SYSTEM.namesOf(path, stats);
    },
  });
  const reading: Partial<TreeSystem> = {
    ...BIT_BY_BIT,
    openDirectory(path) {
      const directory = TREE_SYSTEM.openDirectory(path);
      let reads = 0;
      const readSync = () => {
        if (path.endsWith("/d") && ++reads > 1) throw systemError("EIO");
        return directory.readSync();
      };
      return { readSync, closeSync: () => directory.closeSync() };
    },
  };
  const remove = (path: string) => rmSync(path, { recursive: true });
  const replace = (path: string) => {
    remove(path);
    writeFileSync(path, "");
  };
  const refuse = () => {
    throw systemError("EMFILE");
  };
  const [a, d, b] = ["file a", "directory d", "file d/b"];
  const cases: Record<string, [Partial<TreeSystem>, string[]]> = {
    "a file, before it is looked at": [looking(at("a", remove)), ["failed a E_SOURCE_MISSING", d, b]],
    "a directory, before it is opened": [opening(at("d", remove)), [a, "failed d E_SOURCE_MISSING"]],
    "a directory that is a file by then": [opening(at("d", replace)), [a, "failed d E_SOURCE_CHANGED"]],
    "a directory, when no handle is left": [opening(at("d", refuse)), [a, "failed d E_SOURCE_IO"]],
    "a directory, before all of it is read": [naming(at("d", remove)), [a, "failed d E_SOURCE_MISSING"]],
    "a directory that is a file before all of it is read": [naming(at("d", replace)), [a, "failed d E_SOURCE_CHANGED"]],
    "a directory, when not even all of it can be read": [naming(at("d", refuse)), [a, "failed d E_SOURCE_IO"]],
    "a directory, while it is read": [reading, [a, d, b, "failed d E_SOURCE_IO"]],
  };
  const rest = ["directory ", "directory e", "file e/c", "file z"];
  for (const [what, [instead, lines]] of Object.entries(cases)) {
    const { system, seen } = watched(instead);
    const top = t.testdir({ a: "", d: { b: "" }, e: { c: "" }, z: "" });
    t.strictSame(sorted(top, { system }), [...lines, ...rest].toSorted(), what);
    t.equal(seen.open, 0, `${what}: everything is closed`);
  }
  const { system } = watched(opening(at("d", refuse)));
  const failure = [...walk(t.testdir({ d: {} }), { system })].find(({ kind }) => kind === "failed");
  t.match(failure?.kind === "failed" && failure.error.message, /d': EMFILE: as it happens$/, "without the path again");
});

t.test("two thousand levels, few handles, and a path that gets too long", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hawser-walk-"));
  const home = process.cwd();
  t.teardown(() => {
    process.chdir(home);
    execFileSync("rm", ["-rf", dir]);
  });
  process.chdir(dir);
  for (let i = 0; i < 2100; i++) {
    writeFileSync("f", "");
    mkdirSync("d");
    process.chdir("d");
  }
  process.chdir(dir);
  const { system, seen } = watched(BIT_BY_BIT);
  const lines = linesOf(".", { system });
  t.strictSame(sorted("."), lines.toSorted(), "and where each is read at once");
  // ./d/d/d: 2,047 of them are 4,095 bytes.
  const failures = lines.filter((line) => line.startsWith("failed"));
  t.strictSame(
    failures.map((line) => [line.length, line.slice(-6)]),
    [
      ["failed  E_NAME".length + 2 * 2048 - 1, "E_NAME"],
      ["failed  E_NAME".length + 2 * 2048 - 1, "E_NAME"],
    ],
  );
  t.equal(lines.filter((line) => line.startsWith("directory")).length, 2048);
  t.equal(lines.filter((line) => line.startsWith("file")).length, 2047);
  t.equal(lines.at(-1), "directory ");
  t.equal(seen.openMost, 65);
  t.equal(seen.open, 0);
});

t.test("a broad tree below the levels that stay open", async (t) => {
  const dir = t.testdir();
  const deep = join(dir, ..."d".repeat(70));
  for (const name of ["x", "y", "z"]) {
    mkdirSync(join(deep, name, "inner"), { recursive: true });
    writeFileSync(join(deep, name, "inner", "f"), "");
    writeFileSync(join(deep, name, "g"), "");
  }
  const filter = new Filter([{ exclude: "y/" }]);
  for (const options of [{}, { filter }]) {
    const { system, seen } = watched(BIT_BY_BIT);
    const expected = naive(Buffer.from(dir), "", options.filter ?? new Filter([]));
    t.strictSame(sorted(dir, { system, ...options }), expected.toSorted());
    t.equal(seen.openMost, 65);
    t.strictSame(sorted(dir, options), expected.toSorted(), "where each is read at once");
  }
});

t.test("a small directory is read at once, with no handle, and a large one bit by bit", async (t) => {
  const top = t.testdir({ a: "", d: { b: "" } });
  const { system, seen } = watched();
  t.strictSame(sorted(top, { system }), ["directory ", "directory d", "file a", "file d/b"]);
  t.strictSame(seen.opened, []);
  for (const size of [0, 2 ** 20]) {
    const large = watched({ lstat: (path) => Object.assign(lstatSync(path), { size }) });
    t.strictSame(sorted(top, { system: large.system }), ["directory ", "directory d", "file a", "file d/b"]);
    t.strictSame(large.seen.opened, [join(top, "d")], `${size} bytes: nobody knows how many it has`);
  }
});

/** A directory of as many files as one likes, on no disk. */
function madeUp(files: number) {
  const stats = (mode: number) => ({ mode, size: 24 * files, mtimeMs: 0 }) as Stats;
  const counts = { reads: 0, closed: 0 };
  const system: TreeSystem = {
    ...TREE_SYSTEM,
    stat: () => stats(constants.S_IFDIR),
    lstat: () => stats(constants.S_IFREG),
    openDirectory: () => ({
      readSync: () =>
        counts.reads++ < files ? { name: Buffer.from(`f${counts.reads}`), isDirectory: () => false } : null,
      closeSync: () => counts.closed++,
    }),
  };
  return { system, counts };
}

t.test("nothing is read before it is asked for", async (t) => {
  const { system, counts } = madeUp(100_000);
  let entries = 0;
  const walking = walk("top", { system });
  t.equal(counts.reads, 0);
  let ahead = 0;
  for (const { kind } of walking) {
    if (kind === "file") ahead = Math.max(ahead, counts.reads - ++entries);
  }
  t.strictSame([entries, ahead, counts.closed], [100_000, 0, 1], "one at a time");

  const early = madeUp(10_000);
  for (const { relative } of walk("top", { system: early.system })) if (String(relative) === "f3") break;
  t.strictSame(early.counts, { reads: 3, closed: 1 }, "a walk that is given up closes what is open");
});

t.test("a bug is thrown, and not taken for the system's word", async (t) => {
  const { system, seen } = watched({
    lstat() {
      throw new TypeError("ours");
    },
  });
  t.throws(() => [...walk(t.testdir({ a: "" }), { system })], { message: "ours" });
  t.equal(seen.open, 0);
});
