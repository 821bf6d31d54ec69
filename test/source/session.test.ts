/** The source's part in a transfer, with the sink driven by hand over real connections. */
import { readdirSync, statSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { RateLimit } from "../../src/net/rate-limit.ts";
import type { Terms } from "../../src/net/transfer-end.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import type { HawserError } from "../../src/protocol/errors.ts";
import { OFFERED_AHEAD_MAX } from "../../src/protocol/limits.ts";
import type { FileExtent, Message, OfferedFile } from "../../src/protocol/messages.ts";
import type { SourceEntry } from "../../src/source/entry.ts";
import type { SettledItem } from "../../src/source/events.ts";
import { FileItem, PatternItem } from "../../src/source/item.ts";
import { SourceSession } from "../../src/source/session.ts";
import { smallItem } from "../../src/source/tree-entries.ts";
import { bigEndian } from "../helpers/arbitraries.ts";
import { nameOf, randomBytesOf } from "../helpers/bytes.ts";
import { attachOf, WELCOME } from "../helpers/conversation.ts";
import { connectedPair, hello, soon, soonHolds, type WireEnd } from "../helpers/wire-end.ts";

const CHUNK = 65_536;
/** Five chunks and a short one. */
const content = randomBytesOf(5 * CHUNK + 100);
const CHUNKS = 6;
const sliceOf = (chunk: number, bytes = content, size = CHUNK) => bytes.subarray(chunk * size, (chunk + 1) * size);
const crcsOf = (...chunks: number[]) => chunks.map((chunk) => crc32(sliceOf(chunk)));

/** A file that says what was read again of it, and holds reads back while it is told to. */
class WatchedItem extends FileItem {
  /** Chunks that were read beside the sending. */
  readonly reread: number[] = [];
  #held: Promise<void> | undefined;
  #release: () => void = () => {};

  constructor(path: string, name = "f0") {
    super(path, nameOf(name));
  }

  hold(): void {
    this.#held ??= new Promise((resolve) => {
      this.#release = resolve;
    });
  }
  release(): void {
    this.#held = undefined;
    this.#release();
  }

  override async read(offset: number, room: Uint8Array): Promise<number> {
    this.reread.push(offset / CHUNK);
    const held = this.#held;
    const reading = super.read(offset, room);
    await held;
    return reading;
  }
}

/** What the session tells whoever runs the transfer. */
class Told {
  readonly settled: SettledItem[] = [];
  readonly inherited: number[] = [];
  readonly resent: string[] = [];
  restarts = 0;
  acknowledged = 0;
  receipt: Message<"RECEIPT"> | undefined;
  failed: HawserError | undefined;
  #wake: () => void = () => {};

  readonly events = {
    onSettled: (settled: SettledItem) => this.#note(() => this.settled.push(settled)),
    onInherited: (bytes: number) => this.#note(() => this.inherited.push(bytes)),
    onRestarted: () => this.#note(() => this.restarts++),
    onAcknowledged: (_stream: number, bytes: number) =>
      this.#note(() => {
        this.acknowledged += bytes;
      }),
    onResent: (reason: string, count: number) =>
      this.#note(() => this.resent.push(...Array<string>(count).fill(reason))),
    onReceipt: (receipt: Message<"RECEIPT">) =>
      this.#note(() => {
        this.receipt = receipt;
      }),
    onFailed: (error: HawserError) =>
      this.#note(() => {
        this.failed = error;
      }),
  };

  #note(write: () => void): void {
    write();
    this.#wake();
  }
  async until(what: string, holds: () => boolean): Promise<void> {
    while (!holds()) {
      await soon(
        new Promise<void>((resolve) => {
          this.#wake = resolve;
        }),
        what,
      );
    }
  }
}

/** The sink's ends of the connections of one session. */
class Hand {
  readonly session: SourceSession;
  readonly told = new Told();
  readonly #t: Test;
  control!: WireEnd;
  stream!: WireEnd;
  /** Whether chunks are acknowledged as they come. */
  acknowledges = true;
  /** What came over streams, by number in the file. */
  readonly came: { readonly file: number; readonly chunk: number; readonly crc: number }[] = [];
  #acknowledged = 0;

  constructor(t: Test, items: Iterable<SourceEntry>, terms: Partial<Terms> = {}, trustsTime = false) {
    this.#t = t;
    this.session = new SourceSession(items, { ...WELCOME, ...terms }, this.told.events, trustsTime);
    t.teardown(() => this.session.dispose());
  }

