/**
 * Every message in every state that does not allow it, and every wrong field of a header, sent by the second
 * implementation: each ends as PROTOCOL.md says, and an honest client beside it is served.
 */
import { crc32 } from "node:zlib";
import t, { type Test } from "tap";
import type { ServerEvent } from "../../src/index.ts";
import { type EventLog, startServer } from "../helpers/e2e.ts";
import { Connection } from "./connection.ts";
import { bundle, chunk } from "./content.ts";
import { FRAMES, NAMES, type Name, rawFrame, SPARSE, ZSTD } from "./frames.ts";
import { honestClient } from "./honest.ts";
import { encode, type Fields } from "./msgpack.ts";
import { contentOf } from "./random.ts";
import {
  attachOf,
  CHUNK,
  HELLO,
  offer,
  offers,
  openSession,
  openStream,
  planned,
  type RawSession,
} from "./raw-session.ts";
import { after } from "./states.ts";

const { to, log } = await startServer(t, t.testdir(), { sessionTtlMs: 1000 });
const honest = honestClient(to);

const content = contentOf(CHUNK);
const digest = Buffer.alloc(32);
const failure = { code: 405, message: "it changed" };

/** A message of each kind with nothing wrong in it but the time. */
const BODIES: Readonly<Record<Exclude<Name, "CHUNK" | "BUNDLE">, Fields>> = {
  HELLO,
  WELCOME: {
    agent: "second/1",
    session: Buffer.alloc(16),
    generation: 1,
    transfer: "x",
    chunkBytes: CHUNK,
    windowBytes: CHUNK,
    splitBytes: CHUNK,
    streams: 1,
    openFiles: 1,
    durability: "none",
  },
  OFFER: { settledBelow: 0, files: [] },
  PLAN: { files: [{ file: 0, action: "send" }] },
  DIGEST: { files: [{ file: 0, blake3: digest }] },
  SEAL: { files: [{ file: 0, size: 0, crc32: 0 }] },
  WITHDRAW: { files: [{ file: 0, error: failure }] },
  OUTCOME: { files: [{ file: 0, status: "committed", size: 0, crc32: 0 }] },
  FINISH: { files: 0 },
  RECEIPT: { files: 0, failed: 0, bytes: 0, durationMs: 0, cpuMicros: 0 },
  PING: { id: 1 },
  PONG: { id: 1 },
  ERROR: { code: 601, message: "never mind" },
  ATTACH: { session: Buffer.alloc(16), generation: 1, stream: 0, attempt: 1 },
  ATTACHED: { stream: 0 },
  ACK: { chunks: [[0, 0, 1]] },
  RESEND: { chunks: [[0, 0, 1]] },
  HAVE: { file: 0, offset: 0, crcs: Buffer.alloc(4) },
};

function frameOf(name: Name): Buffer {
  if (name === "CHUNK") return chunk(0, 0, content);
  if (name === "BUNDLE") return bundle(0, [{ file: 0, content: content.subarray(0, 9) }]);
  return rawFrame(encode(BODIES[name]), { type: FRAMES[name] });
}

/** A connection in each state, and its session. */
const STATES: Readonly<Record<string, () => Promise<{ connection: Connection; session?: RawSession }>>> = {
  start: async () => ({ connection: Connection.dial(to) }),
  open: async () => {
    const session = await openSession(to);
    return { connection: session.control, session };
  },
  finishing: async () => {
    const session = await planned(await openSession(to), offer(0, "never", 5));
    session.control.send("FINISH", { files: 1 }).send("PING", { id: 1 });
    await session.control.until("PONG");
    return { connection: session.control, session };
  },
  done: async () => {
    const session = await openSession(to);
    session.control.send("FINISH", { files: 0 });
    await session.control.until("RECEIPT");
    return { connection: session.control, session };
  },
  data: async () => {
    const session = await openSession(to);
    return { connection: await openStream(session), session };
  },
};

/** The session ended, of this and nothing else. */
async function assertEnded(t: Test, log: EventLog<ServerEvent>, session: RawSession, code: string): Promise<void> {
  const event = await log.until("ended", ({ transferId }) => transferId === session.transfer);
  t.equal(event.code, code, "the session ended of it");
}

