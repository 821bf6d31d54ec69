/** What can be read only once: sent as it comes, in bounded memory, over whatever happens to connections; never short. */
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import t from "tap";
import type { TransferEvent } from "../../src/index.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { assertFailure, assertOk, EventLog, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, namesIn, partsIn } from "../helpers/files.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { startProxy } from "../helpers/proxy.ts";
import { soonHolds } from "../helpers/wire-end.ts";

const CHUNK = 64 * KIB;
const BYTES = 40 * CHUNK - 100;
/** 4 streams of 8 chunks each, and two to read ahead. */
const KEPT_MAX = 4 * 8 + 2;

/** The content in pieces that are no chunks, counting what was taken. */
function pieces(content: Uint8Array, taken = { bytes: 0 }): Readable {
  function* cut() {
    for (let at = 0; at < content.length; at += 10_000) {
      const piece = content.subarray(at, at + 10_000);
      taken.bytes += piece.length;
      yield piece;
    }
  }
  return Readable.from(cut(), { highWaterMark: 1, objectMode: true });
}

for (const bytes of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, BYTES]) {
  t.test(`a pipe of ${bytes} bytes`, async (t) => {
    const { to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    const content = contentOf(bytes, 3);
    const expected = { expectBytes: bytes, expectCrc32: crc32(content) };
    const sent = await sendAll({ input: pieces(content), name: "a", to, chunkBytes: CHUNK, ...expected });
    assertOk(t, sent);
    assertContent(t, join(dir, "a"), content);
    t.match(sent.files, [{ name: "a", bytes, status: "sent", crc32: crc32(content).toString(16).padStart(8, "0") }]);
    t.match(sent.result, { bytes, bytesSent: bytes, bytesResumed: 0 });
    t.same(partsIn(dir), []);
  });
}

t.test("its size is not known before its end", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const input = new PassThrough();
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ input, name: "a", to, chunkBytes: CHUNK }, log);
  input.write(contentOf(3 * CHUNK, 3));
  const { bytesTotal, etaMs } = await log.until("progress", ({ bytesDone }) => bytesDone === 3 * CHUNK);
  t.same([bytesTotal, etaMs], [null, null]);
  input.end();
  assertOk(t, await sending);
  t.match(log.of("progress").at(-1), { bytesTotal: 3 * CHUNK, bytesDone: 3 * CHUNK, phase: "committing" });
});

t.test("a pause of the producer is no stall, however long", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const input = new PassThrough();
  const log = new EventLog<TransferEvent>();
  const content = contentOf(BYTES, 4);
  const sending = sendAll({ input, name: "a", to, chunkBytes: CHUNK, timeoutMs: 500 }, log);
  input.write(content.subarray(0, CHUNK + 5));
  const { stall } = await log.until("progress", ({ phase }) => phase === "stalled");
  t.match(stall, { waitingFor: "more input" });
  t.ok((stall?.ms ?? 0) > 2000, "many timeouts long");
  input.end(content.subarray(CHUNK + 5));
  assertOk(t, await sending);
  assertContent(t, join(dir, "a"), content);
});

t.test("a server that is lost while the producer pauses is noticed all the same", async (t) => {
  const { to: dir } = directories(t);
  const { to, server } = await startServer(t, dir);
  const input = new PassThrough();
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ input, name: "a", to, chunkBytes: CHUNK, timeoutMs: 500 }, log);
  input.write(contentOf(CHUNK, 4));
  await log.until("progress", ({ bytesDone }) => bytesDone === CHUNK);
  await server.close();
  assertFailure(t, (await sending).result, "E_TIMEOUT");
  t.ok(input.destroyed, "the producer hears of it");
});

t.test("streams that break, chunks that are damaged: what is kept is sent again", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to, {
    rules: [
      { kind: "stream", direction: "up", part: "payload", frame: "CHUNK", nth: 1, action: "reset", times: 3 },
      { kind: "stream", direction: "up", part: "payload", frame: "CHUNK", nth: 2, action: "flip", times: 3 },
      { kind: "control", direction: "up", part: "type", frame: "SEAL", action: "reset" },
    ],
  });
  const content = contentOf(BYTES, 5);
  const sent = await sendAll({ input: pieces(content), name: "a", to: proxy.address, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.ok(proxy.harm.length >= 5, proxy.harm.join("; "));
  assertContent(t, join(dir, "a"), content);
});

t.test("what is read and not acknowledged is bounded: the pipe waits", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to, {});
  proxy.hold("stream");
  const taken = { bytes: 0 };
  const content = contentOf(4 * KEPT_MAX * CHUNK, 6);
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ input: pieces(content, taken), name: "a", to: proxy.address, chunkBytes: CHUNK }, log);
  // What may be read is read at once; seconds later it still is no more.
  await log.until("progress", ({ phase }) => phase === "stalled");
  const most = (KEPT_MAX + 1) * CHUNK + 20_000;
  t.ok(taken.bytes >= KEPT_MAX * CHUNK && taken.bytes <= most, `${taken.bytes} of at most ${most}`);
  proxy.release("stream");
  assertOk(t, await sending);
  assertContent(t, join(dir, "a"), content);
});

