import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { ERRORS, type ErrorCode, HawserError } from "../../src/protocol/errors.ts";
import { Checkpoints } from "../../src/sink/checkpoints.ts";
import { SyncError } from "../../src/sink/durable.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { SettledRecord } from "../../src/sink/outcome-queue.ts";
import type { ReceivedFile } from "../../src/sink/received-file.ts";
import { Settlement } from "../../src/sink/settlement.ts";
import type { Committed, Part } from "../../src/sink/sink.ts";
import { Unfinished } from "../../src/sink/unfinished.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { CHUNK, chunksOf, offerOf, ownerOf, PEER, receivedFile } from "../helpers/received.ts";

const content = randomBytesOf(2 * CHUNK + 100);
const never = new AbortController().signal;

/** Says in which order things happen that must not happen in another. */
class Recorder extends MemorySessionStore {
  readonly log: string[] = [];
  failing = new Set<string>();
  #note(what: string): void {
    this.log.push(what);
    if (this.failing.has(what)) throw new HawserError("E_NO_SPACE", "no space while writing the database");
  }
  override async beginCommit(...given: Parameters<MemorySessionStore["beginCommit"]>): Promise<void> {
    this.#note("begin");
    await super.beginCommit(...given);
  }
  override async endCommit(file: number, committed: boolean): Promise<void> {
    this.#note(committed ? "committed" : "not committed");
    await super.endCommit(file, committed);
  }
}

async function setUp(_t: Test, { chunks = 3, key = true }: { chunks?: number; key?: boolean } = {}) {
  const sink = new MemorySink();
  const store = new Recorder();
  const unfinished = new Unfinished(sink, store);
  const owner = ownerOf("s");
  await store.create({ id: "s", transferId: "t", peer: PEER, createdMs: 1, chunkBytes: CHUNK });
  const failed: string[] = [];
  const checkpoints = new Checkpoints({
    store,
    durability: "commit",
    onSyncFailed: ({ id }) => void failed.push(`${id}`),
  });
  const records: SettledRecord[] = [];
  let wake = () => {};
  const settled = new Promise<SettledRecord>((resolve) => {
    wake = () => resolve(records[0] as SettledRecord);
  });
  const settlement = new Settlement({
    store,
    unfinished,
    owner,
    checkpoints,
    isStill: async () => false,
    verifies: false,
    signal: never,
    onSettled: (_file, record) => {
      store.log.push(`outcome ${record.outcome.status}`);
      records.push(record);
      wake();
    },
  });
  const { key: given, ...keyless } = offerOf("a", content.length);
  const offer = key ? { ...keyless, key: given } : keyless;
  const file = receivedFile(offer as ReceivedFile["offer"]);
  await unfinished.claim(owner, file.offer, never);
  const inner = await sink.reserve({ id: "p", name: nameOf("a"), size: content.length, mtime: [1, 0], mode: 0o644 });
  await inner.write(0, content);
  /** What the part does instead, when it is told to. */
  const instead: { commit?: () => Promise<Committed> } = {};
  file.part = {
    get fingerprint() {
      return inner.fingerprint;
    },
    commit: async (size: number, crc: number) => {
      store.log.push("commit");
      return instead.commit === undefined ? inner.commit(size, crc) : instead.commit();
    },
    close: () => {
      store.log.push("close");
      return inner.close();
    },
    abort: () => {
      store.log.push("abort");
      return inner.abort();
    },
  } as Part;
  file.phase = "receiving";
  file.seal = { size: content.length, crc32: crc32(content) };
  await unfinished.remember("s", [file], () => "p");
  for (const { offset, crc32: crc } of chunksOf(content).slice(0, chunks)) {
    file.record(offset, file.ledger.bytesAt(offset), crc);
    checkpoints.add(file, offset, crc, file.ledger.bytesAt(offset));
  }
  const isFree = () =>
    unfinished.claim(ownerOf("other"), file.offer, never).then(
      () => true,
      () => false,
    );
  const stored = async () => (await store.load("s"))?.files[0];
  return { sink, store, checkpoints, settlement, settled, records, file, instead, isFree, stored };
}

