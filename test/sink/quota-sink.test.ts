/** A sink with a quota is a sink like any other, and counts what its clients leave in it. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { Quota } from "../../src/sink/quota.ts";
import { QuotaSink } from "../../src/sink/quota-sink.ts";
import { randomBytesOf } from "../helpers/bytes.ts";
import { commit, sinkConformance, specOf, write } from "./sink-conformance.ts";

const CHUNK = 64 * 1024;

function quotaSink(t: Test, bytesMax: number, fileBytesMax?: number) {
  const dir = t.testdir();
  const disk = new DiskSink(dir, fileBytesMax === undefined ? {} : { fileBytesMax });
  t.teardown(() => disk.close());
  const quota = new Quota(bytesMax);
  const sink = new QuotaSink(disk, { quota, isThere: (id) => disk.partBytes(id) !== undefined });
  const read = (name: string) => (existsSync(join(dir, name)) ? readFileSync(join(dir, name)) : undefined);
  const parts = join(dir, ".hawser/parts");
  return { sink, quota, read, parts, partsHeld: () => readdirSync(parts).length };
}

t.test("whose parts all have an account", async (t) => {
  sinkConformance(t, {
    chunkBytes: CHUNK,
    make: (t, { fileBytesMax } = {}) => {
      const made = quotaSink(t, 1e9, fileBytesMax);
      const { sink } = made;
      const [reserve, reopen] = [sink.reserve.bind(sink), sink.reopen.bind(sink)];
      sink.reserve = (spec) => reserve({ ...spec, account: "ann" });
      sink.reopen = (spec, bytesThere) => reopen({ ...spec, account: "ann" }, bytesThere);
      return made;
    },
  });
});

t.test(
  "a part counts as its file, as what lies there, as its file when it is gone on with, and no more when it is committed",
  async (t) => {
    const { sink, quota } = quotaSink(t, 10 * CHUNK);
    const spec = specOf("a", 4 * CHUNK, { account: "ann" });
    const content = randomBytesOf(4 * CHUNK);
    const part = await sink.reserve(spec);
    await write(part, content.subarray(0, 3 * CHUNK), CHUNK);
    t.equal(quota.used("ann"), 4 * CHUNK, "what is promised is taken");
    await part.close();
    t.equal(quota.used("ann"), 3 * CHUNK);
    await t.rejects(sink.reserve(specOf("b", 8 * CHUNK, { account: "ann" })), { code: "E_QUOTA" });
    await (await sink.reserve(specOf("b", 8 * CHUNK, { account: "bob" }))).abort();
    await (await sink.reserve(specOf("b", 8 * CHUNK))).abort();
    const again = await sink.reopen(spec, 3 * CHUNK);
    if (again === undefined) throw new Error("it is gone");
    await write(again, content, CHUNK);
    t.equal(quota.used("ann"), 4 * CHUNK);
    await commit(again, content);
    t.equal(quota.used("ann"), 0);
  },
);

t.test("a file whose size nobody knew is stopped where the quota ends", async (t) => {
  const { sink, quota } = quotaSink(t, 2 * CHUNK);
  const part = await sink.reserve(specOf("pipe", null, { account: "ann" }));
  const content = randomBytesOf(CHUNK);
  await part.write(0, content);
  await part.write(CHUNK, content);
  t.throws(() => part.written(1), { code: "E_QUOTA" });
  await part.abort();
  t.equal(quota.used("ann"), 0);
});

t.test("a write beyond the quota is not begun, so that none fails unheard", async (t) => {
  const quota = new Quota(CHUNK);
  let isWriting: boolean | undefined = true;
  class Inner extends MemorySink {
    get isWriting(): boolean | undefined {
      return isWriting;
    }
  }
  const inner = new Inner();
  const sink = new QuotaSink(inner, { quota, isThere: () => true });
  const part = await sink.reserve(specOf("pipe", null, { account: "ann" }));
  t.throws(() => part.write(0, randomBytesOf(CHUNK + 1)), { code: "E_QUOTA" });
  t.equal(await part.read(0, new Uint8Array(1)), 0);
  t.equal(sink.isWriting, true, "and what holds it up is said");
  isWriting = undefined;
  t.equal(sink.isWriting, undefined);
});

t.test("what was dropped beside the server gives its room back", async (t) => {
  const { sink, quota, parts } = quotaSink(t, 2 * CHUNK);
  const part = await sink.reserve(specOf("a", 2 * CHUNK, { account: "ann" }));
  await write(part, randomBytesOf(2 * CHUNK), CHUNK);
  await part.close();
  await t.rejects(sink.reserve(specOf("b", 1, { account: "ann" })), { code: "E_QUOTA" });
  for (const name of readdirSync(parts)) rmSync(join(parts, name));
  await (await sink.reserve(specOf("b", 1, { account: "ann" }))).abort();
  t.equal(quota.used("ann"), 0);
});