  /** A control connection, the first or another one. */
  async openControl(): Promise<void> {
    const { client, server } = await connectedPair(this.#t);
    client.connection.send("HELLO", hello());
    await server.heard.message("HELLO");
    server.connection.role = "sink";
    server.connection.send("WELCOME", WELCOME);
    await client.heard.message("WELCOME");
    client.connection.events = {
      onMessage: (message) => this.session.controlMessage(message),
      onClosed: () => {},
    };
    this.control = server;
    this.session.controlOpened(client.connection);
  }

  async openStream(index = 0, chunkBytes = CHUNK, sending?: RateLimit): Promise<void> {
    const { client, server } = await connectedPair(this.#t, "source", undefined, { sending });
    client.connection.send("ATTACH", attachOf(index));
    await server.heard.message("ATTACH");
    server.connection.role = "sink";
    server.connection.chunkBytesMax = chunkBytes;
    server.connection.send("ATTACHED", { stream: index });
    await client.heard.message("ATTACHED");
    this.stream = server;
    this.#acknowledged = 0;
    this.session.streamOpened(client.connection, index, () => {});
    server.connection.events = {
      onMessage: (message) => server.heard.onMessage(message),
      onClosed: (error) => server.heard.onClosed(error),
      onChunk: (chunk) => {
        this.came.push({ file: chunk.file, chunk: chunk.offset / chunkBytes, crc: chunk.payloadCrc32 });
        server.heard.onChunk(chunk);
        if (this.acknowledges) this.acknowledge();
      },
    };
  }

  /** Acknowledges all that came on the stream and is not acknowledged yet. */
  acknowledge(): void {
    const fresh = this.stream.heard.chunks.slice(this.#acknowledged);
    this.#acknowledged += fresh.length;
    const chunks = fresh.map(({ file, offset, payload }): FileExtent => [file, offset, payload.length]);
    if (chunks.length > 0) this.stream.connection.send("ACK", { chunks });
  }

  async offered(): Promise<OfferedFile[]> {
    return (await this.control.heard.message("OFFER")).files;
  }
  have(chunk: number, crcs: readonly number[], file = 0, chunkBytes = CHUNK): void {
    this.control.connection.send("HAVE", { file, offset: chunk * chunkBytes, crcs: bigEndian(crcs) });
  }
  plan(...files: number[]): void {
    this.control.connection.send("PLAN", { files: files.map((file) => ({ file, action: "send" as const })) });
  }
  spoilt(chunk: number, file = 0): void {
    this.control.connection.send("RESEND", { chunks: [[file, chunk * CHUNK, sliceOf(chunk).length]] });
  }
  committed(file = 0, crc = crc32(content), size = content.length): void {
    this.control.connection.send("OUTCOME", { files: [{ file, status: "committed", size, crc32: crc }] });
  }
  receipt(files = 1): void {
    const receipt = { files, failed: 0, bytes: content.length, durationMs: 1, cpuMicros: 1 };
    this.control.connection.send("RECEIPT", receipt);
  }

  async chunks(count: number): Promise<void> {
    await this.stream.heard.until(`chunk ${count}`, () => this.came.length >= count);
  }

  /** Waits until all that was said was heard, and all that follows from it has come. */
  async silence(): Promise<void> {
    for (const { connection, heard } of [this.control, this.stream, this.control]) {
      if (connection?.isOpen !== true) continue;
      connection.send("PING", { id: 1 });
      await heard.message("PONG");
    }
  }
  said(name: string): unknown[] {
    return this.control.heard.messages.filter((message) => message.name === name).map(({ body }) => body);
  }
}

/** A session over one file of `content`, with its connections open and its offer heard. */
async function begun(t: Test, options: { terms?: Partial<Terms>; trustsTime?: boolean } = {}) {
  const path = join(t.testdir(), "f0");
  writeFileSync(path, content);
  const item = new WatchedItem(path);
  const hand = new Hand(t, [item], options.terms, options.trustsTime);
  await hand.openControl();
  await hand.openStream();
  await hand.offered();
  return { hand, item, path, told: hand.told };
}

const SEAL = { files: [{ file: 0, size: content.length, crc32: crc32(content) }] };
const numbers = (hand: Hand) => hand.came.map(({ chunk }) => chunk).toSorted((a, b) => a - b);

t.test("offered with its key; the whole is sent, sealed and settled", async (t) => {
  const path = join(t.testdir(), "f0");
  writeFileSync(path, content);
  const item = new WatchedItem(path);
  const hand = new Hand(t, [item]);
  await hand.openControl();
  const [offer] = await hand.offered();
  t.strictSame(offer, {
    file: 0,
    name: nameOf("f0"),
    size: content.length,
    mtime: item.mtime,
    mode: item.mode,
    key: new Uint8Array(item.key),
  });
  t.strictSame(await hand.control.heard.message("FINISH"), { files: 1 });
  await hand.openStream();
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.chunks(CHUNKS);
  hand.committed();
  hand.receipt();
  await hand.told.until("the receipt", () => hand.told.receipt !== undefined);
  t.strictSame(numbers(hand), [0, 1, 2, 3, 4, 5]);
  t.strictSame(item.reread, [], "what is sent is read once");
  t.match(hand.told, { inherited: [0], resent: [], failed: undefined, acknowledged: content.length });
  t.match(hand.told.settled, [{ wasBegun: true, crc32: crc32(content), bytesResumed: 0, bytesTrusted: 0 }]);
});

t.test("a file without a key is offered without one", async (t) => {
  const hand = new Hand(t, [new PatternItem()]);
  await hand.openControl();
  t.notOk("key" in ((await hand.offered())[0] ?? {}));
});

t.test("what the sink has is not sent, and read again: the seal is that of the file as it is", async (t) => {
  const { hand, item, told } = await begun(t);
  hand.have(0, crcsOf(0, 1));
  hand.have(4, crcsOf(4));
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.chunks(3);
  await hand.silence();
  t.strictSame(numbers(hand), [2, 3, 5]);
  t.strictSame(item.reread, [0, 1, 4]);
  t.strictSame(told.inherited, [3 * CHUNK]);
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ crc32: crc32(content), bytesResumed: 3 * CHUNK, bytesTrusted: 0 }]);
  t.strictSame(told.resent, []);
});

