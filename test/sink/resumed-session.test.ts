/** A transfer that was interrupted and goes on, as the sink sees it: the source is driven by hand over real connections. */
import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { ERRORS } from "../../src/protocol/errors.ts";
import type { Message, OfferedFile } from "../../src/protocol/messages.ts";
import { MemoryHistory } from "../../src/server/history.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { bootId } from "../../src/sink/platform.ts";
import type { Committed, Part, PartSpec } from "../../src/sink/sink.ts";
import { type TestServer, testServer } from "../helpers/backend.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { keyOf, offerOf } from "../helpers/received.ts";
import { connectTo, hello, soon, type WireEnd } from "../helpers/wire-end.ts";

const CHUNK = 65_536;
const content = randomBytesOf(3 * CHUNK + 100);
const KEY = keyOf("a");
const OFFER = offerOf("a", content.length);
const chunkAt = (index: number) => content.subarray(index * CHUNK, (index + 1) * CHUNK);

/** What a disk and its databases are to one server after the other. */
class World {
  readonly sink: MemorySink;
  readonly store: MemorySessionStore;
  readonly history = new MemoryHistory();
  /** `boot`: of the machine, during which all is recorded. */
  constructor(sink = new MemorySink(), boot = bootId()) {
    this.sink = sink;
    this.store = new MemorySessionStore(boot);
  }
  serve(t: Test, options: Parameters<typeof testServer>[2] = {}): Promise<TestServer> {
    return testServer(t, this, options);
  }
}

interface Client {
  readonly control: WireEnd;
  readonly stream: WireEnd;
  readonly welcome: Message<"WELCOME">;
}

async function client(t: Test, { address }: TestServer, rest: Partial<Message<"HELLO">> = {}): Promise<Client> {
  const control = await connectTo(t, address);
  control.connection.send("HELLO", hello({ keys: [KEY], ...rest }));
  const welcome = await control.heard.message("WELCOME");
  const stream = await connectTo(t, address);
  const { session, generation } = welcome;
  stream.connection.send("ATTACH", { session, generation, stream: 0, attempt: 0 });
  await stream.heard.message("ATTACHED");
  return { control, stream, welcome };
}

async function offer({ control }: Client, files: OfferedFile[] = [OFFER]): Promise<Message<"PLAN">> {
  control.connection.send("OFFER", { settledBelow: 0, files });
  return control.heard.message("PLAN");
}

async function sendChunks({ stream }: Client, ...indexes: number[]): Promise<void> {
  let bytes = 0;
  for (const index of indexes) {
    stream.chunk(0, index * CHUNK, chunkAt(index));
    bytes += chunkAt(index).length;
  }
  while (bytes > 0) for (const [, , count] of (await stream.heard.message("ACK")).chunks) bytes -= count;
}

const seal = ({ control }: Client) =>
  control.connection.send("SEAL", { files: [{ file: 0, size: content.length, crc32: crc32(content) }] });

async function finish({ control }: Client): Promise<Message<"RECEIPT">> {
  control.connection.send("FINISH", { files: 1 });
  return control.heard.message("RECEIPT");
}

/** The numbers of the chunks that a HAVE names, when their CRCs are right. */
function chunksIn({ offset, crcs }: Message<"HAVE">): number[] {
  const first = offset / CHUNK;
  const numbers = Array.from({ length: crcs.length / 4 }, (_, i) => first + i);
  return numbers.filter((i) => Buffer.from(crcs).readUInt32BE(4 * (i - first)) === crc32(chunkAt(i)));
}

/** A run that sends these chunks, and whose server is stopped then. */
async function interrupted(t: Test, world: World, ...indexes: number[]): Promise<Message<"WELCOME">> {
  const server = await world.serve(t);
  const first = await client(t, server);
  await offer(first);
  await sendChunks(first, ...indexes);
  await server.server.close();
  return first.welcome;
}

/** The bytes of the one part that is kept, to be changed in place. */
class OpenSink extends MemorySink {
  part: Part | undefined;
  /** Reading back waits for it. */
  gate: Promise<void> | undefined;
  onReading = () => {};
  override async reserve(spec: PartSpec): Promise<Part> {
    this.part = this.#gated(await super.reserve(spec));
    return this.part;
  }
  override async reopen(spec: PartSpec): Promise<Part | undefined> {
    const part = await super.reopen(spec);
    return part && this.#gated(part);
  }
  #gated(part: Part): Part {
    const read = part.read.bind(part);
    part.read = async (offset, room) => {
      this.onReading();
      await this.gate;
      return read(offset, room);
    };
    return part;
  }
  spoil(index: number): void {
    void this.part?.write(index * CHUNK, new Uint8Array(10));
  }
}
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

