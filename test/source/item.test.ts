import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  readdirSync,
  renameSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { blake3 } from "@napi-rs/blake-hash";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { RESUME_KEY_BYTES } from "../../src/protocol/limits.ts";
import { FileItem, PatternItem } from "../../src/source/item.ts";
import { openReader } from "../../src/source/reader.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";

const { signal } = new AbortController();

t.test("a file, its facts and its content", async (t) => {
  const path = join(t.testdir(), "a");
  for (const size of [0, 1, 3_000_001]) {
    const content = randomBytesOf(size);
    writeFileSync(path, content, { mode: 0o640 });
    execFileSync("touch", ["-d", "1969-12-31 23:59:58.250000000 UTC", path]);
    const item = new FileItem(path, nameOf("x/a"));
    t.strictSame([item.size, item.mtime, item.mode & 0o600], [size, [-2, 250_000_000], 0o600]);
    const digest = await item.digest(signal);
    t.ok(same(digest.blake3, blake3(Buffer.from(content))));
    t.equal(digest.crc32, crc32(content));
    const reader = openReader(item.open());
    const read = reader.read(0, size + 100, new Uint8Array(size + 100));
    t.ok(same(read, content), "fewer bytes where the file ends");
    item.assertUnchanged();
    item.close();
    item.close();
  }
});

t.test("a file that changes is noticed, however it does", async (t) => {
  const path = join(t.testdir(), "a");
  const changes: Record<string, () => void> = {
    grows: () => appendFileSync(path, "more"),
    shrinks: () => truncateSync(path, 1),
    "is written to": () => writeFileSync(path, "CONTENT", { flag: "r+" }),
    "is written to, and its time set back": () => {
      writeFileSync(path, "CONTENT", { flag: "r+" });
      utimesSync(path, 1_700_000_000, 1_700_000_000);
    },
  };
  for (const [how, change] of Object.entries(changes)) {
    writeFileSync(path, "content");
    utimesSync(path, 1_700_000_000, 1_700_000_000);
    const late = new FileItem(path, nameOf("a"));
    const open = new FileItem(path, nameOf("a"));
    open.open();
    open.assertUnchanged();
    change();
    t.throws(() => open.assertUnchanged(), { code: "E_SOURCE_CHANGED" }, how);
    t.throws(() => late.open(), { code: "E_SOURCE_CHANGED" }, `${how}, before it is opened`);
    await t.rejects(open.digest(signal), { code: "E_SOURCE_CHANGED" }, how);
    open.close();
  }
});

t.test("a file that goes away, or is something else when it is opened", async (t) => {
  const path = join(t.testdir(), "a");
  writeFileSync(path, "content");
  const item = new FileItem(path, nameOf("a"));
  execFileSync("rm", [path]);
  t.throws(() => item.open(), { code: "E_SOURCE_MISSING" });
  execFileSync("mkfifo", [path]);
  const before = readdirSync("/proc/self/fd").length;
  t.throws(() => item.open(), { code: "E_SOURCE_CHANGED" });
  t.equal(readdirSync("/proc/self/fd").length, before);
});

t.test("a digest can be interrupted", async (t) => {
  const path = join(t.testdir(), "a");
  writeFileSync(path, randomBytesOf(100));
  const item = new FileItem(path, nameOf("a"));
  await t.rejects(item.digest(AbortSignal.abort()));
  item.close();
});

t.test("made-up bytes are the same every time", async (t) => {
  const reader = openReader({ kind: "pattern" });
  const bytes = Buffer.from(reader.read(0, 100_000, new Uint8Array(0)));
  t.equal(bytes.length, 100_000);
  t.ok(same(reader.read(1_000_000, 100_000, new Uint8Array(0)), bytes));
});

const keyOf = (path: string, name = "a") => Buffer.from(new FileItem(path, nameOf(name)).key).toString("hex");
const openDescriptors = () => readdirSync("/proc/self/fd").length;

t.test("a key: the same for the same file, from one look to the next", async (t) => {
  const path = join(t.testdir({ a: "content" }), "a");
  const key = keyOf(path);
  t.equal(key.length, 2 * RESUME_KEY_BYTES);
  t.equal(keyOf(path), key);
  const item = new FileItem(path, nameOf("a"));
  item.open();
  await item.read(0, Buffer.alloc(7));
  item.close();
  t.equal(keyOf(path), key, "reading changes nothing");
  t.equal(new PatternItem().key, undefined, "what can't be read twice has none");
});

