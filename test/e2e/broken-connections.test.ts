/** Connections that are dropped, half-closed, that hang or crawl: the others go on, and the file arrives whole. */
import { join } from "node:path";
import t, { type Test } from "tap";
import type { TransferEvent } from "../../src/index.ts";
import { assertFailure, assertOk, EventLog, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, partsIn } from "../helpers/files.ts";
import { type ProxyOptions, type Rule, startProxy, type TcpProxy } from "../helpers/proxy.ts";

const CHUNK = 64 * KIB;

interface SetUp {
  readonly bytes?: number;
  readonly streams?: number;
  readonly chunkBytes?: number;
  readonly timeoutMs?: number;
  readonly options: ProxyOptions;
}

async function through(
  t: Test,
  { bytes = 8 * MIB, streams = 4, chunkBytes = CHUNK, timeoutMs = 8000, options }: SetUp,
) {
  const { from, to: dir } = directories(t);
  const { to, log: serverLog } = await startServer(t, dir);
  const proxy = await startProxy(t, to, options);
  const path = makeFile(join(from, "file"), bytes, 7);
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ paths: [path], to: proxy.address, streams, chunkBytes, timeoutMs }, log);
  const arrived = async () => {
    const sent = await sending;
    assertOk(t, sent);
    assertContent(t, join(dir, "file"), contentOf(bytes, 7));
    t.same(partsIn(dir), [], "nothing stays in staging");
    return sent;
  };
  return { sending, arrived, proxy, log, serverLog, path, dir, to };
}

const again = (proxy: TcpProxy) => [...proxy.chunks.values()].reduce((sum, count) => sum + count - 1, 0);

for (const action of ["reset", "half-close"] as const) {
  t.test(`${action}: one stream, in the middle of a chunk`, async (t) => {
    const rule: Rule = { kind: "stream", ordinal: 0, direction: "up", frame: "CHUNK", part: "payload", nth: 5, action };
    const { arrived, proxy } = await through(t, { streams: 1, options: { rules: [rule] } });
    const { result } = await arrived();
    t.equal(proxy.harm.length, 1, "the harm was done");
    t.same(proxy.connections, { control: 1, stream: 2 }, "that stream alone was dialled again");
    t.ok(result.retries >= 1, `it is counted: ${result.retries}`);
  });

  t.test(`${action}: every stream once`, async (t) => {
    const rules: Rule[] = [0, 1, 2, 3].map((ordinal) => ({
      kind: "stream",
      ordinal,
      direction: "up",
      frame: "CHUNK",
      part: "headerCrc",
      nth: 2 + ordinal,
      action,
    }));
    const { arrived, proxy } = await through(t, { bytes: 24 * MIB, options: { rules } });
    await arrived();
    t.equal(proxy.harm.length, 4, `all four: ${proxy.harm.join("; ")}`);
    t.equal(proxy.connections.control, 1);
  });

  t.test(`${action}: the control connection, in the middle of the transfer`, async (t) => {
    const { arrived, proxy, log } = await through(t, {
      streams: 2,
      options: {
        rules: [{ kind: "control", ordinal: 0, direction: "up", frame: "SEAL", part: "payload", action }],
      },
    });
    const { result } = await arrived();
    t.equal(proxy.connections.control, 2, "it was dialled again");
    t.equal(again(proxy), 0, "no chunk was sent again for it");
    t.equal(result.retries, 1);
    t.equal(log.of("file").length, 1);
  });
}

t.test("the control connection is dropped when the outcome is on its way, and when the receipt is", async (t) => {
  for (const frame of ["OUTCOME", "RECEIPT", "PLAN"] as const) {
    await t.test(frame, async (t) => {
      const rule: Rule = { kind: "control", ordinal: 0, direction: "down", frame, part: "type", action: "reset" };
      const { arrived, proxy, serverLog } = await through(t, { options: { rules: [rule] } });
      const sent = await arrived();
      t.equal(sent.files.length, 1, "the file was told once");
      t.equal(proxy.connections.control, 2);
      t.equal(serverLog.of("file").length, 1, "and committed once");
      t.equal(serverLog.of("transfer").length, 1);
    });
  }
});

t.test("blackhole: a stream that hangs from the start: the others finish", async (t) => {
  const { arrived, proxy } = await through(t, {
    options: { shape: ({ kind, ordinal }) => ({ stalled: kind === "stream" && ordinal === 2 }) },
  });
  const { result, log } = await arrived();
  t.equal(result.retries, 0, "nobody waited for it");
  t.equal(again(proxy), 0);
  const carried = log.of("progress").at(-1)?.streamBytes ?? [];
  t.ok(
    carried.some((bytes) => bytes === 0) && carried.some((bytes) => bytes > 0),
    `one carried nothing: ${carried.join(" ")}`,
  );
});