t.test("what is there is said, and does not have to be sent again", async (t) => {
  const world = new World();
  const before = await interrupted(t, world, 0, 2);
  t.equal(world.sink.partsKept, 1);

  const server = await world.serve(t);
  const second = await client(t, server);
  t.strictSame([...second.welcome.session], [...before.session], "the same session");
  t.match(second.welcome, { transfer: before.transfer, generation: 2 });
  t.strictSame(await offer(second), { files: [{ file: 0, action: "send" }] });
  t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [0], "before the plan, page by page");
  t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [2]);
  await sendChunks(second, 1, 3);
  seal(second);
  t.match(await second.control.heard.message("OUTCOME"), {
    files: [{ status: "committed", size: content.length, crc32: crc32(content) }],
  });
  t.ok(same(world.sink.read(nameOf("a")), content));
  t.match(await finish(second), { files: 1, bytes: content.length });
  const { record } = await server.event("transfer");
  t.match(record, { status: "complete", bytesResumed: 2 * CHUNK, bytes: content.length });
  t.match(await server.event("session"), { resumed: true, transferId: before.transfer });
  await server.server.close();
  t.strictSame(await world.store.list(), [], "nothing is left of it");
  t.equal(world.sink.partsKept, 0);
  t.equal([...world.history.list()].length, 1, "one transfer");
});

t.test("HAVE comes before the PLAN of its file", async (t) => {
  const world = new World();
  await interrupted(t, world, 0);
  const second = await client(t, await world.serve(t));
  await offer(second);
  const order = second.control.heard.messages.map(({ name }) => name);
  t.strictSame(order, ["HAVE"], "it was there when the plan came");
});

t.test(
  "a chunk that was altered on the disk is asked for again, and nothing is committed before it came",
  async (t) => {
    const sink = new OpenSink();
    const world = new World(sink);
    await interrupted(t, world, 0, 1, 2, 3);
    sink.spoil(1);
    const second = await client(t, await world.serve(t));
    await offer(second);
    t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [0, 1, 2, 3]);
    seal(second);
    t.strictSame(await second.control.heard.message("RESEND"), { chunks: [[0, CHUNK, CHUNK]] });
    second.control.connection.send("PING", { id: 1 });
    await second.control.heard.message("PONG");
    t.equal(sink.read(nameOf("a")), undefined);
    t.equal(second.control.heard.messages.filter(({ name }) => name === "OUTCOME").length, 0);
    await sendChunks(second, 1);
    t.match(await second.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
    t.ok(same(sink.read(nameOf("a")), content));
  },
);

t.test(
  "after a reboot what is altered is not said to be there; until that is known the sink is checking",
  async (t) => {
    const sink = new OpenSink();
    const world = new World(sink, "another-boot");
    await interrupted(t, world, 0, 1, 2, 3);
    sink.spoil(1);
    const slow = gate();
    sink.gate = slow.opened;
    const second = await client(t, await world.serve(t));
    const reading = new Promise<void>((resolve) => {
      sink.onReading = resolve;
    });
    const planned = offer(second);
    await soon(reading, "the reading");
    second.control.connection.send("PING", { id: 1 });
    t.match(await second.control.heard.message("PONG"), { id: 1, doing: "checking" });
    slow.open();
    await planned;
    t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [0]);
    t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [2, 3]);
    await sendChunks(second, 1);
    seal(second);
    t.match(await second.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
    t.ok(same(sink.read(nameOf("a")), content));
  },
);

