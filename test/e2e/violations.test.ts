/**
 * Clients that break the protocol, each beside an honest one. The session of the one that breaks it ends with the right
 * ERROR, and only that one; the server goes on, and the honest transfer arrives.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { ErrorCode, ServerEvent } from "../../src/index.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { encodeHeader } from "../../src/protocol/header.ts";
import { RUNS_MAX } from "../../src/protocol/limits.ts";
import { assertOk, sendAll, startChild, startServer, type TestServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, KIB, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import {
  chunkHeader,
  frameOf,
  HELLO,
  messageFrame,
  offered,
  openSession,
  openStream,
  RawClient,
} from "../helpers/raw-client.ts";

const CHUNK = 64 * KIB;
const payload = contentOf(CHUNK, 1);
const otherPayload = contentOf(CHUNK, 2);

const root = mkdtempSync(join(tmpdir(), "hawser-violations-"));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const dir = join(root, "to");
makeFile(join(dir, "there.bin"), 3 * CHUNK, 9);
const shared = await startServer(t, dir, { sessionTtlMs: 500 });
const { to, log } = shared;

// The honest client is slow, so that all of this happens while it transfers.
const HONEST_BYTES = 12 * MIB;
const honestPath = makeFile(join(root, "honest"), HONEST_BYTES, 4);
const honestProxy = await startProxy(t, to, {
  shape: ({ kind }) => (kind === "stream" ? { bytesPerSecond: 3 * MIB } : {}),
});
const honest = sendAll({ paths: [honestPath], to: honestProxy.address, streams: 2, chunkBytes: CHUNK });
await log.until("session");

interface Attack {
  readonly what: string;
  readonly code: ErrorCode;
  /** Does it, and returns the connection that is to hear of it. */
  readonly run: (opened: Opened) => Promise<RawClient> | RawClient;
}

interface Opened {
  readonly control: RawClient;
  readonly stream: RawClient;
  readonly transferId: string;
}

/** A session with one file offered and planned, named after the attack. */
async function opened(server: TestServer, name: string, size: number | null = 3 * CHUNK): Promise<Opened> {
  const { control, terms } = await openSession(server.to);
  control.say("OFFER", { settledBelow: 0, files: [offered(0, name, size)] });
  await control.next("PLAN");
  return { control, stream: await openStream(server.to, terms.session), transferId: terms.transfer };
}

/** {"files": with nothing behind it. */
const FILES = Buffer.from("81a566696c6573", "hex");

const garbage = createHash("sha512").update("garbage").digest();