t.test("a file that the sink has all of is read and sealed, and nothing of it is sent", async (t) => {
  const { hand, item, told } = await begun(t);
  hand.have(0, crcsOf(0, 1, 2, 3, 4, 5));
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.silence();
  t.strictSame(hand.came, []);
  t.strictSame(item.reread, [0, 1, 2, 3, 4, 5]);
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ bytesResumed: content.length }]);
});

t.test("a chunk that the sink recorded otherwise is sent again, and the seal waits for it", async (t) => {
  const { hand, told } = await begun(t);
  hand.acknowledges = false;
  hand.have(0, [...crcsOf(0), 0xbad, ...crcsOf(2, 3, 4)]);
  hand.plan(0);
  await hand.chunks(2);
  await hand.silence();
  t.strictSame(numbers(hand), [1, 5]);
  t.match(
    hand.came.find(({ chunk }) => chunk === 1),
    { crc: crcsOf(1)[0] },
    "as the file is now",
  );
  t.strictSame(hand.said("SEAL"), [], "while it is on its way the sink may still have the other");
  hand.acknowledge();
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  t.strictSame(told.resent, ["damaged"]);
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ bytesResumed: 4 * CHUNK }]);
});

t.test("a chunk that turns out to be spoilt: before the plan, before the seal, after it", async (t) => {
  const { hand, item, told } = await begun(t);
  hand.have(0, crcsOf(0, 1, 2, 3));
  hand.spoilt(0);
  item.hold();
  hand.plan(0);
  await hand.chunks(3);
  t.strictSame(numbers(hand), [0, 4, 5], "known before the plan");
  hand.spoilt(2);
  await hand.chunks(4);
  await hand.silence();
  t.strictSame(numbers(hand), [0, 2, 4, 5], "known while the rest is read");
  t.strictSame(hand.said("SEAL"), []);
  item.release();
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  t.notOk(item.reread.includes(2), "what is sent need not be read once more");
  hand.spoilt(3);
  await hand.chunks(5);
  t.strictSame(numbers(hand), [0, 2, 3, 4, 5], "known after the seal");
  await hand.silence();
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ bytesResumed: CHUNK }]);
  t.strictSame(told.resent, ["damaged", "damaged", "damaged"]);
});

t.test("a chunk that is said to be spoilt twice is sent once", async (t) => {
  const { hand, told } = await begun(t);
  hand.acknowledges = false;
  hand.have(0, crcsOf(0, 1, 2, 3, 4));
  hand.plan(0);
  hand.spoilt(1);
  hand.spoilt(1);
  await hand.chunks(2);
  await hand.silence();
  t.strictSame(numbers(hand), [1, 5]);
  t.strictSame(told.resent, ["damaged"]);
});

t.test("HAVE and RESEND that mean nothing change nothing", async (t) => {
  const { hand } = await begun(t);
  hand.have(0, crcsOf(0), 7);
  hand.have(6, [1, 2, 3]);
  hand.control.connection.send("HAVE", { file: 0, offset: 1, crcs: bigEndian(crcsOf(0)) });
  hand.control.connection.send("RESEND", {
    chunks: [
      [7, 0, CHUNK],
      [0, 1, CHUNK],
      [0, 6 * CHUNK, CHUNK],
      [0, Number.MAX_SAFE_INTEGER - 1, 1],
    ],
  });
  hand.plan(0);
  hand.have(0, crcsOf(0, 1, 2, 3, 4, 5));
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.silence();
  t.strictSame(numbers(hand), [0, 1, 2, 3, 4, 5]);
});

t.test("by size and time alone: nothing is read again, and it is said how much", async (t) => {
  const { hand, item, told } = await begun(t, { trustsTime: true });
  hand.have(0, crcsOf(0, 1, 2));
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.chunks(3);
  await hand.silence();
  t.strictSame(numbers(hand), [3, 4, 5]);
  t.strictSame(item.reread, []);
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ crc32: crc32(content), bytesResumed: 3 * CHUNK, bytesTrusted: 3 * CHUNK }]);
});