t.test("a server that was started anew: the input can't be read again, and that is said", async (t) => {
  const { to: dir } = directories(t);
  const first = await startServer(t, dir);
  const proxy = await startProxy(t, first.to, {});
  const input = new PassThrough();
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ input, name: "a", to: proxy.address, chunkBytes: CHUNK }, log);
  input.write(contentOf(3 * CHUNK, 7));
  await log.until("progress", ({ bytesDone }) => bytesDone === 3 * CHUNK);
  await first.server.close();
  const { to } = await startServer(t, dir);
  proxy.retarget(to);
  const { result } = await sending;
  assertFailure(t, result, "E_UNKNOWN_SESSION", /started anew.*can't be read again, and nothing was committed/);
  t.equal(result.resumable, false);
  t.same(namesIn(dir), []);
  t.ok(input.destroyed);
});

t.test("what is not as expected is not committed", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const content = contentOf(BYTES, 8);
  const cases = [
    [{ expectBytes: BYTES + 1 }, new RegExp(`ended after ${BYTES} bytes, and ${BYTES + 1} were expected`)],
    [{ expectBytes: BYTES - 1 }, /has more than the \d+ bytes that were expected/],
    [{ expectCrc32: (crc32(content) ^ 1) >>> 0 }, /has the CRC-32 [0-9a-f]{8}, and [0-9a-f]{8} was expected/],
    [{ expectBytes: 0 }, /has more than the 0 bytes/],
  ] as const;
  for (const [expected, message] of cases) {
    const { result } = await sendAll({ input: pieces(content), name: "a", to, chunkBytes: CHUNK, ...expected });
    assertFailure(t, result, "E_CONTENT", message);
    t.same(namesIn(dir), []);
    t.same(partsIn(dir), []);
  }
});

t.test("more than was expected ends it at once, and not at the end of the input", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const input = new PassThrough();
  input.write(contentOf(CHUNK + 11, 9));
  const { result } = await sendAll({ input, name: "a", to, chunkBytes: CHUNK, expectBytes: CHUNK + 10 });
  assertFailure(t, result, "E_CONTENT", /has more than/);
  t.ok(input.destroyed);
});

t.test("an input that fails commits nothing", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const input = new PassThrough();
  input.write(contentOf(3 * CHUNK, 9));
  setImmediate(() => input.destroy(new Error("the tape broke")));
  assertFailure(
    t,
    (await sendAll({ input, name: "a", to, chunkBytes: CHUNK })).result,
    "E_SOURCE_IO",
    /the tape broke/,
  );
  const cut = new PassThrough();
  cut.write(contentOf(3 * CHUNK, 9));
  setImmediate(() => cut.destroy());
  assertFailure(t, (await sendAll({ input: cut, name: "a", to, chunkBytes: CHUNK })).result, "E_SOURCE_IO");
  t.same(namesIn(dir), []);
  t.same(partsIn(dir), []);
});

t.test("a server that refuses it does not wait for a producer that is silent", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir, { maxFileBytes: 2 * CHUNK });
  const input = new PassThrough();
  input.write(contentOf(3 * CHUNK, 9));
  assertFailure(t, (await sendAll({ input, name: "a", to, chunkBytes: CHUNK })).result, "E_TOO_LARGE");
  t.ok(input.destroyed);
  const taken = { bytes: 0 };
  assertOk(t, await sendAll({ input: Readable.from([Buffer.from("x")]), name: "b", to }));
  const again = pieces(contentOf(BYTES, 1), taken);
  const refused = (await sendAll({ input: again, name: "b", to, chunkBytes: CHUNK })).result;
  assertFailure(t, refused, "E_EXISTS", /with which a pipe can't be compared before it is sent/);
  t.equal(taken.bytes, 0, "nothing was read");
  const badName = new PassThrough();
  assertFailure(t, (await sendAll({ input: badName, name: ".hawser", to })).result, "E_NAME");
  t.ok(badName.destroyed);
});

t.test("an abort commits nothing, also when the input ends with it", async (t) => {
  const { to: dir } = directories(t);
  const { to, log: server } = await startServer(t, dir);
  const input = new PassThrough();
  const log = new EventLog<TransferEvent>();
  const controller = new AbortController();
  const sending = sendAll({ input, name: "a", to, chunkBytes: CHUNK, signal: controller.signal }, log);
  input.write(contentOf(3 * CHUNK, 9));
  await log.until("progress", ({ bytesDone }) => bytesDone === 3 * CHUNK);
  controller.abort();
  input.end();
  assertFailure(t, (await sending).result, "E_INTERRUPTED");
  await server.until("ended");
  t.same(namesIn(dir), []);
  t.same(partsIn(dir), []);
});

