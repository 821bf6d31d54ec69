import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { Conversation } from "../../src/protocol/conversation.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { HawserError, LocalProtocolError } from "../../src/protocol/errors.ts";
import { OUR_VERSIONS } from "../../src/protocol/greeting.ts";
import { encodeHeader, type MessageName } from "../../src/protocol/header.ts";
import { CONTROL_PAYLOAD_BYTES_MAX, GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import type { Role, Side, State } from "../../src/protocol/states.ts";
import { type AnyChunk, anyChunk, anyMessage, MESSAGES, sliceSizes } from "../helpers/arbitraries.ts";
import {
  attachOf,
  CHUNK_BYTES,
  CountingBuffers,
  type End,
  endIn,
  exchange,
  HELLO,
  joined,
  other,
  type Receiver,
  WELCOME,
  walk,
} from "../helpers/conversation.ts";
import { byPush, byTarget, DELIVERIES, type Delivery, everyCut, sliced } from "../helpers/slices.ts";
import { bytesOf, vectorFile } from "../helpers/vectors.ts";

const ROLES: Role[] = ["source", "sink"];
const deliveries = fc.constantFrom(...Object.values(DELIVERIES));

function feed(end: End, slices: readonly Uint8Array[], deliver: Delivery): HawserError | undefined {
  try {
    for (const slice of slices) deliver(end.conversation, slice);
  } catch (error) {
    if (error instanceof HawserError) return error;
    throw error;
  }
  return undefined;
}

for (const file of ["messages", "chunks", "liberal"] as const) {
  t.test(`vectors: ${file}`, async (t) => {
    for (const { name, receiver, hex, expect } of vectorFile(file).vectors) {
      const whole = endIn(receiver);
      feed(whole, [bytesOf(hex)], byPush);
      t.strictSame(whole.events, expect, name);
      const once = JSON.stringify(whole.events);
      for (const [via, deliver] of Object.entries(DELIVERIES)) {
        for (const { how, slices } of everyCut(bytesOf(hex), new Uint8Array(16))) {
          const end = endIn(receiver);
          const error = feed(end, slices, deliver);
          if (error !== undefined || JSON.stringify(end.events) !== once)
            t.fail(`${name}, ${how}, by ${via}`, { error });
        }
      }
    }
  });
}

for (const { name, receiver, hex, expect, pending } of vectorFile("bad").vectors) {
  t.test(`bad: ${name}`, { todo: pending ?? false }, async (t) => {
    let cuts = 0;
    let wrong = 0;
    for (const [via, deliver] of Object.entries(DELIVERIES)) {
      for (const { how, slices } of everyCut(bytesOf(hex), new Uint8Array(16))) {
        const end = endIn(receiver);
        const error = feed(end, slices, deliver);
        cuts++;
        if (error?.code === expect.error && end.events.length === 0) continue;
        if (wrong++ === 0) t.fail(`${how}, by ${via}`, { found: error?.code, events: end.events });
      }
    }
    t.equal(wrong, 0, `in ${cuts} ways`);
  });
}

for (const clientRole of ROLES) {
  t.test(`a whole transfer, the client being the ${clientRole}`, async (t) => {
    for (const size of [1, 7, Number.POSITIVE_INFINITY]) {
      const pair = joined(clientRole);
      const { client, server, source, sink } = pair;
      client.say("HELLO", { ...HELLO, role: clientRole });
      t.equal(client.conversation.state, "welcoming");
      exchange(pair, size);
      t.strictSame(server.versions, [1]);
      t.strictSame(server.messages.at(-1), { name: "HELLO", body: { ...HELLO, role: clientRole } });
      server.say("WELCOME", WELCOME);
      exchange(pair, size);
      t.strictSame(client.versions, [1]);
      t.equal(client.conversation.state, "open");

      const script: [End, MessageName, Message][] = [
        [source, "OFFER", { settledBelow: 0, files: [offered(0, 9), offered(1, null), offered(2, 9)] }],
        [
          sink,
          "PLAN",
          {
            files: [
              { file: 0, action: "send" },
              { file: 1, action: "send" },
              { file: 2, action: "compare" },
            ],
          },
        ],
        [source, "DIGEST", { files: [{ file: 2, blake3: new Uint8Array(32) }] }],
        [sink, "OUTCOME", { files: [{ file: 2, status: "unchanged", size: 9, crc32: 0xcbf43926 }] }],
        [source, "PING", { id: 1 }],
        [sink, "PONG", { id: 1 }],
        [sink, "PING", { id: 0xffffffff }],
        [source, "SEAL", { files: [{ file: 0, size: 9, crc32: 0xcbf43926 }] }],
        [source, "FINISH", { files: 3 }],
        [source, "WITHDRAW", { files: [{ file: 1, error: { code: 405, message: "it changed" } }] }],
        [sink, "OUTCOME", { files: [{ file: 0, status: "committed", size: 9, crc32: 0xcbf43926 }] }],
        [sink, "RECEIPT", { files: 3, failed: 1, bytes: 9, durationMs: 0.5, cpuMicros: 10 }],
      ];
      for (const [end, name, body] of script) {
        end.say(name, body);
        exchange(pair, size);
        const arrived = (end === client ? server : client).messages.at(-1);
        t.strictSame(arrived, { name, body }, name);
        t.equal(client.conversation.state, server.conversation.state, `both agree after ${name}`);
      }
      t.equal(client.conversation.state, "done");
    }
  });

  t.test(`a stream, the client being the ${clientRole}`, async (t) => {
    const large = Uint8Array.from({ length: CHUNK_BYTES }, (_, i) => (i * 7) & 0xff);
    for (const size of [1000, Number.POSITIVE_INFINITY]) {
      const pair = joined(clientRole);
      const { client, server, source, sink } = pair;
      client.say("ATTACH", attachOf(3));
      // A client that is the source sends at once, without waiting.
      if (clientRole === "source") client.chunk(0, 0, large);
      exchange(pair, size);
      server.say("ATTACHED", { stream: 3 });
      exchange(pair, size);
      t.equal(client.conversation.state, "data");
      t.equal(server.conversation.state, "data");
      if (clientRole === "sink") source.chunk(0, 0, large);
      source.chunk(0, CHUNK_BYTES, Uint8Array.of(1, 2, 3)).chunk(7, 0, large);
      exchange(pair, size);
      t.strictSame(
        sink.chunks.map(({ file, offset, intact }) => ({ file, offset, intact })),
        [
          { file: 0, offset: 0, intact: true },
          { file: 0, offset: CHUNK_BYTES, intact: true },
          { file: 7, offset: 0, intact: true },
        ],
      );
      t.strictSame(sink.chunks[0]!.payload, large);
      t.strictSame(sink.chunks[1]!.payload, Uint8Array.of(1, 2, 3));
      t.equal(sink.chunks[1]!.payloadCrc32, crc32(Uint8Array.of(1, 2, 3)));
      for (const [i, { block, payload }] of sink.chunks.entries()) {
        t.equal(block, sink.buffers.taken[i], "the very buffer that was taken");
        t.equal(payload.buffer, block.buffer, "the payload lies in it");
      }
      t.equal(sink.buffers.taken.length, 3);
      sink.say("ACK", { chunks: [[0, 0, CHUNK_BYTES + 3]] }).say("RESEND", { chunks: [[7, 0, CHUNK_BYTES]] });
      exchange(pair, size);
      t.strictSame(
        source.messages.map(({ name }) => name).filter((name) => name === "ACK" || name === "RESEND"),
        ["ACK", "RESEND"],
      );
    }
  });
}

function offered(file: number, size: number | null): Message<"OFFER">["files"][number] {
  return { file, name: new Uint8Array([0x61, 0x2f, 0x30 + file]), size, mtime: [1767225600, 1], mode: 0o644 };
}

t.test("the greeting goes out once, before the first message", async (t) => {
  const { client } = joined("source");
  const first = client.say("HELLO", HELLO).said();
  t.equal(first[0], 0x89);
  t.equal(first[GREETING_BYTES], 1, "HELLO follows at once");
  t.equal(client.conversation.greeting().length, 0);
  const { server } = joined("source");
  t.equal(server.greet().said().length, GREETING_BYTES);
  t.equal(server.say("ERROR", { code: 103, message: "busy" }).said()[0], 13, "and not again with a message");
});

t.test("another version", async (t) => {
  const end = new Conversation({
    side: "client",
    role: "source",
    versions: { min: 2, max: 5 },
    buffers: new CountingBuffers(),
    events: { onMessage: () => {}, onChunk: () => {} },
  });
  const { server } = joined("source");
  t.throws(() => server.conversation.push(end.greeting()), { code: "E_VERSION", message: /2 to 5.*1 to 1/ });
  t.ok(server.say("ERROR", { code: 101, message: "no" }).said().length > 0, "the server can still say so");
});

t.test("another version, where nobody wants to hear of versions", async (t) => {
  const events = { onMessage: () => {}, onChunk: () => {} };
  const buffers = new CountingBuffers();
  const [client, server] = (["client", "server"] as const).map(
    (side) =>
      new Conversation({ side, versions: side === "client" ? { min: 2, max: 5 } : OUR_VERSIONS, buffers, events }),
  ) as [Conversation, Conversation];
  t.throws(() => server.push(client.greeting()), { code: "E_VERSION" });
});

t.test("a frame that is too large, and without a payload besides, is too large", async (t) => {
  const end = endIn({ side: "server", role: "sink", state: "data" });
  const place = { file: 0, offset: 0, payloadBytes: 0, payloadCrc32: 0 };
  const empty = (decodedBytes: number) => encodeHeader({ name: "CHUNK", ...place, encoding: "sparse", decodedBytes });
  t.throws(() => end.conversation.push(empty(CHUNK_BYTES + 1)), { code: "E_FRAME_TOO_LARGE" });
  const other = endIn({ side: "server", role: "sink", state: "data" });
  t.throws(() => other.conversation.push(empty(CHUNK_BYTES)), { code: "E_ILLEGAL" });
});

t.test("what we must not send is a bug of ours, and nothing goes out", async (t) => {
  const { client, server } = joined("source");
  t.throws(() => client.say("OFFER", { settledBelow: 0, files: [] }), LocalProtocolError);
  t.throws(() => client.chunk(0, 0, Uint8Array.of(1)), LocalProtocolError);
  t.throws(() => server.say("WELCOME", WELCOME), LocalProtocolError);
  t.equal(client.conversation.state, "start");
  t.equal(client.said().length, 0);
});

t.test("no chunk is taken before the session's chunk size is known", async (t) => {
  const end = endIn({ side: "server", state: "start" });
  end.conversation.push(joined("source").client.say("ATTACH", attachOf(0)).said().subarray(20));
  end.conversation.chunkBytesMax = 0;
  const header = encodeHeader({ name: "CHUNK", file: 0, offset: 0, payloadBytes: 1, payloadCrc32: 0 });
  t.throws(() => end.conversation.push(header), { code: "E_FRAME_TOO_LARGE" });
  t.equal(end.buffers.taken.length, 0);
});

t.test("a frame that must not come is refused at its header: no buffer is taken for it", async (t) => {
  for (const [receiver, payloadBytes] of [
    [{ side: "server", state: "start" }, 9],
    [{ side: "server", state: "open" }, 9],
    [{ side: "client", role: "source", state: "data" }, 9],
    [{ side: "server", state: "data" }, CHUNK_BYTES + 1],
    [{ side: "server", state: "data" }, 0xffffffff],
    [{ side: "server", state: "data" }, 0],
  ] as [Receiver, number][]) {
    const end = endIn(receiver);
    const header = encodeHeader({ name: "CHUNK", file: 0, offset: 0, payloadBytes, payloadCrc32: 0 });
    const error = feed(end, [header], byTarget);
    t.ok(error instanceof HawserError);
    t.equal(end.buffers.taken.length, 0);
    t.equal(end.conversation.state, receiver.state, "the state is as it was");
  }
});

t.test("a server learns its role from the first message, in time for what follows with it", async (t) => {
  for (const clientRole of ROLES) {
    const pair = joined(clientRole);
    walk(pair, clientRole, "open");
    const wrong = other(clientRole) === "source" ? "PLAN" : "OFFER";
    t.throws(
      () =>
        pair.client.say(
          wrong === "PLAN" ? "OFFER" : "PLAN",
          wrong === "PLAN" ? { settledBelow: 0, files: [] } : { files: [] },
        ),
      LocalProtocolError,
    );
    t.doesNotThrow(() => pair.client.say(wrong, wrong === "PLAN" ? { files: [] } : { settledBelow: 0, files: [] }));
  }
});

/** What a source may say in the state 'open', and each end on a stream. */
const CONTROL: MessageName[] = ["OFFER", "DIGEST", "SEAL", "WITHDRAW", "PING", "PONG"];
const STREAM: MessageName[] = ["PING", "PONG"];

type Said = { name: MessageName; body: Message } | AnyChunk;

function sayAll(end: End, said: readonly Said[]): Uint8Array {
  for (const one of said) {
    if (one.name === "CHUNK") end.chunk(one.file, one.offset, (one as AnyChunk).payload);
    else end.say(one.name, one.body);
  }
  return end.said();
}

const asEvents = (said: readonly Said[]) =>
  said.map((one) => {
    if (one.name !== "CHUNK") return { message: one.name, body: (one as { body: Message }).body };
    const { file, offset, payload } = one as AnyChunk;
    return { chunk: { file, offset, payload: Buffer.from(payload).toString("hex"), intact: true } };
  });

const control = fc.array(anyMessage(...CONTROL) as fc.Arbitrary<Said>, { minLength: 1, maxLength: 6 });
const heartbeat = anyMessage(...STREAM) as fc.Arbitrary<Said>;
const stream = fc.array(fc.oneof(anyChunk as fc.Arbitrary<Said>, anyChunk, anyChunk, heartbeat), {
  minLength: 1,
  maxLength: 8,
});
const anyTraffic = fc.oneof(
  control.map((said) => ({ state: "open" as State, said })),
  stream.map((said) => ({ state: "data" as State, said })),
);

t.test("what one end says the other hears, in any slices and either way", async () => {
  fc.assert(
    fc.property(
      anyTraffic,
      fc.constantFrom(...ROLES),
      sliceSizes,
      deliveries,
      ({ state, said }, role, sizes, deliver) => {
        const pair = joined(role);
        walk(pair, role, state);
        pair.sink.events = [];
        const error = feed(pair.sink, sliced(sayAll(pair.source, said), sizes), deliver);
        assert.equal(error, undefined);
        assert.deepEqual(pair.sink.events, asEvents(said));
      },
    ),
    { numRuns: 150 },
  );
});

t.test("the sink's messages and the opening ones, too", async () => {
  const cases: [Side, Role, State, MessageName][] = [
    ["client", "source", "start", "HELLO"],
    ["client", "source", "start", "ATTACH"],
    ["server", "sink", "welcoming", "WELCOME"],
    ["server", "sink", "attaching", "ATTACHED"],
    ["server", "sink", "open", "HAVE"],
    ["server", "sink", "finishing", "HAVE"],
    ["server", "sink", "open", "PLAN"],
    ["server", "sink", "finishing", "RESEND"],
    ["server", "sink", "finishing", "OUTCOME"],
    ["server", "sink", "finishing", "RECEIPT"],
    ["client", "source", "open", "FINISH"],
    ["server", "sink", "data", "ACK"],
    ["server", "sink", "data", "RESEND"],
    ["server", "sink", "welcoming", "ERROR"],
  ];
  for (const [side, role, state, name] of cases) {
    fc.assert(
      fc.property(MESSAGES[name] as fc.Arbitrary<Message>, sliceSizes, deliveries, (body, sizes, deliver) => {
        const pair = joined(side === "client" ? role : other(role));
        walk(pair, side === "client" ? role : other(role), state);
        const hearer = side === "client" ? pair.server : pair.client;
        hearer.events = [];
        const error = feed(hearer, sliced(pair[side].say(name, body).said(), sizes), deliver);
        assert.equal(error, undefined, name);
        assert.deepEqual(hearer.events, [{ message: name, body }]);
      }),
      { numRuns: 15 },
    );
  }
});

/** Where an end may stand when bytes come. */
const receivers: Receiver[] = [
  { side: "server", state: "start" },
  { side: "client", role: "source", state: "welcoming" },
  { side: "server", role: "sink", state: "open" },
  { side: "client", role: "source", state: "open" },
  { side: "client", role: "source", state: "finishing" },
  { side: "client", role: "source", state: "done" },
  { side: "server", role: "sink", state: "attaching" },
  { side: "client", role: "source", state: "attaching" },
  { side: "server", role: "sink", state: "data" },
  { side: "client", role: "source", state: "data" },
  { side: "client", role: "sink", state: "data" },
  { side: "server", role: "sink", state: "failed" },
];

/**
 * Frames, or one HawserError and nothing else: `feed` lets any other exception through. And what was ever taken from
 * the buffers is what arrived, and the one chunk that is on its way.
 */
function survives(end: End, bytes: Uint8Array, sizes: readonly number[], deliver: Delivery): HawserError | undefined {
  const error = feed(end, sliced(bytes, sizes), deliver);
  const { taken } = end.buffers;
  const arrived = end.chunks.reduce((sum, { payload }) => sum + payload.length, 0);
  if (arrived > bytes.length) throw new Error("more arrived than was sent");
  if (taken.length > end.chunks.length + 1) throw new Error("two buffers were taken for frames on their way");
  if (end.buffers.bytes > bytes.length + CHUNK_BYTES + taken.length * SLACK_BYTES)
    throw new Error("too much was taken");
  const target = end.conversation.target().length;
  if (error === undefined && (target === 0 || target > CONTROL_PAYLOAD_BYTES_MAX + HEADER_BYTES + SLACK_BYTES)) {
    throw new Error(`room for ${target} bytes`);
  }
  return error;
}

t.test("random bytes", async () => {
  fc.assert(
    fc.property(fc.constantFrom(...receivers), fc.uint8Array({ maxLength: 300 }), sliceSizes, deliveries, (...args) => {
      const [receiver, bytes, sizes, deliver] = args;
      survives(endIn(receiver), bytes, sizes, deliver);
    }),
    { numRuns: 500 },
  );
});

t.test("random fields and payloads under right CRCs", async (t) => {
  const codes = new Set<string>();
  const frames = fc.array(
    fc.record({
      type: fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom(...Array.from({ length: 18 }, (_, i) => i + 1), 32) },
        { weight: 1, arbitrary: fc.nat(255) },
      ),
      flags: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(0xffffff) }),
      file: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat() }),
      offset: fc.oneof(
        { weight: 9, arbitrary: fc.constant(0n) },
        { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
      ),
      length: fc.option(fc.nat(), { freq: 8 }),
      damaged: fc.constantFrom("header", "payload", ...Array<string>(12).fill("nothing")),
      payload: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    }),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(fc.constantFrom(...receivers), frames, sliceSizes, deliveries, (receiver, all, sizes, deliver) => {
      const parts = all.flatMap(({ type, flags, file, offset, length, damaged, payload }) => {
        const header = Buffer.alloc(HEADER_BYTES);
        header.writeUInt32BE(((type << 24) | flags) >>> 0, 0);
        header.writeUInt32BE(file, 4);
        header.writeBigUInt64BE(offset, 8);
        header.writeUInt32BE(length ?? payload.length, 16);
        header.writeUInt32BE(length ?? payload.length, 20);
        header.writeUInt32BE((crc32(payload) ^ Number(damaged === "payload")) >>> 0, 24);
        header.writeUInt32BE((crc32(header.subarray(0, 28)) ^ Number(damaged === "header")) >>> 0, 28);
        return [header, payload];
      });
      const error = survives(endIn(receiver), new Uint8Array(Buffer.concat(parts)), sizes, deliver);
      if (error) codes.add(error.code);
    }),
    { numRuns: 2000 },
  );
  for (const code of [
    "E_DAMAGED",
    "E_BAD_MESSAGE",
    "E_FRAME_TOO_LARGE",
    "E_WRONG_STATE",
    "E_ILLEGAL",
    "E_OUT_OF_RANGE",
  ]) {
    t.ok(codes.has(code), `${code} came about`);
  }
});

