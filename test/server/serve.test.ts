import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { send } from "../../src/client/send.ts";
import type { TransferResult } from "../../src/client/types.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import type { LiveSession } from "../../src/server/live-session.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { FileItem } from "../../src/source/item.ts";
import { SourceSession } from "../../src/source/session.ts";
import { receiveInto, testServer } from "../helpers/backend.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { BLOCK_BYTES, MIB, ObjectStoreSink } from "../helpers/object-store-sink.ts";
import { connectTo, hello, soon } from "../helpers/wire-end.ts";

const KIB = 1024;

/** What a source tells, and a test does not ask for. */
const unheard = {
  onSettled: () => {},
  onInherited: () => {},
  onRestarted: () => {},
  onAcknowledged: () => {},
  onResent: () => {},
};

/** Files of some sizes on the disk. */
function filesOf(t: Test, sizes: number[]) {
  const dir = t.testdir();
  return sizes.map((size, i) => {
    const path = join(dir, `f${i}-${size}`);
    const content = randomBytesOf(size, i + 1);
    writeFileSync(path, content);
    return { path, name: `f${i}-${size}`, content };
  });
}
const SIZES = [0, 1, 64 * KIB, 64 * KIB + 1, 3 * MIB + 17, 700 * KIB];

function succeeded(t: Test, result: TransferResult, files: number): void {
  t.match(result, { ok: true, filesCommitted: files, filesFailed: 0, error: null, exitCode: 0 });
}

t.test("into memory, over several streams", async (t) => {
  const sink = new MemorySink();
  const { address, store, event, history, server } = await testServer(t, { sink });
  const files = filesOf(t, SIZES);
  const paths = files.map(({ path }) => path);
  succeeded(t, await send({ paths, to: address, streams: 5, chunkBytes: 64 * KIB }), files.length);
  for (const { name, content } of files) t.ok(same(sink.read(nameOf(name)), content), name);
  const { record } = await event("transfer");
  t.match(record, { status: "complete", files: files.length, filesFailed: 0, peer: "127.0.0.1" });
  t.equal([...history.list()][0]?.transferId, record.transferId);
  t.equal(sink.partsOpen, 0);
  succeeded(t, await send({ paths, to: address, streams: 2 }), files.length);
  await server.close();
  t.strictSame(await store.list(), [], "no session is left behind");
});

t.test("into an object store that takes whole blocks only, over several streams", async (t) => {
  const blocks: Promise<void>[] = [];
  const sink = new ObjectStoreSink({
    // Every other block takes a while longer, so that they come in no order.
    beforePut: (part) => {
      const wait = new Promise<void>((resolve) => (part % 2 ? setImmediate(resolve) : resolve()));
      blocks.push(wait);
      return wait;
    },
  });
  const { address } = await testServer(t, { sink });
  const files = filesOf(t, [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 4 * BLOCK_BYTES + 123_457, 2 * BLOCK_BYTES - 1]);
  for (const [i, streams] of [4, 1].entries()) {
    const result = await send({
      paths: files.map(({ path }) => path),
      to: address,
      streams,
      chunkBytes: MIB,
      into: `run${i}`,
    });
    succeeded(t, result, files.length);
    for (const { name, content } of files) t.ok(same(sink.read(nameOf(`run${i}/${name}`)), content), name);
  }
  t.equal(sink.uploads.size, 0, "no upload is left");
  const expected = files.reduce((sum, { content }) => sum + Math.ceil(content.length / BLOCK_BYTES), 0);
  t.equal(sink.puts.length, 2 * expected, "each block was put once");
  t.ok(blocks.length > 0);
});

t.test("a chunk size that doesn't go into a block gives way", async (t) => {
  const sink = new ObjectStoreSink();
  const { address } = await testServer(t, { sink });
  const [file] = filesOf(t, [2 * BLOCK_BYTES + 5]);
  let chunkBytes = 0;
  const result = await send({
    paths: [file?.path ?? ""],
    to: address,
    chunkBytes: 3 * MIB,
    onEvent: (event) => {
      if (event.type === "connected") chunkBytes = event.chunkBytes;
    },
  });
  succeeded(t, result, 1);
  t.equal(BLOCK_BYTES % chunkBytes, 0);
  t.ok(same(sink.read(nameOf(file?.name ?? "")), file?.content ?? new Uint8Array()));
});

