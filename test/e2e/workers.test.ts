/** A client's streams in worker threads: the same bytes and the same receipt as without, and what becomes of it when a worker dies. */
import { mkdirSync, readdirSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Worker } from "node:worker_threads";
import t, { type Test } from "tap";
import { RateLimit, type SendOptions, type ServerEvent, type TransferEvent } from "../../src/index.ts";
import { assertOk, type ClientEvent, EventLog, type Sent, sendAll, startChild, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, hexCrc32, KIB, MIB, makeFile, partsIn } from "../helpers/files.ts";
import { testKeys } from "../helpers/keys.ts";
import { type ProxyOptions, startProxy } from "../helpers/proxy.ts";
import { differences, readTree } from "../helpers/trees.ts";
import { recorded } from "../helpers/unfinished.ts";
import { soon } from "../helpers/wire-end.ts";

const CHUNK = 64 * KIB;

/** The worker threads that this process makes while the test runs. */
function workersOf(t: Test): Worker[] {
  const made: Worker[] = [];
  const add = (worker: Worker) => made.push(worker);
  process.on("worker", add);
  t.teardown(() => process.off("worker", add));
  return made;
}

/** What is the same whoever has the streams: all but times, and how small files came together in bundles. */
function facts({ result, files }: Sent) {
  const { filesCommitted, filesFailed, filesSkipped, bytesSent, bytes, bytesResumed, streams, durability } = result;
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    filesCommitted,
    filesFailed,
    filesSkipped,
    bytesSent,
    bytes,
    bytesResumed,
    streams,
    durability,
    files: sorted,
  };
}

/** Large files, sparse ones, some that compress, small ones, links and directories. */
function makeMixed(from: string): string {
  const tree = join(from, "tree");
  makeFile(join(tree, "large"), 9 * MIB + 321, 1);
  makeFile(join(tree, "odd"), 3 * CHUNK + 1, 2);
  const text = Buffer.from("what repeats itself compresses well\n".repeat(60_000));
  writeFileSync(join(tree, "text"), text);
  writeFileSync(join(tree, "holes"), contentOf(CHUNK, 5));
  truncateSync(join(tree, "holes"), 8 * MIB);
  for (let i = 0; i < 400; i++) makeFile(join(tree, "small", `${i % 7}`, `${i}`), (i * 37) % 3000, i);
  writeFileSync(join(tree, "none"), "");
  symlinkSync("small/3", join(tree, "link"));
  mkdirSync(join(tree, "empty"));
  return tree;
}

const WAYS: readonly (readonly [string, Partial<SendOptions>, "plain" | "sealed" | "tls"])[] = [
  ["plain", {}, "plain"],
  ["sealed", {}, "sealed"],
  ["TLS on every stream", {}, "tls"],
  ["compressed", { compress: "zstd" }, "plain"],
  ["compressed and sealed", { compress: "zstd" }, "sealed"],
  ["under a limit, sealed", { bwlimit: new RateLimit(64 * MIB) }, "sealed"],
  ["read back", { verify: "full" }, "sealed"],
  ["as many streams as pay", { streams: "auto" }, "sealed"],
];

for (const [what, options, encryption] of WAYS) {
  t.test(`${what}: the same as in one thread`, async (t) => {
    const made = workersOf(t);
    const { from, to } = directories(t);
    const path = makeMixed(from);
    const { keys, ticket } = await testKeys(t);
    const tlsStreams = encryption === "tls";
    const secure = encryption === "plain" ? {} : { secure: { ticket: ticket("client"), tlsStreams } };
    const common = { paths: [path], streams: 4, chunkBytes: CHUNK, compress: "none", ...options, ...secure } as const;
    const seen: ReturnType<typeof facts>[] = [];
    for (const workers of [0, 3]) {
      const dir = join(to, String(workers));
      mkdirSync(dir);
      const server = await startServer(t, dir, encryption === "plain" ? {} : { secure: { ...keys, tlsStreams } });
      const sent = await sendAll({ ...common, to: server.to, workers });
      assertOk(t, sent);
      t.equal(sent.result.retries, 0, "no stream was lost");
      t.equal(made.length, workers, `${workers} workers`);
      t.ok((sent.result.verdict?.run.sender.threadMicros ?? 0) > 0, "the busiest thread is known");
      await server.server.close();
      t.same(differences(readTree(from), readTree(dir)), [], "what arrived is what was there");
      seen.push(facts(sent));
    }
    // Of streams that are tried there may be more or fewer.
    if (options.streams === "auto") for (const one of seen) Object.assign(one, { streams: 4 });
    t.same(seen[1], seen[0], "the same result, but for time and rate");
    for (const worker of made) t.equal(worker.threadId, -1, "the worker is gone");
  });
}

t.test("what comes through a pipe is sent by the main thread", async (t) => {
  const made = workersOf(t);
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const content = contentOf(3 * MIB);
  assertOk(t, await sendAll({ input: Readable.from([content]), name: "piped", to, workers: 4 }));
  assertContent(t, join(dir, "piped"), content);
  t.equal(made.length, 0);
});