t.test("the intent is written down, then the file committed, then that", async (t) => {
  const { sink, store, settlement, settled, file, isFree, stored } = await setUp(t);
  settlement.commit(file);
  t.equal(file.phase, "settling");
  t.equal(settlement.committing, 1);
  t.notOk(await isFree());
  const record = await settled;
  await settlement.idle();
  t.strictSame(store.log, ["begin", "commit", "committed", "outcome committed"]);
  t.match(record.outcome, { file: 0, status: "committed", size: content.length, crc32: crc32(content) });
  t.equal(record.storedId, file.id, "kept until the source has heard it");
  t.match(await stored(), { state: "committed", commit: { size: content.length, crc32: crc32(content) } });
  t.ok(same(sink.read(nameOf("a")), content));
  t.equal(settlement.committing, 0);
  t.ok(await isFree());
});

t.test("nothing is kept of the outcome of a file that can't be known again", async (t) => {
  const { store, settlement, settled, file, stored } = await setUp(t, { key: false });
  settlement.commit(file);
  await settled;
  t.strictSame(store.log, ["commit", "outcome committed"]);
  t.equal(await stored(), undefined);
});

t.test("a file that is in its place is committed, whether or not that could be written down", async (t) => {
  const { sink, store, settlement, settled, file } = await setUp(t);
  store.failing.add("committed");
  settlement.commit(file);
  t.equal((await settled).outcome.status, "committed");
  t.ok(same(sink.read(nameOf("a")), content));
});

t.test("where the intent can't be written down, nothing is committed, and the part is kept", async (t) => {
  const { sink, store, settlement, settled, file } = await setUp(t);
  store.failing.add("begin");
  settlement.commit(file);
  t.equal((await settled).failure?.code, "E_NO_SPACE");
  await settlement.idle();
  t.equal(sink.read(nameOf("a")), undefined);
  t.equal(sink.partsKept, 1);
  t.equal(sink.partsOpen, 0);
  t.notOk(store.log.includes("commit"));
});

t.test("what is sealed with another CRC-32 is worth nothing", async (t) => {
  const { sink, settlement, settled, file, stored } = await setUp(t);
  file.seal = { size: content.length, crc32: 1 };
  settlement.commit(file);
  t.match(await settled, { failure: { code: "E_CONTENT" }, outcome: { error: { code: ERRORS.E_CONTENT.wire } } });
  t.equal(sink.partsKept, 0);
  t.equal(await stored(), undefined);
});

/** What trying again can help, and with what is here, keeps the part; anything else drops it. */
const kept: ErrorCode[] = [
  "E_NO_SPACE",
  "E_IO",
  "E_LOST",
  "E_TIMEOUT",
  "E_INTERRUPTED",
  "E_DESTINATION",
  "E_DAMAGED_PATH",
];
const dropped: ErrorCode[] = [
  "E_CONTENT",
  "E_SOURCE_CHANGED",
  "E_EXISTS",
  "E_NAME",
  "E_TOO_LARGE",
  "E_NOT_DIRECTORY",
  "E_ILLEGAL",
];
for (const code of [...kept, ...dropped]) {
  t.test(`${code} ${kept.includes(code) ? "keeps" : "drops"} the part`, async (t) => {
    const { sink, store, settlement, settled, file, isFree, stored } = await setUp(t);
    settlement.fail(file, { code, message: "so it is" });
    settlement.fail(file, { code: "E_INTERNAL", message: "too late" });
    settlement.failSync(file, { code: "E_IO", message: "too late" });
    const record = await settled;
    await settlement.idle();
    t.match(record, { failure: { code, message: "so it is" }, outcome: { status: "failed" }, storedId: undefined });
    const keeps = kept.includes(code);
    t.strictSame(store.log, [keeps ? "close" : "abort", "outcome failed"], "before the outcome, and once");
    t.equal(sink.partsKept, keeps ? 1 : 0);
    t.equal(sink.partsOpen, 0);
    const id = (await stored())?.id;
    t.equal(id === undefined ? 0 : (await store.chunks(id)).length, keeps ? 3 : 0, "with all that was written of it");
    t.ok(await isFree());
  });
}

t.test("a part of which nothing is there is not worth keeping", async (t) => {
  const { sink, settlement, settled, file, stored } = await setUp(t, { chunks: 0 });
  settlement.fail(file, { code: "E_NO_SPACE", message: "full" });
  await settled;
  t.equal(sink.partsKept, 0);
  t.equal(await stored(), undefined);
});