const ATTACKS: readonly Attack[] = [
  {
    what: "huge declared lengths: a chunk larger than agreed",
    code: "E_FRAME_TOO_LARGE",
    run: ({ stream }) => stream.write(chunkHeader(0, 0, payload, CHUNK + 1), payload),
  },
  {
    what: "huge declared lengths: a chunk of nearly 4 GiB",
    code: "E_FRAME_TOO_LARGE",
    run: ({ stream }) => stream.write(chunkHeader(0, 0, payload, 0xffffffff)),
  },
  {
    what: "chunk out of range: empty",
    code: "E_ILLEGAL",
    run: ({ stream }) => stream.chunk(0, 0, new Uint8Array(0)),
  },
  {
    what: "huge declared lengths: a control frame larger than allowed",
    code: "E_FRAME_TOO_LARGE",
    run: ({ control }) => control.write(frameOf("SEAL", new Uint8Array(65537))),
  },
  {
    what: "chunk out of range: behind the end",
    code: "E_OUT_OF_RANGE",
    run: ({ stream }) => stream.chunk(0, 3 * CHUNK, payload),
  },
  {
    what: "chunk out of range: at 2^53 - 65536",
    code: "E_OUT_OF_RANGE",
    run: ({ stream }) => stream.chunk(0, 2 ** 53 - CHUNK, payload),
  },
  { what: "chunk overlapping two others", code: "E_OUT_OF_RANGE", run: ({ stream }) => stream.chunk(0, 4096, payload) },
  {
    what: "chunk out of range: shorter than it must be",
    code: "E_OUT_OF_RANGE",
    run: ({ stream }) => stream.chunk(0, 0, payload.subarray(1)),
  },
  {
    what: "chunk of another file: which was not offered",
    code: "E_FOREIGN_CHUNK",
    run: ({ stream }) => stream.chunk(7, 0, payload),
  },
  {
    what: "chunk of another file: which is to be compared",
    code: "E_WRONG_STATE",
    run: async ({ control, stream }) => {
      control.say("OFFER", { settledBelow: 0, files: [offered(1, "there.bin", 3 * CHUNK)] });
      await control.next("PLAN");
      return stream.chunk(1, 0, payload);
    },
  },
  {
    what: "chunk twice, with different content",
    code: "E_ILLEGAL",
    run: async ({ stream }) => {
      stream.chunk(0, 0, payload);
      await stream.next("ACK");
      return stream.chunk(0, 0, otherPayload);
    },
  },
  {
    what: "frame in the wrong state: a chunk on the control connection",
    code: "E_WRONG_STATE",
    run: ({ control }) => control.chunk(0, 0, payload),
  },
  {
    what: "frame in the wrong state: an offer on a stream",
    code: "E_WRONG_STATE",
    run: ({ stream }) => stream.say("OFFER", { settledBelow: 0, files: [offered(1, "x", 1)] }),
  },
  {
    what: "frame in the wrong state: a plan from the source",
    code: "E_WRONG_STATE",
    run: ({ control }) => control.say("PLAN", { files: [] }),
  },
  {
    what: "frame in the wrong state: an acknowledgement from the source",
    code: "E_WRONG_STATE",
    run: ({ stream }) => stream.say("ACK", { chunks: [] }),
  },
  {
    what: "frame in the wrong state: HELLO twice",
    code: "E_WRONG_STATE",
    run: ({ control }) => control.say("HELLO", HELLO),
  },
  {
    what: "frame after the end: an offer after FINISH",
    code: "E_WRONG_STATE",
    run: ({ control }) => control.say("FINISH", { files: 1 }).say("OFFER", { settledBelow: 0, files: [] }),
  },
  {
    what: "offers out of order",
    code: "E_ILLEGAL",
    run: ({ control }) => control.say("OFFER", { settledBelow: 0, files: [offered(2, "out-of-order", 1)] }),
  },
  {
    what: "more offers than may be open",
    code: "E_ILLEGAL",
    run: ({ control }) =>
      control.say("OFFER", {
        settledBelow: 0,
        files: Array.from({ length: 256 }, (_, i) => offered(1 + i, `many-${i}`, CHUNK)),
      }),
  },
  {
    what: "FINISH with a wrong count",
    code: "E_ILLEGAL",
    run: async ({ control, stream }) => {
      stream
        .chunk(0, 0, payload)
        .chunk(0, CHUNK, payload)
        .chunk(0, 2 * CHUNK, payload);
      const whole = crc32(Buffer.concat([payload, payload, payload]));
      return control.say("SEAL", { files: [{ file: 0, size: 3 * CHUNK, crc32: whole }] }).say("FINISH", { files: 2 });
    },
  },
  {
    what: "SEAL with another size",
    code: "E_ILLEGAL",
    run: ({ control }) => control.say("SEAL", { files: [{ file: 0, size: 1, crc32: 0 }] }),
  },
  {
    what: "unknown types: on the control connection",
    code: "E_ILLEGAL",
    run: ({ control }) => {
      const frame = messageFrame("PING", { id: 1 });
      frame[0] = 99;
      frame.writeUInt32BE(crc32(frame.subarray(0, 28)), 28);
      return control.write(frame);
    },
  },
  {
    what: "deep msgpack",
    code: "E_BAD_MESSAGE",
    run: ({ control }) => control.write(frameOf("SEAL", Buffer.concat([FILES, Buffer.alloc(4000, 0x91)]))),
  },
  {
    what: "amplified msgpack: a list of 4 thousand millions in 5 bytes",
    code: "E_BAD_MESSAGE",
    run: ({ control }) => control.write(frameOf("SEAL", Buffer.concat([FILES, Buffer.from("ddffffffff", "hex")]))),
  },
  {
    what: "__proto__ in msgpack",
    code: "E_BAD_MESSAGE",
    // {"__proto__": {"id": 1}}
    run: ({ control }) => control.write(frameOf("PING", Buffer.from("81a95f5f70726f746f5f5f81a2696401", "hex"))),
  },
  {
    what: "msgpack that is none of the message's",
    code: "E_BAD_MESSAGE",
    run: ({ control }) => control.write(frameOf("SEAL", Buffer.from([0x80]))),
  },
];