t.test("blackhole: a stream that hangs in the middle: its chunks go to the others", async (t) => {
  const rule: Rule = {
    kind: "stream",
    ordinal: 1,
    direction: "up",
    frame: "CHUNK",
    part: "type",
    nth: 3,
    action: "stall",
  };
  const { arrived, proxy } = await through(t, { timeoutMs: 6000, options: { rules: [rule] } });
  await arrived();
  t.equal(proxy.harm.length, 1);
});

const HANGS: Rule = {
  kind: "stream",
  ordinal: 0,
  direction: "up",
  frame: "CHUNK",
  part: "type",
  nth: 3,
  action: "stall",
};

t.test("blackhole: the only stream hangs in the middle: it is dialled again", async (t) => {
  const { arrived, proxy } = await through(t, { streams: 1, timeoutMs: 3000, options: { rules: [HANGS] } });
  const { result } = await arrived();
  t.same(proxy.connections, { control: 1, stream: 2 });
  t.ok(result.retries >= 1, "it is counted");
});

t.test("blackhole: every stream hangs: by the deadline there is an end, and its name is E_TIMEOUT", async (t) => {
  const shape = ({ kind, ordinal }: { kind: string; ordinal: number }) => ({
    stalled: kind === "stream" && ordinal > 0,
  });
  const options = { rules: [HANGS], shape };
  const { sending, proxy, path, dir, to } = await through(t, { streams: 1, timeoutMs: 2000, options });
  const { result } = await sending;
  assertFailure(t, result, "E_TIMEOUT", /no stream could be opened again/);
  t.ok(proxy.connections.stream > 1, "it was dialled again before");
  t.equal(partsIn(dir).length, 1, "what has arrived is kept");
  await t.test("and the next run goes on with it", async (t) => {
    const again = await startProxy(t, to);
    assertOk(t, await sendAll({ paths: [path], to: again.address, chunkBytes: CHUNK }));
    assertContent(t, join(dir, "file"), contentOf(8 * MIB, 7));
    t.equal(again.chunks.size, (8 * MIB) / CHUNK - 3, "three chunks had come before it hung");
  });
});

t.test("blackhole: the control connection hangs: it is dialled again", async (t) => {
  const rule: Rule = { kind: "control", ordinal: 0, direction: "up", frame: "SEAL", part: "type", action: "stall" };
  const { arrived, proxy } = await through(t, { timeoutMs: 1500, options: { rules: [rule] } });
  await arrived();
  t.equal(proxy.connections.control, 2);
});

t.test("a stream at a crawl does not hold up the end", async (t) => {
  const bytes = 64 * MIB;
  const rate = 256 * KIB;
  const { arrived, proxy } = await through(t, {
    bytes,
    timeoutMs: 30_000,
    options: { shape: ({ kind, ordinal }) => (kind === "stream" && ordinal === 0 ? { bytesPerSecond: rate } : {}) },
  });
  const { result, log } = await arrived();
  const carried = log.of("progress").at(-1)?.streamBytes ?? [];
  const slow = Math.min(...carried);
  // When the others were done: the last moment at which one of them got on.
  let othersMs = 0;
  let before: readonly number[] = [];
  for (const { streamBytes, elapsedMs } of log.of("progress")) {
    if (streamBytes.some((count, i) => count > (before[i] ?? 0) && i !== carried.indexOf(slow))) othersMs = elapsedMs;
    before = streamBytes;
  }
  const tailMs = result.durationMs - othersMs;
  t.comment(`${Math.round(result.durationMs)} ms in all, ${Math.round(tailMs)} ms of them after the others were done`);
  t.comment(`the slow stream carried ${slow} bytes; ${again(proxy)} chunks were sent again`);
  t.ok(slow < bytes / 16, `it carried little: ${slow} of ${bytes}`);
  // Its share at its own rate would take a minute; what lies in buffers of the system on the way, about ten seconds.
  t.ok(result.durationMs < 8000, "the transfer did not wait for what was on its way there");
  t.ok(again(proxy) * CHUNK <= 16 * MIB, "what others sent in its place is a window at most");
});

t.test("a control connection with nothing to say for longer than the timeout is not dropped", async (t) => {
  const { arrived, proxy } = await through(t, {
    bytes: 8 * MIB,
    streams: 1,
    timeoutMs: 1500,
    options: { shape: ({ kind }) => (kind === "stream" ? { bytesPerSecond: 2 * MIB } : {}) },
  });
  const { result } = await arrived();
  t.equal(result.retries, 0);
  t.equal(proxy.connections.control, 1);
});
