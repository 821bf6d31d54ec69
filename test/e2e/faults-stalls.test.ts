/**
 * Programs and disks that stop or are slow, on either end: the pause is named, survived or ended by the deadline, and
 * nobody's memory grows. (A slow path is in broken-connections.test.ts.)
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import type { TransferEvent } from "../../src/index.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { Part, PartSpec } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";
import {
  assertFailure,
  assertOk,
  type ClientEvent,
  EventLog,
  sendAll,
  startChild,
  startServer,
  startServerChild,
} from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, MIB, makeFile, namesIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { attachStrace, skipsWithoutStrace } from "../helpers/strace.ts";
import { CHUNK, halfWay } from "../helpers/unfinished.ts";

const BYTES = 128 * CHUNK - 99;

// They wait for time to pass, beside each other: those of small files, and those that have long to wait before they give up. To
// make a large file takes about as long as the shortest of the deadlines.
t.jobs = 3;

const startClient = (t: Test, options: object) =>
  startChild<ClientEvent>(t, "client-child.ts", { chunkBytes: CHUNK, ...options });

/** Exactly the file is there. */
function assertArrived(t: Test, dir: string, bytes: number, seed: number): void {
  assertContent(t, join(dir, "file"), contentOf(bytes, seed));
  t.same(namesIn(dir), ["file"]);
}

/** So slow that a transfer can be stopped in the middle. */
const slowly = ({ kind }: { kind: string }) => (kind === "stream" ? { bytesPerSecond: 5 * MIB } : {});

/** The most memory that a process has had, and what it has, in bytes. */
function memoryOf(pid: number | undefined): { readonly peak: number; readonly now: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (field: string) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]);
  return { peak: of("VmHWM"), now: of("VmRSS") };
}

t.test("SIGSTOP of the server, for less than the deadline: the stall is named, and the transfer goes on", async (t) => {
  const { from, to: dir } = directories(t);
  const server = await startServerChild(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 6);
  const { sending, log, proxy } = await halfWay(t, server.to, 20, { paths: [path], timeoutMs: 16_000 });
  server.process.kill("SIGSTOP");
  const { stall } = await log.until("progress", ({ stall }) => /answer/.test(stall?.waitingFor ?? ""));
  t.match(stall, { waitingFor: "the server to answer" });
  server.process.kill("SIGCONT");
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  assertArrived(t, dir, BYTES, 6);
  t.ok(log.of("progress").some(({ phase }) => phase === "stalled"));
  t.not(log.of("progress").at(-1)?.phase, "stalled", "when it is over nothing is said of it any more");
});

t.test("SIGSTOP of the client, for twice the deadline", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 6);
  const proxy = await startProxy(t, to, { shape: slowly });
  const timeoutMs = 1000;
  const client = startClient(t, { paths: [path], to: proxy.address, streams: 1, timeoutMs });
  await client.log.until("progress", ({ bytesDone }) => bytesDone > 0);
  client.process.kill("SIGSTOP");
  // Twice the deadline has to pass, and nothing else happens meanwhile.
  await delay(2 * timeoutMs);
  client.process.kill("SIGCONT");
  const { result } = await client.log.until("result");
  assertOk(t, { result });
  assertArrived(t, dir, BYTES, 6);
});

/** Writes nothing until it is let. */
class StuckSink extends MemorySink {
  #go: () => void = () => {};
  readonly #gate = new Promise<void>((resolve) => {
    this.#go = resolve;
  });

  override async reserve(spec: PartSpec): Promise<Part> {
    const part = await super.reserve(spec);
    const write = part.write.bind(part);
    part.write = (offset, bytes) => this.#gate.then(() => write(offset, bytes));
    return part;
  }
  goOn(): void {
    this.#go();
  }
}

t.test("slow writer: a write that hangs for good ends by the deadline, though the server answers", async (t) => {
  const { from } = directories(t);
  const sink = new StuckSink();
  const { address } = await testServer(t, { sink });
  const path = makeFile(join(from, "file"), MIB, 6);
  const { result } = await sendAll({ paths: [path], to: address, streams: 1, timeoutMs: 4000 });
  assertFailure(t, result, "E_TIMEOUT", /nothing was acknowledged for 4 s: waiting for the server to write/);
  t.equal(result.exitCode, 75);
  t.equal(result.retries, 0, "it answered all the while");
  sink.goOn();
});

