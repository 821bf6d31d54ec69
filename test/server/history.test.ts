import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t, { type Test } from "tap";
import { DatabaseHistory, readHistory } from "../../src/server/database-history.ts";
import { type History, MemoryHistory } from "../../src/server/history.ts";
import type { FileRecord, TransferRecord } from "../../src/server/types.ts";

function transfer(transferId: string, rest: Partial<TransferRecord> = {}): TransferRecord {
  return {
    transferId,
    peer: "192.0.2.1",
    status: "complete",
    startedMs: 1_700_000_000_000,
    durationMs: 2000.5,
    files: 1,
    filesFailed: 0,
    bytes: 4001,
    bytesPerSecond: 2000,
    bytesResumed: 0,
    retries: 2,
    streams: 4,
    durability: "commit",
    names: ["a"],
    ...rest,
  };
}
const file = (name: string, rest: Partial<FileRecord> = {}): FileRecord => ({
  name,
  bytes: 10,
  crc32: "0000abcd",
  status: "committed",
  error: null,
  ...rest,
});

function historyConformance(t: Test, make: (t: Test) => History): void {
  t.test("nothing", async (t) => {
    t.strictSame([...make(t).list()], []);
  });

  t.test("files that are noted many at once, some of them again", async (t) => {
    const history = make(t);
    const files = Array.from({ length: 53 }, (_, i) => file(`f${(i * 7) % 53}`, { bytes: i }));
    await history.addFiles("t1", files);
    const again = files.slice(10, 45).map((one) => ({ ...one, status: "unchanged" as const }));
    await history.addFiles("t1", again);
    await history.addTransfer(transfer("t1"));
    const [t1] = [...history.list()];
    t.strictSame([...(t1?.fileRecords() ?? [])], [...files.slice(0, 10), ...again, ...files.slice(45)]);
  });

  t.test("transfers come newest first, each with its files in the order they were settled", async (t) => {
    const history = make(t);
    const files = [
      file("z", { bytes: 0 }),
      file("a", { status: "failed", crc32: null, error: "no space", bytes: 0 }),
      file("\\u{202e}m", { bytes: Number.MAX_SAFE_INTEGER }),
      file("A", { status: "unchanged", crc32: null, bytes: 0 }),
    ];
    await history.addFiles("t1", files.slice(0, 2));
    await history.addFiles("t2", [file("other")]);
    await history.addFiles("t1", files.slice(2));
    await history.addTransfer(
      transfer("t1", { status: "partial", files: 4, filesFailed: 1, bytes: Number.MAX_SAFE_INTEGER }),
    );
    await history.addTransfer(transfer("t2", { peer: "2001:db8::1" }));
    await history.addTransfer(transfer("t3", { status: "interrupted" }));
    const found = [...history.list()];
    t.strictSame(
      found.map(({ transferId }) => transferId),
      ["t3", "t2", "t1"],
    );
    const [t3, t2, t1] = found;
    t.strictSame([...(t1?.fileRecords() ?? [])], files);
    t.strictSame([...(t2?.fileRecords() ?? [])], [file("other")]);
    t.strictSame([...(t3?.fileRecords() ?? [])], []);
    t.strictSame(t1?.names, ["z", "a", "\\u{202e}m"]);
    t.strictSame(t3?.names, []);
    t.match(t1, {
      status: "partial",
      files: 4,
      filesFailed: 1,
      bytes: Number.MAX_SAFE_INTEGER,
      retries: 2,
      streams: 4,
    });
    t.match(t1, { durationMs: 2000.5, startedMs: 1_700_000_000_000, durability: "commit", bytesResumed: 0 });
    t.match(t2, { peer: "2001:db8::1", bytes: 4001 });
    t.ok(Math.abs((t2?.bytesPerSecond ?? 0) - 2000) < 1);
  });

  t.test("a file that is settled again, in a later run, takes the place of what was noted of it", async (t) => {
    const history = make(t);
    const failed = file("b", { status: "failed", crc32: null, error: "no space", bytes: 0 });
    await history.addFiles("t1", [file("a"), failed, file("c")]);
    await history.addFiles("t2", [failed]);
    await history.addFiles("t1", [file("b", { bytes: 20 }), file("a", { status: "unchanged" }), file("d")]);
    await history.addTransfer(transfer("t1"));
    await history.addTransfer(transfer("t2"));
    const [t2, t1] = [...history.list()];
    t.strictSame(
      [...(t1?.fileRecords() ?? [])],
      [file("a", { status: "unchanged" }), file("b", { bytes: 20 }), file("c"), file("d")],
    );
    t.strictSame([...(t2?.fileRecords() ?? [])], [failed], "and not in another transfer");
  });

  t.test("a transfer that went on has the totals of all its runs", async (t) => {
    const history = make(t);
    const failed = file("b", { status: "failed", crc32: null, error: "no space", bytes: 0 });
    await history.addFiles("t1", [file("a", { bytes: 100 }), failed]);
    const first = { status: "interrupted", files: 2, filesFailed: 1, bytes: 100, durationMs: 500, streams: 8 } as const;
    await history.addTransfer(transfer("t1", { ...first, startedMs: 1000, retries: 1 }));
    await history.addTransfer(transfer("t2"));
    await history.addFiles("t1", [file("b", { bytes: 30 }), file("c", { bytes: 7 })]);
    const second = { status: "complete", files: 2, filesFailed: 0, bytes: 37, durationMs: 250, streams: 2 } as const;
    await history.addTransfer(transfer("t1", { ...second, startedMs: 2000, retries: 3, bytesResumed: 12 }));
    const found = [...history.list()];
    t.strictSame(
      found.map(({ transferId }) => transferId),
      ["t2", "t1"],
      "in its place",
    );
    const { names, ...t1 } = found[1] ?? transfer("none");
    t.match(t1, {
      status: "complete",
      startedMs: 1000,
      durationMs: 750,
      files: 3,
      filesFailed: 0,
      bytes: 137,
      bytesResumed: 12,
      retries: 4,
      streams: 8,
    });
    t.strictSame(names, ["a", "b", "c"]);
  });

  t.test("a limit", async (t) => {
    const history = make(t);
    for (let i = 0; i < 10; i++) await history.addTransfer(transfer(`t${i}`));
    for (const limit of [0, 1, 9, 10, 100]) t.equal([...history.list(limit)].length, Math.min(limit, 10));
    t.equal([...history.list(1)][0]?.transferId, "t9");
  });

  t.test("a list may be left before its end", async (t) => {
    const history = make(t);
    for (let i = 0; i < 10; i++) await history.addTransfer(transfer(`t${i}`));
    for (const { transferId } of history.list()) if (transferId === "t7") break;
    await history.addTransfer(transfer("new"));
    t.equal([...history.list()].length, 11);
  });
}

