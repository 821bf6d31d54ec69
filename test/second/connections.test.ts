/**
 * Connections as the real client never makes them, by the second implementation: wrong greetings, streams that are not
 * theirs, floods, silence, and ends that come half-way. Each ends as PROTOCOL.md says, and honest clients are served.
 */
import { createConnection } from "node:net";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import t, { type Test } from "tap";
import { send } from "../../src/index.ts";
import { startServer } from "../helpers/e2e.ts";
import { Connection } from "./connection.ts";
import { FRAMES, greeting, message, rawFrame } from "./frames.ts";
import { honestClient } from "./honest.ts";
import { encode, type Fields } from "./msgpack.ts";
import { contentOf } from "./random.ts";
import { attachOf, CHUNK, HELLO, offer, offers, openSession, openStream, planned } from "./raw-session.ts";
import { MemorySink } from "./sink.ts";
import { sendAll } from "./source.ts";

const dir = t.testdir();
const { to, log } = await startServer(t, dir, { sessionTtlMs: 60_000 });
const content = contentOf(CHUNK);
const CLIENT = { side: "client", role: "source" } as const;
const SERVER = { side: "server", role: "sink" } as const;

/** A connection whose first bytes are these, and not a greeting. */
function dialWith(first: Buffer): Connection {
  const connection = new Connection(createConnection({ ...to, allowHalfOpen: true }), CLIENT, SERVER);
  connection.socket.write(first);
  return connection;
}

let honestFiles = 0;

/** An honest client is served. */
async function assertHonest(t: Test): Promise<void> {
  honestFiles += 1;
  const { receipt } = await sendAll(to, [{ name: `honest ${honestFiles}`, content }]);
  t.match(receipt, { files: 1, failed: 0, bytes: CHUNK }, "an honest client is served");
}

t.test("greetings", async (t) => {
  const hello = message("HELLO", HELLO);
  const damaged = greeting();
  damaged[19] = (damaged[19] as number) ^ 1;
  for (const [what, code, first] of [
    ["a wrong CRC", "E_DAMAGED", damaged],
    ["version 2 only", "E_VERSION", greeting(2, 2)],
    ["version 0 only", "E_VERSION", greeting(0, 0)],
    ["an empty range", "E_VERSION", greeting(2, 1)],
    ["all versions", "closed", greeting(0, 65_535)],
    ["another magic", "closed", Buffer.concat([Buffer.from("8948415753455221", "hex"), greeting().subarray(8)])],
  ] as const) {
    const connection = dialWith(first).raw(hello);
    if (what === "all versions") {
      await connection.until("WELCOME");
      connection.close();
    }
    t.equal(await connection.ending(), code, what);
  }
  await assertHonest(t);
});

