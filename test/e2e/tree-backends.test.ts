/** Trees into sinks that are no disk: one without directories and links, and memory. */
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { ExistingFile } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";
import { assertOk, sendAll } from "../helpers/e2e.ts";
import { contentOf, directories, KIB, makeFile } from "../helpers/files.ts";
import { ObjectStoreSink } from "../helpers/object-store-sink.ts";

const CHUNK = 64 * KIB;

/** Small files, empty ones, some in chunks, directories and a link. */
function makeTree(from: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let i = 0; i < 300; i++) {
    const name = `d${i % 7}/f${i}`;
    const bytes = i % 50 === 0 ? 100_000 : (i * 131) % 3000;
    makeFile(join(from, name), bytes, i);
    files.set(name, contentOf(bytes, i));
  }
  mkdirSync(join(from, "empty"));
  symlinkSync("d1", join(from, "link"));
  return files;
}

const shown = (existing: ExistingFile | undefined) =>
  existing && { size: existing.size, isDirectory: existing.isDirectory };

t.test("an object store: files arrive one by one, directories are nothing, a link is refused", async (t) => {
  const { from } = directories(t);
  const files = makeTree(from);
  // The first part of each takes its time, so that the second may come before it, and so may other files.
  const sink = new ObjectStoreSink({
    blockBytes: CHUNK,
    beforePut: async (part) => {
      for (let turn = 0; part === 0 && turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
    },
  });
  const { address } = await testServer(t, { sink });
  const sent = await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK });
  t.equal(sent.result.exitCode, 23);
  t.same(
    sent.files.flatMap(({ name, error }) => (error === null ? [] : [`${name}: ${error.code}`])),
    ["link: E_NAME"],
  );
  for (const [name, content] of files)
    if (!content.equals(sink.read(Buffer.from(name)) ?? Buffer.from("missing"))) t.fail(name);
  t.equal(sink.uploads.size, 0, "no upload is left");

  const puts = sink.puts.length;
  const again = await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK });
  t.match(again.result, { filesUnchanged: 300, filesFailed: 1 });
  t.equal(sink.puts.length, puts, "again nothing is put");
});

t.test("a dry run into an object store says what the real run does", async (t) => {
  const { from } = directories(t);
  makeTree(from);
  const { address } = await testServer(t, { sink: new ObjectStoreSink({ blockBytes: CHUNK }) });
  const run = async (dryRun: boolean) => {
    const { files } = await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK, dryRun });
    return files.map(({ name, status, error }) => `${name}: ${status} ${error?.code}`).sort();
  };
  const planned = await run(true);
  t.same(await run(false), planned);
  t.same(await run(true), await run(false));
});

t.test("memory: files, directories and links; and again nothing", async (t) => {
  const { from } = directories(t);
  const files = makeTree(from);
  const sink = new MemorySink();
  const { address, history } = await testServer(t, { sink });
  assertOk(t, await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK }));
  for (const [name, content] of files)
    if (!content.equals(Buffer.from(sink.read(Buffer.from(name)) ?? "missing"))) t.fail(name);
  t.same(shown(sink.look(Buffer.from("empty"))), { size: null, isDirectory: true });
  t.equal(Buffer.from(sink.look(Buffer.from("link"))?.target ?? []).toString(), "d1");
  const again = await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK });
  assertOk(t, again);
  t.equal(again.result.filesUnchanged, 301);
  t.ok(history !== undefined);
});