const SENDER = { side: "client", role: "source" } as const;

for (const [state, open] of Object.entries(STATES)) {
  const illegal = NAMES.filter((name) => after(state, name, SENDER) === null);
  t.test(`in '${state}': ${illegal.join(", ")}`, async (t) => {
    t.ok(illegal.length > 10);
    for (const name of illegal) {
      const { connection, session } = await open();
      connection.raw(frameOf(name));
      t.equal(await connection.ending(), "E_WRONG_STATE", name);
      // A transfer whose client has its receipt is complete, whatever comes after it.
      if (session && state !== "done") await assertEnded(t, log, session, "E_WRONG_STATE");
      session?.control.close();
    }
    await honest.more();
  });
}

t.test("two opening messages on one connection", async (t) => {
  const session = await openSession(to);
  for (const [first, second] of [
    ["HELLO", HELLO],
    ["HELLO", BODIES.FINISH],
    ["HELLO", BODIES.PING],
  ] as const) {
    const name = second === HELLO ? "HELLO" : second === BODIES.PING ? "PING" : "FINISH";
    const both = [rawFrame(encode(HELLO), { type: FRAMES[first] }), rawFrame(encode(second), { type: FRAMES[name] })];
    const connection = Connection.dial(to).raw(Buffer.concat(both));
    t.equal(await connection.ending(), "E_WRONG_STATE", `HELLO and ${name}, before WELCOME`);
  }
  const attach = rawFrame(encode(attachOf(session)), { type: FRAMES.ATTACH });
  t.equal(
    await Connection.dial(to)
      .raw(Buffer.concat([attach, attach]))
      .ending(),
    "E_WRONG_STATE",
    "ATTACH twice",
  );
  await assertEnded(t, log, session, "E_WRONG_STATE");
});

const ping = encode({ id: 7 });
const zstd = chunk(0, 0, Buffer.alloc(CHUNK, "ab"), ZSTD).subarray(32);
const PING = FRAMES.PING;
const CHUNK_TYPE = FRAMES.CHUNK;

