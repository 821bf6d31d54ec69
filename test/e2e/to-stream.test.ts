/** One received file into a stream, in order and in bounded memory, over whatever happens to connections. */
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import t, { type Test } from "tap";
import { type ServerEvent, serve, type TransferEvent } from "../../src/index.ts";
import { assertFailure, assertOk, EventLog, sendAll } from "../helpers/e2e.ts";
import { contentOf, directories, KIB, makeFile } from "../helpers/files.ts";
import { type Rule, startProxy } from "../helpers/proxy.ts";
import { soonHolds } from "../helpers/wire-end.ts";

const CHUNK = 64 * KIB;
const BYTES = 60 * CHUNK - 100;

/** Takes bytes, and tells when; `takes` lets it be as slow as one likes. */
class Reader extends Writable {
  readonly pieces: Buffer[] = [];
  bytes = 0;
  readonly #takes: () => Promise<void>;

  constructor(takes: () => Promise<void> = async () => {}) {
    super({ highWaterMark: 1 });
    this.#takes = takes;
  }
  override _write(bytes: Buffer, _encoding: string, done: (error?: Error) => void): void {
    // The buffer is its owner's again when `done` is called.
    this.pieces.push(Buffer.from(bytes));
    this.bytes += bytes.length;
    this.#takes().then(() => done(), done);
  }
  get content(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

async function startStreaming(t: Test, output: Writable, options = {}) {
  const log = new EventLog<ServerEvent>();
  const server = await serve({ output, port: 0, onEvent: log.add, ...options });
  t.teardown(() => server.close());
  return { to: server.address, log, server };
}

function sourceOf(t: Test, bytes = BYTES, seed = 1) {
  return { path: makeFile(join(directories(t).from, "file"), bytes, seed), content: contentOf(bytes, seed) };
}

for (const [streams, bytes] of [
  [1, BYTES],
  [4, BYTES],
  [4, 0],
  [4, 1],
  [16, BYTES],
] as const) {
  t.test(`${bytes} bytes over ${streams} streams`, async (t) => {
    const output = new Reader();
    const { to, log } = await startStreaming(t, output);
    const { path, content } = sourceOf(t, bytes);
    const sent = await sendAll({ paths: [path], to, streams, chunkBytes: CHUNK });
    assertOk(t, sent);
    t.equal(sent.result.durability, "none");
    t.ok(output.content.equals(content), "every byte in its place");
    t.match(await log.until("transfer"), { record: { status: "complete", files: 1 } });
    t.match(log.of("listening"), [{ dir: null }]);
  });
}

t.test("a pipe into a pipe", async (t) => {
  const output = new Reader();
  const { to } = await startStreaming(t, output);
  const input = new PassThrough();
  const content = contentOf(BYTES, 3);
  input.end(content);
  assertOk(t, await sendAll({ input, name: "a", to, chunkBytes: CHUNK }));
  t.ok(output.content.equals(content));
});

t.test("streams that break again and again, and chunks that are damaged", async (t) => {
  const output = new Reader();
  const { to } = await startStreaming(t, output);
  const chunk = { kind: "stream", direction: "up", part: "payload", frame: "CHUNK" } as const;
  const rules: Rule[] = [
    { ...chunk, nth: 0, action: "flip", times: 4 },
    { ...chunk, nth: 1, action: "flip", times: 4 },
    { ...chunk, nth: 2, action: "reset", times: 6 },
    { kind: "stream", direction: "down", part: "type", frame: "ACK", nth: 1, action: "reset", times: 2 },
    { kind: "control", direction: "up", part: "type", frame: "SEAL", action: "reset" },
  ];
  const proxy = await startProxy(t, to, { rules });
  const { path, content } = sourceOf(t);
  const sent = await sendAll({ paths: [path], to: proxy.address, chunkBytes: CHUNK, timeoutMs: 10_000 });
  assertOk(t, sent);
  t.ok(proxy.harm.length >= 12, proxy.harm.join("; "));
  t.ok(output.content.equals(content));
});

t.test("a stream that is lost for good, with the chunk that all others wait for", async (t) => {
  const output = new Reader();
  const { to } = await startStreaming(t, output);
  const rule: Rule = { kind: "stream", direction: "up", part: "payload", frame: "CHUNK", ordinal: 0, action: "reset" };
  const proxy = await startProxy(t, to, { rules: [rule] });
  const { path, content } = sourceOf(t);
  const sending = { paths: [path], to: proxy.address, chunkBytes: CHUNK, streams: 3, retries: 0, timeoutMs: 10_000 };
  const sent = await sendAll(sending);
  assertOk(t, sent);
  t.match(sent.log.of("warning"), [{ message: /stream \d is lost .* 2 go on/ }]);
  t.ok(output.content.equals(content));
});

t.test("a reader that takes nothing for three timeouts: the client waits, and little is kept", async (t) => {
  const gate = Promise.withResolvers<void>();
  let writes = 0;
  const output = new Reader(() => (writes++ === 2 ? gate.promise : Promise.resolve()));
  const { to } = await startStreaming(t, output);
  const proxy = await startProxy(t, to, {});
  const { path, content } = sourceOf(t, 200 * CHUNK);
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ paths: [path], to: proxy.address, streams: 4, chunkBytes: CHUNK, timeoutMs: 1000 }, log);
  const { stall } = await log.until("progress", ({ phase }) => phase === "stalled");
  t.match(stall, { waitingFor: "the server to write" });
  t.equal(output.bytes, 3 * CHUNK);
  const sent = proxy.bytes.up;
  t.ok(sent < 3 * CHUNK + 4 * 4 * CHUNK + 64 * KIB, `${sent} bytes: three that went out, and four windows at most`);
  gate.resolve();
  const done = await sending;
  assertOk(t, done);
  t.equal(done.result.retries, 0, "nobody was taken for dead");
  t.ok(output.content.equals(content));
});