t.test("valid conversations with bytes changed, dropped, doubled and inserted", async (t) => {
  const edits = fc.array(
    fc.record({ at: fc.nat(), how: fc.constantFrom("set", "drop", "double", "cut", "insert"), value: fc.nat(255) }),
    { minLength: 1, maxLength: 4 },
  );
  let errors = 0;
  let heard = 0;
  fc.assert(
    fc.property(
      anyTraffic,
      edits,
      sliceSizes,
      deliveries,
      fc.boolean(),
      ({ state, said }, changes, sizes, deliver, mend) => {
        const pair = joined("source");
        walk(pair, "source", state);
        pair.sink.events = [];
        let bytes = Buffer.from(sayAll(pair.source, said));
        for (const { at, how, value } of changes) {
          const i = at % Math.max(1, bytes.length);
          const [head, tail] = [bytes.subarray(0, i), bytes.subarray(i)];
          if (how === "set") bytes[i] = value;
          else if (how === "drop") bytes = Buffer.concat([head, tail.subarray(1 + (value & 31))]);
          else if (how === "double") bytes = Buffer.concat([head, tail.subarray(0, value), tail]);
          else if (how === "cut") bytes = Buffer.from(head);
          else bytes = Buffer.concat([head, Buffer.alloc(1 + (value & 31), value), tail]);
        }
        if (mend) mendCrcs(bytes);
        pair.sink.buffers.taken.length = 0;
        pair.sink.chunks.length = 0;
        if (survives(pair.sink, new Uint8Array(bytes), sizes, deliver)) errors++;
        heard += pair.sink.events.length;
      },
    ),
    { numRuns: 1000 },
  );
  t.ok(errors > 100 && heard > 100, "both come about", { errors, heard });
});