t.test("an object store that fails", async (t) => {
  const sink = new ObjectStoreSink({
    beforePut: async (part) => {
      if (part === 1) throw new HawserError("E_IO", "503 Slow Down");
    },
  });
  const { address, event } = await testServer(t, { sink });
  const files = filesOf(t, [3 * BLOCK_BYTES, 10]);
  const paths = files.map(({ path }) => path);
  const result = await send({ paths, to: address, streams: 3, chunkBytes: MIB });
  t.match(result, { ok: false, filesCommitted: 1, filesFailed: 1, error: { code: "E_PARTIAL" } });
  await event("transfer");
  t.equal(sink.uploads.size, 0);
  t.equal(sink.read(nameOf(files[0]?.name ?? "")), undefined);
});

t.test("the client is the sink: the server sends, and the bytes are the same", async (t) => {
  const files = filesOf(t, SIZES);
  const dir = t.testdirName;
  mkdirSync(join(dir, "got"));
  const outcomes: string[] = [];
  let receipts = 0;
  const { address, events } = await testServer(t, {
    makeSource: (terms, session: LiveSession) =>
      new SourceSession(
        files.map(({ path, name }) => new FileItem(path, nameOf(`in/${name}`))),
        terms,
        {
          ...unheard,
          onSettled: ({ outcome }) => void outcomes.push(outcome.status),
          onReceipt: () => {
            receipts++;
            session.finished();
          },
          onFailed: (error) => void session.end(error),
        },
      ),
  });
  const sink = new DiskSink(join(dir, "got"));
  t.teardown(() => sink.close());
  const received = await soon(receiveInto(sink, address), "the transfer");
  t.equal(received.error, undefined);
  t.match(received.receipt, { files: files.length, failed: 0 });
  for (const { name, content } of files) t.ok(same(readFileSync(join(dir, "got/in", name)), content), name);
  t.strictSame(readdirSync(join(dir, "got/.hawser/parts")), []);
  await soon(
    (async () => {
      while (receipts === 0) await new Promise((resolve) => setImmediate(resolve));
    })(),
    "the receipt",
  );
  t.strictSame(
    outcomes,
    files.map(() => "committed"),
  );
  t.notOk(
    events.some(({ type }) => type === "ended"),
    "the session ended well",
  );
  const again = await soon(receiveInto(sink, address), "the transfer");
  t.equal(again.error, undefined);
  t.strictSame(
    again.settled.map(({ outcome }) => outcome.status),
    files.map(() => "unchanged"),
  );
});

t.test("a session in which the server sends leaves no record behind", async (t) => {
  const [file] = filesOf(t, [10]);
  const { address, store, server } = await testServer(t, {
    makeSource: (terms, session) =>
      new SourceSession([new FileItem(file?.path ?? "", nameOf("a"))], terms, {
        ...unheard,
        onReceipt: () => session.finished(),
        onFailed: (error) => void session.end(error),
      }),
  });
  t.equal((await receiveInto(new MemorySink(), address)).error, undefined);
  await server.close();
  t.strictSame(await store.list(), []);
});

t.test("a server that has nothing to send says so", async (t) => {
  const { address, store } = await testServer(t);
  const { error } = await receiveInto(new MemorySink(), address);
  t.equal(error?.code, "E_ILLEGAL");
  t.strictSame(await store.list(), []);
});

t.test("an ERROR on a stream ends that stream, and nothing else", async (t) => {
  const { address, event } = await testServer(t);
  const control = await connectTo(t, address);
  control.connection.send("HELLO", hello());
  const { session, generation } = await control.heard.message("WELCOME");
  await event("session");
  const stream = await connectTo(t, address);
  stream.connection.send("ATTACH", { session, generation, stream: 0, attempt: 0 });
  await stream.heard.message("ATTACHED");
  stream.connection.send("ERROR", { code: 602, message: "never mind" });
  await soon(stream.heard.closed, "the end of the stream", 1500);
  control.connection.send("PING", { id: 1 });
  await control.heard.message("PONG");
});