t.test("opening messages that are refused cost their connection and nothing else", async (t) => {
  const session = await openSession(to, { streams: 2 });
  const stream = await openStream(session, { attempt: 5 });
  const hello = (more: Fields) => message("HELLO", { ...HELLO, ...more });
  const attach = (more: Fields) => message("ATTACH", attachOf(session, more));
  const id = Buffer.alloc(16, 1);
  for (const [what, code, frame] of [
    ["no stream", "E_BAD_MESSAGE", hello({ streams: 0 })],
    ["129 streams", "E_BAD_MESSAGE", hello({ streams: 129 })],
    ["chunks of 64 KiB and a byte", "E_BAD_MESSAGE", hello({ chunkBytes: 65_537 })],
    ["65 keys", "E_BAD_MESSAGE", hello({ keys: Array.from({ length: 65 }, () => id) })],
    ["a key of 15 bytes", "E_BAD_MESSAGE", hello({ keys: [Buffer.alloc(15)] })],
    ["a purpose that there is not", "E_BAD_MESSAGE", hello({ purpose: "delete" })],
    ["null for what is optional", "E_BAD_MESSAGE", hello({ overwrite: null })],
    ["the role that the server has", "E_ILLEGAL", hello({ role: "sink" })],
    ["a session that there is not", "E_UNKNOWN_SESSION", hello({ session: id, generation: 1 })],
    ["another generation", "E_UNKNOWN_SESSION", hello({ session: session.id, generation: 2 })],
    ["a stream of a session that there is not", "E_UNKNOWN_SESSION", attach({ session: id })],
    ["a stream of an earlier generation", "E_UNKNOWN_SESSION", attach({ generation: 0 })],
    ["a stream of a later one", "E_UNKNOWN_SESSION", attach({ generation: 2 })],
    ["a dial that was slow", "E_UNKNOWN_SESSION", attach({ attempt: 4 })],
    ["a stream above the number that was agreed on", "E_ILLEGAL", attach({ stream: 2 })],
    ["a stream above the largest number", "E_BAD_MESSAGE", attach({ stream: 128 })],
    [
      "a stream without a number",
      "E_BAD_MESSAGE",
      message("ATTACH", { session: session.id, generation: 1, attempt: 1 }),
    ],
    ["no msgpack", "E_BAD_MESSAGE", rawFrame(Buffer.from([0xc1]), { type: FRAMES.HELLO })],
    ["a list", "E_BAD_MESSAGE", rawFrame(encode([HELLO]), { type: FRAMES.HELLO })],
  ] as const) {
    const connection = Connection.dial(to).raw(frame);
    // What comes behind an ATTACH that is refused is ignored.
    if (frame[0] === FRAMES.ATTACH) connection.chunk(3, 0, content);
    t.equal(await connection.ending(), code, what);
  }
  offers(session.control, offer(0, "not disturbed", CHUNK));
  await session.control.until("PLAN");
  t.same((await stream.chunk(0, 0, content).until("ACK")).fields, { chunks: [[0, 0, CHUNK]] });
  session.control
    .send("SEAL", { files: [{ file: 0, size: CHUNK, crc32: crc32(content) }] })
    .send("FINISH", { files: 1 });
  t.match((await session.control.until("RECEIPT")).fields, { failed: 0 }, "the session was not disturbed");
  session.control.close();
});

t.test("two ATTACH of one stream and attempt: the second takes the place, and the first is fenced off", async (t) => {
  const session = await planned(await openSession(to), offer(0, "twice attached", 2 * CHUNK));
  const first = await openStream(session);
  const second = await openStream(session);
  first.chunk(0, 0, contentOf(CHUNK, 7));
  t.equal(await first.ending(), "closed");
  second.chunk(0, 0, content).chunk(0, CHUNK, content);
  const both = Buffer.concat([content, content]);
  session.control
    .send("SEAL", { files: [{ file: 0, size: 2 * CHUNK, crc32: crc32(both) }] })
    .send("FINISH", { files: 1 });
  t.match((await session.control.until("RECEIPT")).fields, { failed: 0 }, "nothing of the first counted");
  session.control.close();
});

t.test("ERROR on a stream: what it says of the session holds", async (t) => {
  const session = await openSession(to);
  const stream = await openStream(session);
  stream.send("ERROR", { code: 601, message: "this connection is lost" });
  await stream.ending();
  const again = await openStream(session, { attempt: 2 });
  again.send("ERROR", { code: 207, message: "you break the protocol" });
  t.equal(await session.control.ending(), "E_ILLEGAL", "the control connection hears of it");
  const event = await log.until("ended", ({ transferId }) => transferId === session.transfer);
  t.equal(event.code, "E_ILLEGAL");
});

t.test("a number of an error that nobody knows counts as E_ILLEGAL", async (t) => {
  const session = await openSession(to);
  session.control.send("ERROR", { code: 999, message: "from the future" });
  const event = await log.until("ended", ({ transferId }) => transferId === session.transfer);
  t.equal(event.code, "E_ILLEGAL");
});

t.test("half an end of a connection is the end of it, and the session stays", async (t) => {
  const session = await planned(await openSession(to), offer(0, "half closed", CHUNK));
  const stream = await openStream(session);
  stream.chunk(0, 0, content);
  stream.socket.end();
  t.equal(await stream.ending(), "closed", "a stream");
  session.control.socket.end();
  t.equal(await session.control.ending(), "closed", "the control connection");
  const joined = await openSession(to, { session: session.id, generation: 1 });
  t.same(joined.welcome, session.welcome, "and it is joined again");
  offers(joined.control, offer(0, "half closed", CHUNK));
  await joined.control.until("PLAN");
  const second = await openStream(joined, { attempt: 2 });
  second.chunk(0, 0, content);
  joined.control
    .send("SEAL", { files: [{ file: 0, size: CHUNK, crc32: crc32(content) }] })
    .send("FINISH", { files: 1 });
  t.match((await joined.control.until("RECEIPT")).fields, { files: 1, failed: 0 });
  joined.control.close();
});

