import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { DatabaseSessionStore } from "../../src/sink/database-session-store.ts";
import { fileOf, recordOf, sessionStoreConformance } from "./session-store-conformance.ts";

sessionStoreConformance(t, (t) => {
  const store = new DatabaseSessionStore(join(t.testdir(), "sessions.db"));
  t.teardown(() => store.close());
  return store;
});

t.test("what was recorded is there when the database is opened again", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  const first = new DatabaseSessionStore(path);
  await first.create(recordOf("a"));
  await first.putFiles("a", [fileOf(0)]);
  await first.recordChunks("a", [{ file: 0, offset: 0, crc32: 1 }]);
  await first.close();
  const second = new DatabaseSessionStore(path);
  t.teardown(() => second.close());
  t.strictSame(await second.list(), [recordOf("a")]);
  t.equal((await second.load("a"))?.files.length, 1);
  t.equal((await second.load("a"))?.chunks.length, 1);
});

t.test("a journal entry is recorded whole or not at all", async (t) => {
  const store = new DatabaseSessionStore(join(t.testdir(), "sessions.db"));
  t.teardown(() => store.close());
  await store.create(recordOf("a"));
  const good = { file: 0, offset: 0, crc32: 1 };
  const bad = { file: 0, offset: 1024, crc32: null as unknown as number };
  await t.rejects(store.recordChunks("a", [good, bad]), { name: "HawserError", code: "E_IO" });
  t.strictSame((await store.load("a"))?.chunks, []);
  await store.recordChunks("a", [good]);
  t.strictSame((await store.load("a"))?.chunks, [good], "and goes on");
});

t.test("a session that isn't there, or is there twice", async (t) => {
  const store = new DatabaseSessionStore(join(t.testdir(), "sessions.db"));
  t.teardown(() => store.close());
  await t.rejects(store.putFiles("none", [fileOf(0)]), { code: "E_IO" });
  await store.create(recordOf("a"));
  await t.rejects(store.create(recordOf("a")), { code: "E_IO" });
});

t.test("a file that is no database is an error of the table", async (t) => {
  const dir = t.testdir({ "text.db": "not a database at all, ".repeat(400), "dir.db": {} });
  for (const name of ["text.db", "dir.db"]) {
    t.throws(() => new DatabaseSessionStore(join(dir, name)), { name: "HawserError", code: "E_IO" });
  }
});

t.test("a database that is spoilt while it is used is an error of the table", async (t) => {
  const path = join(t.testdir(), "sessions.db");
  const first = new DatabaseSessionStore(path);
  await first.create(recordOf("a"));
  await first.close();
  const second = new DatabaseSessionStore(path);
  writeFileSync(path, new Uint8Array(100_000).fill(0x5a));
  await t.rejects(second.load("a"), { name: "HawserError", code: "E_IO" });
  await t.rejects(second.create(recordOf("b")), { name: "HawserError", code: "E_IO" });
  await second.close().catch(() => {});
});