t.test("a failure before the file is begun leaves what earlier runs left, unless that is wrong", async (t) => {
  for (const code of ["E_EXISTS", "E_BUSY", "E_IO", "E_SOURCE_CHANGED", "E_CONTENT"] as const) {
    const { sink, settlement, settled, file, stored } = await setUp(t);
    await file.part?.close();
    file.part = undefined;
    file.phase = "planning";
    settlement.fail(file, { code, message: "" });
    await settled;
    const isWrong = code === "E_SOURCE_CHANGED" || code === "E_CONTENT";
    t.equal(sink.partsKept, isWrong ? 0 : 1, code);
    t.equal((await stored()) === undefined, isWrong, code);
  }
});

t.test("a commit that fails: what its error says of the part", async (t) => {
  for (const [code, keeps] of [
    ["E_NO_SPACE", true],
    ["E_EXISTS", false],
  ] as const) {
    const { sink, store, settlement, settled, file, instead, stored } = await setUp(t);
    instead.commit = () => Promise.reject(new HawserError(code, "it failed"));
    settlement.commit(file);
    t.equal((await settled).failure?.code, code);
    await settlement.idle();
    t.strictSame(store.log, ["begin", "commit", "not committed", keeps ? "close" : "abort", "outcome failed"]);
    t.equal(sink.partsKept, keeps ? 1 : 0);
    if (keeps) t.match(await stored(), { state: "receiving", commit: null });
  }
});

t.test("what was not recorded yet when a commit began is not lost when it fails", async (t) => {
  const { store, settlement, settled, file, instead, stored } = await setUp(t);
  instead.commit = () => Promise.reject(new HawserError("E_NO_SPACE", "the directory can't grow"));
  settlement.commit(file);
  await settled;
  t.equal((await store.chunks((await stored())?.id ?? 0)).length, 3);
});

t.test("a commit whose sync fails: nothing counts that was not synced before", async (t) => {
  for (const synced of [0, 2]) {
    const { sink, store, checkpoints, settlement, settled, file, instead, stored } = await setUp(t);
    await checkpoints.flush();
    await store.recordChunks(chunksOf(content, file.id, true).slice(0, synced));
    instead.commit = () => Promise.reject(new SyncError("E_IO", "syncing a file failed: EIO"));
    settlement.commit(file);
    t.equal((await settled).failure?.code, "E_IO");
    await settlement.idle();
    t.equal(sink.partsKept, synced > 0 ? 1 : 0);
    const id = (await stored())?.id;
    t.strictSame(
      id === undefined ? [] : (await store.chunks(id)).map(({ offset }) => offset / CHUNK),
      synced > 0 ? [0, 1] : [],
    );
  }
});

t.test("a checkpoint whose sync fails: the same, and the file fails", async (t) => {
  const { sink, store, checkpoints, settlement, settled, file, stored } = await setUp(t);
  await checkpoints.forget(file);
  await store.recordChunks([...chunksOf(content, file.id, true).slice(0, 1), ...chunksOf(content, file.id).slice(1)]);
  settlement.failSync(file, { code: "E_IO", message: "syncing a part failed: EIO" });
  t.match(await settled, { failure: { code: "E_IO" } });
  t.strictSame(
    (await store.chunks((await stored())?.id ?? 0)).map(({ offset }) => offset),
    [0],
  );
  t.equal(sink.partsKept, 1);
});

t.test("a file that is there already needs no part", async (t) => {
  const { sink, settlement, settled, file, stored, isFree } = await setUp(t);
  settlement.unchanged(file, content.length);
  t.match((await settled).outcome, { status: "unchanged", size: content.length });
  t.equal(sink.partsKept, 0);
  t.equal(await stored(), undefined);
  t.ok(await isFree());
});

t.test("idle is when nothing is being settled, also what settles of what just failed", async (t) => {
  const { records, settlement, file, instead } = await setUp(t);
  let refuse: (error: HawserError) => void = () => {};
  instead.commit = () =>
    new Promise((_, reject) => {
      refuse = reject;
    });
  settlement.commit(file);
  let isIdle = false;
  const idle = settlement.idle().then(() => {
    isIdle = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isIdle);
  refuse(new HawserError("E_NO_SPACE", "full"));
  await idle;
  t.equal(records.length, 1);
});

t.test("of a file without a key nothing is kept, whatever it failed of: nobody would know it again", async (t) => {
  for (const key of [true, false]) {
    const { sink, store, settlement, settled, file } = await setUp(t, { key });
    settlement.fail(file, { code: "E_NO_SPACE", message: "the destination is full" });
    await settled;
    await settlement.idle();
    t.strictSame(store.log, [key ? "close" : "abort", "outcome failed"], `key: ${key}`);
    t.equal(sink.partsKept, key ? 1 : 0);
  }
});