for (const { what, code, run } of ATTACKS) {
  t.test(what, async (t) => {
    const name = what.replaceAll(" ", "-").replaceAll("^", "");
    const session = await opened(shared, name);
    const teller = await run(session);
    t.equal(await teller.error(), code, "whoever breaks it is told");
    const event = await log.until("ended", (ended) => ended.transferId === session.transferId);
    t.equal(event.code, code, "the session ended of it, and of nothing else");
    await Promise.all([session.control.closed, session.stream.closed]);
    // What one of the attacks committed before it, it has committed.
    if (!what.startsWith("FINISH")) t.notOk(namesIn(dir).includes(name), "nothing was committed");
  });
}

t.test("garbage is damage: it ends the connection and not the session", async (t) => {
  const session = await opened(shared, "garbage-then-well");
  session.stream.write(garbage);
  t.equal(await session.stream.error(), "E_DAMAGED");
  session.control.say("PING", { id: 5 });
  t.match(await session.control.next("PONG"), { id: 5, doing: "receiving" }, "the session is there");
  session.control.end();
});

t.test("chunk twice with the same content: it is acknowledged twice, and the file is committed", async (t) => {
  const { control, stream } = await opened(shared, "twice", CHUNK);
  stream.chunk(0, 0, payload);
  t.same(await stream.next("ACK"), { chunks: [[0, 0, CHUNK]] });
  stream.chunk(0, 0, payload);
  t.same(await stream.next("ACK"), { chunks: [[0, 0, CHUNK]] });
  control.say("SEAL", { files: [{ file: 0, size: CHUNK, crc32: crc32(payload) }] }).say("FINISH", { files: 1 });
  t.match(await control.next("OUTCOME"), {
    files: [{ file: 0, status: "committed", size: CHUNK, crc32: crc32(payload) }],
  });
  stream.chunk(0, 0, otherPayload);
  t.same(await stream.next("ACK"), { chunks: [[0, 0, CHUNK]] }, "also after it was settled, and thrown away");
  t.match(await control.next("RECEIPT"), { files: 1, failed: 0, bytes: CHUNK });
  assertContent(t, join(dir, "twice"), payload);
  control.end();
  stream.end();
});

t.test("SEAL with another CRC-32: the file fails with E_CONTENT, and the session goes on", async (t) => {
  const { control, stream } = await opened(shared, "other-crc", CHUNK);
  stream.chunk(0, 0, payload);
  control.say("SEAL", { files: [{ file: 0, size: CHUNK, crc32: crc32(payload) ^ 1 }] }).say("FINISH", { files: 1 });
  t.match(await control.next("OUTCOME"), { files: [{ file: 0, status: "failed", error: { code: 407 } }] });
  t.match(await control.next("RECEIPT"), { files: 1, failed: 1, bytes: 0 });
  t.notOk(namesIn(dir).includes("other-crc"), "nothing was committed");
  control.end();
  stream.end();
});

t.test("a file of unknown size: the chunks say where it ends, and SEAL must agree", async (t) => {
  const good = await opened(shared, "unknown-size", null);
  good.stream.chunk(0, 0, payload).chunk(0, CHUNK, payload.subarray(0, 10));
  const whole = Buffer.concat([payload, payload.subarray(0, 10)]);
  const seal = { file: 0, size: CHUNK + 10, crc32: crc32(whole) };
  await good.stream.next("ACK");
  good.control.say("SEAL", { files: [seal] }).say("FINISH", { files: 1 });
  t.match(await good.control.next("OUTCOME"), { files: [{ status: "committed" }] });
  assertContent(t, join(dir, "unknown-size"), whole);
  good.control.end();
  good.stream.end();
});

t.test("chunks scattered over a file of unknown size: so many gaps, and no more", async (t) => {
  const { control, stream, transferId } = await opened(shared, "scattered", null);
  control.say("OFFER", { settledBelow: 0, files: [offered(1, "scattered-2", null)] });
  await control.next("PLAN");
  // All zeros: a table of no extents.
  const zeros = { payload: new Uint8Array(2), crc: crc32(new Uint8Array(CHUNK)) };
  const header = (file: number, chunk: number) =>
    encodeHeader({
      name: "CHUNK",
      file,
      offset: chunk * CHUNK,
      payloadBytes: zeros.payload.length,
      payloadCrc32: zeros.crc,
      encoding: "sparse",
      decodedBytes: CHUNK,
    });
  const say = async (file: number, chunks: readonly number[]) => {
    stream.write(...chunks.flatMap((chunk) => [header(file, chunk), zeros.payload]));
    for (let acked = 0; acked < chunks.length * CHUNK; ) {
      for (const [, , bytes] of (await stream.next("ACK")).chunks) acked += bytes;
    }
  };
  const evenUpTo = (count: number) => Array.from({ length: count }, (_, i) => 2 * i);
  await say(0, evenUpTo(RUNS_MAX));
  await say(0, [2 * RUNS_MAX]);
  await say(1, [0]);
  await say(0, [1, 2 * RUNS_MAX + 1]);
  await say(1, [2]);
  t.pass("what fills a gap, or goes on where one was, comes at any time, and the first of each file");
  stream.write(header(1, 4), zeros.payload);
  t.equal(await stream.error(), "E_ILLEGAL");
  const event = await log.until("ended", (ended) => ended.transferId === transferId);
  t.match(event, { code: "E_ILLEGAL", message: /more than 4096 places/ });
  await Promise.all([control.closed, stream.closed]);
});