t.test("by size and time alone: an earlier run's commit is believed", async (t) => {
  const { hand, item, told } = await begun(t, { trustsTime: true });
  hand.committed(0, 0x12345678);
  await told.until("the outcome", () => told.settled.length > 0);
  const all = content.length;
  t.match(told.settled, [{ crc32: 0x12345678, bytesResumed: all, bytesTrusted: all }]);
  t.strictSame(item.reread, []);
});

t.test("a commit that this run has not read is confirmed by reading; until then the receipt waits", async (t) => {
  const { hand, item, told } = await begun(t);
  item.hold();
  hand.committed();
  hand.receipt();
  await hand.silence();
  t.strictSame(item.reread, [0]);
  t.ok(hand.session.isComparing);
  t.strictSame([told.settled, told.receipt], [[], undefined]);
  item.release();
  await told.until("the receipt", () => told.receipt !== undefined);
  t.strictSame(item.reread, [0, 1, 2, 3, 4, 5]);
  t.match(told.settled, [{ outcome: { status: "committed" }, crc32: crc32(content), bytesResumed: content.length }]);
  t.strictSame(hand.came, []);
});

t.test("a commit of which this run has read a part is confirmed by reading the rest", async (t) => {
  const { hand, item, told } = await begun(t);
  item.hold();
  hand.have(0, crcsOf(0, 1, 2));
  hand.plan(0);
  await hand.chunks(3);
  hand.committed();
  await hand.silence();
  item.release();
  await told.until("the outcome", () => told.settled.length > 0);
  t.strictSame(item.reread, [0, 1, 2]);
  t.match(told.settled, [{ crc32: crc32(content), bytesResumed: 3 * CHUNK }]);
});

t.test("a commit of other content than the file has now is no success", async (t) => {
  const { hand, told } = await begun(t);
  hand.committed(0, 0x12345678);
  hand.receipt();
  await told.until("the receipt", () => told.receipt !== undefined);
  t.match(told.settled, [
    { outcome: { status: "failed", error: { code: 407, message: /'f0'.*not what the file is now/ } }, bytesResumed: 0 },
  ]);
  t.equal(told.failed, undefined, "the other files go on");
});

t.test("a commit of a file that can't be confirmed any more is no success", async (t) => {
  const { hand, item, path, told } = await begun(t);
  item.hold();
  hand.committed();
  hand.receipt();
  await hand.silence();
  truncateSync(path, 10);
  item.release();
  await told.until("the receipt", () => told.receipt !== undefined);
  t.match(told.settled, [{ outcome: { status: "failed", error: { code: 405 } } }]);
  t.strictSame(hand.said("WITHDRAW"), [], "the sink has nothing to take back");
});

t.test("files that were committed before make room for more when they are confirmed", async (t) => {
  const dir = t.testdir();
  const items = [0, 1, 2].map((i) => {
    writeFileSync(join(dir, `f${i}`), content);
    return new WatchedItem(join(dir, `f${i}`), `f${i}`);
  });
  const hand = new Hand(t, items, { openFiles: 1 });
  await hand.openControl();
  for (const file of [0, 1, 2]) {
    t.match(await hand.offered(), [{ file }]);
    hand.committed(file);
    await hand.told.until(`file ${file}`, () => hand.told.settled.length === file + 1);
  }
  t.strictSame(await hand.control.heard.message("FINISH"), { files: 3 });
});

t.test("a file that shrinks while it is read again is withdrawn", async (t) => {
  const { hand, item, path, told } = await begun(t);
  item.hold();
  hand.have(0, crcsOf(0, 1, 2, 3));
  hand.plan(0);
  await hand.chunks(2);
  truncateSync(path, 10);
  item.release();
  const { files } = await hand.control.heard.message("WITHDRAW");
  t.match(files, [{ file: 0, error: { code: 405, message: /was 327780 bytes and is 10/ } }]);
  t.strictSame(hand.said("SEAL"), []);
  hand.control.connection.send("OUTCOME", { files: [{ file: 0, status: "failed", error: files[0]?.error }] });
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ outcome: { status: "failed" }, crc32: undefined, bytesResumed: 0, bytesTrusted: 0 }]);
});

t.test("a file that is written to while it is read again is withdrawn", async (t) => {
  const { hand, item, path } = await begun(t);
  item.hold();
  hand.have(0, crcsOf(0, 1, 2, 3, 4));
  hand.plan(0);
  await hand.chunks(1);
  writeFileSync(path, "x", { flag: "r+" });
  item.release();
  const { files } = await hand.control.heard.message("WITHDRAW");
  t.match(files, [{ file: 0, error: { code: 405 } }]);
  t.strictSame(hand.said("SEAL"), []);
});

const descriptors = () => readdirSync("/proc/self/fd").length;