t.test("in memory", async (t) => historyConformance(t, () => new MemoryHistory()));
t.test("in a database", async (t) =>
  historyConformance(t, (t) => {
    const history = DatabaseHistory.open(t.testdir());
    t.teardown(() => history.close());
    return history;
  }),
);

t.test("files that a server had noted before it was killed count, when the transfer has come to its end", async (t) => {
  const history = DatabaseHistory.open(t.testdir());
  await history.addFiles("t1", [file("a", { bytes: 100 }), file("b", { bytes: 30 })]);
  await history.addFiles("t1", [file("c", { bytes: 7 })]);
  await history.addTransfer(transfer("t1", { files: 1, bytes: 7 }));
  t.match([...history.list()], [{ transferId: "t1", files: 3, filesFailed: 0, bytes: 137, durationMs: 2000.5 }]);
  await history.close();
});

function served(t: Test): { dir: string; path: string } {
  const dir = t.testdir({ ".hawser": {} });
  return { dir, path: join(dir, ".hawser/history.db") };
}

t.test("readHistory beside a server that writes", async (t) => {
  const { dir } = served(t);
  t.strictSame([...readHistory(dir)], [], "none yet");
  const history = DatabaseHistory.open(join(dir, ".hawser"));
  await history.addFiles("t1", [file("a"), file("b")]);
  await history.addTransfer(transfer("t1"));
  for (const past of readHistory(dir)) {
    t.equal(past.transferId, "t1");
    t.strictSame(
      [...past.fileRecords()].map(({ name }) => name),
      ["a", "b"],
    );
    await history.addTransfer(transfer("t2"));
  }
  t.strictSame(
    [...readHistory(dir, { limit: 1 })].map(({ transferId }) => transferId),
    ["t2"],
  );
  await history.close();
  t.equal([...readHistory(dir)].length, 2, "and when it is gone");
});

