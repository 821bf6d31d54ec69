/**
 * A byte flipped on the path, in each part of a frame, on each kind of connection, both ways: the file arrives whole. A
 * chunk with a damaged payload is sent again, and nothing else; a damaged header costs its connection, which is dialled
 * again.
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { assertOk, type Sent, sendAll, sendInChild, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, makeFile, partsIn } from "../helpers/files.ts";
import { type Direction, type Kind, type Part, type Rule, startProxy, type TcpProxy } from "../helpers/proxy.ts";

const CHUNK = 64 * KIB;
const CHUNKS = 40;
const BYTES = CHUNKS * CHUNK - 100;

// A connection is dialled again after a while: meanwhile others are harmed.
t.jobs = 3;

interface Run {
  readonly sent: Sent;
  readonly proxy: TcpProxy;
  readonly resent: [string, number][];
}

/** Sends one file through a proxy with these rules, and compares what arrived. */
async function through(
  t: Test,
  rules: Rule[],
  options: { streams?: number; seed?: number; inChild?: boolean } = {},
): Promise<Run> {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const seed = options.seed ?? 1;
  const proxy = await startProxy(t, to, { rules, seed });
  const path = makeFile(join(from, "file"), BYTES, seed);
  const streams = options.streams ?? 2;
  const sending = { paths: [path], to: proxy.address, streams, chunkBytes: CHUNK, timeoutMs: 6000 };
  const sent = options.inChild ? await sendInChild(t, sending) : await sendAll(sending);
  t.ok(proxy.harm.length > 0, `the harm was done (seed ${seed}): ${proxy.harm.join("; ")}`);
  assertOk(t, sent);
  assertContent(t, join(dir, "file"), contentOf(BYTES, seed));
  t.same(partsIn(dir), [], "nothing stays in staging");
  return { sent, proxy, resent: [...proxy.chunks].filter(([, count]) => count > 1) };
}

for (const [what, nth] of [
  ["the first", 0],
  ["one in the middle", 7],
  ["the last of one stream", 39],
] as const) {
  t.test(`corruption on the path: the payload of a chunk, ${what}`, async (t) => {
    const rule: Rule = { kind: "stream", direction: "up", part: "payload", frame: "CHUNK", nth, action: "flip" };
    const { sent, proxy, resent } = await through(t, [rule], { streams: nth === 39 ? 1 : 2, seed: nth + 1 });
    t.equal(resent.length, 1, "exactly one chunk went twice");
    t.same(
      resent.map(([, count]) => count),
      [2],
    );
    t.equal(proxy.chunks.size, CHUNKS);
    t.equal(sent.result.retries, 1, "and is counted");
    t.equal(proxy.framesOf("down", "RESEND"), 1);
    t.same(proxy.connections, { control: 1, stream: nth === 39 ? 1 : 2 }, "no connection was dialled again");
  });
}

t.test("corruption on the path: the payloads of many chunks, one of them again and again", async (t) => {
  const rules: Rule[] = [1, 2, 3, 5, 8, 13].map((nth) => ({
    kind: "stream",
    ordinal: 0,
    direction: "up",
    part: "payload",
    frame: "CHUNK",
    nth,
    action: "flip",
  }));
  const { sent, proxy, resent } = await through(t, rules, { streams: 1, seed: 99 });
  t.equal(
    resent.reduce((sum, [, count]) => sum + count - 1, 0),
    6,
    "six more chunks than there are",
  );
  t.equal(sent.result.retries, 6);
  t.same(proxy.connections, { control: 1, stream: 1 });
});

t.test("corruption on the path: a path that damages every chunk is called broken", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const rule: Rule = {
    kind: "stream",
    direction: "up",
    part: "payload",
    frame: "CHUNK",
    action: "flip",
    times: Number.POSITIVE_INFINITY,
  };
  const proxy = await startProxy(t, to, { rules: [rule] });
  const path = makeFile(join(from, "file"), CHUNK, 1);
  const sent = await sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK });
  t.equal(sent.result.error?.code, "E_DAMAGED_PATH");
  t.equal(sent.result.exitCode, 76);
  t.equal(proxy.framesOf("up", "CHUNK"), 17, "it was tried 16 times more");
});

interface Case {
  readonly kind: Kind;
  readonly direction: Direction;
  readonly frame: NonNullable<Rule["frame"]>;
  readonly parts: readonly Part[];
}

