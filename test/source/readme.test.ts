/** The tables in the README that say what is sent: each row is tried. */
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { filterRulesOf, type ParsedToken } from "../../src/cli/filter-flags.ts";
import { bytesOf } from "../../src/protocol/byte-text.ts";
import { Filter } from "../../src/source/filter.ts";
import { joinNames, type Naming, nameTopLevel } from "../../src/source/top-level.ts";
import { type WalkOptions, walk } from "../../src/source/walk.ts";

const readme = readFileSync(join(import.meta.dirname, "..", "..", "README.md"), "utf8");

/** The rows of the first table below a heading, as cells. */
function tableBelow(heading: string): string[][] {
  const [, below = ""] = readme.split(`### ${heading}\n`);
  const lines = below.split("\n");
  const first = lines.findIndex((line) => line.startsWith("|"));
  const rows = lines.slice(
    first,
    lines.findIndex((line, i) => i > first && !line.startsWith("|")),
  );
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What stands in a cell as code. */
const codesIn = (cell = ""): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code as string);

/** As a shell takes it apart, as far as the tables need that. */
const words = (text: string): string[] =>
  [...text.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");

/** The names under which files and links arrive. */
function sent(paths: readonly string[], naming: Naming, options: WalkOptions): string[] {
  const named = paths.map((path) => ({ path: Buffer.from(path), isDirectory: statSync(path).isDirectory() }));
  const names = nameTopLevel(named, naming).flatMap(({ path, isDirectory, name }) => {
    if (!isDirectory) return [String(name)];
    const entries = [...walk(path, options)].filter(({ kind }) => kind !== "directory");
    return entries.map(({ relative }) => String(joinNames(name, bytesOf(relative))));
  });
  return names.sort();
}

function inDirectory(dir: string, action: () => void): void {
  const before = process.cwd();
  process.chdir(dir);
  try {
    action();
  } finally {
    process.chdir(before);
  }
}

t.test("what is named how", async (t) => {
  const dir = t.testdir({ photos: { "cat.jpg": "" }, a: { b: { "c.txt": "" } } });
  symlinkSync("photos", join(dir, "latest"));
  const rows = tableBelow("What is named how");
  t.ok(rows.length >= 8, "the table is there");
  inDirectory(dir, () => {
    for (const [command = "", gives = ""] of rows) {
      const paths = words(codesIn(command)[0] ?? "");
      const copyLinks = paths.includes("--copy-links");
      if (copyLinks) paths.splice(paths.indexOf("--copy-links"), 1);
      const into = paths.includes("--into") ? paths.splice(paths.indexOf("--into"), 2)[1] : undefined;
      if (gives.startsWith("an error")) t.throws(() => sent(paths, { into }, {}), { code: "E_USAGE" }, command);
      else t.strictSame(sent(paths, { into }, { copyLinks }), codesIn(gives).sort(), command);
    }
  });
});

t.test("what to leave out", async (t) => {
  const top = t.testdir();
  const rows = tableBelow("What to leave out");
  t.ok(rows.length >= 6, "the table is there");
  for (const [i, [flags = "", out = "", kept = ""]] of rows.entries()) {
    const dir = join(top, String(i));
    for (const file of [...codesIn(out), ...codesIn(kept)]) {
      mkdirSync(dirname(join(dir, file)), { recursive: true });
      writeFileSync(join(dir, file), "");
    }
    const [line = ""] = codesIn(flags);
    const argv = words(line);
    const tokens = argv.flatMap((word, at): ParsedToken[] =>
      word.startsWith("--") ? [{ type: "flag", flag: word.slice(2), input: argv[at + 1] as string }] : [],
    );
    const filter = new Filter(filterRulesOf(tokens));
    t.strictSame(sent([`${dir}/`], {}, { filter }), codesIn(kept).sort(), line);
  }
});