t.test("a file that has failed is not read any further, and its descriptor comes back", async (t) => {
  const { hand, item, told } = await begun(t);
  const before = descriptors();
  item.hold();
  hand.have(0, crcsOf(0, 1, 2, 3, 4));
  hand.plan(0);
  await hand.chunks(1);
  const error = { code: 304, message: "no space" };
  hand.control.connection.send("OUTCOME", { files: [{ file: 0, status: "failed", error }] });
  await told.until("the outcome", () => told.settled.length > 0);
  item.release();
  await soonHolds("the end of comparing", () => !hand.session.isComparing);
  t.strictSame(item.reread, [0]);
  t.equal(descriptors(), before);
});

t.test("nothing is read any more of what is withdrawn", async (t) => {
  const { hand, item, path } = await begun(t);
  item.hold();
  hand.have(0, crcsOf(0, 1, 2, 3, 4));
  hand.plan(0);
  await hand.chunks(1);
  truncateSync(path, 10);
  item.release();
  await hand.control.heard.message("WITHDRAW");
  await soonHolds("the end of comparing", () => !hand.session.isComparing);
  t.ok(item.reread.length <= 2, "the first that was begun, and the one that shows that the file is shorter");
});

t.test("a control connection that comes back: offered again, and what was said is said again", async (t) => {
  const { hand, item, told } = await begun(t);
  hand.have(0, crcsOf(0, 1));
  hand.plan(0);
  await hand.control.heard.message("SEAL");
  hand.control.connection.destroy();
  await hand.openControl();
  t.match(await hand.offered(), [{ file: 0, key: new Uint8Array(item.key) }]);
  t.strictSame(await hand.control.heard.message("FINISH"), { files: 1 });
  hand.have(0, crcsOf(0, 1, 2, 3, 4, 5));
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.silence();
  t.equal(hand.came.length, 4, "nothing is sent twice");
  t.equal(told.restarts, 0);
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ bytesResumed: 2 * CHUNK }]);
});

/** Three files: one settled, one sealed, one on its way; then the server is another one. */
async function restarted(t: Test, chunkBytes: number) {
  const dir = t.testdir();
  const items = [0, 1, 2].map((i) => {
    writeFileSync(join(dir, `f${i}`), content);
    return new WatchedItem(join(dir, `f${i}`), `f${i}`);
  });
  const hand = new Hand(t, items);
  await hand.openControl();
  await hand.openStream();
  t.match(await hand.offered(), [{ file: 0 }, { file: 1 }, { file: 2 }]);
  hand.plan(0, 1);
  await hand.chunks(2 * CHUNKS);
  for (const file of [0, 1]) t.match(await hand.control.heard.message("SEAL"), { files: [{ file }] });
  hand.committed(0);
  await hand.told.until("the first outcome", () => hand.told.settled.length === 1);
  hand.acknowledges = false;
  hand.have(0, crcsOf(0, 1, 2), 2);
  items[2]?.hold();
  hand.plan(2);
  await hand.chunks(2 * CHUNKS + 2);
  const old = [hand.control, hand.stream];
  hand.session.restart({ ...WELCOME, generation: 2, chunkBytes, splitBytes: chunkBytes });
  for (const end of old) end.connection.destroy();
  t.equal(hand.told.restarts, 1);
  hand.came.length = 0;
  hand.acknowledges = true;
  await hand.openControl();
  await hand.openStream(0, chunkBytes);
  t.match(await hand.control.heard.message("OFFER"), {
    settledBelow: 0,
    files: [
      { file: 0, name: nameOf("f1"), key: new Uint8Array(items[1]?.key ?? []) },
      { file: 1, name: nameOf("f2"), key: new Uint8Array(items[2]?.key ?? []) },
    ],
  });
  t.strictSame(await hand.control.heard.message("FINISH"), { files: 2 }, "the settled one is not the new session's");
  return { hand, items };
}
const sealOf = (file: number) => ({ files: [{ file, size: content.length, crc32: crc32(content) }] });

t.test("a server that begins the session anew: open files are offered from 0 on, and end right", async (t) => {
  const { hand, items } = await restarted(t, CHUNK);
  hand.have(0, crcsOf(0, 1, 2, 3, 4), 0);
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), sealOf(0), "all of it was read before");
  hand.have(0, crcsOf(0, 1, 2, 3), 1);
  hand.plan(1);
  items[2]?.release();
  t.strictSame(await hand.control.heard.message("SEAL"), sealOf(1));
  await hand.chunks(3);
  await hand.silence();
  t.strictSame(hand.came.map(({ file, chunk }) => [file, chunk]).toSorted(), [
    [0, 5],
    [1, 4],
    [1, 5],
  ]);
  t.strictSame(items[1]?.reread, []);
  hand.committed(0);
  hand.committed(1);
  hand.receipt(2);
  await hand.told.until("the receipt", () => hand.told.receipt !== undefined);
  t.match(hand.told.settled, [
    { item: items[0], bytesResumed: 0 },
    { item: items[1], bytesResumed: 0 },
    { item: items[2], crc32: crc32(content) },
  ]);
  t.equal(hand.told.failed, undefined);
});

