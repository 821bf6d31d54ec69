import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { DatabaseSessionStore } from "../../src/sink/database-session-store.ts";
import { bootId } from "../../src/sink/platform.ts";
import { nameOf } from "../helpers/bytes.ts";
import { chunkOf, fileOf, recordOf, sessionStoreConformance } from "./session-store-conformance.ts";

function opened(t: Test, path = join(t.testdir(), "sessions.db")): DatabaseSessionStore {
  const store = DatabaseSessionStore.open(path);
  t.teardown(() => store.release().catch(() => {}));
  return store;
}

sessionStoreConformance(t, (t) => opened(t), bootId);

t.test("what was recorded is there when the database is opened again", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  const first = DatabaseSessionStore.open(path);
  await first.create(recordOf("a"));
  const [file = 0] = await first.addFiles("a", [fileOf("x")]);
  await first.recordChunks([chunkOf(file, 0, 7, true)]);
  await first.sync();
  await first.release();
  const second = opened(t, path);
  t.match(await second.list(), [{ ...recordOf("a"), generation: 1, live: true }]);
  t.match(await second.load("a"), { files: [{ id: file, key: "k-x" }] });
  t.strictSame(await second.chunks(file), [chunkOf(file, 0, 7, true)]);
  await second.forgetFiles([file]);
  const [next = 0] = await second.addFiles("a", [fileOf("y")]);
  t.ok(next > file, "ids are not used again");
});

t.test("a journal entry is recorded whole or not at all", async (t) => {
  const store = opened(t);
  await store.create(recordOf("a"));
  const [file = 0] = await store.addFiles("a", [fileOf("x")]);
  const good = chunkOf(file, 0);
  for (const bad of [chunkOf(file, 1024, null as unknown as number), chunkOf(99, 0)]) {
    await t.rejects(store.recordChunks([good, bad]), { name: "HawserError", code: "E_IO" });
    t.strictSame(await store.chunks(file), []);
  }
  await store.recordChunks([good]);
  t.strictSame(await store.chunks(file), [good], "and goes on");
});

t.test("files are added all or none", async (t) => {
  const store = opened(t);
  await store.create(recordOf("a"));
  await t.rejects(store.addFiles("a", [fileOf("x"), fileOf("y", { partId: "p-x" })]), { code: "E_IO" });
  t.strictSame((await store.load("a"))?.files, [], "two files never share a part");
  t.equal((await store.addFiles("a", [fileOf("x"), fileOf("y")])).length, 2);
});

t.test("a session that isn't there, or is there twice", async (t) => {
  const store = opened(t);
  await t.rejects(store.addFiles("none", [fileOf("x")]), { code: "E_IO" });
  await store.create(recordOf("a"));
  await t.rejects(store.create(recordOf("a")), { code: "E_IO" });
  const [file = 0] = await store.addFiles("a", [fileOf("x")]);
  await t.rejects(store.moveFile(file, "none"), { code: "E_IO" });
  t.equal((await store.load("a"))?.files.length, 1);
});

t.test("summaries say how much of each file is there", async (t) => {
  const store = opened(t);
  await store.create(recordOf("b", { createdMs: 2, chunkBytes: 100 }));
  await store.create(recordOf("a", { createdMs: 1 }));
  const [whole = 0, none = 0, unknown = 0, committed = 0, pending = 0] = await store.addFiles("b", [
    fileOf("whole", { size: 250 }),
    fileOf("none", { size: 250 }),
    fileOf("unknown", { size: null }),
    fileOf("committed", { size: 250 }),
    fileOf("pending", { size: 250 }),
  ]);
  t.ok(none);
  await store.recordChunks([0, 100, 200].map((offset) => chunkOf(whole, offset)));
  await store.recordChunks([chunkOf(pending, 200), chunkOf(unknown, 0)]);
  await store.beginCommit(committed, { size: 250, crc32: 1, fingerprint: "1:2" });
  await store.endCommit(committed, true);
  const found = [...store.summaries()];
  t.match(found, [
    { id: "a", files: [] },
    { id: "b", generation: 1, live: true },
  ]);
  t.strictSame(
    found[1]?.files.map(({ name, bytesPresent, state }) => [Buffer.from(name).toString(), bytesPresent, state]),
    [
      ["whole", 250, "receiving"],
      ["none", 0, "receiving"],
      ["unknown", 0, "receiving"],
      ["committed", 250, "committed"],
      ["pending", 50, "receiving"],
    ],
  );
});

t.test("a session that a server has open is not dropped from outside", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  const store = opened(t, path);
  const outside = opened(t, path);
  for (const id of ["a", "b", "c"]) {
    await store.create(recordOf(id));
    await store.addFiles(id, [fileOf(id, { name: nameOf(id) })]);
  }
  await store.close("b");
  t.equal(outside.dropIdle("a", true), undefined, "it is open");
  t.equal(outside.dropIdle("none", true), undefined);
  t.strictSame(outside.dropIdle("b", true), ["p-b"], "its parts are for the caller to drop");
  t.strictSame(outside.dropIdle("c", false), ["p-c"], "where no server runs, nobody has it open");
  t.strictSame(
    (await store.list()).map(({ id }) => id),
    ["a"],
  );
  t.equal((await store.load("a"))?.files.length, 1);
});

t.test("a server that starts has nothing open", async (t) => {
  const store = opened(t);
  for (const id of ["a", "b"]) await store.create(recordOf(id));
  await store.closeAll();
  t.match(await store.list(), [
    { live: false, seenMs: recordOf("a").createdMs },
    { live: false, seenMs: recordOf("b").createdMs },
  ]);
});

t.test("how long a server keeps things is noted for whoever asks", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  const store = opened(t, path);
  t.equal(store.ttlMs, undefined);
  for (const ttlMs of [1000, 2000]) store.noteTtl(ttlMs);
  const reader = DatabaseSessionStore.read(path);
  t.equal(reader.ttlMs, 2000);
  await reader.release();
});

t.test("a reader beside the server sees what was written, and writes nothing", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  t.throws(() => DatabaseSessionStore.read(path), { name: "HawserError", code: "E_IO" }, "nothing is made by looking");
  const store = opened(t, path);
  const reader = DatabaseSessionStore.read(path);
  t.teardown(() => reader.release());
  await store.create(recordOf("a"));
  t.equal((await reader.list()).length, 1);
  await t.rejects(reader.create(recordOf("b")), { name: "HawserError", code: "E_IO" });
  t.equal((await store.list()).length, 1);
});

t.test("a database that is spoilt while it is used is an error of the table", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  const first = DatabaseSessionStore.open(path);
  await first.create(recordOf("a"));
  // More than SQLite keeps in memory.
  const long = Array.from({ length: 2000 }, (_, i) => fileOf(`${i}`, { name: new Uint8Array(4000).fill(i) }));
  await first.addFiles("a", long);
  await first.release();
  const second = opened(t, path);
  writeFileSync(path, new Uint8Array(10_000_000).fill(0x5a));
  await t.rejects(second.load("a"), { name: "HawserError", code: "E_IO" });
  await t.rejects(second.drop("a"), { name: "HawserError", code: "E_IO" });
  await t.rejects(
    Promise.resolve().then(() => [...second.summaries()]),
    { name: "HawserError", code: "E_IO" },
  );
});
