/** A database of sessions that a power cut, a fault or another version left: it opens with rows that are right, or E_IO. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t, { type Test } from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { DatabaseSessionStore } from "../../src/sink/database-session-store.ts";
import { randomBytesOf } from "../helpers/bytes.ts";
import { chunkOf, fileOf, recordOf } from "./session-store-conformance.ts";

const PAGE_BYTES = 4096;
const FRAME_HEAD_BYTES = 24;
const LOG_HEAD_BYTES = 32;

/** A database and its log. */
interface Contents {
  readonly main: Buffer;
  readonly log: Buffer;
}
const contentsAt = (path: string): Contents => ({
  main: readFileSync(path),
  log: existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : Buffer.alloc(0),
});

/** In memory where there is such a place: thousands of databases are opened, and each opening syncs. */
function workplace(t: Test): string {
  if (!existsSync("/dev/shm")) return t.testdir();
  const dir = mkdtempSync("/dev/shm/hawser-test-");
  t.teardown(() => rmSync(dir, { recursive: true }));
  return dir;
}

function copied(dir: string, { main, log }: Contents): string {
  const path = join(dir, "copy.db");
  writeFileSync(path, main);
  writeFileSync(`${path}-wal`, log);
  rmSync(`${path}-shm`, { force: true });
  return path;
}

/** All that a store has, as text. */
async function contentOf(store: DatabaseSessionStore): Promise<string> {
  const found: unknown[] = [];
  for (const { id } of await store.list()) {
    const session = await store.load(id);
    found.push(session?.record);
    for (const file of session?.files ?? []) {
      found.push({ ...file, name: Buffer.from(file.name).toString("hex") }, await store.chunks(file.id));
    }
  }
  return JSON.stringify(found);
}

/** Opens what is at `path`, reads all and may write: what was found, or undefined where that is E_IO. */
async function tried(path: string, writes = true): Promise<string | undefined> {
  let store: DatabaseSessionStore | undefined;
  try {
    store = DatabaseSessionStore.open(path);
    const content = await contentOf(store);
    if (writes) await store.create(recordOf("new"));
    await store.release();
    return content;
  } catch (thrown) {
    await store?.release().catch(() => {});
    if (thrown instanceof HawserError && thrown.code === "E_IO") return undefined;
    throw thrown;
  }
}

/** Sessions with files and chunks: what there was after each step, and what a program leaves that closes, or is killed. */
async function written(t: Test) {
  const path = join(workplace(t), "live.db");
  const past = ["[]"];
  const first = DatabaseSessionStore.open(path);
  let store = first;
  const step = async <T>(work: Promise<T>): Promise<T> => {
    const result = await work;
    past.push(await contentOf(store));
    return result;
  };
  await step(first.create(recordOf("a")));
  const [x = 0] = await step(first.addFiles("a", [fileOf("x"), fileOf("y")]));
  await step(first.recordChunks([0, 1, 2].map((i) => chunkOf(x, i * 1024, i, true))));
  await first.release();
  const closed = contentsAt(path);
  store = DatabaseSessionStore.open(path);
  const closedAt = past.length - 1;
  await step(store.create(recordOf("b", { createdMs: 1_700_000_000_001 })));
  const [z = 0] = await step(store.addFiles("b", [fileOf("z")]));
  await step(store.recordChunks([chunkOf(z, 0, 9), chunkOf(x, 3 * 1024, 3, true)]));
  await step(store.beginCommit(z, { size: 10, crc32: 7, fingerprint: "1:2" }));
  const killed = contentsAt(path);
  await store.release();
  return { past, closed, closedAt, killed };
}

/**
 * Lengths to cut a file off at: all of its first pages or frames, where every kind of header is; after them those
 * around the boundaries, and one in 61, since SQLite reads whole pages and so one length in a page is like the next.
 */
function* lengths(bytes: Buffer, headBytes: number, unitBytes: number, wholeUnits = 2): Generator<number> {
  for (let length = 0; length < bytes.length; length++) {
    const at = (length - headBytes + unitBytes) % unitBytes;
    const isNearBoundary = at <= FRAME_HEAD_BYTES + 1 || at >= unitBytes - 2;
    if (length <= headBytes + wholeUnits * unitBytes || isNearBoundary || length % 61 === 0) yield length;
  }
}

t.test("a log that is cut off, at every byte, gives a state that there was, and a longer one a later", async (t) => {
  const { past, closedAt, killed } = await written(t);
  const dir = workplace(t);
  t.equal(await tried(copied(dir, killed)), past.at(-1), "all is there when nothing is cut off");
  const strange: number[] = [];
  const seen = new Set<number>();
  let state = closedAt;
  for (const length of lengths(killed.log, LOG_HEAD_BYTES, FRAME_HEAD_BYTES + PAGE_BYTES)) {
    const content = await tried(copied(dir, { ...killed, log: killed.log.subarray(0, length) }), length % 8 === 0);
    const found = past.indexOf(content ?? "none");
    if (found < state) strange.push(length);
    state = Math.max(state, found);
    seen.add(found);
  }
  t.strictSame(strange, []);
  t.same([...seen], [3, 4, 5, 6], "each of the states there was");
});

