/** The sink's part in a transfer, with the other end driven by hand over real connections. */
import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { ERRORS, type ErrorCode, HawserError } from "../../src/protocol/errors.ts";
import type { Message, OfferedFile } from "../../src/protocol/messages.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { SinkSession } from "../../src/sink/session.ts";
import { testServer } from "../helpers/backend.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { WELCOME } from "../helpers/conversation.ts";
import { connectTo, hello, soon, type WireEnd } from "../helpers/wire-end.ts";

const CHUNK = 65_536;
const content = randomBytesOf(2 * CHUNK + 100);

const offer = (file: number, rest: Partial<OfferedFile> = {}): OfferedFile => ({
  file,
  name: nameOf(`f${file}`),
  size: content.length,
  mtime: [1, 0],
  mode: 0o644,
  ...rest,
});

/** A session with its control connection and a stream. */
async function opened(t: Test, options: Parameters<typeof testServer>[2] = {}) {
  const sink = new MemorySink();
  const server = await testServer(t, { sink }, options);
  const control = await connectTo(t, server.address);
  control.connection.send("HELLO", hello());
  const { session, generation } = await control.heard.message("WELCOME");
  let attempts = 0;
  const attach = async (stream: number): Promise<WireEnd> => {
    const end = await connectTo(t, server.address);
    end.connection.send("ATTACH", { session, generation, stream, attempt: attempts++ });
    await end.heard.message("ATTACHED");
    return end;
  };
  const stream = await attach(0);
  return { ...server, sink, control, session, generation, stream, attach };
}
const say = (control: WireEnd, files: OfferedFile[], settledBelow = 0) =>
  control.connection.send("OFFER", { settledBelow, files });

/** Sends all chunks of a file, and waits until all are acknowledged. */
async function sendAll(stream: WireEnd, file: number, bytes = content): Promise<void> {
  for (let at = 0; at < bytes.length; at += CHUNK) stream.chunk(file, at, bytes.subarray(at, at + CHUNK));
  for (let acked = 0; acked < bytes.length; ) {
    for (const [, , count] of (await stream.heard.message("ACK")).chunks) acked += count;
  }
}
const seal = (control: WireEnd, file: number, bytes = content, crc = crc32(bytes)) =>
  control.connection.send("SEAL", { files: [{ file, size: bytes.length, crc32: crc }] });

t.test("offered, planned, sent, sealed, committed, received", async (t) => {
  const { control, stream, sink } = await opened(t);
  say(control, [offer(0)]);
  t.strictSame(await control.heard.message("PLAN"), { files: [{ file: 0, action: "send" }] });
  await sendAll(stream, 0);
  t.equal(sink.read(nameOf("f0")), undefined, "not before it is sealed");
  seal(control, 0);
  const outcome = { file: 0, status: "committed", size: content.length, crc32: crc32(content) };
  t.strictSame(await control.heard.message("OUTCOME"), { files: [outcome] });
  t.ok(same(sink.read(nameOf("f0")), content));
  control.connection.send("FINISH", { files: 1 });
  t.match(await control.heard.message("RECEIPT"), { files: 1, failed: 0, bytes: content.length });
});

t.test("a chunk that comes twice is acknowledged twice and written once", async (t) => {
  const { control, stream, sink } = await opened(t);
  say(control, [offer(0)]);
  await control.heard.message("PLAN");
  await sendAll(stream, 0);
  await sendAll(stream, 0);
  seal(control, 0);
  await control.heard.message("OUTCOME");
  await sendAll(stream, 0);
  t.ok(same(sink.read(nameOf("f0")), content), "also after the commit");
});

