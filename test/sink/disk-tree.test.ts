/** Directories, links and small files on the disk: the contract, and what is synced, when, and what a failed sync means. */
import { execFileSync, spawnSync } from "node:child_process";
import fs, {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import type { HawserError } from "../../src/protocol/errors.ts";
import type { Batch, Durability, StagedOutcome } from "../../src/sink/sink.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { specOf } from "./sink-conformance.ts";
import { treeConformance } from "./tree-conformance.ts";

/** Paths of what was synced in this process; whatever is named here fails. */
let syncs: string[] = [];
let failing: (path: string) => boolean = () => false;
const realSync = fs.fsync;
fs.fsync = ((fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  syncs.push(path);
  if (!failing(path)) return realSync(fd, done);
  setImmediate(() => done(Object.assign(new Error("EIO: i/o error"), { code: "EIO" })));
}) as typeof fs.fsync;
syncBuiltinESMExports();
// Not before: it takes hold of the call when it is loaded.
const { DiskSink } = await import("../../src/sink/disk-sink.ts");

const CHILD = fileURLToPath(new URL("../helpers/child-tree.ts", import.meta.url));
const TMPFS = 0x01021994;

function disk(t: Test, options: ConstructorParameters<typeof DiskSink>[1] = {}) {
  const dir = t.testdir();
  const sink = new DiskSink(dir, options);
  syncs = [];
  failing = () => false;
  t.teardown(() => {
    failing = () => false;
    return sink.close();
  });
  const read = (name: string) => (existsSync(join(dir, name)) ? readFileSync(join(dir, name)) : undefined);
  const partsHeld = () => readdirSync(join(dir, ".hawser/parts")).length;
  const names = () =>
    (fs.readdirSync(dir, { recursive: true }) as string[])
      .filter((name) => !name.startsWith(".hawser") && lstatSync(join(dir, name)).isFile())
      .sort();
  return { dir, sink, read, partsHeld, names };
}

for (const durability of ["none", "commit"] as const) {
  t.test(`the contract, with ${durability}`, async (t) => {
    treeConformance(t, (t, fileBytesMax) =>
      disk(t, { durability, ...(fileBytesMax === undefined ? {} : { fileBytesMax }) }),
    );
  });
}

t.test("more directories than are held, wider and deeper", async (t) => {
  const { sink, read, partsHeld } = disk(t, { durability: "none" });
  const deep = "d/".repeat(150);
  const files = Array.from({ length: 300 }, (_, i) =>
    i % 3 === 0 ? `${"d/".repeat(i % 150)}w${i}` : `wide${i}/${deep}f${i}`,
  );
  const batch = sink.tree.batch();
  for (const [i, name] of files.entries()) batch.stage(specOf(name, 50, {}), randomBytesOf(50, i));
  const outcomes = await batch.commit();
  t.same(
    outcomes.filter((outcome) => outcome instanceof Error),
    [],
  );
  for (const [i, name] of files.entries()) if (!same(read(name), randomBytesOf(50, i))) t.fail(name);
  const found = sink.tree.findAll([...files, "wide1/none", `${deep}none`].map(nameOf));
  t.equal(found.filter((one) => one !== undefined).length, files.length);
  t.equal(partsHeld(), 0);
  t.ok(readdirSync("/proc/self/fd").length < 60, "and none stays open");
});

/** What a program that commits does to the disk, in its order: `sync` is of all, or of one path. */
function callsOf(
  t: Test,
  durability: Durability,
  files: number,
  directories: number,
  areThere = false,
): string[] | undefined {
  if (spawnSync("strace", ["-o", "/dev/null", "true"]).status !== 0) {
    t.pass("skipped: system calls can't be watched");
    return undefined;
  }
  const dir = t.testdir();
  if (statfsSync(dir).type === TMPFS) {
    t.pass("skipped: what is in memory is not synced");
    return undefined;
  }
  const [log, served] = [join(dir, "calls"), join(dir, "served")];
  mkdirSync(served);
  const how = JSON.stringify({ dir: served, durability, files, directories, areThere });
  const calls = "fsync,fdatasync,syncfs,sync,link,linkat,rename,symlink,symlinkat,unlink,unlinkat,write";
  // At its end Node would put compiled code into the tests' cache, and rename it there.
  const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: "1" };
  execFileSync("strace", ["-f", "-y", "-o", log, "-e", `trace=${calls}`, process.execPath, CHILD, how], { env });
  const found: string[] = [];
  for (const line of readFileSync(log, "utf8").split("\n")) {
    const [, call = "", about = ""] = /^\d+ +(\w+)\((.*)/.exec(line) ?? [];
    if (call === "" || about.includes("probe")) continue;
    const path = /<([^>]*)>/.exec(about)?.[1] ?? "";
    if (call === "write") {
      const said = /"(files|directory|link)/.exec(about)?.[1];
      if (said !== undefined && about.startsWith("1<")) found.push(`told: ${said}`);
    } else if (call === "syncfs" || call === "sync") found.push("sync all");
    else if (call.startsWith("f")) found.push(`sync ${path.slice(served.length) || "/"}`);
    else found.push(call.replace(/at$/, ""));
  }
  return found;
}

/** In a list of calls, where the first and the last of a kind are. */
const first = (calls: readonly string[], call: string) => calls.indexOf(call);
const last = (calls: readonly string[], call: string) => calls.lastIndexOf(call);

/** By which call a batch gives names: to each file in a directory that is there, and else to the directory with all in it. */
const NAMING = [
  { where: "in directories that are there", areThere: true, call: "link" },
  { where: "in new directories", areThere: false, call: "rename" },
] as const;

for (const { where, areThere, call } of NAMING) {
  t.test(
    `many files ${where}: all data is synced before the first name, and all names before the outcome`,
    async (t) => {
      const calls = callsOf(t, "commit", 40, 6, areThere);
      if (calls === undefined) return;
      const told = first(calls, "told: files");
      const ofFiles = calls.slice(0, told);
      t.equal(ofFiles.filter((one) => one === call).length, areThere ? 40 : 6);
      t.ok(first(ofFiles, "sync all") >= 0 && first(ofFiles, "sync all") < first(ofFiles, call), "data before names");
      t.ok(last(ofFiles, "sync all") > last(ofFiles, call), "names before the outcome");
      t.equal(ofFiles.filter((one) => one === "sync all").length, 2, "two syncs for all of them");
      const ofDirectory = calls.slice(told, first(calls, "told: directory"));
      t.same(
        ofDirectory.slice(1).sort(),
        ["sync /", "sync /made", "sync /made/below"],
        "a directory, and what leads to it",
      );
      const ofLink = calls.slice(first(calls, "told: directory"), first(calls, "told: link"));
      t.ok(ofLink.includes("sync /links") && ofLink.indexOf("sync /links") > ofLink.indexOf("link"), "a link's name");
      t.ok(ofLink.includes("sync /"));
    },
  );

  t.test(`few files ${where}: each is synced before the first name, and directories before the outcome`, async (t) => {
    const calls = callsOf(t, "commit", 3, 2, areThere);
    if (calls === undefined) return;
    const ofFiles = calls.slice(0, first(calls, "told: files"));
    t.same(
      ofFiles.slice(0, first(ofFiles, call)).filter((one) => one.startsWith("sync")),
      [0, 1, 2].map((i) => `sync /.hawser/parts/${areThere ? `p${i}.part` : `p${i % 2}/f${i}`}`),
    );
    const after = ofFiles.slice(last(ofFiles, call));
    for (const path of ["/d0", "/d1", ...(areThere ? [] : ["/"])]) {
      t.ok(after.includes(`sync ${path}`), `${path} is synced`);
    }
    t.equal(after.at(-1), "sync /.hawser/parts", "and that they have left staging");
    t.notOk(ofFiles.includes("sync all"));
  });
}

t.test("without durability nothing is synced", async (t) => {
  const calls = callsOf(t, "none", 40, 6);
  t.same(calls?.filter((call) => call.startsWith("sync")) ?? [], []);
});

/** Puts a program of that name first in PATH, or none at all; it counts its calls in a file. */
function withSync(t: Test, script: string | undefined): () => number {
  const bin = t.testdir();
  if (script !== undefined) {
    writeFileSync(join(bin, "sync"), `#!/bin/sh\necho "$@" >> ${bin}/calls\n${script}\n`);
    chmodSync(join(bin, "sync"), 0o755);
  }
  const before = process.env["PATH"];
  process.env["PATH"] = script === undefined ? bin : `${bin}:${before}`;
  t.teardown(() => {
    process.env["PATH"] = before;
  });
  return () =>
    existsSync(join(bin, "calls")) ? readFileSync(join(bin, "calls"), "utf8").trim().split("\n").length : 0;
}

/** What lies in staging, and not staging itself. */
const isPart = (path: string) => path.includes("/.hawser/parts/");

const codes = (outcomes: readonly StagedOutcome[]) =>
  outcomes.map((one) => (one instanceof Error ? (one as HawserError).code : "ok"));

function stage({ sink }: ReturnType<typeof disk>, count: number, below = (i: number) => `d${i}`): Batch {
  const batch = sink.tree.batch();
  for (let i = 0; i < count; i++) batch.stage(specOf(`${below(i)}/f${i}`, 20), randomBytesOf(20, i));
  return batch;
}

t.test("sync -f", { skip: process.platform === "linux" ? false : "it is Linux's" }, async (t) => {
  await t.test("fails: the files fail, and nothing has their names", async (t) => {
    const calls = await inCase(t, "echo 'sync: error syncing: Input/output error' >&2; exit 1");
    if (calls === undefined) return;
    const { tree, count } = calls;
    t.same(codes(await stage(tree, 10).commit()), Array(10).fill("E_IO"));
    t.same(tree.names(), []);
    t.equal(tree.partsHeld(), 0);
    t.equal(count(), 1);
  });

  await t.test("is killed, as by whoever stops the server: each is synced by itself", async (t) => {
    const calls = await inCase(t, "kill -9 $$");
    if (calls === undefined) return;
    const { tree } = calls;
    t.same(codes(await stage(tree, 10).commit()), Array(10).fill("ok"));
    t.equal(syncs.filter(isPart).length, 10);
  });

  await t.test("fails when the files have their names: those are taken back, but not what gave way", async (t) => {
    const calls = await inCase(t, 'test "$(wc -l < $(dirname $0)/calls)" = 1');
    if (calls === undefined) return;
    const { tree, count } = calls;
    writeFileSync(join(tree.dir, "old"), "old");
    const batch = stage(tree, 10);
    batch.stage(specOf("old", 3, { clobber: "replace" }), nameOf("new"));
    t.same(codes(await batch.commit()), Array(11).fill("E_IO"));
    t.same(tree.names(), ["old"]);
    t.equal(tree.partsHeld(), 0);
    t.equal(count(), 2);
  });

  await t.test("is not there: each is synced by itself", async (t) => {
    const calls = await inCase(t, undefined);
    if (calls === undefined) return;
    const { tree } = calls;
    t.same(codes(await stage(tree, 10).commit()), Array(10).fill("ok"));
    t.equal(syncs.filter(isPart).length, 10);
    for (let i = 0; i < 10; i++) t.ok(syncs.includes(join(tree.dir, `d${i}`)), `d${i}`);
    t.ok(syncs.includes(tree.dir));
    syncs = [];
    await stage(tree, 10, (i) => `again${i}`).commit();
    t.equal(syncs.filter(isPart).length, 10, "and it is not looked for again");
  });

  await t.test("and one file whose own sync fails fails alone", async (t) => {
    const calls = await inCase(t, undefined);
    if (calls === undefined) return;
    const { tree } = calls;
    const batch = stage(tree, 10);
    failing = (path) => isPart(path) && path.endsWith("/f3");
    t.same(
      codes(await batch.commit()),
      Array.from({ length: 10 }, (_, i) => (i === 3 ? "E_IO" : "ok")),
    );
    t.equal(tree.names().length, 9);
    t.equal(tree.partsHeld(), 0);
  });

  await t.test("and a directory whose sync fails takes back what is in it", async (t) => {
    const calls = await inCase(t, undefined);
    if (calls === undefined) return;
    const { tree } = calls;
    const batch = stage(tree, 10);
    failing = (path) => path.endsWith("/d5");
    t.same(new Set(codes(await batch.commit())), new Set(["E_IO"]));
    t.same(tree.names(), []);
  });
});

async function inCase(t: Test, script: string | undefined) {
  const tree = disk(t, { durability: "commit" });
  if (statfsSync(tree.dir).type === TMPFS) {
    t.pass("skipped: what is in memory is not synced");
    return undefined;
  }
  return { tree, count: withSync(await sibling(t), script) };
}

/** A test's directory is one; the programs need another. */
async function sibling(t: Test): Promise<Test> {
  const testdir = () => {
    const path = fs.mkdtempSync("/tmp/hawser-sync-");
    t.teardown(() => rmSync(path, { recursive: true, force: true }));
    return path;
  };
  return { testdir, teardown: (work: () => void) => t.teardown(work) } as unknown as Test;
}
