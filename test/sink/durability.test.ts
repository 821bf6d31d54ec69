/** What each durability syncs, in which order, and what it reads back. */
import { execFileSync, spawnSync } from "node:child_process";
import fs, {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { DirectReader } from "../../src/sink/direct-reader.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { SyncError } from "../../src/sink/durable.ts";
import type { Durability } from "../../src/sink/sink.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { commit, reserve, specOf, write } from "./sink-conformance.ts";

const CHUNK = 64 * 1024;
const content = randomBytesOf(3 * CHUNK + 1234, 3);
const sourceOf = (module: string) => new URL(`../../src/sink/${module}.ts`, import.meta.url);
const CHILD = fileURLToPath(new URL("../helpers/child-commit.ts", import.meta.url));

/** Whether system calls can be watched here; says so where not. */
function canTrace(t: Test): boolean {
  const { status, error } = spawnSync("strace", ["-o", "/dev/null", "true"]);
  if (status === 0) return true;
  t.comment(`skipped: system calls can't be watched: ${error?.message ?? `strace exits with ${status}`}`);
  return false;
}

/** What of these calls a program makes that commits one file, each with what it is about. */
function callsOf(t: Test, durability: Durability, hardLinks: boolean): string[] {
  const dir = t.testdir();
  const log = join(dir, "calls");
  const served = join(dir, "served");
  mkdirSync(served);
  const how = JSON.stringify({ dir: served, name: "sub/a", durability, hardLinks });
  const calls = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat";
  // At its end Node would put compiled code into the tests' cache, and rename it there.
  const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: "1" };
  execFileSync("strace", ["-f", "-y", "-o", log, "-e", `trace=${calls}`, process.execPath, CHILD, how], { env });
  t.ok(existsSync(join(served, "sub/a")), `committed with ${durability}`);
  const found: string[] = [];
  for (const line of readFileSync(log, "utf8").split("\n")) {
    // A call that another thread interrupts is finished on a line of its own.
    const [, call = "", about = ""] = /^\d+ +(\w+)\(([^)]*?)(?:\)| <unfinished)/.exec(line) ?? [];
    if (call === "" || about.includes("probe")) continue;
    const path = /<([^>]*)>/.exec(about)?.[1] ?? "";
    if (call === "fsync" || call === "fdatasync") found.push(`sync ${path.slice(served.length) || "/"}`);
    else found.push(call.replace(/at2?$/, ""));
  }
  return found;
}

t.test("what is synced when a file is committed, in which order", async (t) => {
  if (!canTrace(t)) return;
  const part = "sync /.hawser/parts/p.part";
  const durably = [part, "sync /", "link", "sync /sub", "unlink", "sync /.hawser/parts"];
  const byRename = [part, "sync /", "rename", "sync /sub", "sync /.hawser/parts"];
  const withoutMadeDirectory = (calls: string[]) => calls.filter((call) => call !== "sync /");
  for (const durability of ["commit", "checkpoint", "strict"] as const) {
    const linked = callsOf(t, durability, true);
    t.strictSame(withoutMadeDirectory(linked), withoutMadeDirectory(durably), `${durability}, by link`);
    t.ok(
      linked.indexOf("sync /") >= 0 && linked.indexOf("sync /") < linked.indexOf("link"),
      "the directory made for it",
    );
    const renamed = callsOf(t, durability, false).filter((call) => call !== "unlink");
    t.strictSame(withoutMadeDirectory(renamed), withoutMadeDirectory(byRename), `${durability}, by rename`);
  }
});

t.test("without durability nothing is synced at all", async (t) => {
  if (!canTrace(t)) return;
  t.strictSame(callsOf(t, "none", true), ["link", "unlink"]);
  t.strictSame(
    callsOf(t, "none", false).filter((call) => call !== "unlink"),
    ["rename"],
  );
});