t.test("delta: the same chunks are sent as in one thread", async (t) => {
  const { from, to: dir } = directories(t);
  const old = contentOf(4 * MIB, 1);
  const now = Buffer.from(old);
  for (const at of [5 * CHUNK + 3, 40 * CHUNK, 4 * MIB - 1]) now[at] = (now[at] as number) ^ 0x5a;
  const counts: number[] = [];
  const { to } = await startServer(t, dir);
  for (const workers of [0, 2]) {
    const path = join(from, `file${workers}`);
    writeFileSync(path, now);
    writeFileSync(join(dir, `file${workers}`), old);
    utimesSync(path, 1000, 1000);
    const proxy = await startProxy(t, to);
    assertOk(t, await sendAll({ paths: [path], to: proxy.address, delta: true, chunkBytes: CHUNK, workers }));
    assertContent(t, join(dir, `file${workers}`), now);
    counts.push(proxy.framesOf("up", "CHUNK"));
  }
  t.same(counts, [3, 3]);
});

async function through(t: Test, options: Partial<SendOptions>, proxying: ProxyOptions = {}, bytes = 16 * MIB) {
  const made = workersOf(t);
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to, proxying);
  const path = makeFile(join(from, "file"), bytes, 7);
  const log = new EventLog<TransferEvent>();
  const common = { paths: [path], streams: 4, chunkBytes: CHUNK, timeoutMs: 20_000, workers: 2 };
  const sending = sendAll({ ...common, ...options, to: proxy.address }, log);
  const arrived = async () => {
    const sent = await soon(sending, "the end of the transfer", 60_000);
    assertOk(t, sent);
    assertContent(t, join(dir, "file"), contentOf(bytes, 7));
    t.equal(sent.files[0]?.crc32, hexCrc32(contentOf(bytes, 7)));
    t.same(partsIn(dir), [], "nothing stays in staging");
    return sent;
  };
  return { made, proxy, log, dir, path, to, sending, arrived };
}

for (const action of ["reset", "half-close", "stall"] as const) {
  t.test(`${action}: every stream once, in the middle`, async (t) => {
    const rules = [0, 1, 2, 3].map(
      (ordinal) =>
        ({
          kind: "stream",
          ordinal,
          direction: "up",
          frame: "CHUNK",
          part: "payload",
          nth: 3 + ordinal,
          action,
        }) as const,
    );
    const timeoutMs = action === "stall" ? 3000 : 20_000;
    const { arrived, proxy, made, log } = await through(t, { timeoutMs }, { rules }, 24 * MIB);
    const { result } = await arrived();
    t.equal(proxy.harm.length, 4, `all four: ${proxy.harm.join("; ")}`);
    t.equal(proxy.connections.control, 1);
    t.ok(result.retries >= 4, `${result.retries} retries`);
    t.equal(made.length, 2, "the workers dialled them again");
    t.same(log.of("warning"), []);
  });
}

t.test("damage on the way: the chunk is sent again", async (t) => {
  const rule = {
    kind: "stream",
    direction: "up",
    frame: "CHUNK",
    part: "payload",
    nth: 4,
    action: "flip",
    times: 3,
  } as const;
  const { arrived, proxy } = await through(t, {}, { rules: [rule] });
  await arrived();
  t.ok(proxy.harm.length > 0, proxy.harm.join("; "));
});

/** One of two dies, or both. */
for (const count of [1, 2]) {
  t.test(`${count} of 2 workers dies in the middle: its streams are dialled again without it`, async (t) => {
    const { arrived, proxy, made, log } = await through(t, {}, {}, 32 * MIB);
    await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 30);
    proxy.hold("stream");
    for (const worker of made.slice(0, count)) void worker.terminate();
    await log.untilCount("warning", count);
    proxy.release("stream");
    const { result } = await arrived();
    t.ok(result.retries >= 2 * count, `${result.retries} retries`);
    t.match(log.of("warning")[0]?.message, /^a worker thread is gone, and its streams are dialled again without it/);
    t.equal(made.length, 2, "no other worker was made");
    // Two that are left may be done before the others are back.
    if (count === 2) t.ok(proxy.connections.stream > 4, `${proxy.connections.stream} dials of streams`);
  });
}

t.test("a worker throws in the middle", async (t) => {
  const { arrived, proxy, made, log } = await through(t, {}, {}, 32 * MIB);
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 30);
  // No message is like this one.
  made[1]?.postMessage(null);
  await arrived();
  t.match(log.of("warning"), [{ message: /without it: .*not iterable/ }]);
});

t.test("workers die before they have dialled", async (t) => {
  const killAll = (worker: Worker) => void worker.terminate();
  process.on("worker", killAll);
  t.teardown(() => process.off("worker", killAll));
  const { keys, ticket } = await testKeys(t);
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir, { secure: keys });
  const path = makeFile(join(from, "file"), 4 * MIB, 3);
  const sent = await sendAll({
    paths: [path],
    to,
    secure: { ticket: ticket("client") },
    workers: 2,
    chunkBytes: CHUNK,
  });
  assertOk(t, sent);
  assertContent(t, join(dir, "file"), contentOf(4 * MIB, 3));
});