t.test("a server that begins the session anew with larger chunks", async (t) => {
  const large = 2 * CHUNK;
  const { hand, items } = await restarted(t, large);
  hand.have(0, [crc32(sliceOf(0, content, large))], 1, large);
  hand.plan(0, 1);
  items[2]?.release();
  const seals = [await hand.control.heard.message("SEAL"), await hand.control.heard.message("SEAL")];
  t.strictSame(
    seals.toSorted((a, b) => (a.files[0]?.file ?? 0) - (b.files[0]?.file ?? 0)),
    [sealOf(0), sealOf(1)],
  );
  await hand.chunks(5);
  await hand.silence();
  t.strictSame(
    hand.came.map(({ file, chunk, crc }) => [file, chunk, crc]).toSorted(),
    [0, 1]
      .flatMap((file) => [0, 1, 2].map((chunk) => [file, chunk, crc32(sliceOf(chunk, content, large))]))
      .filter(([file, chunk]) => !(file === 1 && chunk === 0)),
  );
  hand.committed(0);
  hand.committed(1);
  await hand.told.until("all outcomes", () => hand.told.settled.length === 3);
  t.match(hand.told.settled, [{}, { bytesResumed: 0 }, { bytesResumed: large }]);
});

t.test(
  "a session begun anew with chunks that small files are too large for: no more are open than may be",
  async (t) => {
    const dir = t.testdir();
    const FILES = 20;
    const paths = Array.from({ length: FILES }, (_, i) => join(dir, `f${i}`));
    for (const path of paths) writeFileSync(path, content.subarray(0, CHUNK));
    const items = paths.map((path, i) => smallItem(path, `f${i}`, statSync(path), false));
    const large = { chunkBytes: 4 * CHUNK, splitBytes: 4 * CHUNK, openFiles: 5, openSmall: 50 };
    const hand = new Hand(t, items, large);
    await hand.openControl();
    await hand.openStream(0, 4 * CHUNK);
    t.equal((await hand.offered()).filter(({ whole }) => whole).length, FILES);
    const old = [hand.control, hand.stream];
    hand.session.restart({ ...WELCOME, ...large, generation: 2, chunkBytes: CHUNK, splitBytes: CHUNK });
    for (const end of old) end.connection.destroy();
    await hand.openControl();
    await hand.openStream();
    const names: string[] = [];
    for (let file = 0; file < FILES; file++) {
      // As many as may be open, and one more for each that is settled.
      if (file === 0) t.equal((await hand.offered()).length, 5);
      hand.plan(file);
      t.match(await hand.control.heard.message("SEAL"), { files: [{ file, size: CHUNK }] });
      hand.control.connection.send("OUTCOME", {
        files: [{ file, status: "committed", size: CHUNK, crc32: crc32(content.subarray(0, CHUNK)) }],
      });
      if (file + 5 < FILES) names.push(...(await hand.offered()).map(({ name }) => Buffer.from(name).toString()));
    }
    t.same(
      names,
      Array.from({ length: FILES - 5 }, (_, i) => `f${i + 5}`),
    );
    await hand.told.until("all outcomes", () => hand.told.settled.length === FILES);
    t.equal(hand.told.failed, undefined);
  },
);

t.test("a chunk that is being read when the session begins anew with larger chunks is not taken for one", async (t) => {
  const { hand, item } = await begun(t);
  const large = 2 * CHUNK;
  item.hold();
  hand.have(0, crcsOf(0, 1, 2, 3, 4));
  hand.plan(0);
  await hand.chunks(1);
  hand.session.restart({ ...WELCOME, generation: 2, chunkBytes: large, splitBytes: large });
  await hand.openControl();
  await hand.openStream(0, large);
  await hand.offered();
  hand.have(
    0,
    [0, 1, 2].map((chunk) => crc32(sliceOf(chunk, content, large))),
    0,
    large,
  );
  hand.plan(0);
  await hand.silence();
  item.release();
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.silence();
  t.strictSame(hand.came.slice(1), [], "nothing has to be sent");
});

t.test("an earlier run's commit is still confirmed when the session begins anew", async (t) => {
  const { hand, item, told } = await begun(t);
  item.hold();
  hand.committed();
  await hand.silence();
  hand.session.restart({ ...WELCOME, generation: 2 });
  await hand.openControl();
  t.match(await hand.offered(), [{ file: 0 }]);
  hand.committed();
  hand.receipt();
  item.release();
  await told.until("the receipt", () => told.receipt !== undefined);
  t.match(told.settled, [{ crc32: crc32(content), bytesResumed: content.length }]);
  t.equal(told.settled.length, 1);
});