t.test("a damaged chunk alone is asked for again", async (t) => {
  const { control, stream, sink } = await opened(t);
  say(control, [offer(0)]);
  await control.heard.message("PLAN");
  stream.chunk(0, CHUNK, content.subarray(CHUNK, 2 * CHUNK), 1);
  t.strictSame(await stream.heard.message("RESEND"), { chunks: [[0, CHUNK, CHUNK]] });
  await sendAll(stream, 0);
  seal(control, 0);
  t.match(await control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
  t.ok(same(sink.read(nameOf("f0")), content));
});

t.test("what is sealed with another CRC-32 is not committed", async (t) => {
  const { control, stream, sink } = await opened(t);
  say(control, [offer(0)]);
  await control.heard.message("PLAN");
  await sendAll(stream, 0);
  seal(control, 0, content, 1);
  const { files } = await control.heard.message("OUTCOME");
  t.match(files, [{ status: "failed", error: { code: ERRORS.E_CONTENT.wire } }]);
  t.equal(sink.read(nameOf("f0")), undefined);
  t.equal(sink.partsOpen, 0);
});

t.test("names that are refused, each by itself", async (t) => {
  const { control, sink } = await opened(t);
  const names = ["", "/etc/passwd", "..", "a/../b", ".", "a//b", ".hawser/x", ".HAWSER", "a\0b", "x".repeat(256)];
  say(
    control,
    names.map((name, file) => offer(file, { name: nameOf(name) })),
  );
  const failed: number[] = [];
  while (failed.length < names.length) {
    for (const { file, status, error } of (await control.heard.message("OUTCOME")).files) {
      t.equal(status, "failed");
      t.equal(error?.code, ERRORS.E_NAME.wire, `${names[file]}`);
      failed.push(file);
    }
  }
  t.equal(sink.partsOpen, 0);
  control.connection.send("FINISH", { files: names.length });
  t.match(await control.heard.message("RECEIPT"), { failed: names.length, bytes: 0 });
});

t.test("a file that the source takes back", async (t) => {
  const { control, stream, sink } = await opened(t);
  say(control, [offer(0)]);
  await control.heard.message("PLAN");
  await sendAll(stream, 0);
  const error = { code: ERRORS.E_SOURCE_CHANGED.wire, message: "it \u001b[31mgrew" };
  control.connection.send("WITHDRAW", { files: [{ file: 0, error }] });
  const { files } = await control.heard.message("OUTCOME");
  t.match(files, [{ status: "failed", error: { code: ERRORS.E_SOURCE_CHANGED.wire } }]);
  t.equal(sink.partsOpen, 0);
  seal(control, 0);
  stream.chunk(0, 0, content.subarray(0, CHUNK));
  await stream.heard.message("ACK");
  control.connection.send("FINISH", { files: 1 });
  t.match(await control.heard.message("RECEIPT"), { files: 1, failed: 1 });
});

t.test("what was said is said again after the control connection broke", async (t) => {
  const { control, stream, address, session, sink } = await opened(t);
  say(control, [offer(0), offer(1)]);
  await control.heard.message("PLAN");
  await sendAll(stream, 0);
  seal(control, 0);
  await control.heard.message("OUTCOME");
  control.connection.destroy();
  const next = await connectTo(t, address);
  next.connection.send("HELLO", hello({ session, generation: 1 }));
  await next.heard.message("WELCOME");
  say(next, [offer(0), offer(1)]);
  t.match(await next.heard.message("OUTCOME"), { files: [{ file: 0, status: "committed" }] });
  t.strictSame(await next.heard.message("PLAN"), { files: [{ file: 1, action: "send" }] });
  await sendAll(stream, 1);
  seal(next, 1);
  await next.heard.message("OUTCOME");
  next.connection.send("FINISH", { files: 2 });
  const receipt = await next.heard.message("RECEIPT");
  next.connection.destroy();
  t.match(receipt, { files: 2, failed: 0 });
  t.equal(sink.partsOpen, 0);
});

/** Illegal, with right CRCs: the session ends, its parts go, and the server goes on. */
const crimes: [string, ErrorCode, (control: WireEnd, stream: WireEnd) => void][] = [
  ["a chunk of a file that was not offered", "E_FOREIGN_CHUNK", (_c, s) => s.chunk(7, 0, content.subarray(0, CHUNK))],
  ["a chunk beyond the end", "E_OUT_OF_RANGE", (_c, s) => s.chunk(0, 4 * CHUNK, content.subarray(0, CHUNK))],
  ["a chunk that is too short", "E_OUT_OF_RANGE", (_c, s) => s.chunk(0, 0, content.subarray(0, 10))],
  ["a chunk at an odd offset", "E_OUT_OF_RANGE", (_c, s) => s.chunk(0, 1, content.subarray(0, CHUNK))],
  [
    "a chunk at the end of numbers",
    "E_OUT_OF_RANGE",
    (_c, s) => s.chunk(0, 2 ** 53 - CHUNK, content.subarray(0, CHUNK)),
  ],
  ["a damaged chunk beyond the end", "E_OUT_OF_RANGE", (_c, s) => s.chunk(0, 4 * CHUNK, content.subarray(0, CHUNK), 1)],
  [
    "a chunk twice with different content",
    "E_ILLEGAL",
    (_c, s) => {
      s.chunk(0, 0, content.subarray(0, CHUNK));
      s.chunk(0, 0, content.subarray(1, CHUNK + 1));
    },
  ],
  ["files out of order", "E_ILLEGAL", (c) => say(c, [offer(5)])],
  ["a seal with another size", "E_ILLEGAL", (c) => seal(c, 0, content.subarray(1))],
  [
    "an end with another number of files",
    "E_ILLEGAL",
    (c) => {
      c.connection.send("WITHDRAW", { files: [{ file: 0, error: { code: 401, message: "" } }] });
      c.connection.send("FINISH", { files: 9 });
    },
  ],
  [
    "too many files at once",
    "E_ILLEGAL",
    (c) =>
      say(
        c,
        Array.from({ length: 300 }, (_, i) => offer(i + 1)),
      ),
  ],
];
for (const [what, code, commit] of crimes) {
  t.test(`${what} ends the session: ${code}`, async (t) => {
    const { control, stream, sink, event, address } = await opened(t);
    say(control, [offer(0)]);
    await control.heard.message("PLAN");
    commit(control, stream);
    t.equal((await control.heard.message("ERROR")).code, ERRORS[code].wire);
    await soon(Promise.all([control.heard.closed, stream.heard.closed]), "the end of both");
    t.match(await event("ended"), { code });
    t.equal(sink.partsOpen, 0);
    const another = await connectTo(t, address);
    another.connection.send("HELLO", hello());
    await another.heard.message("WELCOME");
  });
}

t.test("a chunk of a file that is being compared", async (t) => {
  const { control, stream, sink } = await opened(t);
  const part = await sink.reserve({ id: "x", name: nameOf("f0"), size: 1, mtime: [0, 0], mode: 0 });
  await part.write(0, content.subarray(0, content.length));
  await part.commit(content.length, crc32(content));
  say(control, [offer(0)]);
  t.strictSame(await control.heard.message("PLAN"), { files: [{ file: 0, action: "compare" }] });
  stream.chunk(0, 0, content.subarray(0, CHUNK));
  t.equal((await control.heard.message("ERROR")).code, ERRORS.E_WRONG_STATE.wire);
});

t.test("a session id is of use to its owner only, and unknown ones are refused alike", async (t) => {
  const { address, control } = await opened(t);
  const session = new Uint8Array(16).fill(7);
  const joining = await connectTo(t, address);
  joining.connection.send("HELLO", hello({ session, generation: 1 }));
  const attaching = await connectTo(t, address);
  attaching.connection.send("ATTACH", { session, generation: 1, stream: 0, attempt: 0 });
  const errors = [await joining.heard.message("ERROR"), await attaching.heard.message("ERROR")];
  t.strictSame(errors[0], errors[1]);
  t.equal(errors[0]?.code, ERRORS.E_UNKNOWN_SESSION.wire);
  control.connection.send("PING", { id: 1 });
  await control.heard.message("PONG");
});

t.test("a stream that takes another's place, and one too many", async (t) => {
  const { attach, stream, session, generation, address } = await opened(t);
  await attach(0);
  await soon(stream.heard.closed, "the end of the one before");
  const extra = await connectTo(t, address);
  extra.connection.send("ATTACH", { session, generation, stream: 60, attempt: 0 });
  t.equal((await extra.heard.message("ERROR")).code, ERRORS.E_ILLEGAL.wire);
});

t.test("a client that vanishes: of a file that can't be known again nothing is left", async (t) => {
  const { control, stream, sink, event, store } = await opened(t, { sessionTtlMs: 20 });
  say(control, [offer(0)]);
  await control.heard.message("PLAN");
  await sendAll(stream, 0);
  control.connection.destroy();
  stream.connection.destroy();
  t.match(await event("ended"), { code: "E_LOST" });
  t.equal(sink.partsKept, 0);
  t.strictSame(await store.list(), []);
});

t.test("and of one that can, what is left goes when its time is over", async (t) => {
  const { control, stream, sink, event, store } = await opened(t, { sessionTtlMs: 50 });
  say(control, [offer(0, { key: new Uint8Array(16).fill(1) })]);
  await control.heard.message("PLAN");
  await sendAll(stream, 0);
  control.connection.destroy();
  stream.connection.destroy();
  await event("ended");
  t.equal(sink.partsKept, 1);
  t.equal(sink.partsOpen, 0);
  const [kept] = await store.list();
  t.match(await event("expired"), { transferId: kept?.transferId });
  t.equal(sink.partsKept, 0);
  t.strictSame(await store.list(), []);
});

const terms: Message<"WELCOME"> = WELCOME;
t.test("a session that the store can't forget ends all the same", async (t) => {
  class FullStore extends MemorySessionStore {
    override async drop(): Promise<void> {
      throw new HawserError("E_NO_SPACE", "no space while writing the sessions' database");
    }
  }
  const session = new SinkSession({
    terms,
    peer: "192.0.2.1",
    sink: new MemorySink(),
    store: new FullStore(),
    events: { onSettled: async () => {}, onFinished: async () => {}, onReceiptSent: () => {}, onFailed: () => {} },
  });
  await t.resolves(session.dispose());
});

t.test("a file of unknown size is no way around the largest size", async (t) => {
  const sink = new MemorySink(CHUNK);
  const server = await testServer(t, { sink });
  const control = await connectTo(t, server.address);
  control.connection.send("HELLO", hello());
  const { session, generation } = await control.heard.message("WELCOME");
  const stream = await connectTo(t, server.address);
  stream.connection.send("ATTACH", { session, generation, stream: 0, attempt: 0 });
  await stream.heard.message("ATTACHED");
  say(control, [offer(0, { size: null })]);
  await control.heard.message("PLAN");
  for (let at = 0; at < content.length; at += CHUNK) stream.chunk(0, at, content.subarray(at, at + CHUNK));
  seal(control, 0);
  const { files } = await control.heard.message("OUTCOME");
  t.match(files, [{ status: "failed", error: { code: ERRORS.E_TOO_LARGE.wire } }]);
});