t.test("a reader that goes away: the client hears why", async (t) => {
  let writes = 0;
  const output = new Reader(async () => {
    if (writes++ === 2) throw Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
  });
  const { to, log } = await startStreaming(t, output);
  const { path } = sourceOf(t);
  const { result } = await sendAll({ paths: [path], to, chunkBytes: CHUNK });
  assertFailure(t, result, "E_DESTINATION", /has closed its input before the file was whole/);
  t.equal(result.resumable, false);
  t.match(await log.until("file"), { code: "E_DESTINATION", file: { status: "failed" } });
});

t.test("one file: the second of a transfer is refused, and so is another transfer", async (t) => {
  const output = new Reader();
  const { to, log } = await startStreaming(t, output);
  const { from } = directories(t);
  const paths = [makeFile(join(from, "a"), BYTES, 1), makeFile(join(from, "b"), BYTES, 2)];
  const { result, files } = await sendAll({ paths, to, chunkBytes: CHUNK });
  t.match(result, { exitCode: 23, error: { code: "E_PARTIAL" } });
  const [, second] = files.toSorted((a, b) => a.name.localeCompare(b.name));
  assertFailure(t, { error: second?.error ?? null }, "E_ONE_FILE");
  t.ok(output.content.equals(contentOf(BYTES, 1)), "the first is whole, and nothing else came out");
  assertFailure(t, (await sendAll({ paths: [paths[1] ?? ""], to, chunkBytes: CHUNK })).result, "E_ONE_FILE");
  t.equal(output.bytes, BYTES);
  t.equal(log.of("transfer")[0]?.record.status, "partial");
});

t.test("what fails before anything came out leaves the stream to another", async (t) => {
  const output = new Reader();
  const { to } = await startStreaming(t, output, { maxFileBytes: BYTES });
  const { from } = directories(t);
  const large = makeFile(join(from, "large"), BYTES + 1);
  assertFailure(t, (await sendAll({ paths: [large], to, chunkBytes: CHUNK })).result, "E_TOO_LARGE");
  const input = new PassThrough();
  setImmediate(() => input.destroy(new Error("no")));
  assertFailure(t, (await sendAll({ input, name: "a", to, chunkBytes: CHUNK })).result, "E_SOURCE_IO");
  t.equal(output.bytes, 0);
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "b"), BYTES, 2)], to, chunkBytes: CHUNK }));
  t.ok(output.content.equals(contentOf(BYTES, 2)));
});

t.test("a client that is gone after some came out: nobody goes on with it", async (t) => {
  const output = new Reader();
  const { to, log } = await startStreaming(t, output);
  const input = new PassThrough();
  const controller = new AbortController();
  const sending = sendAll({ input, name: "a", to, chunkBytes: CHUNK, signal: controller.signal });
  input.write(contentOf(3 * CHUNK, 1));
  await soonHolds("all that was written", () => output.bytes >= 3 * CHUNK);
  controller.abort();
  assertFailure(t, (await sending).result, "E_INTERRUPTED");
  t.match(await log.until("ended"), { code: "E_INTERRUPTED" });
  const { path } = sourceOf(t);
  assertFailure(t, (await sendAll({ paths: [path], to, chunkBytes: CHUNK })).result, "E_ONE_FILE");
  t.equal(output.bytes, 3 * CHUNK);
});
