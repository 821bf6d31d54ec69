/** History in a database in staging, apart from the journal: one may be lost without the other. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import { HawserError } from "../protocol/errors.ts";
import { STAGING_NAME } from "../protocol/names.ts";
import { GroupCommit } from "../sink/group-commit.ts";
import { type History, NAMES_SHOWN, type PastTransfer } from "./history.ts";
import type { FileRecord, TransferRecord } from "./types.ts";

export const HISTORY_NAME = "history.db";

/** How long a writer waits for a reader in another process. Short: the event loop stands still meanwhile. */
const BUSY_MS = 200;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS transfer (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, peer TEXT NOT NULL, status TEXT NOT NULL,
    started_ms INTEGER NOT NULL, duration_ms REAL NOT NULL, files INTEGER NOT NULL, files_failed INTEGER NOT NULL,
    bytes INTEGER NOT NULL, bytes_per_second REAL NOT NULL, bytes_resumed INTEGER NOT NULL, retries INTEGER NOT NULL, streams INTEGER NOT NULL,
    durability TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS noted (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE IF NOT EXISTS page (
    number INTEGER PRIMARY KEY, transfer INTEGER NOT NULL, files INTEGER NOT NULL, entries TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS page_of_transfer ON page (transfer, number, files);
`;

/** A history of before there were pages had a row for each file. */
const HAS_ROWS = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'file'";
const ENTRY_OF_ROW = "json_array(name, bytes, crc32, status, error)";
const ROWS_TO_PAGES = `
  BEGIN IMMEDIATE;
  INSERT INTO page (transfer, files, entries)
    SELECT transfer, count(*), json_group_array(json(entry)) FROM (
      SELECT transfer, number, ${ENTRY_OF_ROW} AS entry,
        row_number() OVER (PARTITION BY transfer ORDER BY number) / 256 AS nth FROM file ORDER BY transfer, number)
    GROUP BY transfer, nth ORDER BY transfer, nth;
  DROP TABLE file;
  COMMIT`;
/** For who may only read. */
const ROWS_AS_PAGES = `CREATE TEMP VIEW page AS
  SELECT number, transfer, 1 AS files, json_array(${ENTRY_OF_ROW}) AS entries FROM file`;

/** A transfer's number, as pages have it, by its id. */
const NUMBER_OF = "(SELECT number FROM noted WHERE id = ?)";
const ADD_PAGE = "INSERT INTO page (transfer, files, entries) VALUES (?, ?, ?)";
const PAGES = `SELECT entries FROM page WHERE transfer = ${NUMBER_OF} ORDER BY number`;
/** Files noted, one that was noted twice counted twice. */
const NOTED = `SELECT coalesce(sum(files), 0) AS count FROM page WHERE transfer = ${NUMBER_OF}`;
/** What was noted last of each file, in the order in which they were first noted. */
const LATEST = `
  SELECT name, bytes, crc32, status, error FROM (
    SELECT *, row_number() OVER (PARTITION BY name ORDER BY page DESC, nth DESC) AS age,
      first_value(page) OVER (PARTITION BY name ORDER BY page, nth) AS first_page,
      first_value(nth) OVER (PARTITION BY name ORDER BY page, nth) AS first_nth
    FROM (
      SELECT page.number AS page, entry.key AS nth, entry.value ->> 0 AS name, entry.value ->> 1 AS bytes,
        entry.value ->> 2 AS crc32, entry.value ->> 3 AS status, entry.value ->> 4 AS error
      FROM page, json_each(page.entries) AS entry WHERE page.transfer = ${NUMBER_OF}))
  WHERE age = 1 ORDER BY first_page, first_nth`;
const ADD_TRANSFER = `INSERT INTO transfer (id, peer, status, started_ms, duration_ms, files, files_failed, bytes,
    bytes_per_second, bytes_resumed, retries, streams, durability)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET
    status = excluded.status, duration_ms = duration_ms + excluded.duration_ms,
    files = excluded.files, files_failed = excluded.files_failed, bytes = excluded.bytes,
    bytes_per_second = excluded.bytes_per_second, bytes_resumed = excluded.bytes_resumed, retries = retries + excluded.retries,
    streams = max(streams, excluded.streams), durability = excluded.durability`;
// An earlier run had written others, perhaps of a server that was killed and left no transfer that they belong to.
// That is rare, and adding up a million files takes seconds: counting them, page by page, says whether to.
const ADD_EARLIER = `UPDATE transfer SET files = all_of.count, files_failed = max(files_failed, all_of.failed), bytes = max(bytes, all_of.sum)
  FROM (
    SELECT count(*) AS count, count(*) FILTER (WHERE status = 'failed') AS failed,
      coalesce(sum(bytes) FILTER (WHERE status <> 'failed'), 0) AS sum FROM (${LATEST})) AS all_of
  WHERE id = ?`;

/** Of a page: what is noted of one file. */
type Entry = [name: string, bytes: number, crc32: string | null, status: FileRecord["status"], error: string | null];
type Row = Record<string, SQLOutputValue>;

export class DatabaseHistory implements History {
  readonly #database: DatabaseSync;
  readonly #group: GroupCommit;

  private constructor(database: DatabaseSync) {
    this.#database = database;
    this.#group = new GroupCommit(database);
  }

  /** Opens or makes the history of a staging directory. Throws E_IO. */
  static open(staging: string): DatabaseHistory {
    return guarded("opening the history", () => {
      const database = new DatabaseSync(join(staging, HISTORY_NAME), { timeout: BUSY_MS });
      database.exec(SCHEMA);
      if (database.prepare(HAS_ROWS).get() !== undefined) database.exec(ROWS_TO_PAGES);
      return new DatabaseHistory(database);
    });
  }

  /** Opens the history of a served directory to read; undefined where there is none yet. Throws E_CONFIG, E_IO. */
  static read(directory: string): DatabaseHistory | undefined {
    if (!existsSync(directory)) throw new HawserError("E_CONFIG", `the directory '${directory}' does not exist`);
    const path = join(directory, STAGING_NAME, HISTORY_NAME);
    if (!existsSync(path)) return undefined;
    return guarded("opening the history", () => {
      const database = new DatabaseSync(path, { readOnly: true });
      if (database.prepare(HAS_ROWS).get() !== undefined) database.exec(ROWS_AS_PAGES);
      return new DatabaseHistory(database);
    });
  }

  /** In a page of their own, whatever was noted of them before: a row and two indices for each take ten times as long. */
  async addFiles(transferId: string, files: readonly FileRecord[]): Promise<void> {
    const entries = files.map(({ name, bytes, crc32, status, error }): Entry => [name, bytes, crc32, status, error]);
    const page = JSON.stringify(entries);
    await this.#write(() => {
      this.#group.prepared(ADD_PAGE).run(this.#numberOf(transferId), files.length, page);
    });
  }

  #numberOf(transferId: string): SQLOutputValue {
    this.#group.prepared("INSERT INTO noted (id) VALUES (?) ON CONFLICT DO NOTHING").run(transferId);
    return this.#group.prepared("SELECT number FROM noted WHERE id = ?").get(transferId)?.["number"] ?? null;
  }

  async addTransfer(r: TransferRecord): Promise<void> {
    await this.#write(() => {
      this.#group
        .prepared(ADD_TRANSFER)
        .run(
          ...([r.transferId, r.peer, r.status, Math.round(r.startedMs), r.durationMs, r.files, r.filesFailed] as const),
          ...([r.bytes, r.bytesPerSecond, r.bytesResumed, r.retries, r.streams, r.durability] as const),
        );
      const { count } = this.#group.prepared(NOTED).get(r.transferId) as { count: number };
      if (count > this.#filesCounted(r.transferId)) this.#group.prepared(ADD_EARLIER).run(r.transferId, r.transferId);
    });
  }

  async #write(work: () => void): Promise<void> {
    try {
      await this.#group.write(work);
    } catch (thrown) {
      throw historyError("writing the history", thrown);
    }
  }

  *list(limit = -1): Iterable<PastTransfer> {
    const rows = this.#database.prepare("SELECT * FROM transfer ORDER BY number DESC LIMIT ?").iterate(limit);
    for (const row of rows as Iterable<Row>) {
      const id = String(row["id"]);
      yield { ...transferOf(row, this.#firstNames(id)), fileRecords: () => this.filesOf(id) };
    }
  }

  #firstNames(transferId: string): string[] {
    const names = new Set<string>();
    for (const { name } of this.#notedOf(transferId)) {
      names.add(name);
      if (names.size === NAMES_SHOWN) break;
    }
    return [...names];
  }

  async close(): Promise<void> {
    this.#group.close();
  }

  /** The files of a transfer, in the order they were settled. */
  *filesOf(transferId: string): Iterable<FileRecord> {
    const { count } = this.#database.prepare(NOTED).get(transferId) as { count: number };
    if (count === this.#filesCounted(transferId)) {
      yield* this.#notedOf(transferId);
      return;
    }
    // Sorting them by name takes seconds for a million, and is needed only where one was noted twice.
    const latest = this.#database.prepare(LATEST).iterate(transferId) as Iterable<unknown> as Iterable<FileRecord>;
    for (const file of latest) yield { ...file };
  }

  /** As they were noted, and perhaps some of them twice. */
  *#notedOf(transferId: string): Iterable<FileRecord> {
    for (const { entries } of this.#database.prepare(PAGES).iterate(transferId) as Iterable<Row>) {
      for (const [name, bytes, crc32, status, error] of JSON.parse(String(entries)) as Entry[]) {
        yield { name, bytes, crc32, status, error };
      }
    }
  }

  #filesCounted(transferId: string): number {
    const row = this.#database.prepare("SELECT files FROM transfer WHERE id = ?").get(transferId);
    return Number(row?.["files"] ?? 0);
  }
}

/** The transfers that a served directory received, newest first. Throws E_CONFIG, E_IO. */
export function* readHistory(directory: string, options: { readonly limit?: number } = {}): Generator<PastTransfer> {
  const history = DatabaseHistory.read(directory);
  if (history === undefined) return;
  try {
    for (const transfer of guardedIteration(history.list(options.limit))) {
      yield { ...transfer, fileRecords: () => readFiles(directory, transfer.transferId) };
    }
  } finally {
    void history.close();
  }
}

/** Opens the history by itself: whoever asks may do so long after the list was read. */
function* readFiles(directory: string, transferId: string): Generator<FileRecord> {
  const history = DatabaseHistory.read(directory);
  if (history === undefined) return;
  try {
    yield* guardedIteration(history.filesOf(transferId));
  } finally {
    void history.close();
  }
}

function* guardedIteration<T>(items: Iterable<T>): Generator<T> {
  const iterator = items[Symbol.iterator]();
  for (;;) {
    const { value, done } = guarded("reading the history", () => iterator.next());
    if (done) return;
    yield value;
  }
}

function transferOf(row: Row, names: readonly string[]): TransferRecord {
  return {
    transferId: String(row["id"]),
    peer: String(row["peer"]),
    status: String(row["status"]) as TransferRecord["status"],
    startedMs: Number(row["started_ms"]),
    durationMs: Number(row["duration_ms"]),
    files: Number(row["files"]),
    filesFailed: Number(row["files_failed"]),
    bytes: Number(row["bytes"]),
    bytesPerSecond: Number(row["bytes_per_second"]),
    bytesResumed: Number(row["bytes_resumed"]),
    retries: Number(row["retries"]),
    streams: Number(row["streams"]),
    durability: String(row["durability"]),
    names,
  };
}

function guarded<T>(doing: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw historyError(doing, thrown);
  }
}

function historyError(doing: string, thrown: unknown): HawserError {
  if (thrown instanceof HawserError) return thrown;
  return new HawserError("E_IO", `${doing} failed: ${(thrown as Error).message}`, { cause: thrown });
}
