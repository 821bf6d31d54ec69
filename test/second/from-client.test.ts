/** The real client sends to a server that was written from PROTOCOL.md alone: so the document is enough to write one. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import t, { type Test } from "tap";
import { type SendOptions, send } from "../../src/index.ts";
import { contentOf } from "./random.ts";
import { MemorySink, type SinkOptions } from "./sink.ts";

const CHUNK = 64 * 1024;
const KIB = 1024;

/** Sends to a sink of its own, which has nothing to complain of. */
async function received(t: Test, options: Omit<SendOptions, "to">, sinkOptions: SinkOptions = {}) {
  const sink = new MemorySink(sinkOptions);
  t.teardown(() => sink.close());
  const to = await sink.listen();
  const result = await send({ chunkBytes: CHUNK, ...options, to });
  t.same(sink.breaches, [], "the client broke nothing");
  return { sink, result };
}

for (const streams of [1, 4]) {
  t.test(`one file over ${streams} streams, with damage`, async (t) => {
    const content = contentOf(50 * CHUNK + 1);
    const path = join(t.testdir({ "one.bin": content }), "one.bin");
    const { sink, result } = await received(t, { paths: [path], streams }, { damaged: 3 });
    t.match(result, { ok: true, exitCode: 0 });
    t.ok(sink.files.get("one.bin")?.equals(content), "every byte");
  });
}

t.test("a tree", async (t) => {
  const root = join(t.testdir(), "tree");
  const files = new Map<string, Buffer>();
  for (let i = 0; i < 200; i += 1) {
    const directory = join(root, `d${i % 5}`);
    mkdirSync(directory, { recursive: true });
    const content = contentOf(i % 40 === 39 ? 300 * KIB : i * 11, i);
    files.set(`tree/d${i % 5}/${i}`, content);
    writeFileSync(join(directory, String(i)), content);
  }
  symlinkSync("../elsewhere", join(root, "link"));
  const { sink, result } = await received(t, { paths: [root], streams: 2 }, { damaged: 2 });
  t.match(result, { ok: true, exitCode: 0 });
  for (const [name, content] of files) t.ok(sink.files.get(name)?.equals(content), name);
  t.equal(sink.files.size, files.size);
  t.same([...sink.links], [["tree/link", "../elsewhere"]]);
  t.same(sink.directories.toSorted(), ["tree", "tree/d0", "tree/d1", "tree/d2", "tree/d3", "tree/d4"]);
});

t.test("what is compressed, and what has holes", async (t) => {
  const text = Buffer.from(contentOf(9 * CHUNK).map((byte) => 97 + (byte & 3)));
  const holes = Buffer.concat([Buffer.alloc(8 * CHUNK), contentOf(100), Buffer.alloc(8 * CHUNK)]);
  const dir = t.testdir({ text, holes });
  const { sink } = await received(t, { paths: [join(dir, "text"), join(dir, "holes")], compress: "zstd" });
  t.ok(sink.files.get("text")?.equals(text), "the compressed one");
  t.ok(sink.files.get("holes")?.equals(holes), "the one with holes");
  t.ok(Number(sink.flags[1]) > 0 && Number(sink.flags[2]) > 0, `flags ${sink.flags}`);
});

t.test("a pipe, whose size comes last", async (t) => {
  const content = contentOf(7 * CHUNK + 9);
  const { sink, result } = await received(t, { input: Readable.from([content]), name: "piped" });
  t.match(result, { ok: true });
  t.ok(sink.files.get("piped")?.equals(content));
});

t.test("what is there: the same, another of the same size, and one with the same first chunk", async (t) => {
  const same = contentOf(3 * CHUNK);
  const other = contentOf(3 * CHUNK, 2);
  const longer = Buffer.concat([same, contentOf(CHUNK, 3)]);
  const dir = t.testdir({ same, other, longer });
  const there = { same, other: same, longer: same };
  const paths = ["same", "other", "longer"].map((name) => join(dir, name));
  const { sink, result } = await received(t, { paths, overwrite: "if-different" }, { there, hasFirstChunk: true });
  t.match(result, { ok: true });
  t.ok(sink.files.get("other")?.equals(other), "the chunk that is not as HAVE says came as well");
  t.ok(sink.files.get("longer")?.equals(longer));
  t.equal(readFileSync(join(dir, "longer")).length, longer.length);
});

t.test("what HAVE says of the only chunk is not so: SEAL comes after it was sent and acknowledged", async (t) => {
  const single = contentOf(40_000, 5);
  const dir = t.testdir({ single });
  const there = { single: contentOf(40_000, 6) };
  const options = { paths: [join(dir, "single")], overwrite: "if-different" } as const;
  const { sink, result } = await received(t, options, { there, hasFirstChunk: true });
  t.match(result, { ok: true });
  t.ok(sink.files.get("single")?.equals(single));
});
