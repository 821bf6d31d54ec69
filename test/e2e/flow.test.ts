/** A slow other end costs no memory; and a transfer that is stopped ends on both sides. */
import { join } from "node:path";
import t from "tap";
import { HawserError, readSessions } from "../../src/index.ts";
import { assertFailure, assertOk, sendAll, sendInChild, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";

t.test("slow reader: the sender's memory does not grow when the other end reads slowly", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const bytes = 200 * MIB;
  const path = makeFile(join(from, "large"), bytes);
  const shape = ({ kind }: { kind: string }) => (kind === "stream" ? { bytesPerSecond: 20 * MIB } : {});
  const proxy = await startProxy(t, to, { shape });
  const sent = await sendInChild(t, { paths: [path], to: proxy.address, streams: 2 });
  assertOk(t, sent);
  t.comment(
    `${Math.round(sent.grownBytes / MIB)} MiB more than at the start, after ${Math.round(sent.result.durationMs)} ms`,
  );
  t.ok(sent.grownBytes < 80 * MIB, `its memory grew by ${sent.grownBytes} bytes, of ${bytes} sent`);
  assertContent(t, join(dir, "large"), contentOf(bytes));
});

for (const [what, reason, code] of [
  ["by an AbortSignal", undefined, "E_INTERRUPTED"],
  ["by a signal with a reason of the table", new HawserError("E_TERMINATED", "told to stop"), "E_TERMINATED"],
] as const) {
  t.test(`a transfer is stopped ${what}`, async (t) => {
    const { from, to: dir } = directories(t);
    const { to, log } = await startServer(t, dir, { sessionTtlMs: 60_000 });
    const proxy = await startProxy(t, to);
    const stopping = new AbortController();
    const path = makeFile(join(from, "file"), 64 * MIB);
    const sending = sendAll({ paths: [path], to: proxy.address, chunkBytes: 64 * KIB, signal: stopping.signal });
    await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 20);
    stopping.abort(reason);
    const { result } = await sending;
    assertFailure(t, result, code);
    const ended = await log.until("ended");
    t.equal(ended.code, code, "the server knows why, at once");
    t.equal(partsIn(dir).length, 1, "what has come is kept");
    const recorded = Number(readSessions(dir)[0]?.bytesPresent);
    t.ok(recorded > 0, `and recorded: ${recorded}`);
    t.same(namesIn(dir), []);
    const again = await sendAll({ paths: [path], to });
    assertOk(t, again);
    t.equal(again.result.bytesResumed, recorded, "the next run goes on with it");
    assertContent(t, join(dir, "file"), contentOf(64 * MIB));
  });
}

t.test("stopped before it began, and while it dials", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 10);
  const before = await sendAll({ paths: [path], to, signal: AbortSignal.abort() });
  assertFailure(t, before.result, "E_INTERRUPTED");
  t.equal(log.of("session").length, 0, "nothing was dialled");
  const proxy = await startProxy(t, to);
  proxy.hold("control");
  const stopping = new AbortController();
  const sending = sendAll({ paths: [path], to: proxy.address, signal: stopping.signal });
  await proxy.until(() => proxy.framesOf("up", "HELLO") === 1);
  stopping.abort();
  assertFailure(t, (await sending).result, "E_INTERRUPTED");
  t.same(namesIn(dir), []);
});

t.test("stopped while the path hangs: what is in flight is not waited for without end", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  const stopping = new AbortController();
  const path = makeFile(join(from, "file"), 8 * MIB);
  const sending = sendAll({ paths: [path], to: proxy.address, chunkBytes: 64 * KIB, signal: stopping.signal });
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 2);
  proxy.harmAll("stream", "stall");
  proxy.harmAll("control", "stall");
  stopping.abort();
  const { result } = await sending;
  assertFailure(t, result, "E_INTERRUPTED");
  t.ok(result.durationMs < 10_000, `${Math.round(result.durationMs)} ms`);
});