for (const which of ["closed", "killed"] as const) {
  t.test(`a database that is cut off, at every byte, opens right or not at all: ${which}`, async (t) => {
    const all = await written(t);
    const dir = workplace(t);
    const whole = all[which];
    const strange: number[] = [];
    let refused = 0;
    for (const length of lengths(whole.main, 0, PAGE_BYTES, which === "closed" ? 2 : 0)) {
      const content = await tried(copied(dir, { ...whole, main: whole.main.subarray(0, length) }), length % 8 === 0);
      if (content === undefined) refused++;
      else if (!all.past.includes(content)) strange.push(length);
    }
    t.strictSame(strange, []);
    t.ok(refused > 0, `${refused} were refused`);
  });
}

t.test("bytes that changed are read, or refused: never anything else", async (t) => {
  const { closed, killed, past } = await written(t);
  const dir = workplace(t);
  const seed = Number(process.env["SEED"] ?? 20_250_601);
  const random = new Uint32Array(randomBytesOf(4 * 400, seed).buffer);
  const outcomes = { opened: 0, refused: 0 };
  const change = async (whole: Contents, what: "main" | "log", word: number) => {
    const bytes = Buffer.from(whole[what]);
    const offset = word % bytes.length;
    bytes[offset] = (bytes[offset] ?? 0) ^ (1 + (word >>> 25));
    const content = await tried(copied(dir, { ...whole, [what]: bytes })).catch((thrown) => {
      t.fail(`byte ${offset} of the ${what} (SEED=${seed}): ${thrown}`);
      return undefined;
    });
    outcomes[content === undefined ? "refused" : "opened"]++;
    return content;
  };
  for (const word of random) await change(closed, "main", word);
  t.ok(outcomes.refused > 0 && outcomes.opened > 0, JSON.stringify(outcomes));
  // The log has checksums.
  for (const word of random) {
    const content = await change(killed, "log", word);
    if (content !== undefined && !past.includes(content)) t.fail(`a log with ${word} changed was believed`);
  }
});

t.test("what is no database of ours", async (t) => {
  const dir = t.testdir({ "dir.db": {}, "text.db": "not a database at all, ".repeat(400) });
  const make = (name: string, sql: string) => {
    const database = new DatabaseSync(join(dir, name));
    database.exec(sql);
    database.close();
  };
  writeFileSync(join(dir, "noise.db"), randomBytesOf(50_000));
  writeFileSync(join(dir, "zeros.db"), new Uint8Array(50_000));
  // As the program before this one made it.
  make(
    "former.db",
    `PRAGMA journal_mode = WAL;
     CREATE TABLE session (id TEXT PRIMARY KEY, transfer TEXT NOT NULL, peer TEXT NOT NULL,
       created_ms INTEGER NOT NULL, chunk_bytes INTEGER NOT NULL) STRICT;
     CREATE TABLE file (session TEXT NOT NULL REFERENCES session ON DELETE CASCADE, file INTEGER NOT NULL,
       name BLOB NOT NULL, size INTEGER, mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,
       part TEXT NOT NULL, PRIMARY KEY (session, file)) STRICT, WITHOUT ROWID;
     INSERT INTO session VALUES ('a', 't', '192.0.2.1', 1, 1048576);`,
  );
  make("version-1.db", "CREATE TABLE session (id TEXT PRIMARY KEY); PRAGMA user_version = 1");
  make("somebodys.db", "CREATE TABLE something (a)");
  make("later.db", "CREATE TABLE session (id TEXT PRIMARY KEY); PRAGMA user_version = 3");
  make("much-later.db", "PRAGMA user_version = 2147483647");
  const names = ["former", "version-1", "somebodys", "later", "much-later", "noise", "text", "dir", "zeros"];
  for (const name of names) {
    const path = join(dir, `${name}.db`);
    t.throws(() => DatabaseSessionStore.open(path), { name: "HawserError", code: "E_IO" }, name);
    t.throws(() => DatabaseSessionStore.read(path), { name: "HawserError", code: "E_IO" }, `${name}, to read`);
  }
  t.throws(() => DatabaseSessionStore.open(join(dir, "later.db")), { message: /version 3, and this program's is 2/ });
});

t.test("an empty file is a new database, and so is one with nothing in it", async (t) => {
  const dir = t.testdir({ "empty.db": "" });
  new DatabaseSync(join(dir, "blank.db")).close();
  for (const name of ["empty.db", "blank.db", "none.db"]) {
    t.strictSame(await tried(join(dir, name)), "[]", name);
    t.ok(existsSync(join(dir, name)));
  }
});