t.test("a limit that is set on the way holds over all workers together, and one that is taken away ends", async (t) => {
  const limit = new RateLimit(null);
  const { arrived, proxy, log } = await through(t, { bwlimit: limit }, {}, 96 * MIB);
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 20);
  limit.set(2 * MIB);
  // What the system had already of it, and what was begun.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const [before, fromMs] = [proxy.bytes.up, performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const rate = ((proxy.bytes.up - before) / (performance.now() - fromMs)) * 1000;
  // Far from both none and no limit, whatever a busy machine delays.
  t.ok(rate < 2.6 * MIB && rate > 0.7 * MIB, `${rate / MIB} MiB/s`);
  t.match(log.of("progress").at(-1), { limitBytesPerSecond: 2 * MIB });
  limit.set(null);
  await arrived();
});

t.test("a limit from the beginning holds as in one thread", async (t) => {
  const limit = new RateLimit(2 * MIB);
  const startedMs = performance.now();
  const { arrived, made } = await through(t, { bwlimit: limit }, {}, 5 * MIB);
  const { result } = await arrived();
  const tookMs = performance.now() - startedMs;
  t.ok(tookMs > 2300, `${tookMs} ms for 5 MiB at 2 MiB/s`);
  t.equal(result.retries, 0);
  t.equal(made.length, 2);
});

t.test("the client is killed in the middle, and the same command goes on", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  const path = makeFile(join(from, "file"), 32 * MIB, 5);
  const options = { paths: [path], to: proxy.address, workers: 2, streams: 4, chunkBytes: CHUNK };
  const child = startChild<ClientEvent>(t, "client-child.ts", options);
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 100);
  proxy.hold("stream");
  await recorded(dir, 10 * CHUNK);
  child.process.kill("SIGKILL");
  await child.exited;
  const sent = await sendAll({ ...options, to });
  assertOk(t, sent);
  t.ok(sent.result.bytesResumed >= 10 * CHUNK, `${sent.result.bytesResumed} bytes were there`);
  assertContent(t, join(dir, "file"), contentOf(32 * MIB, 5));
});

t.test("the server is killed in the middle, and another one goes on", async (t) => {
  const { from, to: dir } = directories(t);
  const child = startChild<ServerEvent>(t, "server-child.ts", { dir, port: 0 });
  const { host, port } = await child.log.until("listening");
  const proxy = await startProxy(t, { host, port });
  const path = makeFile(join(from, "file"), 24 * MIB, 6);
  const sending = sendAll({ paths: [path], to: proxy.address, workers: 2, chunkBytes: CHUNK, timeoutMs: 30_000 });
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 40);
  for (const kind of ["stream", "control"] as const) proxy.hold(kind);
  child.process.kill("SIGKILL");
  await child.exited;
  await startServer(t, dir, { port });
  for (const kind of ["control", "stream"] as const) proxy.release(kind);
  assertOk(t, await sending);
  assertContent(t, join(dir, "file"), contentOf(24 * MIB, 6));
});

t.test("interrupted: what is in flight is recorded, the workers end, and it can go on", async (t) => {
  const stop = new AbortController();
  const { sending, proxy, made, path, to, dir } = await through(t, { signal: stop.signal }, {}, 64 * MIB);
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 60);
  stop.abort();
  const { result } = await sending;
  t.equal(result.error?.code, "E_INTERRUPTED");
  for (const worker of made) t.equal(worker.threadId, -1, "the worker is gone");
  const again = await sendAll({ paths: [path], to, workers: 2 });
  assertOk(t, again);
  t.ok(again.result.bytesResumed > 0);
  assertContent(t, join(dir, "file"), contentOf(64 * MIB, 7));
});

t.test("a file that shrinks while it is sent is named, and the others arrive", async (t) => {
  const made = workersOf(t);
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  const [shrinking, other] = [makeFile(join(from, "a"), 16 * MIB, 1), makeFile(join(from, "b"), MIB, 2)];
  const sending = sendAll({ paths: [shrinking, other], to: proxy.address, workers: 2, chunkBytes: CHUNK, streams: 2 });
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 4);
  proxy.hold("stream");
  truncateSync(shrinking, 100);
  proxy.release("stream");
  const { files, result } = await sending;
  t.equal(result.exitCode, 23);
  t.equal(files.find(({ name }) => name === "a")?.error?.code, "E_SOURCE_CHANGED");
  assertContent(t, join(dir, "b"), contentOf(MIB, 2));
  t.equal(made.length, 2);
});

t.test("many files in chunks: none is closed while a worker may read it, and none stays open", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const count = 300;
  for (let i = 0; i < count; i++) makeFile(join(from, "many", String(i)), CHUNK + 100 + i, i);
  const open = () => readdirSync("/dev/fd").length;
  const before = open();
  const common = { paths: [join(from, "many")], to, workers: 3, chunkBytes: CHUNK, streams: 6 };
  assertOk(t, await sendAll(common));
  t.same(differences(readTree(from), readTree(dir)), []);
  t.ok(open() <= before + 8, `${open() - before} descriptors more than before`);
});