t.test("by size and time alone: what was trusted before the session began anew is still said", async (t) => {
  const { hand, told } = await begun(t, { trustsTime: true });
  hand.acknowledges = false;
  hand.have(0, crcsOf(0, 1, 2));
  hand.plan(0);
  await hand.chunks(3);
  hand.session.restart({ ...WELCOME, generation: 2 });
  await hand.openControl();
  await hand.openStream();
  await hand.offered();
  hand.acknowledges = true;
  hand.have(0, crcsOf(0, 1, 2));
  hand.plan(0);
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  await hand.chunks(6);
  await hand.silence();
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ bytesResumed: 3 * CHUNK, bytesTrusted: 3 * CHUNK }]);
});

t.test("by size and time alone: a chunk that had to be sent after all was read", async (t) => {
  const { hand, told } = await begun(t, { trustsTime: true });
  hand.have(0, crcsOf(0, 1, 2));
  hand.plan(0);
  hand.spoilt(1);
  await hand.chunks(4);
  await hand.silence();
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  hand.committed();
  await told.until("the outcome", () => told.settled.length > 0);
  t.match(told.settled, [{ bytesResumed: 2 * CHUNK, bytesTrusted: 2 * CHUNK }]);
});

t.test("told to stop: nothing more is sent or read, and what is in flight is waited for", async (t) => {
  const { hand, item } = await begun(t);
  hand.acknowledges = false;
  item.hold();
  hand.have(0, crcsOf(0, 1, 2));
  hand.plan(0);
  await hand.chunks(3);
  let stopped = false;
  const stopping = hand.session.stop().then(() => {
    stopped = true;
  });
  item.release();
  await hand.silence();
  t.notOk(stopped);
  hand.spoilt(1);
  await hand.silence();
  t.strictSame(item.reread, [0]);
  t.strictSame(numbers(hand), [3, 4, 5]);
  hand.acknowledge();
  await soon(stopping, "the end");
  t.strictSame(hand.said("SEAL"), []);
});

t.test("a sink that committed something else than was read: the transfer ends", async (t) => {
  const { hand, told } = await begun(t);
  hand.have(0, crcsOf(0));
  hand.plan(0);
  await hand.control.heard.message("SEAL");
  hand.committed(0, 1);
  await told.until("the end", () => told.failed !== undefined);
  t.match(told.failed, { code: "E_CONTENT" });
  t.strictSame(told.settled, []);
});

t.test("an acknowledgement of more than may be under way fails the transfer", async (t) => {
  const { hand, told } = await begun(t);
  hand.plan(0);
  await hand.chunks(CHUNKS);
  hand.stream.connection.send("ACK", { chunks: [[0, 0, WELCOME.windowBytes]] });
  await hand.silence();
  t.equal(told.failed, undefined, "a whole window may be");
  hand.stream.connection.send("ACK", { chunks: [[0, 0, WELCOME.windowBytes + 1]] });
  await told.until("the end", () => told.failed !== undefined);
  t.match(told.failed, { code: "E_ILLEGAL" });
});

/** A file of which an earlier run's commit is being confirmed when the session begins anew. */
async function confirming(t: Test) {
  const all = await begun(t);
  const { hand, item } = all;
  item.hold();
  hand.committed();
  await hand.silence();
  hand.session.restart({ ...WELCOME, generation: 2 });
  await hand.openControl();
  await hand.openStream();
  await hand.offered();
  return all;
}

t.test("a commit that is gone again when the session begins anew: the file is sent", async (t) => {
  const { hand, item, told } = await confirming(t);
  hand.plan(0);
  await hand.chunks(CHUNKS);
  item.release();
  t.strictSame(await hand.control.heard.message("SEAL"), SEAL);
  t.strictSame(numbers(hand), [0, 1, 2, 3, 4, 5]);
  t.strictSame(told.settled, [], "what was said of the old one counts no more");
  hand.committed();
  hand.receipt();
  await told.until("the receipt", () => told.receipt !== undefined);
  t.match(told.settled, [{ outcome: { status: "committed" }, crc32: crc32(content) }]);
});

t.test("a commit that is not believed any more when the session begins anew: the file is compared", async (t) => {
  const { hand, item, told } = await confirming(t);
  hand.control.connection.send("PLAN", { files: [{ file: 0, action: "compare" }] });
  await hand.silence();
  item.release();
  t.match(await hand.control.heard.message("DIGEST"), { files: [{ file: 0 }] });
  hand.control.connection.send("OUTCOME", { files: [{ file: 0, status: "unchanged", size: content.length }] });
  hand.receipt();
  await told.until("the receipt", () => told.receipt !== undefined);
  t.match(told.settled, [{ outcome: { status: "unchanged" }, wasBegun: false }]);
});

t.test("told to stop, and the session begins anew after that: nothing is sent", async (t) => {
  const { hand } = await begun(t);
  await hand.session.stop();
  hand.session.restart({ ...WELCOME, generation: 2 });
  await hand.openControl();
  await hand.openStream();
  await hand.offered();
  hand.plan(0);
  await hand.silence();
  t.strictSame(hand.came, []);
});