/** Headers that are wrong under a right CRC: they end the session. */
const HEADERS: readonly (readonly [what: string, code: string, on: "control" | "stream", frame: Buffer])[] = [
  ["no such type", "E_ILLEGAL", "control", rawFrame(ping, { type: 0 })],
  ["no such type, with data", "E_ILLEGAL", "stream", rawFrame(content, { type: 34 })],
  ["type 255", "E_ILLEGAL", "stream", rawFrame(ping, { type: 255 })],
  ["reserved bytes", "E_ILLEGAL", "control", rawFrame(ping, { type: PING, reserved: 1 })],
  ["reserved bytes of a chunk", "E_ILLEGAL", "stream", rawFrame(content, { type: CHUNK_TYPE, reserved: 0x8000 })],
  ["flags of a message", "E_ILLEGAL", "control", rawFrame(ping, { type: PING, flags: ZSTD, decodedBytes: 50 })],
  ["both flags", "E_ILLEGAL", "stream", rawFrame(zstd, { type: CHUNK_TYPE, flags: 3, decodedBytes: CHUNK })],
  ["flag 4", "E_ILLEGAL", "stream", rawFrame(zstd, { type: CHUNK_TYPE, flags: 4, decodedBytes: CHUNK })],
  ["flag 128", "E_ILLEGAL", "stream", rawFrame(zstd, { type: CHUNK_TYPE, flags: 128, decodedBytes: CHUNK })],
  [
    "a sparse bundle",
    "E_ILLEGAL",
    "stream",
    rawFrame(zstd, { type: FRAMES.BUNDLE, flags: SPARSE, decodedBytes: CHUNK }),
  ],
  ["a file in a message", "E_ILLEGAL", "control", rawFrame(ping, { type: PING, file: 1 })],
  ["an offset in a message", "E_ILLEGAL", "control", rawFrame(ping, { type: PING, offset: 1 })],
  ["an offset of a bundle", "E_ILLEGAL", "stream", rawFrame(content, { type: FRAMES.BUNDLE, offset: CHUNK })],
  ["an offset of 2^53", "E_OUT_OF_RANGE", "stream", rawFrame(content, { type: CHUNK_TYPE, offset: 2n ** 53n })],
  [
    "an offset of 2^64 - 1",
    "E_OUT_OF_RANGE",
    "stream",
    rawFrame(content, { type: CHUNK_TYPE, offset: 2n ** 64n - 1n }),
  ],
  ["the same in a message", "E_OUT_OF_RANGE", "control", rawFrame(ping, { type: PING, offset: 2n ** 63n })],
  ["two lengths of a message", "E_ILLEGAL", "control", rawFrame(ping, { type: PING, decodedBytes: ping.length + 1 })],
  [
    "two lengths of a raw chunk",
    "E_ILLEGAL",
    "stream",
    rawFrame(content, { type: CHUNK_TYPE, decodedBytes: CHUNK - 1 }),
  ],
  ["zstd that is no shorter", "E_ILLEGAL", "stream", rawFrame(content, { type: CHUNK_TYPE, flags: ZSTD })],
  [
    "zstd of no byte",
    "E_ILLEGAL",
    "stream",
    rawFrame(Buffer.alloc(0), { type: CHUNK_TYPE, flags: ZSTD, decodedBytes: 9 }),
  ],
  ["zstd of nothing", "E_ILLEGAL", "stream", rawFrame(zstd, { type: CHUNK_TYPE, flags: ZSTD, decodedBytes: 0 })],
  ["a message of no byte", "E_ILLEGAL", "control", rawFrame(Buffer.alloc(0), { type: PING })],
  ["a bundle of no byte", "E_ILLEGAL", "stream", rawFrame(Buffer.alloc(0), { type: FRAMES.BUNDLE })],
  ["a message of 4 GiB", "E_FRAME_TOO_LARGE", "control", rawFrame(ping, { type: PING, wireBytes: 2 ** 32 - 1 })],
  ["a message of 64 KiB and 1", "E_FRAME_TOO_LARGE", "stream", rawFrame(ping, { type: PING, wireBytes: 65_537 })],
  [
    "a chunk of 4 GiB when decoded",
    "E_FRAME_TOO_LARGE",
    "stream",
    rawFrame(zstd, { type: CHUNK_TYPE, flags: ZSTD, decodedBytes: 2 ** 32 - 1 }),
  ],
  [
    "a bundle larger than a chunk when decoded",
    "E_FRAME_TOO_LARGE",
    "stream",
    rawFrame(zstd, { type: FRAMES.BUNDLE, flags: ZSTD, decodedBytes: CHUNK + 1 }),
  ],
];

t.test("headers that are wrong under a right CRC end the session", async (t) => {
  for (const [what, code, on, frame] of HEADERS) {
    const session = await openSession(to);
    const connection = on === "control" ? session.control : await openStream(session);
    connection.raw(frame);
    t.equal(await connection.ending(), code, what);
    await assertEnded(t, log, session, code);
  }
  await honest.more();
});

t.test("what is checked first", async (t) => {
  for (const [what, code, frame] of [
    ["the CRC before the type", "E_DAMAGED", rawFrame(ping, { type: 99, headerCrc: 5 })],
    ["the type before the offset", "E_ILLEGAL", rawFrame(ping, { type: 99, offset: 2n ** 60n })],
    [
      "the offset before what a message may have",
      "E_OUT_OF_RANGE",
      rawFrame(ping, { type: PING, file: 1, offset: 2n ** 60n }),
    ],
    ["what a message may have before the state", "E_ILLEGAL", rawFrame(ping, { type: FRAMES.PLAN, file: 1 })],
    ["the state before the length", "E_WRONG_STATE", rawFrame(ping, { type: FRAMES.PLAN, wireBytes: 2 ** 31 })],
    [
      "the length before the payload",
      "E_FRAME_TOO_LARGE",
      rawFrame(Buffer.alloc(0), { type: PING, wireBytes: 65_537 }),
    ],
  ] as const) {
    const { control } = await openSession(to);
    t.equal(await control.raw(frame).ending(), code, what);
    control.close();
  }
});