t.test("strict reads back, and what is not what was written is not committed", async (t) => {
  const dir = t.testdir();
  const sink = new DiskSink(dir, { durability: "strict" });
  t.teardown(() => sink.close());
  for (const size of [0, 1, 4096, 1024 * 1024, 1024 * 1024 + 1, 2 * 1024 * 1024 + 4097]) {
    const bytes = randomBytesOf(size, size + 1);
    const part = await reserve(sink, specOf(`f${size}`, size));
    await write(part, bytes, CHUNK);
    await commit(part, bytes);
    t.ok(same(readFileSync(join(dir, `f${size}`)), bytes), `${size} bytes`);
  }
  const part = await reserve(sink, specOf("bad", content.length));
  const spoilt = content.slice();
  spoilt[CHUNK] = (spoilt[CHUNK] ?? 0) ^ 1;
  await write(part, spoilt, CHUNK);
  const thrown = await commit(part, content).catch((error) => error);
  t.ok(thrown instanceof SyncError, `${thrown}`);
  t.match(thrown, { code: "E_IO", message: /'bad' is not what was written/ });
  t.notOk(existsSync(join(dir, "bad")));
  await part.abort();
});

t.test("the others take the caller's word", async (t) => {
  for (const durability of ["none", "commit", "checkpoint"] as const) {
    const dir = t.testdir();
    const sink = new DiskSink(dir, { durability });
    t.equal(sink.capabilities.durability, durability);
    const part = await reserve(sink, specOf("a", content.length));
    await write(part, content, CHUNK);
    await part.commit(content.length, 0);
    t.ok(same(readFileSync(join(dir, "a")), content));
    await sink.close();
  }
});

t.test("a file is read from the disk itself where the file system can", async (t) => {
  const dir = t.testdir();
  const room = 64 * 1024;
  // As a numbers of statfs(2): these have O_DIRECT.
  const readsDirectly = new Set([0xef53, 0x58465342, 0x9123683e]);
  for (const [i, size] of [0, 1, 4095, 4096, room, room + 1, 3 * room + 5].entries()) {
    const path = join(dir, `f${size}`);
    const bytes = randomBytesOf(size, i + 1);
    writeFileSync(path, bytes, { flush: true });
    const reader = DirectReader.open(Buffer.from(path), room);
    if (reader === undefined) {
      t.notOk(readsDirectly.has(statfsSync(dir).type), `file system ${statfsSync(dir).type} reads through memory only`);
      continue;
    }
    const found: Uint8Array[] = [];
    for (let at = 0; ; ) {
      const piece = await reader.read(at);
      if (piece.length === 0) break;
      found.push(new Uint8Array(piece));
      at += piece.length;
      // The end of the file is seen when a read brings less than fits.
      if (piece.length < room) break;
    }
    t.ok(same(Buffer.concat(found), bytes), `${size} bytes`);
    await reader.close();
  }
  t.equal(DirectReader.open(Buffer.from(join(dir, "none")), room), undefined);
  t.equal(DirectReader.open(Buffer.from(join(dir, "f4096")), 1000), undefined, "whole blocks only");
});

t.test("where it can't, it says so, and holds nothing open", async (t) => {
  if (!existsSync("/dev/shm")) return t.comment("skipped: there is no /dev/shm");
  const dir = mkdtempSync("/dev/shm/hawser-test-");
  t.teardown(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "a"), content);
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  const reader = DirectReader.open(Buffer.from(join(dir, "a")), CHUNK);
  // Linux 6.6 and later have O_DIRECT for tmpfs.
  if (reader === undefined) t.equal(open(), before);
  else t.ok(same(await reader.read(0), content.subarray(0, CHUNK)));
  await reader?.close();
  t.equal(open(), before);
  const sink = new DiskSink(dir, { durability: "strict" });
  const part = await reserve(sink, specOf("b", content.length));
  await write(part, content, CHUNK);
  await commit(part, content);
  t.ok(same(readFileSync(join(dir, "b")), content), "and strict reads as it can");
  await sink.close();
});

