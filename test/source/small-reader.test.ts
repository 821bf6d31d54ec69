/** Small files read into the payload of a BUNDLE: what can't be read is left out, and leaves no gap. */

import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { bundleTableBytes, decodeBundle } from "../../src/protocol/bundle.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import type { BundleMember } from "../../src/source/dispatcher.ts";
import { readBundle } from "../../src/source/small-reader.ts";
import { contentOf, makeFile } from "../helpers/files.ts";

const memberOf = (path: string, file: number): BundleMember => {
  const { size: bytes, mtimeMs, ino: inode } = lstatSync(path);
  return { file, path, bytes, mtimeMs, inode };
};

t.test("any files in a bundle: their contents, back to back, and their sums", async (t) => {
  const dir = t.testdir();
  const sizes = [0, 1, 5000, 0, 16_384];
  const members = sizes.map((bytes, i) => memberOf(makeFile(join(dir, `f${i}`), bytes, i), 10 + i));
  const block = Buffer.alloc(bundleTableBytes(5) + 21_385, 0xee);
  const { payload, files, unreadable } = readBundle(members, block);
  t.same(unreadable, []);
  t.equal(payload.length, block.length);
  const decoded = decodeBundle(payload);
  t.same(
    decoded.map(({ file }) => file),
    [10, 11, 12, 13, 14],
  );
  for (const [i, { start, bytes, crc32: crc }] of decoded.entries()) {
    const content = payload.subarray(start, start + bytes);
    t.ok(contentOf(sizes[i] as number, i).equals(content), `file ${i}`);
    t.equal(crc, crc32(content));
    t.equal(files[i]?.crc32, crc);
  }
});

t.test("files that are not what they were are left out, each with its reason", async (t) => {
  const dir = t.testdir();
  const names = ["first", "gone", "grown", "shorter", "touched", "replaced", "linked", "directory", "fifo", "last"];
  const members = names.map((name, i) => memberOf(makeFile(join(dir, name), 1000, i), i));
  rmSync(join(dir, "gone"));
  appendFileSync(join(dir, "grown"), "x");
  writeFileSync(join(dir, "shorter"), contentOf(10, 3));
  utimesSync(join(dir, "touched"), 1000, 1000);
  makeFile(join(dir, "new"), 1000, 9);
  renameSync(join(dir, "new"), join(dir, "replaced"));
  rmSync(join(dir, "linked"));
  symlinkSync("first", join(dir, "linked"));
  rmSync(join(dir, "directory"));
  mkdirSync(join(dir, "directory"));
  rmSync(join(dir, "fifo"));
  const hasFifo = spawnSync("mkfifo", [join(dir, "fifo")]).status === 0;
  if (!hasFifo) t.comment("skipped: there is no mkfifo");
  const before = readdirSync("/proc/self/fd").length;
  const block = Buffer.alloc(bundleTableBytes(names.length) + 10_000);
  const { payload, files, unreadable } = readBundle(members, block);
  t.same(
    files.map(({ file }) => names[file]),
    ["first", "last"],
  );
  const decoded = decodeBundle(payload);
  for (const { file, start, bytes } of decoded) {
    t.ok(contentOf(1000, file).equals(payload.subarray(start, start + bytes)), `${names[file]} is whole`);
  }
  const reasons = new Map(unreadable.map(({ file, failure }) => [names[file], failure.code]));
  for (const name of ["grown", "shorter", "touched", "replaced", "linked"])
    t.equal(reasons.get(name), "E_SOURCE_CHANGED", name);
  t.equal(reasons.get("gone"), "E_SOURCE_MISSING");
  t.ok(reasons.has("directory") && reasons.has("fifo"));
  t.equal(readdirSync("/proc/self/fd").length, before, "and nothing stays open");
});

t.test("where none can be read there is nothing to send", async (t) => {
  const dir = t.testdir();
  const member = memberOf(makeFile(join(dir, "f"), 10), 0);
  rmSync(join(dir, "f"));
  const { payload, files, unreadable } = readBundle([member], Buffer.alloc(100));
  t.same([payload.length - bundleTableBytes(0), files.length, unreadable.length], [0, 0, 1]);
});