t.test("HELLO of an open session in another role, without a generation: the first HELLO counts", async (t) => {
  const session = await openSession(to);
  const joined = await openSession(to, { session: session.id, role: "sink", purpose: "discard", streams: 64 });
  t.same(joined.welcome, session.welcome);
  t.equal(await session.control.ending(), "closed", "the old control connection");
  joined.control.send("RECEIPT", { files: 0, failed: 0, bytes: 0, durationMs: 0, cpuMicros: 0 });
  t.equal(await joined.control.ending(), "E_WRONG_STATE", "it is still the source");
});

t.test("a flood of PING is answered, each with its PONG", async (t) => {
  const honest = honestClient(to, "beside a flood");
  await honest.more();
  const { control } = await openSession(to);
  const count = 20_000;
  control.raw(Buffer.concat(Array.from({ length: count }, (_, id) => message("PING", { id }))));
  for (let id = 0; id < count; id += 1) {
    const { fields } = await control.until("PONG");
    if (fields["id"] !== id) t.equal(fields["id"], id);
  }
  await honest.more();
  t.match(await honest.end(), { ok: true, retries: 0 });
  control.close();
});

t.test("a client that asks and never reads is not read from for ever", async (t) => {
  const { control } = await openSession(to);
  control.socket.pause();
  // Some 100 MiB of questions: the socket's buffers hold a few, and the server keeps no more than a mebibyte of answers.
  const some = Buffer.concat(Array.from({ length: 30_000 }, (_, id) => message("PING", { id })));
  const before = process.memoryUsage().rss;
  let blocked = false;
  for (let i = 0; i < 80 && !blocked; i += 1) {
    blocked = await new Promise<boolean>((resolve) => {
      // Nobody can wait for what never comes; a tenth of it takes a reader a few milliseconds.
      const timer = setTimeout(() => resolve(true), 1000);
      control.socket.write(some, () => {
        clearTimeout(timer);
        resolve(false);
      });
    });
  }
  t.ok(blocked, "it has stopped reading");
  const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20;
  t.ok(grownMiB < 200, `both ends have grown by ${Math.round(grownMiB)} MiB`);
  await assertHonest(t);
  control.close();
});

t.test("64 streams are asked for and none is opened", async (t) => {
  const idle = await Promise.all(Array.from({ length: 20 }, () => openSession(to, { streams: 64 })));
  for (const { control } of idle)
    await planned({ ...(idle[0] as (typeof idle)[0]), control }, offer(0, "never sent", CHUNK));
  await assertHonest(t);
  for (const { control } of idle) control.close();
});

t.test("a source that sends more than its window", async (t) => {
  const session = await planned(await openSession(to), offer(0, "beyond the window", 400 * CHUNK));
  const stream = await openStream(session);
  const window = Number(session.welcome["windowBytes"]);
  t.ok(400 * CHUNK > window);
  for (let i = 0; i < 400; i += 1) stream.chunk(0, i * CHUNK, content);
  const crc = crc32(Buffer.concat(Array.from({ length: 400 }, () => content)));
  session.control.send("SEAL", { files: [{ file: 0, size: 400 * CHUNK, crc32: crc }] }).send("FINISH", { files: 1 });
  t.match((await session.control.until("RECEIPT")).fields, { failed: 0 }, "it waits for as long as TCP makes it");
  session.control.close();
});

t.test("the real client and sinks that go on with nothing", async (t) => {
  const path = join(t.testdir({ file: contentOf(20 * CHUNK) }), "file");
  const silent = [
    ["never acknowledges", { acknowledges: false }],
    ["never answers an offer", { plans: false }],
  ] as const;
  const waiting = silent.map(async ([what, options]) => {
    const sink = new MemorySink(options);
    t.teardown(() => sink.close());
    const result = await send({ paths: [path], to: await sink.listen(), timeoutMs: 700, chunkBytes: CHUNK });
    t.match(result, { ok: false, error: { code: "E_TIMEOUT" } }, what);
  });
  await Promise.all(waiting);
});

t.test("in the end an honest client is served", assertHonest);
