/** Chunks with holes, as streams write them to a file. */
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openWriter } from "../../src/sink/writer.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";

const MIB = 1024 * 1024;
const data = randomBytesOf(4096);
/** Data at 64 KiB, zeros elsewhere. */
const chunk = { bytes: MIB, data: [{ start: 65_536, bytes: data }] };
const expected = Buffer.alloc(MIB);
expected.set(data, 65_536);

function writerFor(t: Test, before: Uint8Array) {
  const path = join(t.testdir({}), "part");
  writeFileSync(path, before);
  const fd = openSync(path, "r+");
  t.teardown(() => closeSync(fd));
  const writer = openWriter({ kind: "file", fd, shownName: "a" });
  return { writer, content: () => readFileSync(path), usedBytes: () => fstatSync(fd).blocks * 512 };
}

t.test("where nothing was written zeros are left out", async (t) => {
  const { writer, content, usedBytes } = writerFor(t, new Uint8Array(0));
  await writer.writeSparse(MIB, chunk, true);
  t.ok(usedBytes() <= 65_536, `${usedBytes()} bytes are used`);
  const found = content();
  t.ok(found.subarray(0, MIB + 65_536).every((byte) => byte === 0));
  t.ok(same(found.subarray(MIB + 65_536), data), "and nothing behind the data");
});

t.test("where other bytes may be they are overwritten", async (t) => {
  const { writer, content } = writerFor(t, randomBytesOf(3 * MIB));
  const before = content();
  await writer.writeSparse(MIB, chunk, false);
  const after = content();
  t.ok(same(after.subarray(MIB, 2 * MIB), expected));
  t.ok(same(after.subarray(0, MIB), before.subarray(0, MIB)), "and none before");
  t.ok(same(after.subarray(2 * MIB), before.subarray(2 * MIB)), "or behind");
});

t.test("where a hole is it stays, also behind the end of the part", async (t) => {
  const { writer, content, usedBytes } = writerFor(t, new Uint8Array(0));
  await writer.writeSparse(0, chunk, true);
  await writer.writeSparse(0, chunk, false);
  await writer.writeSparse(MIB, { bytes: MIB, data: [] }, false);
  t.ok(usedBytes() <= 65_536, `${usedBytes()} bytes are used`);
  t.ok(same(content(), expected.subarray(0, 65_536 + 4096)));
});