t.test("a part that a commit has made read-only can be gone on with", async (t) => {
  const dir = t.testdir({ served: {} });
  const served = join(dir, "served");
  const program = `
    import { DiskSink } from ${JSON.stringify(sourceOf("disk-sink").href)};
    const sink = new DiskSink(process.argv[1]);
    const spec = { id: "p", name: Buffer.from("a"), size: 4, mtime: [0, 0], mode: 0o444 };
    const part = await sink.reserve(spec);
    part.open();
    part.write(0, Buffer.from("good"));
    await part.commit(4, 0).catch(({ code }) => process.stdout.write(code + " "));
    await part.close();
    const again = await sink.reopen(spec, 4).catch(({ code }) => code);
    process.stdout.write(typeof again === "string" ? again : "reopened");
  `;
  // As somebody for whom permissions count: root may write what is read-only.
  const identity = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  if (identity.uid !== undefined) {
    execFileSync("chown", ["65534:65534", served]);
    if (spawnSync("test", ["-x", served], identity).status !== 0)
      return t.comment("skipped: nobody may not enter here");
  }
  writeFileSync(join(served, "a"), "there");
  chmodSync(served, 0o755);
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", program, served], {
    ...identity,
    encoding: "utf8",
  });
  if (/EACCES.*src|Cannot find module/.test(stderr)) return t.comment("skipped: nobody may not read the program here");
  t.equal(stdout, "E_EXISTS reopened", stderr);
});

t.test("room that is promised to a part that is taken up is what is missing of it", async (t) => {
  const dir = t.testdir();
  const { bavail, bsize } = statfsSync(dir);
  const free = bavail * bsize;
  // All but 1,000 MB stay free, so that what other programs write meanwhile doesn't matter.
  const room = Math.min(free, 1e9);
  const sink = new DiskSink(dir, { minFreeBytes: Math.max(0, free - 1e9) });
  t.teardown(() => sink.close());
  const spec = specOf("a", Math.floor(3 * room));
  const left = await reserve(sink, { ...spec, size: 4 });
  await write(left, nameOf("left"), CHUNK);
  await left.close();
  await t.rejects(sink.reopen(spec, 4), { code: "E_NO_SPACE", message: /bytes more/ });
  const taken = await sink.reopen(spec, Math.floor(2.6 * room));
  t.ok(taken, "0.4 of it is missing");
  await t.rejects(sink.reserve(specOf("b", Math.floor(0.8 * room))), { code: "E_NO_SPACE" });
  await taken?.close();
  await taken?.close();
  t.equal(await sink.reopen({ ...spec, id: "none" }, Math.floor(2.6 * room)), undefined);
  const other = await sink.reserve(specOf("c", Math.floor(0.4 * room)));
  await t.rejects(sink.reserve(specOf("d", Math.floor(0.8 * room))), { code: "E_NO_SPACE" }, "given back once only");
  await other.close();
  const all = await sink.reserve(specOf("e", Math.floor(0.8 * room)));
  await all.abort();
});

t.test("what lies in staging and is no file is not gone on with", async (t) => {
  const dir = t.testdir();
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  const parts = join(dir, ".hawser/parts");
  execFileSync("mkfifo", [join(parts, "fifo.part")]);
  execFileSync("ln", ["-s", "/etc/passwd", join(parts, "link.part")]);
  t.equal(await sink.reopen(specOf("a", 10, { id: "fifo" }), 0), undefined);
  await t.rejects(sink.reopen(specOf("a", 10, { id: "link" }), 0), { name: "HawserError", code: "E_IO" });
});

t.test("a part is known by its inode, whatever name it has", async (t) => {
  const dir = t.testdir();
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  const part = await reserve(sink, specOf("a", content.length));
  await write(part, content, CHUNK);
  const { fingerprint } = part;
  await commit(part, content);
  const isThere = () => sink.isCommitted(nameOf("a"), fingerprint, content.length);
  t.ok(await isThere());
  execFileSync("cp", [join(dir, "a"), join(dir, "copy")]);
  execFileSync("mv", [join(dir, "copy"), join(dir, "a")]);
  t.notOk(await isThere(), "a copy of it is another file");
  rmSync(join(dir, "a"));
  execFileSync("ln", ["-s", ".", join(dir, "a")]);
  t.notOk(await isThere());
  mkdirSync(join(dir, "d"));
  t.notOk(await sink.isCommitted(nameOf("d"), fingerprint, content.length));
});

