import t from "tap";
import { BlockPart } from "../../src/sink/block-part.ts";
import type { Part } from "../../src/sink/sink.ts";
import { nameOf, randomBytesOf, same, scrambled } from "../helpers/bytes.ts";
import { ObjectStoreSink } from "../helpers/object-store-sink.ts";
import { commit, reserve, sinkConformance, specOf } from "./sink-conformance.ts";

const KIB = 1024;
const BLOCK = 320 * KIB;
const CHUNK = 64 * KIB;

sinkConformance(t, {
  chunkBytes: CHUNK,
  fileBytesMax: 10_000 * BLOCK,
  reopens: false,
  make: () => {
    const sink = new ObjectStoreSink({ blockBytes: BLOCK });
    return { sink, read: (name) => sink.read(nameOf(name)), partsHeld: () => sink.uploads.size };
  },
});

/** A part that writes down what it is asked for. */
class Recorder implements Part {
  readonly writes: { offset: number; length: number }[] = [];
  commits: [size: number, crc32: number][] = [];
  aborts = 0;
  closes = 0;
  fails = false;
  open() {
    return { kind: "local", part: this } as const;
  }
  async write(offset: number, bytes: Uint8Array) {
    if (this.fails) throw new Error("refused");
    this.writes.push({ offset, length: bytes.length });
  }
  written() {}
  async read() {
    return 0;
  }
  async sync() {}
  fingerprint = "etag";
  async commit(size: number, crc32: number) {
    this.commits.push([size, crc32]);
    return {};
  }
  async close() {
    this.closes++;
  }
  async abort() {
    this.aborts++;
  }
}

t.test("each block is written once, when it is whole", async (t) => {
  const inner = new Recorder();
  const content = randomBytesOf(3 * BLOCK + 100);
  const part = new BlockPart(inner, BLOCK, content.length);
  for (let at = 0; at < BLOCK; at += CHUNK) {
    t.equal(inner.writes.length, 0);
    await part.write(at, content.subarray(at, at + CHUNK));
  }
  t.strictSame(inner.writes, [{ offset: 0, length: BLOCK }]);
  const rest = [];
  for (let at = BLOCK; at < content.length; at += CHUNK) rest.push(at);
  for (const at of scrambled(rest)) await part.write(at, content.subarray(at, at + CHUNK));
  t.strictSame(
    inner.writes.toSorted((a, b) => a.offset - b.offset),
    [
      { offset: 0, length: BLOCK },
      { offset: BLOCK, length: BLOCK },
      { offset: 2 * BLOCK, length: BLOCK },
      { offset: 3 * BLOCK, length: 100 },
    ],
  );
  await part.commit(content.length, 4711);
  t.strictSame(inner.commits, [[content.length, 4711]]);
  t.equal(inner.writes.length, 4);
});

t.test("a chunk as large as a block goes right through", async (t) => {
  const inner = new Recorder();
  const part = new BlockPart(inner, BLOCK, 2 * BLOCK);
  await part.write(BLOCK, new Uint8Array(BLOCK));
  t.strictSame(inner.writes, [{ offset: BLOCK, length: BLOCK }]);
});

t.test("a block that the store refuses fails the write that filled it, or the commit", async (t) => {
  const inner = new Recorder();
  inner.fails = true;
  const part = new BlockPart(inner, CHUNK, CHUNK);
  await t.rejects(part.write(0, new Uint8Array(CHUNK)), { message: "refused" });
  const unknown = new BlockPart(inner, BLOCK, null);
  await unknown.write(0, new Uint8Array(10));
  await t.rejects(unknown.commit(10, 0), { message: "refused" });
  t.strictSame(inner.commits, []);
  t.equal(inner.aborts, 0, "whoever tried it drops it");
  await unknown.abort();
  t.equal(inner.aborts, 1);
});

t.test("a chunk that comes again while its block is on its way does no harm", async (t) => {
  let letThrough = () => {};
  const held = new Promise<void>((resolve) => {
    letThrough = resolve;
  });
  const sink = new ObjectStoreSink({ blockBytes: BLOCK, beforePut: (part) => (part === 0 ? held : Promise.resolve()) });
  const content = randomBytesOf(2 * BLOCK, 5);
  const part = await reserve(sink, specOf("a", content.length));
  const writes: (void | Promise<void>)[] = [];
  for (let at = 0; at < BLOCK; at += CHUNK) writes.push(part.write(at, content.subarray(at, at + CHUNK)));
  // Its stream broke, nothing was acknowledged: the source sends it over another.
  writes.push(part.write(CHUNK, content.subarray(CHUNK, 2 * CHUNK)));
  letThrough();
  await Promise.all(writes);
  for (let at = BLOCK; at < 2 * BLOCK; at += CHUNK) await part.write(at, content.subarray(at, at + CHUNK));
  await commit(part, content);
  t.ok(same(sink.read(nameOf("a")), content));
});

t.test("what a store has of an upload is not read, nor synced; it is known by the store's own mark", async (t) => {
  const inner = new Recorder();
  const part: Part = new BlockPart(inner, BLOCK, 2 * BLOCK);
  await part.write(0, new Uint8Array(BLOCK));
  t.equal(await part.read(0, new Uint8Array(10)), 0, "so that it counts as not there");
  await part.sync();
  t.equal(part.fingerprint, "etag");
  await part.close();
  t.equal(inner.closes, 1);
});

t.test("blocks with holes are not committed", async (t) => {
  const inner = new Recorder();
  const part = new BlockPart(inner, BLOCK, BLOCK);
  await part.write(CHUNK, new Uint8Array(CHUNK));
  await t.rejects(part.commit(BLOCK, 0), { code: "E_INTERNAL" });
  t.strictSame(inner.writes, []);
});
