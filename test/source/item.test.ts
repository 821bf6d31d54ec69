import { execFileSync } from "node:child_process";
import { appendFileSync, readdirSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blake3 } from "@napi-rs/blake-hash";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { FileItem } from "../../src/source/item.ts";
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