t.test("a seal that comes before the check is done waits for it", async (t) => {
  const sink = new OpenSink();
  const world = new World(sink);
  await interrupted(t, world, 0, 1, 2, 3);
  const slow = gate();
  sink.gate = slow.opened;
  const second = await client(t, await world.serve(t));
  await offer(second);
  seal(second);
  second.control.connection.send("PING", { id: 1 });
  t.match(await second.control.heard.message("PONG"), { id: 1, doing: "checking" });
  t.equal(sink.read(nameOf("a")), undefined);
  slow.open();
  t.match(await second.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
  t.ok(same(sink.read(nameOf("a")), content));
});

t.test("an earlier run's chunk gives way to one that comes with another CRC, checked or not", async (t) => {
  for (const checked of [false, true]) {
    const sink = new OpenSink();
    const world = new World(sink);
    await interrupted(t, world, 0, 1, 2, 3);
    const slow = gate();
    sink.gate = checked ? undefined : slow.opened;
    const second = await client(t, await world.serve(t));
    await offer(second);
    await second.control.heard.message("HAVE");
    for (let doing = "checking"; checked && doing === "checking"; ) {
      second.control.connection.send("PING", { id: 1 });
      doing = (await second.control.heard.message("PONG")).doing ?? "";
    }
    const other = randomBytesOf(CHUNK, 99);
    second.stream.chunk(0, CHUNK, other);
    await second.stream.heard.message("ACK");
    const changed = new Uint8Array(Buffer.concat([chunkAt(0), other, chunkAt(2), chunkAt(3)]));
    slow.open();
    second.control.connection.send("SEAL", { files: [{ file: 0, size: changed.length, crc32: crc32(changed) }] });
    t.match(await second.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] }, `checked: ${checked}`);
    t.ok(same(sink.read(nameOf("a")), changed));
  }
});

t.test("but a chunk of this run that comes with another CRC is a breach of the protocol", async (t) => {
  const world = new World();
  await interrupted(t, world, 0);
  const second = await client(t, await world.serve(t));
  await offer(second);
  second.stream.chunk(0, 0, randomBytesOf(CHUNK, 98));
  second.stream.chunk(0, 0, randomBytesOf(CHUNK, 99));
  t.equal((await second.control.heard.message("ERROR")).code, ERRORS.E_ILLEGAL.wire);
});

t.test("a control connection that comes back hears again what is there, and what is spoilt", async (t) => {
  const sink = new OpenSink();
  const world = new World(sink);
  await interrupted(t, world, 0, 1, 2, 3);
  sink.spoil(1);
  sink.spoil(3);
  const server = await world.serve(t);
  const second = await client(t, server);
  await offer(second);
  const spoilt = new Set<number>();
  while (spoilt.size < 2) {
    for (const [, offset] of (await second.control.heard.message("RESEND")).chunks) spoilt.add(offset);
  }
  await sendChunks(second, 3);
  second.control.connection.destroy();

  const control = await connectTo(t, server.address);
  const { session, generation } = second.welcome;
  control.connection.send("HELLO", hello({ session, generation }));
  t.equal((await control.heard.message("WELCOME")).generation, 2, "the same session as it was");
  const again = { ...second, control };
  await offer(again);
  t.strictSame(chunksIn(await control.heard.message("HAVE")), [0]);
  t.strictSame(chunksIn(await control.heard.message("HAVE")), [2, 3], "with what came meanwhile");
  t.strictSame(await control.heard.message("RESEND"), { chunks: [[0, CHUNK, CHUNK]] }, "and only what is not here yet");
  await sendChunks(again, 1);
  seal(again);
  t.match(await control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
});

/** Counts commits: each makes its file once. */
class CountingSink extends OpenSink {
  commits = 0;
  override publish(...given: Parameters<MemorySink["publish"]>): Committed {
    const committed = super.publish(...given);
    this.commits++;
    return committed;
  }
}

t.test(
  "an outcome that was not heard is told again after a restart, the same, and nothing is committed twice",
  async (t) => {
    const sink = new CountingSink();
    const world = new World(sink);
    const server = await world.serve(t);
    const first = await client(t, server);
    await offer(first);
    await sendChunks(first, 0, 1, 2, 3);
    seal(first);
    const outcome = await first.control.heard.message("OUTCOME");
    await server.server.close();
    for (let generation = 2; generation < 4; generation++) {
      const next = await world.serve(t);
      const again = await client(t, next);
      t.equal(again.welcome.generation, generation);
      again.control.connection.send("OFFER", { settledBelow: 0, files: [OFFER] });
      t.strictSame(await again.control.heard.message("OUTCOME"), outcome);
      t.notOk(again.control.heard.messages.some(({ name }) => name === "PLAN"));
      if (generation === 3) t.match(await finish(again), { files: 1, failed: 0, bytes: content.length });
      await next.server.close();
    }
    t.equal(sink.commits, 1);
    t.strictSame(await world.store.list(), []);
    const [past] = [...world.history.list()];
    t.match([...(past?.fileRecords() ?? [])], [{ name: "a", status: "committed" }]);
  },
);

t.test("an outcome that was heard is not kept", async (t) => {
  const world = new World();
  const server = await world.serve(t);
  const first = await client(t, server);
  await offer(first);
  await sendChunks(first, 0, 1, 2, 3);
  seal(first);
  await first.control.heard.message("OUTCOME");
  const other = offerOf("b", content.length, { file: 1 });
  first.control.connection.send("OFFER", { settledBelow: 1, files: [other] });
  await first.control.heard.message("PLAN");
  await server.server.close();
  t.strictSame(await world.store.list(), [], "nor is a file of which nothing came");
});

t.test("the chunk size of the session counts, whatever the next run would like", async (t) => {
  const world = new World();
  await interrupted(t, world, 0, 1);
  const second = await client(t, await world.serve(t), { chunkBytes: 4 * CHUNK });
  t.equal(second.welcome.chunkBytes, CHUNK);
  await offer(second);
  t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [0, 1]);
});