/** What was written before files were noted in pages: a row for each. */
function rowsOfOld(path: string, files: readonly FileRecord[]): void {
  const database = new DatabaseSync(path);
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE transfer (
      number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, peer TEXT NOT NULL, status TEXT NOT NULL,
      started_ms INTEGER NOT NULL, duration_ms REAL NOT NULL, files INTEGER NOT NULL, files_failed INTEGER NOT NULL,
      bytes INTEGER NOT NULL, bytes_per_second REAL NOT NULL, bytes_resumed INTEGER NOT NULL, retries INTEGER NOT NULL,
      streams INTEGER NOT NULL, durability TEXT NOT NULL
    ) STRICT;
    CREATE TABLE noted (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE file (
      number INTEGER PRIMARY KEY, transfer INTEGER NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, crc32 TEXT,
      status TEXT NOT NULL, error TEXT
    ) STRICT;
    CREATE INDEX file_of_transfer ON file (transfer, number);
    CREATE UNIQUE INDEX file_by_name ON file (transfer, name);
    INSERT INTO noted (number, id) VALUES (1, 'old'), (2, 'other');
    INSERT INTO transfer VALUES
      (1, 'old', '192.0.2.1', 'complete', 1000, 5.5, ${files.length}, 0, 40, 2000, 0, 0, 4, 'commit'),
      (2, 'other', '192.0.2.1', 'complete', 2000, 5.5, 1, 0, 40, 2000, 0, 0, 4, 'commit');
  `);
  const add = database.prepare(
    "INSERT INTO file (transfer, name, bytes, crc32, status, error) VALUES (?, ?, ?, ?, ?, ?)",
  );
  database.exec("BEGIN");
  for (const [i, { name, bytes, crc32, status, error }] of files.entries()) {
    add.run(1, name, bytes, crc32, status, error);
    if (i === 700) add.run(2, name, bytes, crc32, status, error);
  }
  database.exec("COMMIT");
  database.close();
}

t.test("a history of before there were pages: read as it is, and gone on with by the next server", async (t) => {
  const { dir, path } = served(t);
  const files = Array.from({ length: 1500 }, (_, i) => file(`f${(i * 7) % 1500}`, { bytes: i }));
  files[3] = file('it\'s "so" \u2028', { status: "failed", crc32: null, error: "no space", bytes: 0 });
  files[4] = file("large", { bytes: 2 ** 52 });
  rowsOfOld(path, files);
  const readAll = () =>
    [...readHistory(dir)].map(({ transferId, names, fileRecords }) => ({
      transferId,
      names,
      files: [...fileRecords()],
    }));
  const expected = [
    { transferId: "other", names: [files[700]?.name], files: [files[700]] },
    { transferId: "old", names: files.slice(0, 3).map(({ name }) => name), files },
  ];
  t.strictSame(readAll(), expected);
  const history = DatabaseHistory.open(join(dir, ".hawser"));
  t.strictSame(readAll(), expected);
  await history.addFiles("old", [file("f0", { status: "unchanged" }), file("new")]);
  await history.addTransfer(transfer("old", { files: 2 }));
  await history.close();
  const again = DatabaseHistory.open(join(dir, ".hawser"));
  await again.close();
  const [, old] = [...readHistory(dir)];
  t.match(old, { transferId: "old", files: 1501, filesFailed: 1 });
  t.strictSame([...(old?.fileRecords() ?? [])], [file("f0", { status: "unchanged" }), ...files.slice(1), file("new")]);
});

t.test("readHistory of what is no served directory", async (t) => {
  const dir = t.testdir({});
  t.strictSame([...readHistory(dir)], []);
  t.throws(() => [...readHistory(join(dir, "nothing"))], { name: "HawserError", code: "E_CONFIG" });
});

t.test("a spoilt history is an error of the table, whatever is spoilt", async (t) => {
  const { dir, path } = served(t);
  const history = DatabaseHistory.open(join(dir, ".hawser"));
  for (let i = 0; i < 300; i++) {
    await history.addFiles(`t${i}`, [file(`name of file ${i}`)]);
    await history.addTransfer(transfer(`t${i}`));
  }
  await history.close();
  const whole = readFileSync(path);
  const spoilt = {
    text: Buffer.from("not a database at all, ".repeat(400)),
    truncated: whole.subarray(0, 5000),
    "first page": Buffer.concat([Buffer.alloc(4096, 0x5a), whole.subarray(4096)]),
    "all but the first page": Buffer.concat([whole.subarray(0, 4096), Buffer.alloc(whole.length - 4096, 0x5a)]),
  };
  for (const [what, bytes] of Object.entries(spoilt)) {
    const other = t.testdir({ ".hawser": {} });
    writeFileSync(join(other, ".hawser/history.db"), bytes);
    t.throws(() => [...readHistory(other)], { name: "HawserError", code: "E_IO" }, what);
  }
  t.test("a database of somebody else's", async (t) => {
    const { dir, path } = served(t);
    const database = new DatabaseSync(path);
    database.exec("CREATE TABLE something (a)");
    database.close();
    t.throws(() => [...readHistory(dir)], { name: "HawserError", code: "E_IO" });
  });
  t.test("a directory in its place", async (t) => {
    const { dir, path } = served(t);
    mkdirSync(path);
    t.throws(() => [...readHistory(dir)], { name: "HawserError", code: "E_IO" });
    t.throws(() => DatabaseHistory.open(join(dir, ".hawser")), { name: "HawserError", code: "E_IO" });
  });
});

t.test("a spoilt page hides the names of its transfer, and no other", async (t) => {
  const { dir, path } = served(t);
  const history = DatabaseHistory.open(join(dir, ".hawser"));
  for (const id of ["t1", "t2", "t3"]) {
    await history.addFiles(id, [file("a")]);
    await history.addTransfer(transfer(id));
  }
  await history.close();
  const database = new DatabaseSync(path);
  for (const spoilt of ["", "{}", "null", "[1]", "[[]]", '[["a", 1', '"text"']) {
    database.prepare("UPDATE page SET entries = ? WHERE transfer = 2").run(spoilt);
    const found = [...readHistory(dir)];
    t.strictSame(
      found.map(({ transferId, names }) => [transferId, ...names]),
      [["t3", "a"], ["t2"], ["t1", "a"]],
      JSON.stringify(spoilt),
    );
    t.throws(() => [...(found[1]?.fileRecords() ?? [])], { name: "HawserError", code: "E_IO" });
  }
  database.close();
});

t.test("a transfer that was gone on with is noted without reading what was noted before", async (t) => {
  const { dir } = served(t);
  const history = DatabaseHistory.open(join(dir, ".hawser"));
  const files = Array.from({ length: 1000 }, (_, i) => file(`f${i}`, { bytes: i }));
  for (let run = 0; run < 3; run++) {
    await history.addFiles("t1", files);
    await history.addTransfer(transfer("t1", { files: 1000 }));
  }
  await history.close();
  const [past] = [...readHistory(dir)];
  t.match(past, { files: 1000, filesFailed: 0, names: ["f0", "f1", "f2"] });
  t.strictSame([...(past?.fileRecords() ?? [])], files, "and each file once");
});

t.test("a history that another process holds is an error after a short wait, not for ever", async (t) => {
  const { dir, path } = served(t);
  const history = DatabaseHistory.open(join(dir, ".hawser"));
  t.teardown(() => history.close());
  const holder = new DatabaseSync(path);
  holder.exec("BEGIN IMMEDIATE");
  await t.rejects(history.addTransfer(transfer("t1")), { name: "HawserError", code: "E_IO" });
  await t.rejects(history.addFiles("t1", [file("a")]), { name: "HawserError", code: "E_IO" });
  holder.exec("ROLLBACK");
  holder.close();
  await history.addTransfer(transfer("t1"));
  t.equal([...history.list()].length, 1, "and goes on");
});