t.test("what a rate limit holds up is not overdue: an idle stream doesn't send it as well", async (t) => {
  const path = join(t.testdir(), "f0");
  writeFileSync(path, content);
  const hand = new Hand(t, [new WatchedItem(path)]);
  await hand.openControl();
  const slow = new RateLimit(1024);
  await hand.openStream(0, CHUNK, slow);
  await hand.openStream(1);
  await hand.offered();
  hand.plan(0);
  // All but the three that the first stream took, one of them ahead.
  await hand.chunks(CHUNKS - 3);
  // Nothing is to happen, though there is time enough to call those overdue: more than half a second, and a look after it.
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await hand.silence();
  t.equal(hand.came.length, CHUNKS - 3);
  slow.set(null);
  await soonHolds("the rest", () => hand.came.length >= CHUNKS);
  t.strictSame(numbers(hand), [0, 1, 2, 3, 4, 5], "each once");
});

t.test("the first offers are few, so that both ends begin while more is looked for", async (t) => {
  let found = 0;
  function* entries(): Generator<SourceEntry> {
    const link = { kind: "symlink" as const, size: 0 as const, mtime: [0, 0] as const, mode: 0, target: nameOf("x") };
    for (; found < 3000; found++) yield { ...link, name: nameOf(`l${found}`) };
  }
  const hand = new Hand(t, entries());
  await hand.openControl();
  t.equal((await hand.offered()).length, 32);
  t.equal((await hand.offered()).length, 64);
});

t.test("no more is offered past a file without outcome than the sink keeps outcomes of", async (t) => {
  const path = join(t.testdir({ f0: content }), "f0");
  function* entries(): Generator<SourceEntry> {
    yield new FileItem(path, nameOf("f0"));
    const link = { kind: "symlink" as const, size: 0 as const, mtime: [0, 0] as const, mode: 0, target: nameOf("x") };
    for (let i = 1; i < OFFERED_AHEAD_MAX + 10; i++) yield { ...link, name: nameOf(`l${i}`) };
  }
  const hand = new Hand(t, entries());
  await hand.openControl();
  await hand.openStream();
  let last = 0;
  while (last < OFFERED_AHEAD_MAX - 1) {
    const { files, settledBelow } = await hand.control.heard.message("OFFER");
    last = files.at(-1)?.file ?? 0;
    if (!t.ok(settledBelow === 0 && last < OFFERED_AHEAD_MAX)) return;
    const links = files.filter(({ file }) => file > 0);
    const settled = links.map(({ file }) => ({ file, status: "committed" as const, size: 0 }));
    hand.control.connection.send("OUTCOME", { files: settled });
  }
  await hand.silence();
  t.equal(hand.said("FINISH").length, 0);
  hand.plan(0);
  await hand.chunks(CHUNKS);
  await hand.control.heard.message("SEAL");
  hand.committed(0);
  t.match(await hand.control.heard.message("OFFER"), { settledBelow: OFFERED_AHEAD_MAX });
  t.match(await hand.control.heard.message("FINISH"), { files: OFFERED_AHEAD_MAX + 10 });
});

t.test(
  "a bundle that is held up, and of which something could not be read, is sent once more and no more",
  async (t) => {
    const dir = t.testdir({ a: "a", b: "b", f0: content });
    const small = (name: string) => smallItem(join(dir, name), name, statSync(join(dir, name)), false);
    const hand = new Hand(t, [small("a"), small("b"), new FileItem(join(dir, "f0"), nameOf("f0"))]);
    await hand.openControl();
    await hand.openStream(0);
    unlinkSync(join(dir, "a"));
    hand.acknowledges = false;
    hand.plan(0, 1);
    await hand.control.heard.message("WITHDRAW");
    await hand.chunks(1);
    await hand.openStream(1);
    // Of the second one: what comes over the first never is.
    hand.acknowledges = true;
    const bundles = () => hand.stream.heard.chunks.filter(({ isBundle }) => isBundle).length;
    hand.plan(2);
    await hand.stream.heard.until("the bundle over the other stream", () => bundles() > 0);
    for (let i = 0; i < 5; i++) await hand.silence();
    t.equal(bundles(), 1);
  },
);

t.test("a stream that has nothing to send is starved whenever that is asked, and not once", async (t) => {
  const { hand, told } = await begun(t);
  hand.plan(0);
  await told.until("all of it", () => told.acknowledged === content.length);
  t.same(
    [1, 2, 3].map(() => hand.session.demand?.isStarved),
    [true, true, true],
  );
});

t.test("one whose chunks wait for their turn is not starved", async (t) => {
  const { hand } = await begun(t, { terms: { inOrder: true } });
  hand.acknowledges = false;
  hand.plan(0);
  await hand.chunks(1);
  // What was before the plan is told the first time.
  t.equal(hand.session.demand?.isStarved, true);
  t.equal(hand.session.demand?.isStarved, false);
});
