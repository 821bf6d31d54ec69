/** Rate limits of whole transfers, seen from the other side: bytes as they come through a relay, and the time that things take. */
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { RateLimit, type TransferEvent } from "../../src/index.ts";
import { assertOk, EventLog, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile } from "../helpers/files.ts";
import { relay } from "../helpers/paths.ts";

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

/** A path that writes down how much went to the server, and when. */
async function measured(t: Test, server: { readonly host: string; readonly port: number }) {
  const samples: Sample[] = [];
  const to = await relay(t, server, (client, upstream) => {
    client.on("data", (data) => {
      samples.push({ atMs: performance.now(), bytes: data.length });
      upstream.write(data);
    });
    upstream.on("data", (data) => client.write(data));
  });
  return { to, samples };
}

/** Bytes a second over each window of this length that lies within the samples. */
function rates(samples: readonly Sample[], windowMs: number): { readonly least: number; readonly most: number } {
  const found: number[] = [];
  const endMs = samples.at(-1)?.atMs ?? 0;
  for (const { atMs: fromMs } of samples) {
    if (fromMs + windowMs > endMs) break;
    const sum = samples.reduce(
      (total, { atMs, bytes }) => (atMs >= fromMs && atMs < fromMs + windowMs ? total + bytes : total),
      0,
    );
    found.push((sum / windowMs) * 1000);
  }
  return { least: Math.min(...found), most: Math.max(...found) };
}

const between = (samples: readonly Sample[], fromMs: number, toMs: number) =>
  samples.reduce((sum, { atMs, bytes }) => (atMs >= fromMs && atMs < toMs ? sum + bytes : sum), 0);

// Those that stay at a small rate stand beside each other; what comes as fast as it can would delay what others measure.
t.jobs = 5;
const alone = { buffered: false };

t.test("it can be changed on the way: up, down, and off", alone, async (t) => {
  const { from, to } = directories(t);
  const path = makeFile(join(from, "a"), 12 * MIB);
  const server = await startServer(t, to);
  const { to: via, samples } = await measured(t, server.to);
  const limit = new RateLimit(64 * KIB);
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ paths: [path], to: via, streams: 3, bwlimit: limit }, log);
  await log.until("connected");
  const phase = async (bytesPerSecond: number) => {
    limit.set(bytesPerSecond);
    const fromMs = performance.now();
    // The rate is over this window of time, whatever happens in it.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const tookMs = performance.now() - fromMs;
    return ((between(samples, fromMs, fromMs + tookMs) / tookMs) * 1000) / bytesPerSecond;
  };
  for (const bytesPerSecond of [256 * KIB, 4 * MIB, 128 * KIB]) {
    const share = await phase(bytesPerSecond);
    // The rates are 16 and 32 times apart: what a busy machine delays does not hide which one holds.
    t.ok(share > 0.3 && share < 3, `${share} of ${bytesPerSecond}`);
  }
  limit.set(null);
  const offMs = performance.now();
  const sent = await sending;
  assertOk(t, sent);
  t.ok(performance.now() - offMs < 30_000, "the rest comes as fast as it can");
  t.equal(sent.result.limitBytesPerSecond, null);
  t.equal(sent.result.retries, 0, "and nothing was sent twice");
  assertContent(t, join(to, "a"), contentOf(12 * MIB));
});

t.test(
  "a server's limit holds for all transfers of a client together, and can be changed on the way",
  alone,
  async (t) => {
    const { from, to } = directories(t);
    const paths = ["a", "b"].map((name, i) => makeFile(join(from, name), 2 * MIB, i + 1));
    const { server, to: at, log } = await startServer(t, to, { bytesPerSecondPerPeer: 2 * MIB });
    const startedMs = performance.now();
    const both = await Promise.all(paths.map((path) => sendAll({ paths: [path], to: at, streams: 2 })));
    const tookMs = performance.now() - startedMs;
    for (const sent of both) assertOk(t, sent);
    t.ok(tookMs > 1850 && tookMs < 10_000, `${tookMs} ms for 4 MiB at 2 MiB a second`);
    const [first, second] = both.map(({ result }) => result.durationMs);
    t.ok(Math.abs((first ?? 0) - (second ?? 0)) < 3000, `both got on alike: ${first} and ${second} ms`);

    server.setRateLimit(64 * KIB);
    t.match(log.of("limit"), [{ bytesPerSecond: 64 * KIB }]);
    const path = makeFile(join(from, "c"), 20 * MIB, 3);
    const slow = new EventLog<TransferEvent>();
    const sending = sendAll({ paths: [path], to: at }, slow);
    await slow.until("progress", ({ elapsedMs }) => elapsedMs > 600);
    t.equal(slow.of("progress").at(-1)?.bytesDone, 0);
    server.setRateLimit(null);
    const endedMs = performance.now();
    const sent = await sending;
    assertOk(t, sent);
    t.ok(performance.now() - endedMs < 30_000, "the rest comes as fast as it can");
    assertContent(t, join(to, "c"), contentOf(20 * MIB, 3));
  },
);