t.test("SIGSTOP of the server, for twice the deadline", { buffered: false }, async (t) => {
  const { from, to: dir } = directories(t);
  const server = await startServerChild(t, dir);
  const proxy = await startProxy(t, server.to, { shape: slowly });
  const bytes = 160 * MIB;
  const path = makeFile(join(from, "file"), bytes, 6);
  const options = { paths: [path], to: proxy.address, timeoutMs: 2000, chunkBytes: MIB };
  const before = memoryOf(server.process.pid).now;
  const client = startClient(t, options);
  const { bytesDone } = await client.log.until("progress", (event) => event.bytesDone > 0);
  server.process.kill("SIGSTOP");
  const { result, grownBytes } = await client.log.until("result");
  assertFailure(t, result, "E_TIMEOUT");
  t.equal(result.exitCode, 75);
  t.ok(grownBytes < 80 * MIB, `the client's memory grew by ${grownBytes} bytes, of ${bytes} to be sent`);
  const second = await sendAll({ ...options, to: server.to });
  t.notOk(second.result.ok, "another one finds nobody who answers");
  assertFailure(t, second.result, "E_NO_ANSWER");
  server.process.kill("SIGCONT");
  const sent = await sendAll({ ...options, to: server.to, timeoutMs: 20_000 });
  assertOk(t, sent);
  t.ok(sent.result.bytesResumed >= bytesDone, `it goes on: ${sent.result.bytesResumed} of ${bytesDone} are resumed`);
  assertArrived(t, dir, bytes, 6);
  const grown = memoryOf(server.process.pid).peak - before;
  t.ok(grown < 100 * MIB, `the server's memory grew by ${grown} bytes`);
});

t.test("slow writer: a write that hangs is named, and what is not written is not taken", async (t) => {
  const { from } = directories(t);
  const sink = new StuckSink();
  const { address } = await testServer(t, { sink });
  const proxy = await startProxy(t, address);
  const bytes = 64 * MIB;
  const path = makeFile(join(from, "file"), bytes, 6);
  const log = new EventLog<TransferEvent>();
  const streams = 2;
  const sending = sendAll({ paths: [path], to: proxy.address, streams, timeoutMs: 20_000 }, log);
  // What keeps it, the server says when it is asked the next time.
  const isWriting = ({ stall }: { stall: { waitingFor: string } | null }) =>
    stall?.waitingFor === "the server to write";
  const { phase, bytesDone } = await log.until("progress", isWriting);
  t.equal(phase, "stalled");
  t.equal(bytesDone, 0);
  t.ok(proxy.bytes.up < (streams * 16 + 1) * MIB, `a window for each stream at most: ${proxy.bytes.up}`);
  sink.goOn();
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.result.retries, 0, "no connection was given up for it");
  t.ok(contentOf(bytes, 6).equals(sink.read(Buffer.from("file")) ?? Buffer.alloc(0)), "the file is the same");
});

t.test("slow writer: the server's memory does not grow", async (t) => {
  if (skipsWithoutStrace(t)) return;
  const { from, to: dir } = directories(t);
  const server = await startServerChild(t, dir);
  const bytes = 128 * MIB;
  const path = makeFile(join(from, "file"), bytes, 6);
  const inject = "pwrite64:delay_exit=15000";
  const disk = await attachStrace(t, Number(server.process.pid), "main", { calls: ["pwrite64"], inject });
  const before = memoryOf(server.process.pid).now;
  const sent = await sendAll({ paths: [path], to: server.to });
  assertOk(t, sent);
  await disk.stop();
  t.ok(sent.result.durationMs > 128 * 15, "the disk was slow");
  const grown = memoryOf(server.process.pid).peak - before;
  t.ok(grown < 100 * MIB, `its memory grew by ${grown} bytes, of ${bytes} received`);
  assertArrived(t, dir, bytes, 6);
});