t.test("a key: another one for whatever may be another content", async (t) => {
  const dir = t.testdir({ a: "content", other: "content" });
  const path = join(dir, "a");
  const found = statSync(path);
  const sameTimes = () => utimesSync(path, found.atime, found.mtime);
  const seen = new Map([[keyOf(path), "as it was"]]);
  const differs = (how: string, key = keyOf(path)) => {
    t.notOk(seen.has(key), `${how}, and ${seen.get(key)}`);
    seen.set(key, how);
  };
  differs("another name at the destination", keyOf(path, "b"));
  // Digits that end one field must not begin the next.
  differs("a name that begins with a digit", keyOf(path, "1a"));
  differs("another file of the same size", keyOf(join(dir, "other")));
  writeFileSync(path, "CONTENT", { flag: "r+" });
  sameTimes();
  differs("written to, its time set back: the change time tells");
  utimesSync(path, 1_700_000_000, 1_700_000_000);
  differs("another time");
  appendFileSync(path, "more");
  utimesSync(path, 1_700_000_000, 1_700_000_000);
  differs("longer");
  copyFileSync(path, join(dir, "copy"));
  utimesSync(join(dir, "copy"), 1_700_000_000, 1_700_000_000);
  renameSync(join(dir, "copy"), path);
  differs("replaced by a copy");
});

t.test("a key: any change of the inode is seen, and two names of one inode are one file", async (t) => {
  const dir = t.testdir({ a: "content" });
  const path = join(dir, "a");
  const before = keyOf(path);
  chmodSync(path, 0o600);
  t.not(keyOf(path), before, "the change time moves with the mode: nobody can tell why, so it is another file");
  const now = keyOf(path);
  linkSync(path, join(dir, "b"));
  t.equal(keyOf(path), keyOf(join(dir, "b")), "two names of one inode are one file");
  t.not(keyOf(path), now, "a link changes the inode");
});

t.test("bytes anywhere, without holding anything up", async (t) => {
  const path = join(t.testdir(), "a");
  const content = randomBytesOf(300_000);
  writeFileSync(path, content);
  const before = openDescriptors();
  const item = new FileItem(path, nameOf("a"));
  const reads = [0, 1, 65_536, 299_999].map(async (at) => {
    const room = Buffer.alloc(100_000);
    const count = await item.read(at, room);
    t.equal(count, Math.min(100_000, content.length - at), `at ${at}`);
    t.ok(same(room.subarray(0, count), content.subarray(at, at + count)), `at ${at}`);
  });
  await Promise.all(reads);
  t.equal(await item.read(content.length, Buffer.alloc(10)), 0, "behind its end");
  t.equal(await item.read(0, Buffer.alloc(0)), 0, "nothing");
  item.close();
  t.equal(openDescriptors(), before);
});

t.test("a file that is closed while it is read gives its descriptor back, and no other file's bytes", async (t) => {
  const dir = t.testdir({ a: "a".repeat(100), b: "b".repeat(100) });
  const before = openDescriptors();
  for (let i = 0; i < 50; i++) {
    const item = new FileItem(join(dir, "a"), nameOf("a"));
    const room = Buffer.alloc(100);
    const reading = item.read(0, room);
    item.close();
    const other = new FileItem(join(dir, "b"), nameOf("b"));
    other.open();
    t.equal(await reading, 100);
    t.notOk(room.includes("b"));
    other.close();
  }
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(openDescriptors(), before);
});

t.test("a file that is another one when it is read", async (t) => {
  const path = join(t.testdir({ a: "content" }), "a");
  const item = new FileItem(path, nameOf("a"));
  writeFileSync(path, "another content");
  await t.rejects(item.read(0, Buffer.alloc(7)), { code: "E_SOURCE_CHANGED" });
  execFileSync("rm", [path]);
  await t.rejects(item.read(0, Buffer.alloc(7)), { code: "E_SOURCE_MISSING" });
});

t.test("what is made up is not read again", async (t) => {
  const item = new PatternItem();
  await t.rejects(item.read(), { code: "E_ILLEGAL" });
  await t.rejects(item.digest(), { code: "E_ILLEGAL" });
});

t.test(
  "a file that is closed while another thread has it gives its descriptor back when that has done with it",
  async (t) => {
    const path = join(t.testdir({ a: "what was sent" }), "a");
    const item = new FileItem(path, nameOf("a"));
    const descriptor = item.open();
    if (descriptor.kind !== "file") throw new Error("a file has a descriptor");
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    item.keepOpen(first.promise);
    item.keepOpen(second.promise);
    item.close();
    first.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    const room = Buffer.alloc(13);
    t.equal(String(openReader(descriptor).read(0, 13, room)), "what was sent");
    second.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    t.throws(() => openReader(descriptor).read(0, 13, room), { code: "E_SOURCE_IO" });
  },
);