const NAMES: readonly (readonly [string, Uint8Array])[] = [
  ["..", Buffer.from("..")],
  ["a/../b", Buffer.from("a/../b")],
  ["../../etc/passwd", Buffer.from("../../etc/passwd")],
  [".", Buffer.from(".")],
  ["empty", Buffer.alloc(0)],
  ["absolute", Buffer.from("/etc/passwd")],
  ["an empty component", Buffer.from("a//b")],
  ["a slash at the end", Buffer.from("a/")],
  ["NUL", Buffer.from("a\0b")],
  ["a component of 256 bytes", Buffer.alloc(256, "a")],
  ["4096 bytes", Buffer.from(`${"aaa/".repeat(1023)}aaaa`)],
  [".hawser", Buffer.from(".hawser")],
  [".hawser/x", Buffer.from(".hawser/x")],
  [".HAWSER/parts/x", Buffer.from(".HAWSER/parts/x")],
];

t.test("names that are refused, offered all at once, beside names that are odd and arrive", async (t) => {
  const odd = ["tab\there", 'quote"', "back\\slash", "new\nline", "..a", "CON", "bytes \u00ff", "-rf", " "];
  const { control } = await openSession(to);
  const all = [
    ...NAMES.map(([, name]) => name),
    ...odd.map((name) => Buffer.from(name)),
    Buffer.from([0x62, 0xff, 0xfe]),
  ];
  control.say("OFFER", { settledBelow: 0, files: all.map((name, i) => offered(i, name, 0)) });
  control.say("SEAL", { files: [] });
  const became = new Map<number, string>();
  for (let i = NAMES.length; i < all.length; i++) control.say("SEAL", { files: [{ file: i, size: 0, crc32: 0 }] });
  // SEAL of an empty file may come before its PLAN has gone out; what counts is what becomes of each.
  control.say("PING", { id: 1 });
  await control.next("PLAN");
  for (let i = NAMES.length; i < all.length; i++) control.say("SEAL", { files: [{ file: i, size: 0, crc32: 0 }] });
  control.say("FINISH", { files: all.length });
  const receipt = await control.next("RECEIPT");
  for (const { name, body } of control.came) {
    if (name !== "OUTCOME") continue;
    for (const { file, status, error } of (
      body as { files: { file: number; status: string; error?: { code: number } }[] }
    ).files) {
      became.set(file, error === undefined ? status : String(error.code));
    }
  }
  NAMES.forEach(([what], i) => {
    t.equal(became.get(i), "302", `${what}: E_NAME`);
  });
  for (let i = NAMES.length; i < all.length; i++) t.equal(became.get(i), "committed", JSON.stringify(String(all[i])));
  t.match(receipt, { files: all.length, failed: NAMES.length });
  control.end();
});

t.test("a session id used from another address: it is nobody else's", async (t) => {
  const { control, terms } = await openSession(to);
  const stranger = await RawClient.connect(to, "127.0.0.2");
  stranger.greet().say("ATTACH", { session: terms.session, generation: terms.generation, stream: 0, attempt: 1 });
  t.equal(await stranger.error(), "E_UNKNOWN_SESSION", "its stream from another address is refused");
  const thief = await RawClient.connect(to, "127.0.0.2");
  thief.greet().say("HELLO", { ...HELLO, session: terms.session, generation: terms.generation });
  t.equal(await thief.error(), "E_UNKNOWN_SESSION", "and so is its control connection");
  const refused = await log.untilCount("refused", 2, ({ peer }) => peer === "127.0.0.2");
  t.same(
    refused.map(({ code }) => code),
    ["E_UNKNOWN_SESSION", "E_UNKNOWN_SESSION"],
    "it is logged",
  );
  // The real one is as it was.
  const stream = await openStream(to, terms.session, 0);
  control.say("OFFER", { settledBelow: 0, files: [offered(0, "untouched", CHUNK)] });
  await control.next("PLAN");
  stream.chunk(0, 0, payload);
  control.say("SEAL", { files: [{ file: 0, size: CHUNK, crc32: crc32(payload) }] });
  t.match(await control.next("OUTCOME"), { files: [{ status: "committed" }] });
  control.end();
  stream.end();
});