t.test("damage ends its connection, and the session goes on", async (t) => {
  const session = await openSession(to);
  const stream = await openStream(session);
  t.equal(await stream.raw(rawFrame(content, { type: CHUNK_TYPE, headerCrc: 1 })).ending(), "E_DAMAGED", "a header");
  const again = await openStream(session, { attempt: 2 });
  t.equal(await again.raw(rawFrame(ping, { type: PING, crc: 1 })).ending(), "E_DAMAGED", "a message's payload");
  t.equal(await session.control.raw(rawFrame(ping, { type: PING, crc: 1 })).ending(), "E_DAMAGED", "on control");
  const joined = await openSession(to, { session: session.id, generation: 1 });
  t.same(joined.welcome, session.welcome, "the terms as they were");
  joined.control.send("FINISH", { files: 0 });
  t.match((await joined.control.until("RECEIPT")).fields, { files: 0, failed: 0 });
  joined.control.close();
});

t.test("data frames that can't be decoded are asked for again, each alone", async (t) => {
  const session = await openSession(to);
  const text = Buffer.from(content.map((byte) => 97 + (byte & 3)));
  const stream = await openStream(session);
  offers(session.control, offer(0, "damaged", CHUNK), offer(1, "damaged small", 100, { whole: true }));
  await session.control.until("PLAN", ({ fields }) => (fields["files"] as Fields[]).some(({ file }) => file === 1));
  const place = { type: CHUNK_TYPE, decodedBytes: CHUNK };
  const table = (...numbers: number[]) => {
    const bytes = Buffer.alloc(2 + 4 * (numbers.length - 1));
    bytes.writeUInt16BE(numbers[0] as number, 0);
    for (const [i, number] of numbers.slice(1).entries()) bytes.writeUInt32BE(number, 2 + 4 * i);
    return bytes;
  };
  const bomb = chunk(0, 0, Buffer.alloc(CHUNK * 200, 1), ZSTD).subarray(32);
  const damaged: readonly (readonly [string, Buffer])[] = [
    ["a wrong CRC", rawFrame(content, { ...place, crc: 1 })],
    ["no zstd", rawFrame(content.subarray(0, 99), { ...place, flags: ZSTD })],
    ["zstd that decodes to 200 times what it may", rawFrame(bomb, { ...place, flags: ZSTD })],
    ["zstd cut short", rawFrame(zstd.subarray(0, -3), { ...place, flags: ZSTD })],
    ["two zstd frames", rawFrame(Buffer.concat([zstd, zstd]), { ...place, flags: ZSTD })],
    ["sparse: no table", rawFrame(Buffer.from([9]), { ...place, flags: SPARSE })],
    ["sparse: more extents than bytes", rawFrame(table(0xffff, 0, 1), { ...place, flags: SPARSE })],
    [
      "sparse: an extent that ends beyond 4 GiB",
      rawFrame(table(1, 0xffff_ffff, 0xffff_ffff), { ...place, flags: SPARSE }),
    ],
    ["sparse: overlapping", rawFrame(table(2, 4, 4, 4, 4, 0, 0), { ...place, flags: SPARSE })],
    ["sparse: descending", rawFrame(table(2, 8, 4, 0, 4, 0, 0), { ...place, flags: SPARSE })],
  ];
  for (const [what, frame] of damaged) {
    stream.raw(frame);
    t.same((await stream.until("RESEND")).fields, { chunks: [[0, 0, CHUNK]] }, what);
  }
  const small = bundle(1, [{ file: 1, content: content.subarray(0, 100) }]);
  const spoilt = Buffer.from(small);
  spoilt[50] = (spoilt[50] as number) ^ 1;
  t.same((await stream.raw(spoilt).until("RESEND")).fields, { chunks: [[1, 0, 116]] }, "a bundle");
  stream.raw(small).chunk(0, 0, text, ZSTD);
  session.control.send("SEAL", { files: [{ file: 0, size: CHUNK, crc32: crc32(text) }] }).send("FINISH", { files: 2 });
  t.match((await session.control.until("RECEIPT")).fields, { files: 2, failed: 0, bytes: CHUNK + 100 });
  session.control.close();
  stream.close();
});

t.test("the honest client got through", async (t) => {
  const result = await honest.end();
  t.match(result, { ok: true, error: null, retries: 0 });
});