t.test("a file that was made anew is not the one that was committed, though it may get its inode", async (t) => {
  const dir = t.testdir();
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  const part = await reserve(sink, specOf("a", content.length));
  await write(part, content, CHUNK);
  const { fingerprint } = part;
  await commit(part, content);
  rmSync(join(dir, "a"));
  writeFileSync(join(dir, "a"), randomBytesOf(content.length, 99));
  t.notOk(await sink.isCommitted(nameOf("a"), fingerprint, content.length));
});

t.test("a part that has another name as well is somebody's file, and not gone on with", async (t) => {
  const dir = t.testdir();
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  const spec = specOf("a", content.length);
  const part = await reserve(sink, spec);
  await write(part, content, CHUNK);
  await part.close();
  const path = join(dir, ".hawser/parts", `${spec.id}.part`);
  linkSync(path, join(dir, "linked"));
  t.equal(await sink.reopen(spec, content.length), undefined);
  t.ok(same(readFileSync(join(dir, "linked")), content), "and left as it is");
  unlinkSync(join(dir, "linked"));
  const again = await sink.reopen(spec, content.length);
  t.ok(again);
  await again?.close();
});

t.test("a commit that an earlier run made is believed when its name is synced", async (t) => {
  if (!canTrace(t)) return;
  for (const durability of ["none", "commit", "checkpoint", "strict"] as const) {
    const dir = t.testdir({ served: { sub: {} } });
    const served = join(dir, "served");
    const sink = new DiskSink(served, { durability });
    const part = await reserve(sink, specOf("sub/a", content.length));
    await write(part, content, CHUNK);
    const { fingerprint } = part;
    await commit(part, content);
    await sink.close();
    const program = `
      import { DiskSink } from ${JSON.stringify(sourceOf("disk-sink").href)};
      const [served, durability, fingerprint, size] = process.argv.slice(1);
      const sink = new DiskSink(served, { durability });
      process.stdout.write(String(await sink.isCommitted(Buffer.from("sub/a"), fingerprint, Number(size))));
    `;
    const log = join(dir, "calls");
    const strace = ["-f", "-y", "-o", log, "-e", "trace=fsync,fdatasync"];
    const node = [process.execPath, "--input-type=module-typescript", "-e", program];
    const found = execFileSync("strace", [...strace, ...node, served, durability, fingerprint, `${content.length}`], {
      encoding: "utf8",
    });
    t.equal(found, "true", durability);
    const syncs = [...readFileSync(log, "utf8").matchAll(/sync\(\d+<([^>]*)>/g)].map(([, path]) => path);
    t.strictSame(syncs, durability === "none" ? [] : [join(served, "sub")], durability);
  }
});

t.test("what the disk itself refuses to read is not asked of the kernel's memory", async (t) => {
  const path = Buffer.from(join(t.testdir({ a: "x".repeat(4096) }), "a"));
  const usable = DirectReader.open(path, CHUNK);
  await usable?.close();
  // Modules that have imported it by name get the other one, too.
  const { readSync } = fs;
  const say = (code: string) => {
    fs.readSync = () => {
      throw Object.assign(new Error(`${code}: read`), { code });
    };
    syncBuiltinESMExports();
  };
  t.teardown(() => {
    fs.readSync = readSync;
    syncBuiltinESMExports();
  });
  if (usable === undefined) return t.comment("skipped: this file system reads through memory only");
  const open = () => readdirSync("/proc/self/fd").length;
  const before = process.platform === "linux" ? open() : 0;
  say("EIO");
  t.throws(() => DirectReader.open(path, CHUNK), { code: "EIO" });
  say("EINVAL");
  t.equal(DirectReader.open(path, CHUNK), undefined, "memory at a place that doesn't suit is no fault of the disk");
  if (process.platform === "linux") t.equal(open(), before, "nothing is left open");
});
