/** What every store of sessions promises (src/sink/session-store.ts), as one suite. */
import { mock } from "node:test";
import type { Test } from "tap";
import type {
  CommitRecord,
  NewFile,
  SessionRecord,
  SessionStore,
  StoredChunk,
  StoredFile,
} from "../../src/sink/session-store.ts";
import { nameOf } from "../helpers/bytes.ts";

const CREATED_MS = 1_700_000_000_000;
/** What the clock says while a suite runs. */
const NOW_MS = 1_800_000_000_000;

export function recordOf(id: string, rest: Partial<SessionRecord> = {}): SessionRecord {
  return { id, transferId: `t-${id}`, peer: "192.0.2.1", createdMs: CREATED_MS, chunkBytes: 1024 * 1024, ...rest };
}

export function fileOf(name: string, rest: Partial<NewFile> = {}): NewFile {
  return { key: `k-${name}`, name: nameOf(name), size: 10, mtime: [1, 2], mode: 0o644, partId: `p-${name}`, ...rest };
}

export const chunkOf = (file: number, offset: number, crc32 = 1, synced = false): StoredChunk => ({
  file,
  offset,
  crc32,
  synced,
});

const COMMIT: CommitRecord = { size: 10, crc32: 0xffffffff, fingerprint: "8:12345" };

/** Names as plain bytes, whichever class of them a store gives; in the order of their ids. */
const plain = (files: readonly StoredFile[]) =>
  files.map((file) => ({ ...file, name: Buffer.from(file.name) })).sort((a, b) => a.id - b.id);
const expected = (ids: number[], files: NewFile[], rest: Partial<StoredFile> = {}) =>
  plain(
    files.map((file, i) => ({ ...file, id: ids[i] ?? 0, state: "receiving", commit: null, bootId: null, ...rest })),
  );

async function filesIn(store: SessionStore, id: string) {
  return plain((await store.load(id))?.files ?? []);
}