const HEADER: readonly Part[] = [
  "type",
  "flags",
  "reserved",
  "file",
  "offset",
  "length",
  "decodedLength",
  "payloadCrc",
  "headerCrc",
];

const CASES: readonly Case[] = [
  { kind: "stream", direction: "up", frame: "CHUNK", parts: HEADER },
  { kind: "stream", direction: "down", frame: "ACK", parts: [...HEADER, "payload"] },
  { kind: "stream", direction: "up", frame: "ATTACH", parts: [...HEADER, "payload"] },
  { kind: "stream", direction: "down", frame: "ATTACHED", parts: [...HEADER, "payload"] },
  { kind: "control", direction: "up", frame: "OFFER", parts: [...HEADER, "payload"] },
  { kind: "control", direction: "up", frame: "FINISH", parts: ["headerCrc", "payload"] },
  { kind: "control", direction: "up", frame: "SEAL", parts: ["headerCrc", "payload"] },
  { kind: "control", direction: "down", frame: "PLAN", parts: [...HEADER, "payload"] },
  { kind: "control", direction: "down", frame: "OUTCOME", parts: ["headerCrc", "payload"] },
  { kind: "control", direction: "down", frame: "RECEIPT", parts: ["headerCrc", "payload"] },
  { kind: "control", direction: "up", frame: "HELLO", parts: ["headerCrc", "payload"] },
  { kind: "control", direction: "down", frame: "WELCOME", parts: ["headerCrc", "payload"] },
];

for (const { kind, direction, frame, parts } of CASES) {
  t.test(`corruption on the path: ${frame} frames, ${direction}`, async (t) => {
    for (const [i, part] of parts.entries()) {
      await t.test(part, async (t) => {
        const rule: Rule = { kind, direction, frame, part, ordinal: 0, nth: 0, action: "flip" };
        // With one stream, the transfer can't end before the stream is there again.
        const { sent, proxy } = await through(t, [rule], { seed: 100 + i, streams: 1, inChild: frame === "CHUNK" });
        const expected = kind === "control" ? { control: 2, stream: 1 } : { control: 1, stream: 2 };
        // When the first ACK comes all may be there already: then nobody needs the stream any more.
        if (frame !== "ACK") t.same(proxy.connections, expected, "that connection alone was dialled again");
        t.ok(sent.result.retries >= 1, "and is counted");
        t.equal(proxy.chunks.size, CHUNKS);
        const again = [...proxy.chunks.values()].filter((count) => count > 1).length;
        if (kind === "control") t.equal(again, 0, "no chunk was sent again");
      });
    }
  });
}

for (const kind of ["stream", "control"] as const) {
  for (const direction of ["up", "down"] as const) {
    t.test(`corruption on the path: greetings of the ${kind} connection, ${direction}`, async (t) => {
      for (const part of ["magic", "versions", "greetingReserved", "greetingCrc"] as const) {
        await t.test(part, async (t) => {
          const rule: Rule = { kind, direction, part, ordinal: 0, action: "flip" };
          const { sent, proxy } = await through(t, [rule], { streams: 1 });
          t.equal(proxy.connections[kind], 2, "it was dialled again");
          t.equal(sent.result.retries, 1);
        });
      }
    });
  }
}

t.test("corruption on the path: damage to three streams at once, from a seed", async (t) => {
  for (const seed of [11, 12, 13, 14]) {
    const parts: Part[] = [...HEADER, "payload"];
    const rules: Rule[] = [0, 1, 2].map((i) => ({
      kind: "stream",
      direction: "up",
      frame: "CHUNK",
      ordinal: i,
      nth: (seed * 7 + i * 3) % 5,
      part: parts[(seed * 3 + i * 5) % parts.length] as Part,
      action: "flip",
    }));
    await t.test(`seed ${seed}`, async (t) => {
      await through(t, rules, { seed, streams: 3, inChild: true });
    });
  }
});

t.test("one byte at a time, both ways", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to, { shape: () => ({ oneByteAtATime: true }) });
  const path = makeFile(join(from, "file"), 70_000, 3);
  const sent = await sendAll({ paths: [path], to: proxy.address, streams: 2, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.equal(sent.result.retries, 0);
  assertContent(t, join(dir, "file"), contentOf(70_000, 3));
});
