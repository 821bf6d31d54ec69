/** Files that wait for room under a quota, beside what is under way: with whatever may happen meanwhile. */
import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { asHawserError, ERRORS } from "../../src/protocol/errors.ts";
import type { Message, OfferedFile, SettledFile } from "../../src/protocol/messages.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { Quota } from "../../src/sink/quota.ts";
import { QuotaSink } from "../../src/sink/quota-sink.ts";
import type { Part, PartSpec } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";
import { nameOf, randomBytesOf } from "../helpers/bytes.ts";
import { keyOf } from "../helpers/received.ts";
import { connectTo, hello, soon, soonHolds, type WireEnd } from "../helpers/wire-end.ts";

const CHUNK = 65_536;
const content = randomBytesOf(CHUNK);

/** Counts how often there was no room. */
class CountingSink extends QuotaSink {
  refused = 0;
  override async reserve(spec: PartSpec): Promise<Part> {
    try {
      return await super.reserve(spec);
    } catch (thrown) {
      if (asHawserError(thrown).code === "E_QUOTA") this.refused++;
      throw thrown;
    }
  }
}

/** Its next writing down of new files waits. */
class SlowStore extends MemorySessionStore {
  gate: Promise<void> | undefined;
  waiting = false;
  override async addFiles(...args: Parameters<MemorySessionStore["addFiles"]>): Promise<number[]> {
    this.waiting = this.gate !== undefined;
    await this.gate;
    return super.addFiles(...args);
  }
}

const file = (index: number, rest: Partial<OfferedFile> = {}): OfferedFile => ({
  file: index,
  name: nameOf(`f${index}`),
  size: CHUNK,
  mtime: [1, 0],
  mode: 0o644,
  ...rest,
});
const directory = (index: number) => file(index, { kind: "directory", size: 0 });

/** A session with a quota of so many files of one chunk. */
async function opened(t: Test, files: number, wishes: Partial<Message<"HELLO">> = {}) {
  const memory = new MemorySink();
  const quota = new Quota(files * CHUNK);
  const sink = new CountingSink(memory, { quota, isThere: () => true });
  const store = new SlowStore();
  const server = await testServer(t, { sink, store });
  const control = await connectTo(t, server.address);
  control.connection.send("HELLO", hello(wishes));
  const { session, generation } = await control.heard.message("WELCOME");
  const stream = await connectTo(t, server.address);
  stream.connection.send("ATTACH", { session, generation, stream: 0, attempt: 0 });
  await stream.heard.message("ATTACHED");
  const dialAgain = async () => {
    control.connection.destroy();
    const next = await connectTo(t, server.address);
    next.connection.send("HELLO", hello({ session, generation }));
    await next.heard.message("WELCOME");
    return next;
  };
  const waits = (times = 1) => soonHolds(`${times} without room`, () => sink.refused === times);
  return { ...server, memory, quota, sink, store, control, stream, dialAgain, waits };
}

const say = (end: WireEnd, files: OfferedFile[]) => end.connection.send("OFFER", { settledBelow: 0, files });

/** Hears plans until each of these files has this one. */
async function planned(end: WireEnd, action: "send" | "compare", ...files: number[]): Promise<void> {
  const left = new Set(files);
  while (left.size > 0) {
    for (const plan of (await end.heard.message("PLAN")).files) if (plan.action === action) left.delete(plan.file);
  }
}

async function deliver(end: WireEnd, stream: WireEnd, index: number): Promise<SettledFile> {
  stream.chunk(index, 0, content);
  await stream.heard.message("ACK");
  end.connection.send("SEAL", { files: [{ file: index, size: CHUNK, crc32: crc32(content) }] });
  for (;;) {
    const found = (await end.heard.message("OUTCOME")).files.find(({ file }) => file === index);
    if (found !== undefined) return found;
  }
}

t.test("its control connection breaks: all that came with it, before and behind it, is heard of again", async (t) => {
  const { control, stream, dialAgain, waits } = await opened(t, 1);
  say(control, [directory(0), file(1), directory(2), file(3), directory(4)]);
  say(control, [file(5)]);
  control.connection.send("FINISH", { files: 6 });
  await planned(control, "send", 1);
  await waits();
  const next = await dialAgain();
  // Before anything is offered again: FINISH was said of more than is known now.
  const settled = deliver(next, stream, 1);
  t.match(await settled, { status: "committed" });
  say(next, [directory(0), file(1), directory(2), file(3), directory(4)]);
  say(next, [file(5)]);
  next.connection.send("FINISH", { files: 6 });
  for (const index of [3, 5]) {
    await planned(next, "send", index);
    t.match(await deliver(next, stream, index), { status: "committed" });
  }
  t.match(await next.heard.message("RECEIPT"), { files: 6, failed: 0 });
});

t.test("it had been compared, and its control connection breaks: it is compared again", async (t) => {
  const { control, stream, memory, dialAgain, waits } = await opened(t, 1, { overwrite: "if-different" });
  const there = await memory.reserve({ ...file(1), id: "there" });
  await there.write(0, randomBytesOf(CHUNK, 2));
  await there.commit(CHUNK, 0);
  say(control, [file(0), file(1)]);
  await planned(control, "send", 0);
  const digest = { files: [{ file: 1, blake3: new Uint8Array(32) }] };
  control.connection.send("DIGEST", digest);
  await waits();
  const next = await dialAgain();
  say(next, [file(0), file(1)]);
  await planned(next, "compare", 1);
  next.connection.send("DIGEST", digest);
  await waits(2);
  t.match(await deliver(next, stream, 0), { status: "committed" });
  await planned(next, "send", 1);
  t.match(await deliver(next, stream, 1), { status: "committed", replaces: true });
});

t.test("the source takes it back: nothing is kept for it", async (t) => {
  const { control, stream, memory, quota, waits } = await opened(t, 1);
  say(control, [file(0), file(1), file(2)]);
  await planned(control, "send", 0);
  await waits();
  const error = { code: ERRORS.E_SOURCE_CHANGED.wire, message: "it grew" };
  control.connection.send("WITHDRAW", { files: [{ file: 1, error }] });
  t.match(await control.heard.message("OUTCOME"), { files: [{ file: 1, status: "failed" }] });
  await waits(2);
  t.match(await deliver(control, stream, 0), { status: "committed" });
  await planned(control, "send", 2);
  t.match(await deliver(control, stream, 2), { status: "committed" });
  control.connection.send("FINISH", { files: 3 });
  t.match(await control.heard.message("RECEIPT"), { files: 3, failed: 1 });
  t.equal(memory.partsKept, 0);
  t.equal(quota.used("127.0.0.1"), 0);
});

t.test("there is room before all is written down that has to be answered first", async (t) => {
  const { control, stream, store, waits } = await opened(t, 2);
  say(control, [file(0)]);
  await planned(control, "send", 0);
  const { promise, resolve } = Promise.withResolvers<void>();
  store.gate = promise;
  say(control, [file(1, { key: keyOf("1") }), file(2)]);
  await waits();
  await soonHolds("it is being written down", () => store.waiting);
  t.match(await deliver(control, stream, 0), { status: "committed" });
  resolve();
  await planned(control, "send", 1, 2);
});

t.test("the server ends meanwhile, or while that is written down", async (t) => {
  for (const isSlow of [false, true]) {
    const { control, store, memory, server, waits } = await opened(t, 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    if (isSlow) store.gate = promise;
    say(control, [file(0, { key: keyOf("0") }), file(1)]);
    await waits();
    const closed = server.close();
    setImmediate(resolve);
    await soon(closed, "the end");
    t.equal(memory.partsOpen, 0);
  }
});