t.test("ids and numbers that are none", async (t) => {
  const unknown = await RawClient.connect(to);
  unknown.greet().say("ATTACH", { session: new Uint8Array(16), generation: 1, stream: 0, attempt: 1 });
  t.equal(await unknown.error(), "E_UNKNOWN_SESSION");
  const { control, terms } = await openSession(to, { streams: 2 });
  const beyond = await RawClient.connect(to);
  beyond.greet().say("ATTACH", { session: terms.session, generation: 1, stream: 2, attempt: 1 });
  t.equal(await beyond.error(), "E_ILLEGAL");
  const large = await RawClient.connect(to);
  large.greet().write(frameOf("HELLO", new Uint8Array(4097)));
  t.equal(await large.error(), "E_FRAME_TOO_LARGE", "4 KiB are enough for a HELLO");
  const first = await RawClient.connect(to);
  first.greet().say("PING", { id: 1 });
  t.equal(await first.error(), "E_WRONG_STATE", "PING can't be the first");
  const sink = await RawClient.connect(to);
  sink.greet().say("HELLO", { ...HELLO, role: "sink" });
  t.equal(await sink.error(), "E_ILLEGAL", "this server sends no files");
  control.end();
});

t.test("a stream that takes another's place drops it", async (t) => {
  const session = await opened(shared, "fenced", 2 * CHUNK);
  const { control, terms } = await openSession(to);
  control.say("OFFER", { settledBelow: 0, files: [offered(0, "fenced-2", CHUNK)] });
  await control.next("PLAN");
  const old = await openStream(to, terms.session, 1);
  const fresh = await openStream(to, terms.session, 1);
  await old.closed;
  t.pass("the earlier one is closed");
  fresh.chunk(0, 0, payload);
  t.same(await fresh.next("ACK"), { chunks: [[0, 0, CHUNK]] });
  for (const raw of [control, fresh, session.control, session.stream]) raw.end();
});

for (const [what, send] of [
  [
    "an ERROR on a stream behind a chunk",
    ({ stream }: Opened) =>
      stream.write(chunkHeader(0, 0, payload), payload, messageFrame("ERROR", { code: 601, message: "enough" })),
  ],
] as const) {
  t.test(`${what} does not bring the server down`, async (t) => {
    const child = startChild<ServerEvent>(t, "server-child.ts", { dir: t.testdir(), port: 0 });
    const listening = await child.log.until("listening");
    const server = { to: listening, log: child.log } as unknown as TestServer;
    const session = await opened(server, "x");
    send(session);
    const alive = openSession(listening).then(() => "serves");
    // The acknowledgement would have gone out 5 ms after the chunk; a session opened after that shows what became.
    await session.stream.closed;
    await alive.catch(() => {});
    const after = openSession(listening).then(
      () => "serves",
      () => "is gone",
    );
    t.equal(await Promise.race([after, child.exited.then(() => "is gone")]), "serves", child.stderr());
  });
}

t.test("HELLO with an ERROR behind it leaves no session", async (t) => {
  const server = await startServer(t, t.testdir(), { sessionTtlMs: 100 });
  const raw = await RawClient.connect(server.to);
  raw.greet().write(messageFrame("HELLO", HELLO), messageFrame("ERROR", { code: 601, message: "never mind" }));
  await raw.closed;
  // A second session that its client leaves ends after the time to live; the first one must have ended by then.
  const { control, terms } = await openSession(server.to);
  control.end();
  await server.log.until("ended", ({ transferId }) => transferId === terms.transfer);
  t.equal(server.log.of("ended").length, server.log.of("session").length, "every session ended");
});

t.test("the honest client got through", async (t) => {
  const sent = await honest;
  assertOk(t, sent);
  t.equal(sent.result.retries, 0, "undisturbed");
  assertContent(t, join(dir, "honest"), contentOf(HONEST_BYTES, 4));
});

t.test("afterwards nothing is left", async (t) => {
  await shared.server.close();
  t.same(partsIn(dir), [], "no part");
});
