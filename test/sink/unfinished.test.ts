import {
  closeSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { OfferedFile } from "../../src/protocol/messages.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { planFile } from "../../src/sink/plan.ts";
import { bootId } from "../../src/sink/platform.ts";
import type { ReceivedFile } from "../../src/sink/received-file.ts";
import type { Durability } from "../../src/sink/sink.ts";
import { Unfinished } from "../../src/sink/unfinished.ts";
import { same } from "../helpers/bytes.ts";
import { CHUNK, chunksOf, keyOf, leave, offerOf, ownerOf, PEER, receivedFile } from "../helpers/received.ts";

const never = new AbortController().signal;
const SIZE = 3 * CHUNK + 100;

/** A disk, a store that lives during `boot`, and what is unfinished there. */
function setUp(t: Test, boot: string | null = bootId(), durability: Durability = "commit") {
  const dir = t.testdir();
  const sink = new DiskSink(dir, { durability });
  t.teardown(() => sink.close());
  const store = new MemorySessionStore(boot);
  const unfinished = new Unfinished(sink, store);
  const partPath = (id: string) => join(dir, ".hawser/parts", `${id}.part`);
  const partOf = (id: string) => {
    try {
      return readFileSync(partPath(id));
    } catch {
      return undefined;
    }
  };
  const create = (id: string, chunkBytes = CHUNK) =>
    store.create({ id, transferId: `t-${id}`, peer: PEER, createdMs: Date.now(), chunkBytes });
  return { dir, sink, store, unfinished, partPath, partOf, create };
}

/** What the sink does for a file that it is offered, as far as it is this module's. */
async function takeUp(unfinished: Unfinished, sessionId: string, offer: OfferedFile) {
  const owner = ownerOf(sessionId);
  await unfinished.claim(owner, offer, never);
  const file = receivedFile(offer);
  const stored = await unfinished.find(owner, offer);
  const taken = stored !== undefined && (await unfinished.takeUpPart(file, stored, never));
  return { file, taken };
}
const uncheckedOf = (file: ReceivedFile) => [...file.ledger.offsets()].filter((offset) => file.isUnchecked(offset));

t.test("a file under way in one session is busy for another, until it is let go", async (t) => {
  const { unfinished } = setUp(t);
  const offer = offerOf("a", SIZE);
  const [one, two] = [ownerOf("one"), ownerOf("two")];
  await unfinished.claim(one, offer, never);
  await unfinished.claim(one, offer, never);
  await t.rejects(unfinished.claim(two, offer, never), { name: "HawserError", code: "E_BUSY", message: /'a'/ });
  await unfinished.claim(two, offerOf("b", SIZE), never);
  await unfinished.claim({ ...two, peer: "192.0.2.2" }, offer, never);
  unfinished.unclaim(two, offer);
  await t.rejects(unfinished.claim(two, offer, never), { code: "E_BUSY" }, "nobody lets go of what another has");
  unfinished.unclaim(one, offer);
  await unfinished.claim(two, offer, never);
});

t.test("files without a key are nobody's: several may be under way at once", async (t) => {
  const { unfinished } = setUp(t);
  const { key, ...offer } = offerOf("a", null);
  for (const id of ["one", "two"]) await unfinished.claim(ownerOf(id), offer, never);
  unfinished.unclaim(ownerOf("one"), offer);
  t.equal(await unfinished.find(ownerOf("one"), offer), undefined);
});

t.test("a holder whose client is gone gives way", async (t) => {
  const { sink, store } = setUp(t);
  const offer = offerOf("a", SIZE);
  const evicted: string[] = [];
  let isThere = true;
  const unfinished: Unfinished = new Unfinished(sink, store, async (id) => {
    evicted.push(id);
    if (!isThere) unfinished.unclaim(ownerOf(id), offer);
  });
  await unfinished.claim(ownerOf("one"), offer, never);
  await t.rejects(unfinished.claim(ownerOf("two"), offer, never), { code: "E_BUSY" });
  isThere = false;
  await unfinished.claim(ownerOf("two"), offer, never);
  t.strictSame(evicted, ["one", "one"]);
});

t.test("two that wait for a holder to give way do not both get the file", async (t) => {
  const { sink, store } = setUp(t);
  const offer = offerOf("a", SIZE);
  const unfinished: Unfinished = new Unfinished(sink, store, async (id) => {
    await new Promise((resolve) => setImmediate(resolve));
    if (id === "one") unfinished.unclaim(ownerOf("one"), offer);
  });
  await unfinished.claim(ownerOf("one"), offer, never);
  const ends = await Promise.allSettled(["two", "three"].map((id) => unfinished.claim(ownerOf(id), offer, never)));
  t.strictSame(ends.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
});

t.test("what an earlier run left is found and taken up, with its part and its chunks", async (t) => {
  const { sink, store, unfinished, partOf } = setUp(t);
  const offer = offerOf("a", SIZE);
  const left = await leave(sink, store, "old", offer, { chunks: 2 });
  const { file, taken } = await takeUp(unfinished, "old", offer);
  t.ok(taken);
  t.equal(file.id, left.id);
  t.equal(file.partId, left.partId);
  t.strictSame(uncheckedOf(file), [0, CHUNK], "within one boot they are there, and checked beside the transfer");
  t.equal(file.bytesInherited, 2 * CHUNK);
  for (const offset of [2 * CHUNK, 3 * CHUNK])
    await file.part?.write(offset, left.content.slice(offset, offset + CHUNK));
  t.ok(same(partOf(left.partId), left.content), "the same part");
  await file.part?.close();
});

t.test("another session's file moves to the one that asks", async (t) => {
  const { sink, store, unfinished, create } = setUp(t);
  const offer = offerOf("a", SIZE);
  const left = await leave(sink, store, "old", offer);
  await create("new");
  const { file, taken } = await takeUp(unfinished, "new", offer);
  t.ok(taken);
  t.match(await store.load("new"), { files: [{ id: left.id }] });
  t.strictSame((await store.load("old"))?.files, []);
  await file.part?.close();
});

const unusable: [string, Partial<OfferedFile>, { chunkBytes?: number; fresh?: boolean }][] = [
  ["another name", { name: Buffer.from("b") }, {}],
  ["another size", { size: SIZE + 1 }, {}],
  ["a size that isn't known", { size: null }, {}],
  ["another chunk size", {}, { chunkBytes: 2 * CHUNK }],
  ["a fresh start", {}, { fresh: true }],
];
for (const [what, change, { chunkBytes = CHUNK, fresh = false }] of unusable) {
  t.test(`${what}: what is left is thrown away`, async (t) => {
    const { sink, store, unfinished, partOf, create } = setUp(t);
    const offer = offerOf("a", SIZE);
    const left = await leave(sink, store, "old", offer, { chunkBytes });
    await create("new");
    const owner = ownerOf("new", { fresh });
    t.equal(await unfinished.find(owner, { ...offer, ...change }), undefined);
    t.strictSame((await store.load("old"))?.files, []);
    t.strictSame(await store.chunks(left.id), []);
    t.equal(partOf(left.partId), undefined, "with its part");
  });
}

t.test("a session of another chunk size goes on with its own", async (t) => {
  const { sink, store, unfinished } = setUp(t);
  const offer = offerOf("a", SIZE);
  await leave(sink, store, "old", offer, { chunkBytes: 2 * CHUNK });
  t.ok(await unfinished.find(ownerOf("old"), offer), "its owner's chunk size is the session's by then");
});

t.test("another peer's file is not found, and stays", async (t) => {
  const { sink, store, unfinished, partOf } = setUp(t);
  const offer = offerOf("a", SIZE);
  const left = await leave(sink, store, "old", offer);
  t.equal(await unfinished.find(ownerOf("new", { peer: "192.0.2.9", fresh: true }), offer), undefined);
  t.ok(partOf(left.partId));
});

t.test("a part that is gone, or has no chunk, begins anew", async (t) => {
  const { sink, store, unfinished, partPath, partOf } = setUp(t);
  const [gone, empty] = [offerOf("gone", SIZE), offerOf("empty", SIZE)];
  const lost = await leave(sink, store, "old", gone);
  rmSync(partPath(lost.partId));
  const none = await leave(sink, store, "old", empty, { chunks: 0 });
  for (const offer of [gone, empty]) {
    const { file, taken } = await takeUp(unfinished, "old", offer);
    t.notOk(taken);
    t.equal(file.part, undefined);
    t.equal(file.id, undefined);
  }
  t.strictSame((await store.load("old"))?.files, []);
  t.equal(partOf(none.partId), undefined);
});

t.test("chunks that can't be the file's are not believed", async (t) => {
  const { sink, store, unfinished } = setUp(t);
  const offer = offerOf("a", SIZE);
  const { id } = await leave(sink, store, "old", offer, { chunks: 1 });
  await store.recordChunks([1, 4 * CHUNK, 400 * CHUNK].map((offset) => ({ file: id, offset, crc32: 1, synced: true })));
  const { file } = await takeUp(unfinished, "old", offer);
  t.strictSame(uncheckedOf(file), [0]);
  await file.part?.close();
});

/** After a reboot: what was recorded without a sync may be anything. */
for (const recordedIn of ["another-boot", null]) {
  t.test(
    `recorded in ${recordedIn ?? "who knows which boot"}: only what is right on the disk, or was synced`,
    async (t) => {
      const { sink, store, unfinished, partPath } = setUp(t, recordedIn);
      const offer = offerOf("a", SIZE);
      const left = await leave(sink, store, "old", offer);
      await store.recordChunks([
        { ...(chunksOf(left.content, left.id)[0] ?? { file: 0, offset: 0, crc32: 0 }), synced: true },
      ]);
      const bytes = readFileSync(partPath(left.partId));
      for (const offset of [0, 2 * CHUNK]) bytes[offset] = (bytes[offset] ?? 0) ^ 1;
      writeFileSync(partPath(left.partId), bytes);

      const { file } = await takeUp(unfinished, "old", offer);
      t.strictSame(uncheckedOf(file), [0, CHUNK, 3 * CHUNK], "the synced one is checked beside the transfer");
      t.strictSame(
        (await store.chunks(left.id)).map(({ offset }) => offset),
        [0, CHUNK, 3 * CHUNK],
        "what was not there is not recorded any more",
      );
      await file.part?.close();
    },
  );
}

t.test("recorded in this boot: all of it counts, and nothing is read before the answer", async (t) => {
  const { sink, store, unfinished, partPath } = setUp(t);
  const offer = offerOf("a", SIZE);
  const left = await leave(sink, store, "old", offer);
  writeFileSync(partPath(left.partId), new Uint8Array(SIZE));
  const { file } = await takeUp(unfinished, "old", offer);
  t.equal(uncheckedOf(file).length, 4);
  t.equal((await store.chunks(left.id)).length, 4);
  await file.part?.close();
});

t.test("a transfer that ends while what is left is read lets it lie", async (t) => {
  const { sink, store, unfinished, partOf } = setUp(t, "another-boot");
  const offer = offerOf("a", SIZE);
  const left = await leave(sink, store, "old", offer);
  const stored = await unfinished.find(ownerOf("old"), offer);
  if (stored === undefined) return t.fail("it is there");
  const over = AbortSignal.abort();
  await t.rejects(unfinished.takeUpPart(receivedFile(offer), stored, over), { name: "AbortError" });
  t.equal((await store.chunks(left.id)).length, 4);
  t.ok(same(partOf(left.partId), left.content));
});

/** A commit that was begun: what the store says of it when the server comes back. */
async function committing(
  t: Test,
  how: "before the link" | "linked" | "done",
  boot: string | null = bootId(),
  durability: Durability = "commit",
) {
  const all = setUp(t, boot, durability);
  const { sink, store, dir } = all;
  const offer = offerOf("a", SIZE);
  const left = await leave(sink, store, "old", offer);
  const spec = { id: left.partId, name: offer.name, size: SIZE, mtime: offer.mtime, mode: 0o644 };
  const part = await sink.reopen(spec, SIZE);
  if (part === undefined) throw new Error("the part is there");
  await store.beginCommit(left.id, { size: SIZE, crc32: 7, fingerprint: part.fingerprint });
  if (how === "before the link") await part.close();
  else await part.commit(SIZE, 7);
  if (how === "done" && durability === "none") await store.endCommit(left.id, true);
  if (how === "linked") {
    // Killed between the link and the unlink: the file has two names.
    linkSync(join(dir, "a"), all.partPath(left.partId));
  }
  const stored = await all.unfinished.find(ownerOf("old"), offer);
  if (stored === undefined) throw new Error("it is stored");
  return { ...all, offer, left, stored };
}

for (const how of ["linked", "done"] as const) {
  t.test(`a commit that came about (${how}) is one, and no second`, async (t) => {
    const { unfinished, store, stored, offer, left, partOf, dir } = await committing(t, how);
    const file = receivedFile(offer);
    t.ok(await unfinished.takeUpCommit(file, stored));
    t.match(file.committed, { size: SIZE, crc32: 7 });
    t.equal(file.id, left.id, "so that it is forgotten when the source has heard");
    t.match(await store.load("old"), { files: [{ state: "committed" }] });
    t.equal(partOf(left.partId), undefined);
    t.ok(same(readFileSync(join(dir, "a")), left.content));
  });
}

t.test("a commit that did not come about leaves the part as it was", async (t) => {
  const { unfinished, store, stored, offer, left } = await committing(t, "before the link");
  const file = receivedFile(offer);
  t.notOk(await unfinished.takeUpCommit(file, stored));
  t.match(await store.load("old"), { files: [{ state: "receiving", commit: null }] });
  t.ok(await unfinished.takeUpPart(file, stored, never));
  t.equal(file.id, left.id);
  t.equal(uncheckedOf(file).length, 4);
  await file.part?.close();
});

t.test("a file that was replaced since is not the one that was committed", async (t) => {
  const { unfinished, store, stored, offer, dir } = await committing(t, "done");
  // Beside the old one, so that it can't get its inode.
  writeFileSync(join(dir, "other"), new Uint8Array(SIZE));
  renameSync(join(dir, "other"), join(dir, "a"));
  t.notOk(await unfinished.takeUpCommit(receivedFile(offer), stored));
  t.match(await store.load("old"), { files: [{ state: "receiving" }] });
});

t.test("nor is one that has another size by now, or was taken away", async (t) => {
  for (const change of ["grown", "gone"]) {
    const { unfinished, stored, offer, dir } = await committing(t, "done");
    if (change === "grown") writeFileSync(join(dir, "a"), "more", { flag: "a" });
    else rmSync(join(dir, "a"));
    t.notOk(await unfinished.takeUpCommit(receivedFile(offer), stored), change);
  }
});

t.test("what is new is written down once, with the parts' ids", async (t) => {
  const { unfinished, store, create } = setUp(t);
  await create("new");
  const files = ["a", "b", "c"].map((name, file) => receivedFile(offerOf(name, SIZE, { file })));
  const [a, b, c] = files;
  if (b !== undefined) b.id = 99;
  await unfinished.remember("new", files, (index) => `part-${index}`);
  t.strictSame([a?.partId, b?.partId, c?.partId], ["part-0", undefined, "part-2"]);
  t.match((await store.load("new"))?.files, [
    { id: a?.id, key: Buffer.from(keyOf("a")).toString("hex"), partId: "part-0", size: SIZE },
    { id: c?.id, partId: "part-2" },
  ]);
  await unfinished.remember("new", files, () => "again");
  t.equal((await store.load("new"))?.files.length, 2);
});

t.test("who leaves keeps what is of use: files with chunks, and outcomes that may not have been heard", async (t) => {
  for (const heard of [false, true]) {
    const { sink, store, unfinished, partOf } = setUp(t);
    const begun = await leave(sink, store, "s", offerOf("begun", SIZE), { chunks: 1 });
    const empty = await leave(sink, store, "s", offerOf("empty", SIZE), { chunks: 0 });
    const { key, ...keyless } = offerOf("keyless", SIZE);
    const unknown = await leave(sink, store, "s", keyless, { chunks: 1 });
    const committed = await leave(sink, store, "s", offerOf("committed", SIZE));
    const pending = await leave(sink, store, "s", offerOf("pending", SIZE));
    for (const { id } of [committed, pending]) {
      await store.beginCommit(id, { size: SIZE, crc32: 1, fingerprint: "1:1" });
    }
    await store.endCommit(committed.id, true);
    await store.open("s");
    await unfinished.leave("s", heard);
    const ids = (await store.load("s"))?.files.map(({ id }) => id);
    t.strictSame(ids, heard ? [begun.id, pending.id] : [begun.id, committed.id, pending.id], `heard: ${heard}`);
    t.equal((await store.load("s"))?.record.live, false);
    for (const { partId } of [empty, unknown]) t.equal(partOf(partId), undefined);
    t.ok(partOf(begun.partId));
  }
});

t.test("a session of which nothing is left goes with the last file", async (t) => {
  const { sink, store, unfinished } = setUp(t);
  await leave(sink, store, "s", offerOf("empty", SIZE), { chunks: 0 });
  await unfinished.leave("s", false);
  t.equal(await store.load("s"), undefined);
  await unfinished.leave("s", false);
});

t.test("dropping a session takes its parts along", async (t) => {
  const { sink, store, unfinished, partOf } = setUp(t);
  const left = await leave(sink, store, "s", offerOf("a", SIZE));
  const other = await leave(sink, store, "other", offerOf("b", SIZE));
  const session = await store.load("s");
  if (session === undefined) return t.fail("it is there");
  await unfinished.drop(session);
  t.equal(await store.load("s"), undefined);
  t.equal(partOf(left.partId), undefined);
  t.ok(partOf(other.partId));
});

t.test("a file that is offered twice in one transfer is busy the second time, and stays the first's", async (t) => {
  const { unfinished } = setUp(t);
  const owner = ownerOf("one");
  const [first, second] = [offerOf("a", SIZE, { file: 0 }), offerOf("a", SIZE, { file: 1 })];
  await unfinished.claim(owner, first, never);
  await t.rejects(unfinished.claim(owner, second, never), { code: "E_BUSY", message: /'a' is offered twice/ });
  unfinished.unclaim(owner, second);
  await t.rejects(unfinished.claim(owner, second, never), { code: "E_BUSY" }, "its failure frees nothing");
  await t.rejects(unfinished.claim(ownerOf("two"), second, never), { code: "E_BUSY" });
  unfinished.unclaim(owner, first);
  await unfinished.claim(owner, second, never);
});

for (const [boot, isBelieved] of [
  [bootId(), true],
  ["another-boot", false],
] as const) {
  const verdict = isBelieved ? "believed" : "not believed";
  t.test(`without durability a commit of ${boot === bootId() ? "this" : "another"} boot is ${verdict}`, async (t) => {
    const { store, unfinished, stored, offer, dir } = await committing(t, "done", boot, "none");
    // What a power cut may leave: the name and the size, and zeros.
    const fd = openSync(join(dir, "a"), "r+");
    writeSync(fd, new Uint8Array(SIZE), 0, SIZE, 0);
    closeSync(fd);
    utimesSync(join(dir, "a"), 1, 1);
    const file = receivedFile(offer);
    t.equal(await unfinished.takeUpCommit(file, stored), isBelieved);
    t.equal(file.committed !== undefined, isBelieved);
    t.match(await store.load("old"), { files: [{ state: "committed" }] });
  });
}

t.test("without durability, after another boot: what lies under the name is compared", async (t) => {
  const { sink, unfinished, offer } = await committing(t, "done", "another-boot", "none");
  const planner = { sink, unfinished, owner: ownerOf("old"), partId: () => "new", signal: never, wishes: {} };
  t.equal(await planFile(receivedFile(offer), planner), "compare");
});

t.test("a file that has its name makes older versions of it useless, and nothing else", async (t) => {
  const { sink, store, unfinished, partOf, create } = setUp(t);
  const version = (word: string) => offerOf("a", SIZE, { key: keyOf(word) });
  const older = await leave(sink, store, "older", version("older"), { chunks: 1 });
  const shared = await leave(sink, store, "shared", version("shared"), { chunks: 1 });
  const beside = await leave(sink, store, "shared", offerOf("b", SIZE), { chunks: 1 });
  const live = await leave(sink, store, "live", version("live"), { chunks: 1 });
  await store.open("live");
  const foreign = await leave(sink, store, "foreign", version("foreign"), { chunks: 1 });
  await store.moveFile(foreign.id, "foreign");
  const done = await leave(sink, store, "done", version("done"));
  await store.beginCommit(done.id, { size: SIZE, crc32: 1, fingerprint: "1:1" });
  await store.endCommit(done.id, true);
  await create("now");
  const [id = 0] = await store.addFiles("now", [
    { key: "now", name: Buffer.from("a"), size: SIZE, mtime: [1, 0], mode: 0o644, partId: "now" },
  ]);

  await unfinished.supersede(ownerOf("now", { peer: "192.0.2.9" }), { name: Buffer.from("a"), id });
  t.ok(partOf(older.partId), "another peer's file is nobody else's business");

  await unfinished.supersede(ownerOf("now"), { name: Buffer.from("a"), id });
  t.equal(partOf(older.partId), undefined);
  t.equal(await store.load("older"), undefined, "with the session that had nothing else");
  t.equal(partOf(shared.partId), undefined);
  t.strictSame(
    (await store.load("shared"))?.files.map((file) => file.id),
    [beside.id],
    "another name stays",
  );
  t.ok(partOf(beside.partId));
  t.ok(partOf(live.partId), "somebody is at it");
  t.equal((await store.load("live"))?.files.length, 1);
  t.equal((await store.load("done"))?.files.length, 1, "an outcome that may not have been heard");
  t.equal((await store.load("now"))?.files.length, 1, "itself");
});

t.test("an older version in the session itself goes, and the session stays", async (t) => {
  const { sink, store, unfinished, partOf } = setUp(t);
  const older = await leave(sink, store, "now", offerOf("a", SIZE, { key: keyOf("older") }), { chunks: 1 });
  await unfinished.supersede(ownerOf("now"), { name: Buffer.from("a"), id: undefined });
  t.equal(partOf(older.partId), undefined);
  t.strictSame((await store.load("now"))?.files, []);
});