/** Sets the CRCs of what look like frames right, so that damage gets past them. */
function mendCrcs(bytes: Buffer): void {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 16);
    const end = at + HEADER_BYTES + length;
    if (end <= bytes.length) bytes.writeUInt32BE(crc32(bytes.subarray(at + HEADER_BYTES, end)), at + 24);
    bytes.writeUInt32BE(crc32(bytes.subarray(at, at + 28)), at + 28);
    at = end;
  }
}

t.test("after its error an end hears nothing more", async (t) => {
  for (const { name, receiver, hex, expect } of vectorFile("bad").vectors.filter(({ pending }) => !pending)) {
    const end = endIn(receiver);
    t.equal(feed(end, [bytesOf(hex)], byPush)?.code, expect.error, name);
    const before = end.conversation.state;
    const ping = encodeMessage("PING", { id: 1 });
    const payloadCrc32 = crc32(ping);
    const header = encodeHeader({ name: "PING", file: 0, offset: 0, payloadBytes: ping.length, payloadCrc32 });
    feed(end, [header, ping], byPush);
    t.same(end.events, [], name);
    t.equal(end.conversation.state, before);
  }
});

t.test("what the source said before it had the receipt", async (t) => {
  // The sink settled the last file by itself, a full disk say, while SEAL or WITHDRAW was on its way.
  for (const said of [
    { name: "SEAL", body: { files: [{ file: 0, size: 1, crc32: 1 }] } },
    { name: "WITHDRAW", body: { files: [{ file: 0, error: { code: 405, message: "it changed" } }] } },
    { name: "DIGEST", body: { files: [{ file: 0, blake3: new Uint8Array(32) }] } },
  ] satisfies { name: MessageName; body: Message }[]) {
    const pair = joined("source");
    walk(pair, "source", "finishing");
    pair.source.say(said.name, said.body);
    pair.sink.say("RECEIPT", { files: 1, failed: 1, bytes: 0, durationMs: 1, cpuMicros: 1 });
    t.doesNotThrow(() => exchange(pair), said.name);
  }
});