t.test("a fresh start throws away what is there", async (t) => {
  const world = new World();
  await interrupted(t, world, 0, 1);
  const second = await client(t, await world.serve(t), { fresh: true });
  await offer(second);
  t.notOk(second.control.heard.messages.some(({ name }) => name === "HAVE"));
  await sendChunks(second, 0, 1, 2, 3);
  seal(second);
  t.match(await second.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
  t.equal(world.sink.partsKept, 0);
});

t.test("a file that changed since begins anew", async (t) => {
  for (const [what, change] of [
    ["another size", { size: content.length - 1 }],
    ["another name", { name: nameOf("b") }],
    ["another key", { key: keyOf("b") }],
  ] as const) {
    const world = new World();
    await interrupted(t, world, 0, 1);
    const second = await client(t, await world.serve(t));
    await offer(second, [{ ...OFFER, ...change }]);
    t.notOk(
      second.control.heard.messages.some(({ name }) => name === "HAVE"),
      what,
    );
  }
});

t.test("a file that failed of something that passes goes on from there", async (t) => {
  const world = new World();
  const server = await world.serve(t);
  const first = await client(t, server);
  await offer(first);
  await sendChunks(first, 0, 1);
  const error = { code: ERRORS.E_IO.wire, message: "reading failed: EIO" };
  first.control.connection.send("WITHDRAW", { files: [{ file: 0, error }] });
  t.match(await first.control.heard.message("OUTCOME"), { files: [{ status: "failed" }] });
  t.match(await finish(first), { failed: 1 });
  await server.server.close();
  t.equal(world.sink.partsKept, 1);
  const second = await client(t, await world.serve(t));
  await offer(second);
  t.strictSame(chunksIn(await second.control.heard.message("HAVE")), [0, 1]);
});

t.test("two at once for one file: the second hears that it is under way, and takes nothing", async (t) => {
  const world = new World();
  const server = await world.serve(t);
  const first = await client(t, server, { keys: [] });
  await offer(first);
  await sendChunks(first, 0);
  const second = await client(t, server, { keys: [] });
  second.control.connection.send("OFFER", { settledBelow: 0, files: [OFFER] });
  t.match(await soon(second.control.heard.message("OUTCOME"), "the refusal"), {
    files: [{ status: "failed", error: { code: ERRORS.E_BUSY.wire } }],
  });
  await sendChunks(first, 1, 2, 3);
  seal(first);
  t.match(await first.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
});

/** A word for each thing that takes time (PROTOCOL.md, PONG). */
t.test("what the sink is at, it says when it is asked", async (t) => {
  const slow = { write: gate(), commit: gate(), digest: gate() };
  class SlowSink extends MemorySink {
    override async reserve(spec: PartSpec): Promise<Part> {
      const part = await super.reserve(spec);
      const write = part.write.bind(part);
      const commit = part.commit.bind(part);
      part.write = async (offset, bytes) => {
        if (offset === 0) await slow.write.opened;
        await write(offset, bytes);
      };
      part.commit = async (size, crc) => {
        await slow.commit.opened;
        return commit(size, crc);
      };
      return part;
    }
    override async find(name: Uint8Array) {
      const found = await super.find(name);
      return (
        found && { ...found, digest: () => slow.digest.opened.then(() => found.digest(new AbortController().signal)) }
      );
    }
  }
  const world = new World(new SlowSink());
  const server = await world.serve(t);
  const end = await client(t, server);
  const doing = async ({ connection, heard }: WireEnd = end.control) => {
    connection.send("PING", { id: 1 });
    return (await heard.message("PONG")).doing;
  };
  t.equal(await doing(), "receiving");
  await offer(end);
  end.stream.chunk(0, 0, chunkAt(0));
  t.equal(await doing(end.stream), "writing", "also on a stream");
  slow.write.open();
  await end.stream.heard.message("ACK");
  t.equal(await doing(), "receiving");
  await sendChunks(end, 1, 2, 3);
  seal(end);
  t.equal(await doing(), "committing");
  slow.commit.open();
  await end.control.heard.message("OUTCOME");
  const { key, ...again } = offerOf("a", content.length, { file: 1 });
  end.control.connection.send("OFFER", { settledBelow: 1, files: [again] });
  t.match(await end.control.heard.message("PLAN"), { files: [{ action: "compare" }] });
  end.control.connection.send("DIGEST", { files: [{ file: 1, blake3: new Uint8Array(32) }] });
  t.equal(await doing(), "comparing");
  slow.digest.open();
  t.match(await end.control.heard.message("OUTCOME"), { files: [{ file: 1, status: "failed" }] });
});

t.test(
  "two files of one transfer with one key: the second is busy, the first is committed as it was sent",
  async (t) => {
    const world = new World();
    const end = await client(t, await world.serve(t));
    await offer(end);
    await sendChunks(end, 0, 1);
    end.control.connection.send("OFFER", { settledBelow: 0, files: [{ ...OFFER, file: 1 }] });
    t.match(await end.control.heard.message("OUTCOME"), {
      files: [{ file: 1, status: "failed", error: { code: ERRORS.E_BUSY.wire } }],
    });
    end.stream.chunk(1, 0, randomBytesOf(CHUNK, 77));
    await end.stream.heard.message("ACK");
    await sendChunks(end, 2, 3);
    seal(end);
    t.match(await end.control.heard.message("OUTCOME"), { files: [{ file: 0, status: "committed" }] });
    t.ok(same(world.sink.read(nameOf("a")), content));
    t.strictSame(
      end.control.heard.messages.filter(({ name }) => name === "HAVE"),
      [],
      "what it has of the first is not said of the second",
    );
  },
);

t.test("an open file may be offered once more by each control connection, and not twice by one", async (t) => {
  const world = new World();
  const server = await world.serve(t);
  const first = await client(t, server);
  const { session, generation } = first.welcome;
  await offer(first);
  let { control } = first;
  for (let round = 0; round < 2; round++) {
    control.connection.destroy();
    control = await connectTo(t, server.address);
    control.connection.send("HELLO", hello({ session, generation }));
    await control.heard.message("WELCOME");
    t.strictSame(await offer({ ...first, control }), { files: [{ file: 0, action: "send" }] }, "it may not have heard");
  }
  control.connection.send("OFFER", { settledBelow: 0, files: [OFFER] });
  t.match(await control.heard.message("ERROR"), { code: ERRORS.E_ILLEGAL.wire, message: /file 0 is offered twice/ });
  t.match(await server.event("ended"), { code: "E_ILLEGAL" });
});

t.test("nor twice in its first offer", async (t) => {
  const server = await new World().serve(t);
  const { control } = await client(t, server);
  control.connection.send("OFFER", { settledBelow: 0, files: [OFFER, OFFER] });
  t.match(await control.heard.message("ERROR"), { code: ERRORS.E_ILLEGAL.wire, message: /file 0 is offered twice/ });
});

t.test("an offer that still waits when its connection breaks is not taken for the next one's", async (t) => {
  const slow = gate();
  class SlowSink extends MemorySink {
    override async find(name: Uint8Array) {
      await slow.opened;
      return super.find(name);
    }
  }
  const server = await new World(new SlowSink()).serve(t);
  const { control, welcome } = await client(t, server);
  const files = [OFFER, offerOf("b", 1, { file: 1 })];
  for (const file of files) control.connection.send("OFFER", { settledBelow: 0, files: [file] });
  control.connection.send("PING", { id: 1 });
  await control.heard.message("PONG");
  control.connection.destroy();
  const next = await connectTo(t, server.address);
  next.connection.send("HELLO", hello({ session: welcome.session, generation: welcome.generation }));
  await next.heard.message("WELCOME");
  next.connection.send("OFFER", { settledBelow: 0, files });
  next.connection.send("PING", { id: 2 });
  await next.heard.message("PONG");
  slow.open();
  const planned = new Set<number>();
  while (planned.size < 2) for (const { file } of (await next.heard.message("PLAN")).files) planned.add(file);
  next.connection.send("PING", { id: 3 });
  await next.heard.message("PONG");
  t.notOk(next.heard.messages.some(({ name }) => name === "ERROR"));
});

t.test("no more files may wait to be planned than four times what may be open", async (t) => {
  const slow = gate();
  class SlowSink extends MemorySink {
    override async find(name: Uint8Array) {
      await slow.opened;
      return super.find(name);
    }
  }
  const server = await new World(new SlowSink()).serve(t);
  const { control, welcome } = await client(t, server);
  const most = 4 * (welcome.openFiles + (welcome.openSmall ?? welcome.openFiles));
  const offers = (start: number, end: number) =>
    control.connection.send("OFFER", {
      settledBelow: 0,
      // The same ones over and over: it is the sum that counts, and none is looked at yet.
      files: Array.from({ length: end - start }, (_, i) => {
        const file = (start + i) % 256;
        return offerOf(`f${file}`, 1, { file });
      }),
    });
  for (let at = 0; at < most; at += 256) offers(at, Math.min(at + 256, most));
  control.connection.send("PING", { id: 1 });
  await control.heard.message("PONG");
  t.notOk(control.heard.messages.some(({ name }) => name === "ERROR"));
  offers(most, most + 1);
  t.match(await control.heard.message("ERROR"), { code: ERRORS.E_ILLEGAL.wire, message: /^too many files at once/ });
  slow.open();
});

t.test("a check that ends when the session is being left commits nothing; the next run does, once", async (t) => {
  const sink = new OpenSink();
  const world = new World(sink);
  await interrupted(t, world, 0, 1, 2, 3);
  let commits = 0;
  const beginCommit = world.store.beginCommit.bind(world.store);
  world.store.beginCommit = (...given) => {
    commits++;
    return beginCommit(...given);
  };
  const slow = gate();
  let reads = 0;
  const last = new Promise<void>((resolve) => {
    sink.onReading = () => {
      if (++reads < 4) return;
      sink.gate = slow.opened;
      resolve();
    };
  });
  const server = await world.serve(t);
  const second = await client(t, server);
  await offer(second);
  await soon(last, "the last chunk's turn");
  seal(second);
  second.control.connection.send("PING", { id: 1 });
  await second.control.heard.message("PONG");
  const closing = server.server.close();
  await soon(second.control.heard.closed, "the end");
  slow.open();
  await closing;
  t.equal(commits, 0);
  t.equal(sink.read(nameOf("a")), undefined);
  t.equal(sink.partsKept, 1);

  sink.gate = undefined;
  sink.onReading = () => {};
  const third = await client(t, await world.serve(t));
  await offer(third);
  seal(third);
  t.match(await third.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
  t.match(await finish(third), { files: 1, failed: 0 });
  t.equal(commits, 1);
  t.ok(same(sink.read(nameOf("a")), content));
});

t.test("a store that can't forget what is settled does not end the session", async (t) => {
  const world = new World();
  const server = await world.serve(t);
  const end = await client(t, server);
  await offer(end);
  await sendChunks(end, 0, 1, 2, 3);
  seal(end);
  await end.control.heard.message("OUTCOME");
  let asked = 0;
  world.store.forgetFiles = async () => {
    asked++;
    throw new Error("the disk is full");
  };
  end.control.connection.send("OFFER", { settledBelow: 1, files: [offerOf("b", 0, { file: 1 })] });
  t.match(await end.control.heard.message("PLAN"), { files: [{ file: 1, action: "send" }] });
  t.equal(asked, 1);
  end.control.connection.send("SEAL", { files: [{ file: 1, size: 0, crc32: 0 }] });
  t.match(await end.control.heard.message("OUTCOME"), { files: [{ file: 1, status: "committed" }] });
  end.control.connection.send("FINISH", { files: 2 });
  t.match(await end.control.heard.message("RECEIPT"), { files: 2, failed: 0 });
});

t.test("a new version that is committed drops what the peer had begun of the old one", async (t) => {
  const world = new World();
  await interrupted(t, world, 0, 1);
  t.equal(world.sink.partsKept, 1);
  const key = keyOf("new");
  const end = await client(t, await world.serve(t), { keys: [key] });
  await offer(end, [{ ...OFFER, key }]);
  await sendChunks(end, 0, 1, 2, 3);
  seal(end);
  t.match(await end.control.heard.message("OUTCOME"), { files: [{ status: "committed" }] });
  t.equal(world.sink.partsKept, 0);
  t.strictSame(
    (await world.store.list()).map(({ live }) => live),
    [true],
    "and the session that had nothing else",
  );
});