t.test("an abort while chunks are on their way: an input that ends now is not taken for whole", async (t) => {
  const { to: dir } = directories(t);
  const { to, log: server } = await startServer(t, dir);
  const proxy = await startProxy(t, to, {});
  const input = new PassThrough();
  const controller = new AbortController();
  const sending = sendAll({ input, name: "a", to: proxy.address, chunkBytes: CHUNK, signal: controller.signal });
  await server.until("session");
  await proxy.until(() => proxy.framesOf("down", "ATTACHED") === 4);
  proxy.hold("stream");
  input.write(contentOf(3 * CHUNK, 9));
  // All that was written has been read when there is room for more.
  await soonHolds("reading", () => input.readableLength === 0);
  controller.abort();
  input.end();
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  proxy.release("stream");
  assertFailure(t, (await sending).result, "E_INTERRUPTED");
  await server.until("ended");
  t.same(namesIn(dir), []);
});

t.test("asking for what makes no sense", async (t) => {
  const to = { host: "127.0.0.1", port: 1 };
  const input = () => Readable.from(["x"]);
  assertFailure(t, (await sendAll({ input: input(), to })).result, "E_USAGE", /needs a name/);
  assertFailure(t, (await sendAll({ input: input(), paths: ["a"], name: "x", to })).result, "E_USAGE", /alone/);
  assertFailure(t, (await sendAll({ paths: ["a"], expectBytes: 1, to })).result, "E_USAGE", /piped in/);
  assertFailure(t, (await sendAll({ to })).result, "E_USAGE", /no file/);
});

t.test("a copy in a spool directory: it is sent from there, and goes when it is committed", async (t) => {
  const { from: spool, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const content = contentOf(BYTES, 11);
  const expected = { expectBytes: BYTES, expectCrc32: crc32(content) };
  const sent = await sendAll({ input: pieces(content), name: "a", to, spool, chunkBytes: CHUNK, ...expected });
  assertOk(t, sent);
  assertContent(t, join(dir, "a"), content);
  t.equal(sent.result.spooled, null);
  t.match(sent.log.of("spooled"), [{ bytes: BYTES }]);
  t.equal(sent.log.of("progress")[0]?.phase, "spooling");
  t.same(readdirSync(spool), []);

  for (const wrong of [{ expectBytes: 5 }, { expectBytes: BYTES + 1 }, { expectCrc32: 5 }]) {
    const { result } = await sendAll({ input: pieces(content), name: "b", to, spool, ...wrong });
    assertFailure(t, result, "E_CONTENT");
    t.equal(result.spooled, null);
    t.same(readdirSync(spool), []);
  }
  const nowhere = await sendAll({ input: pieces(content), name: "b", to, spool: join(spool, "none") });
  assertFailure(t, nowhere.result, "E_IO", /none.*can't be written: its directory does not exist$/);
  const broken = new PassThrough();
  setImmediate(() => broken.destroy(new Error("no")));
  assertFailure(t, (await sendAll({ input: broken, name: "b", to, spool })).result, "E_SOURCE_IO");
  t.same(readdirSync(spool), []);
});

t.test("a copy stays as long as it is not committed, and can be gone on with", async (t) => {
  const { from: spool, to: dir } = directories(t);
  const content = contentOf(BYTES, 12);
  // Something that is no hawser server answers.
  const other = createServer();
  t.teardown(() => other.close());
  const nobody = await listenAnywhere(other);
  const failed = await sendAll({ input: pieces(content), name: "a", to: nobody, spool });
  assertFailure(t, failed.result, "E_NOT_HAWSER");
  const [name = ""] = readdirSync(spool);
  t.equal(failed.result.spooled, join(spool, name));
  assertContent(t, join(spool, name), content);

  const { to } = await startServer(t, dir);
  assertOk(t, await sendAll({ paths: [join(spool, name)], name: "a", to }));
  assertContent(t, join(dir, "a"), content);
});

t.test("an abort while it is copied leaves no copy", async (t) => {
  const { from: spool, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const input = new PassThrough();
  const log = new EventLog<TransferEvent>();
  const controller = new AbortController();
  const sending = sendAll({ input, name: "a", to, spool, signal: controller.signal }, log);
  input.write("some");
  await log.until("progress", ({ bytesDone }) => bytesDone === 4);
  controller.abort();
  assertFailure(t, (await sending).result, "E_INTERRUPTED", /while the input was copied: the copy was removed/);
  t.same(readdirSync(spool), []);
});