/** `bootId`: what the store takes for the boot of the machine that it runs in. */
export function sessionStoreConformance(
  t: Test,
  make: (t: Test) => SessionStore,
  bootId: () => string | null = () => null,
): void {
  const boot = () => ({ bootId: bootId() });
  /** A session with files of these names; their ids. */
  async function filled(store: SessionStore, id: string, names: string[], rest: Partial<SessionRecord> = {}) {
    await store.create(recordOf(id, rest));
    return store.addFiles(
      id,
      names.map((name) => fileOf(name)),
    );
  }

  t.test("what is not there", async (t) => {
    const store = make(t);
    t.equal(await store.load("none"), undefined);
    t.equal(await store.open("none"), undefined);
    t.strictSame(await store.list(), []);
    t.equal(await store.find("192.0.2.1", ["k"]), undefined);
    t.equal(await store.find("192.0.2.1", []), undefined);
    t.equal(await store.findFile("192.0.2.1", "k", "none"), undefined);
    t.strictSame(await store.chunks(1), []);
    // None of these has anything to do.
    await store.close("none");
    await store.drop("none");
    await store.forgetFiles([1, 2]);
    await store.forgetChunks(1, "unsynced");
    await store.forgetChunks(1, [0]);
    await store.endCommit(1, true);
    await store.endCommit(1, false);
    await store.renewBoot(1);
    await store.recordChunks([]);
    await store.sync();
    t.strictSame(await store.list(), []);
  });

  t.test("a session is live in its first generation, and each opening is one more", async (t) => {
    const store = make(t);
    mock.timers.enable({ apis: ["Date"], now: NOW_MS });
    t.teardown(() => mock.timers.reset());
    await store.create(recordOf("a"));
    const first = { ...recordOf("a"), generation: 1, seenMs: CREATED_MS, live: true };
    t.strictSame(await store.load("a"), { record: first, files: [] });
    t.strictSame(await store.list(), [first]);

    await store.close("a");
    t.strictSame((await store.load("a"))?.record, { ...first, live: false, seenMs: NOW_MS });
    mock.timers.tick(5);
    const opened = { ...first, generation: 2, seenMs: NOW_MS + 5 };
    t.strictSame(await store.open("a"), { record: opened, files: [] });
    t.strictSame((await store.load("a"))?.record, opened, "and looking at it is not opening it");
    t.equal((await store.open("a"))?.record.generation, 3, "also where nobody closed it");
    await store.close("a");
    t.equal((await store.open("a"))?.record.generation, 4, "a generation is never used twice");
  });

  t.test("files come back as they were given, with ids of their own", async (t) => {
    const store = make(t);
    await store.create(recordOf("a"));
    await store.create(recordOf("b"));
    const files = ["z", "a", "m"].map((name) => fileOf(name));
    const ids = await store.addFiles("a", files);
    const other = [fileOf("other")];
    const otherIds = await store.addFiles("b", other);
    t.equal(new Set([...ids, ...otherIds]).size, 4);
    t.strictSame(await filesIn(store, "a"), expected(ids, files, boot()));
    t.strictSame(await filesIn(store, "b"), expected(otherIds, other, boot()));
    t.strictSame(plain((await store.open("a"))?.files ?? []), expected(ids, files, boot()), "to whoever opens it, too");
    await store.forgetFiles(ids);
    const [next = 0] = await store.addFiles("a", [fileOf("next")]);
    t.ok(next > Math.max(...ids, ...otherIds), "an id is never used twice");
    t.strictSame(await store.addFiles("a", []), []);
  });

  t.test("the ends of what a field may hold", async (t) => {
    const store = make(t);
    const max = Number.MAX_SAFE_INTEGER;
    await store.create(recordOf("a", { peer: "2001:db8::1", createdMs: max, chunkBytes: 16 * 1024 * 1024 }));
    const files = [
      fileOf("0", { size: null, mode: 0, mtime: [-max, 999_999_999], key: null }),
      fileOf("1", { size: 0, mode: 0o7777, mtime: [max, 0], name: new Uint8Array(0), key: null }),
      fileOf("2", { size: max, name: Uint8Array.of(0, 0xff, 0x2f, 0xfe), key: "ff".repeat(16) }),
      fileOf("3", { size: 2 ** 52 + 1, name: new Uint8Array(4095).fill(0x61), key: "00".repeat(16) }),
    ];
    const ids = await store.addFiles("a", files);
    t.strictSame(await filesIn(store, "a"), expected(ids, files, boot()));
    const [file = 0] = ids;
    const chunks = [chunkOf(file, 0, 0), chunkOf(file, 2 ** 40, 0xffffffff, true), chunkOf(file, max - 1, 0x80000000)];
    await store.recordChunks(chunks);
    t.strictSame(await store.chunks(file), chunks);
    const commit = { size: max, crc32: 0, fingerprint: "x".repeat(100) };
    await store.beginCommit(file, commit);
    t.strictSame((await filesIn(store, "a"))[0]?.commit, commit);
  });

  t.test("the journal of a file comes back by offset, each chunk with what was said of it last", async (t) => {
    const store = make(t);
    const [one = 0, two = 0] = await filled(store, "a", ["one", "two"]);
    await store.recordChunks([chunkOf(one, 2048, 3), chunkOf(two, 0, 9, true), chunkOf(one, 0, 1, true)]);
    await store.recordChunks([chunkOf(one, 1024, 2), chunkOf(one, 0, 4)]);
    t.strictSame(await store.chunks(one), [chunkOf(one, 0, 4), chunkOf(one, 1024, 2), chunkOf(one, 2048, 3)]);
    t.strictSame(await store.chunks(two), [chunkOf(two, 0, 9, true)]);
    await store.recordChunks([chunkOf(one, 0, 4, true)]);
    t.strictSame((await store.chunks(one))[0], chunkOf(one, 0, 4, true));
  });

  t.test("chunks are forgotten one by one, or those that are not synced", async (t) => {
    const store = make(t);
    const [one = 0, two = 0] = await filled(store, "a", ["one", "two"]);
    for (const file of [one, two]) {
      await store.recordChunks([0, 1, 2, 3].map((offset) => chunkOf(file, offset, 1, offset % 2 === 0)));
    }
    await store.forgetChunks(one, [0, 3, 7]);
    const offsets = async (file: number) => (await store.chunks(file)).map(({ offset }) => offset);
    t.strictSame(await offsets(one), [1, 2]);
    await store.forgetChunks(one, []);
    await store.forgetChunks(one, "unsynced");
    t.strictSame(await offsets(one), [2]);
    t.strictSame(await offsets(two), [0, 1, 2, 3], "and none of another file");
  });

  t.test("a long journal", async (t) => {
    const store = make(t);
    const [file = 0] = await filled(store, "a", ["one"]);
    const chunks = Array.from({ length: 5000 }, (_, i) => chunkOf(file, i * 1024, i));
    await store.recordChunks(chunks.toReversed());
    t.strictSame(await store.chunks(file), chunks);
  });

  t.test("a commit that is about to happen, that happened, and that did not", async (t) => {
    const store = make(t);
    const [done = 0, undone = 0, pending = 0] = await filled(store, "a", ["done", "undone", "pending"]);
    for (const file of [done, undone, pending]) {
      await store.recordChunks([chunkOf(file, 0)]);
      await store.beginCommit(file, COMMIT);
    }
    for (const file of await filesIn(store, "a")) t.match(file, { state: "committing", commit: COMMIT });
    t.equal((await store.chunks(pending)).length, 1, "its chunks are kept until it is known");
    await store.endCommit(done, true);
    await store.endCommit(undone, false);
    const found = await filesIn(store, "a");
    t.strictSame(
      found.map(({ state, commit }) => ({ state, commit })),
      [
        { state: "committed", commit: COMMIT },
        { state: "receiving", commit: null },
        { state: "committing", commit: COMMIT },
      ],
    );
    t.strictSame(await store.chunks(done), [], "what is committed needs no journal");
    t.equal((await store.chunks(undone)).length, 1);
    await store.beginCommit(undone, { ...COMMIT, size: 11 });
    t.strictSame((await filesIn(store, "a"))[1]?.commit, { ...COMMIT, size: 11 }, "the next attempt counts");
  });

  t.test("a file is recorded during a boot of the machine", async (t) => {
    const store = make(t);
    const [file = 0] = await filled(store, "a", ["one"]);
    t.equal((await filesIn(store, "a"))[0]?.bootId, bootId());
    await store.renewBoot(file);
    t.equal((await filesIn(store, "a"))[0]?.bootId, bootId());
  });

  t.test("of a peer's sessions with one of the keys, the one seen last", async (t) => {
    const store = make(t);
    mock.timers.enable({ apis: ["Date"], now: NOW_MS });
    t.teardown(() => mock.timers.reset());
    await filled(store, "a", ["x", "y"]);
    await store.create(recordOf("b"));
    await store.addFiles("b", [fileOf("x", { partId: "other" }), fileOf("z", { key: null })]);
    await filled(store, "c", ["u", "v"]);
    await store.create(recordOf("d", { peer: "192.0.2.2" }));
    await store.addFiles("d", [fileOf("x", { partId: "foreign" })]);
    const found = async (...keys: string[]) => (await store.find("192.0.2.1", keys))?.id;

    for (const id of ["b", "a"]) {
      mock.timers.tick(1000);
      await store.close(id);
    }
    t.equal(await found("k-x"), "a");
    t.equal(await found("k-none", "k-x"), "a", "one key is enough");
    mock.timers.tick(1000);
    await store.open("b");
    t.equal(await found("k-x"), "b", "opening it is seeing it");
    t.match(await store.find("192.0.2.1", ["k-x"]), { generation: 2, live: true }, "also while it is open");
    t.equal(await found("k-v"), "c");
    t.equal(await found("k-z"), undefined, "a file without a key is not found by one");
    t.equal(await found("k-none"), undefined);
    t.equal(await found(), undefined);
    t.equal((await store.find("192.0.2.2", ["k-x"]))?.id, "d");
    t.equal(await store.find("192.0.2.3", ["k-x"]), undefined, "another peer's is not found at all");
    const many = Array.from({ length: 63 }, (_, i) => `none-${i}`);
    t.equal(await found(...many, "k-u"), "c");
  });

  t.test("recording chunks is seeing a session", async (t) => {
    const store = make(t);
    mock.timers.enable({ apis: ["Date"], now: NOW_MS });
    t.teardown(() => mock.timers.reset());
    const [first = 0] = await filled(store, "a", ["x"]);
    await store.create(recordOf("b"));
    mock.timers.tick(1000);
    await store.addFiles("b", [fileOf("x", { partId: "other" })]);
    t.equal((await store.find("192.0.2.1", ["k-x"]))?.id, "b");
    mock.timers.tick(1000);
    await store.recordChunks([chunkOf(first, 0)]);
    t.match(await store.find("192.0.2.1", ["k-x"]), { id: "a", seenMs: NOW_MS + 2000 });
  });

  t.test("a file is found in the session itself first, then in the peer's others", async (t) => {
    const store = make(t);
    const [inA] = await filled(store, "a", ["x", "y"]);
    await store.create(recordOf("b"));
    const [inB] = await store.addFiles("b", [fileOf("x", { partId: "in-b" })]);
    await store.create(recordOf("c", { peer: "192.0.2.2" }));
    await store.addFiles("c", [fileOf("w", { partId: "in-c" })]);
    const found = async (key: string, session: string, peer = "192.0.2.1") => {
      const result = await store.findFile(peer, key, session);
      return result && { id: result.file.id, sessionId: result.sessionId };
    };
    t.strictSame(await found("k-x", "a"), { id: inA, sessionId: "a" });
    t.strictSame(await found("k-x", "b"), { id: inB, sessionId: "b" });
    t.equal((await found("k-y", "b"))?.sessionId, "a");
    t.equal((await found("k-y", "none"))?.sessionId, "a");
    t.equal(await found("k-w", "a"), undefined, "never another peer's");
    t.equal(await found("k-none", "a"), undefined);
  });

  t.test("files of a name, in all sessions of the peer and no other's", async (t) => {
    const store = make(t);
    const [inA = 0] = await filled(store, "a", ["x", "y"]);
    await store.create(recordOf("b"));
    const [inB = 0, keyless = 0] = await store.addFiles("b", [
      fileOf("x", { key: "another", partId: "in-b" }),
      fileOf("x", { key: null, partId: "keyless" }),
    ]);
    await store.create(recordOf("c", { peer: "192.0.2.2" }));
    await store.addFiles("c", [fileOf("x", { partId: "foreign" })]);
    await store.close("a");
    const found = (await store.findNamed("192.0.2.1", nameOf("x")))
      .map(({ file, sessionId, live }) => ({ id: file.id, sessionId, live }))
      .sort((a, b) => a.id - b.id);
    t.strictSame(found, [
      { id: inA, sessionId: "a", live: false },
      { id: inB, sessionId: "b", live: true },
      { id: keyless, sessionId: "b", live: true },
    ]);
    const [first] = await store.findNamed("192.0.2.1", nameOf("y"));
    t.strictSame(plain(first === undefined ? [] : [first.file]), expected([inA + 1], [fileOf("y")], boot()));
    t.strictSame(await store.findNamed("192.0.2.1", nameOf("X")), []);
    t.strictSame(await store.findNamed("192.0.2.1", nameOf("")), []);
    t.strictSame(await store.findNamed("192.0.2.3", nameOf("x")), []);
    await store.drop("b");
    t.equal((await store.findNamed("192.0.2.1", nameOf("x"))).length, 1);
  });

  t.test("whether there is any chunk of a file", async (t) => {
    const store = make(t);
    const [one = 0, two = 0] = await filled(store, "a", ["one", "two"]);
    t.notOk(await store.hasChunks(one));
    await store.recordChunks([chunkOf(one, 1024), chunkOf(one, 0, 1, true)]);
    t.ok(await store.hasChunks(one));
    t.notOk(await store.hasChunks(two), "another file's are its own");
    await store.forgetChunks(one, "unsynced");
    t.ok(await store.hasChunks(one));
    await store.forgetChunks(one, [0]);
    t.notOk(await store.hasChunks(one));
    t.notOk(await store.hasChunks(99_999));
  });

  t.test("a file that moves takes its journal along", async (t) => {
    const store = make(t);
    const [x = 0, y = 0] = await filled(store, "a", ["x", "y"]);
    await store.create(recordOf("b"));
    await store.recordChunks([chunkOf(x, 0), chunkOf(y, 0)]);
    await store.moveFile(x, "b");
    t.strictSame(await filesIn(store, "a"), expected([y], [fileOf("y")], boot()));
    t.strictSame(await filesIn(store, "b"), expected([x], [fileOf("x")], boot()));
    await store.moveFile(y, "a");
    t.equal((await filesIn(store, "a")).length, 1, "to where it is, it stays");
    await store.drop("a");
    t.strictSame(await store.chunks(x), [chunkOf(x, 0)], "and does not go with the session it was in");
    t.strictSame(await store.chunks(y), []);
    t.equal((await store.findFile("192.0.2.1", "k-x", "none"))?.sessionId, "b");
  });

  t.test("files are forgotten with their chunks, and no other", async (t) => {
    const store = make(t);
    const [a0 = 0, a1 = 0] = await filled(store, "a", ["a0", "a1"]);
    const [b0 = 0] = await filled(store, "b", ["b0"]);
    for (const file of [a0, a1, b0]) await store.recordChunks([chunkOf(file, 0)]);
    await store.forgetFiles([a0, 99_999]);
    await store.forgetFiles([a0]);
    await store.forgetFiles([]);
    t.strictSame(await filesIn(store, "a"), expected([a1], [fileOf("a1")], boot()));
    t.strictSame(await store.chunks(a0), []);
    for (const file of [a1, b0]) t.equal((await store.chunks(file)).length, 1);
    t.equal(await store.find("192.0.2.1", ["k-a0"]), undefined);
  });

  t.test("dropping forgets all of a session, and again is nothing", async (t) => {
    const store = make(t);
    const [a = 0] = await filled(store, "a", ["x"]);
    const [b = 0] = await filled(store, "b", ["y"]);
    for (const file of [a, b]) await store.recordChunks([chunkOf(file, 0)]);
    await store.drop("a");
    await store.drop("a");
    t.equal(await store.load("a"), undefined);
    t.strictSame(await store.chunks(a), []);
    t.equal((await store.chunks(b)).length, 1);
    await store.create(recordOf("a"));
    t.match(await store.load("a"), { record: { generation: 1, live: true }, files: [] }, "nothing old comes back");
  });

  t.test("sessions are listed, oldest first", async (t) => {
    const store = make(t);
    for (const [id, createdMs] of [
      ["c", 3],
      ["a", 1],
      ["b", 2],
    ] as const) {
      await store.create(recordOf(id, { createdMs }));
    }
    const listed = async () => (await store.list()).map(({ id }) => id);
    t.strictSame(await listed(), ["a", "b", "c"]);
    await store.close("c");
    t.match(await store.list(), [{ live: true }, { live: true }, { live: false }]);
    await store.drop("b");
    t.strictSame(await listed(), ["a", "c"]);
  });
}