t.test("a limit holds over any five seconds, over all streams together, in slices", async (t) => {
  const { from, to } = directories(t);
  const path = makeFile(join(from, "a"), 5.5 * MIB);
  const server = await startServer(t, to);
  const { to: via, samples } = await measured(t, server.to);
  const sent = await sendAll({ paths: [path], to: via, streams: 4, bwlimit: new RateLimit(MIB) });
  assertOk(t, sent);
  assertContent(t, join(to, "a"), contentOf(5.5 * MIB));
  const long = rates(samples, 5000);
  // That it holds within 5% is shown of the limiter by itself (pace.test.ts); a busy machine delays what is seen here.
  t.ok(long.most <= 1.15 * MIB, `${long.most} at most`);
  t.ok(long.least >= 0.6 * MIB, `${long.least} at least`);
  const short = rates(samples, 500);
  t.ok(short.most <= 1.6 * MIB, `${short.most} at most over half a second, though a chunk alone is twice that`);
  t.comment(`${long.least / MIB} to ${long.most / MIB} of the limit; over half a second to ${short.most / MIB}`);
  t.match(sent.result, { limitBytesPerSecond: MIB, retries: 0 });
  t.match(sent.log.of("progress").at(-1), { limitBytesPerSecond: MIB });
});

for (const [end, own, capped] of [
  ["the client", 24 * KIB, null],
  ["the server", null, 24 * KIB],
] as const) {
  t.test(
    `a chunk that takes far longer than the timeout, by the limit of ${end}, is neither late nor sent twice`,
    async (t) => {
      const { from, to } = directories(t);
      // So that every stream has brought something soon, and one of them then idles.
      const small = Array.from({ length: 8 }, (_, i) => makeFile(join(from, `small-${i}`), 10, i));
      const path = makeFile(join(from, "a"), 128 * KIB);
      const server = await startServer(t, to, { bytesPerSecondPerPeer: capped });
      const { to: via, samples } = await measured(t, server.to);
      const options = { to: via, streams: 3, chunkBytes: 128 * KIB, timeoutMs: 450, bwlimit: new RateLimit(own) };
      const sent = await sendAll({ paths: [...small, path], ...options });
      assertOk(t, sent);
      t.ok(sent.result.durationMs > 5000, `${sent.result.durationMs} ms, and 10 timeouts are 4,500`);
      t.match(sent.result, { retries: 0, limitBytesPerSecond: 24 * KIB });
      const carried = between(samples, 0, Number.POSITIVE_INFINITY);
      t.ok(carried < 128 * KIB + 48 * KIB, `each chunk once: ${carried} bytes`);
      t.notOk(sent.log.of("progress").some(({ phase }) => phase === "stalled"));
    },
  );
}

t.test("an interrupt ends a transfer at once though its chunks would take for ever", async (t) => {
  const { from, to } = directories(t);
  const path = makeFile(join(from, "a"), 4 * MIB);
  const server = await startServer(t, to);
  const interrupt = new AbortController();
  const log = new EventLog<TransferEvent>();
  const options = { paths: [path], to: server.to, bwlimit: new RateLimit(2 * KIB), signal: interrupt.signal };
  const sending = sendAll(options, log);
  await log.until("progress", ({ elapsedMs }) => elapsedMs > 600);
  const abortedMs = performance.now();
  interrupt.abort();
  const { result } = await sending;
  t.equal(result.error?.code, "E_INTERRUPTED");
  t.ok(performance.now() - abortedMs < 5000, `${performance.now() - abortedMs} ms`);
});

t.test("a server that is gone is found out in spite of a limit", async (t) => {
  const { from, to } = directories(t);
  const path = makeFile(join(from, "a"), 4 * MIB);
  const server = await startServer(t, to);
  const { to: via } = await measured(t, server.to);
  const log = new EventLog<TransferEvent>();
  const limit = new RateLimit(64 * KIB);
  const sending = sendAll({ paths: [path], to: via, timeoutMs: 1000, bwlimit: limit, streams: 2 }, log);
  await log.until("progress", ({ elapsedMs }) => elapsedMs > 400);
  await server.server.close();
  const { result } = await sending;
  t.equal(result.ok, false);
  t.equal(result.error?.retryable, true, `${result.error?.code}`);
});
