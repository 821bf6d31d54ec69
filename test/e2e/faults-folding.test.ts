/**
 * Faults: two names of one transfer that the file system makes one, by case or by Unicode. One of them arrives, the other
 * is refused by name, and what is there keeps its name and its content. Where the file system does not fold, both arrive.
 */
import { mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import type { FileResult } from "../../src/index.ts";
import { foldNames } from "../helpers/folding-file-system.ts";

let folded: string | undefined;
foldNames(() => folded);
// Not before: they take hold of the calls when they are loaded.
const { sendAll, startServer } = await import("../helpers/e2e.ts");

const KIB = 1024;
const NFC = "caf\u00e9";
const NFD = "cafe\u0301";
/** Pairs of one name, and what the first one is to be: small enough to go whole, or in chunks. */
const PAIRS: readonly (readonly [what: string, first: string, second: string])[] = [
  ["case", "Readme", "README"],
  ["Unicode's forms", NFC, NFD],
  ["case beyond ASCII", "\u00c4\u00d6", "\u00e4\u00f6"],
  ["case, below one directory", "d/A.txt", "d/a.txt"],
  ["directories by case", "Dir/x", "dir/y"],
  ["directories by Unicode's forms", `${NFC}/x`, `${NFD}/y`],
];

function pair(t: Test) {
  const root = realpathSync(t.testdir({ from: {}, to: {} }));
  const [from, to] = [join(root, "from"), join(root, "to")];
  const make = (name: string, content: string | Buffer) => {
    mkdirSync(dirname(join(from, name)), { recursive: true });
    writeFileSync(join(from, name), content);
  };
  return { from, to, make };
}

async function folding<T>(to: string, work: () => Promise<T>): Promise<T> {
  folded = to;
  try {
    return await work();
  } finally {
    folded = undefined;
  }
}

const failedOf = (files: readonly FileResult[]) => files.filter(({ status }) => status === "failed");
const filesBelow = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile() && !one.parentPath.includes(".hawser"))
    .map((one) => join(one.parentPath, one.name));

for (const [what, first, second] of PAIRS) {
  for (const size of [100, 400 * KIB]) {
    for (const overwrite of ["never", "if-different", "always"] as const) {
      for (const same of [false, true]) {
        const how = `${size} bytes, ${overwrite}, ${same ? "the same content" : "two contents"}`;
        t.test(`two names that the file system makes one, by ${what}: ${how}`, async (t) => {
          const { from, to, make } = pair(t);
          const contents = [Buffer.alloc(size, "1"), Buffer.alloc(size, same ? "1" : "2")] as const;
          make(first, contents[0]);
          make(second, contents[1]);
          await folding(to, async () => {
            const { to: address } = await startServer(t, to, { durability: "none" });
            for (const run of ["first", "again"]) {
              const { result, files } = await sendAll({
                paths: [`${from}/`],
                to: address,
                overwrite,
                chunkBytes: 64 * KIB,
              });
              const failed = failedOf(files);
              t.ok(failed.length >= 1, `${run}: one is refused`);
              for (const { name, error } of failed) {
                t.equal(error?.code, "E_NAME");
                t.match(error?.message ?? "", "is refused: to the server's file system it is one name with");
                t.ok([first, second, dirname(first), dirname(second)].includes(name), name);
              }
              t.equal(result.error?.code, "E_PARTIAL");
              const there = filesBelow(to);
              t.equal(there.length, 1, "one is there");
              const at = [first, second].findIndex((name) => join(to, name) === there[0]);
              t.ok(
                readFileSync(there[0] as string).equals(contents[at] as Buffer),
                "under its own name, with its content",
              );
              const named = failed.filter(({ name }) => [first, second].includes(name));
              t.same(
                named.map(({ name }) => name),
                [at === 0 ? second : first],
                "the other is named",
              );
            }
          });
        });
      }
    }
  }
  t.test(`both arrive where the file system does not fold: ${what}`, async (t) => {
    const { from, to, make } = pair(t);
    make(first, "1");
    make(second, "2");
    const { to: address } = await startServer(t, to, { durability: "none" });
    for (let run = 0; run < 2; run++) {
      const { result } = await sendAll({ paths: [`${from}/`], to: address });
      t.ok(result.ok, result.error?.message ?? "all");
      t.equal(readFileSync(join(to, first), "utf8"), "1");
      t.equal(readFileSync(join(to, second), "utf8"), "2");
    }
  });
}

t.test("--overwrite rename gives the second another name, once the first is seen there", async (t) => {
  for (const size of [100, 400 * KIB]) {
    const { from, to, make } = pair(t);
    make("A", Buffer.alloc(size, "1"));
    make("a", Buffer.alloc(size, "2"));
    await folding(to, async () => {
      const { to: address } = await startServer(t, to, { durability: "none" });
      for (let run = 0; run < 3; run++) {
        const { result } = await sendAll({
          paths: [`${from}/`],
          to: address,
          overwrite: "rename",
          chunkBytes: 64 * KIB,
        });
        if (run === 0) {
          t.match(result.error, { code: "E_PARTIAL", message: "is refused" });
          continue;
        }
        t.ok(result.ok, result.error?.message ?? "all");
        const names = readdirSync(to).filter((name) => name !== ".hawser");
        t.equal(names.length, 2, names.join());
        t.same(names.map((name) => readFileSync(join(to, name), "latin1")[0]).sort(), ["1", "2"]);
      }
    });
  }
});

t.test("links, and directories that are empty", async (t) => {
  const { from, to } = pair(t);
  symlinkSync("x", join(from, "L"));
  symlinkSync("x", join(from, "l"));
  mkdirSync(join(from, "E"));
  mkdirSync(join(from, "e"));
  await folding(to, async () => {
    const { to: address } = await startServer(t, to, { durability: "none" });
    for (const dryRun of [false, true]) {
      const { files } = await sendAll({ paths: [`${from}/`], to: address, dryRun });
      const failed = failedOf(files);
      t.same(new Set(failed.map(({ error }) => error?.code)), new Set(["E_NAME"]));
      t.same(failed.map(({ name }) => name.toLowerCase()).sort(), ["e", "l"]);
    }
  });
  t.equal(readdirSync(to).filter((name) => name !== ".hawser").length, 2);
});

t.test("two names of one file are two names", async (t) => {
  const { from, to, make } = pair(t);
  make("A", "1");
  make("a", "1");
  const { to: address } = await startServer(t, to, { durability: "none" });
  t.ok((await sendAll({ paths: [`${from}/`], to: address })).result.ok);
  const { linkSync, unlinkSync } = await import("node:fs");
  unlinkSync(join(to, "a"));
  linkSync(join(to, "A"), join(to, "a"));
  const { result, files } = await sendAll({ paths: [`${from}/`], to: address });
  t.ok(result.ok);
  t.same(
    files.map(({ status }) => status),
    ["unchanged", "unchanged"],
  );
});
