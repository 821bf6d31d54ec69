/** History in a database in staging, apart from the journal: one may be lost without the other. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { HawserError } from "../protocol/errors.ts";
import { STAGING_NAME } from "../protocol/names.ts";
import { GroupCommit } from "../sink/group-commit.ts";
import { assertDirectory } from "./assert-directory.ts";
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

/** A history that was begun before there were pages has a row for each file of that time, and keeps them. */
const HAS_ROWS = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'file'";
const HAS_PAGES = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'page'";
const NO_PAGES = "CREATE TEMP TABLE page (number, transfer, files, entries)";

/** A transfer's number, as its files have it, by its id. */
const NUMBER_OF = "(SELECT number FROM noted WHERE id = ?)";
const ADD_PAGE = "INSERT INTO page (transfer, files, entries) VALUES (?, ?, ?)";
const PAGES = `SELECT entries FROM page WHERE transfer = ${NUMBER_OF} ORDER BY number`;
const ROWS = `SELECT name, bytes, crc32, status, error FROM file WHERE transfer = ${NUMBER_OF} ORDER BY number`;
/** Files noted, one that was noted twice counted twice. */
const NOTED_IN_PAGES = `SELECT coalesce(sum(files), 0) AS count FROM page WHERE transfer = ${NUMBER_OF}`;
const NOTED_IN_ROWS = `SELECT count(*) AS count FROM file WHERE transfer = ${NUMBER_OF}`;
/** All that was noted of a transfer, in the order of `page` and `nth`. */
const NOTED = `
  SELECT page.number AS page, entry.key AS nth, entry.value ->> 0 AS name, entry.value ->> 1 AS bytes,
    entry.value ->> 2 AS crc32, entry.value ->> 3 AS status, entry.value ->> 4 AS error
  FROM page, json_each(page.entries) AS entry WHERE page.transfer = ${NUMBER_OF}`;
const NOTED_WITH_ROWS = `SELECT 0 AS page, number AS nth, name, bytes, crc32, status, error FROM file WHERE transfer = ${NUMBER_OF}
  UNION ALL ${NOTED}`;
/** What was noted last of each file, in the order in which they were first noted. */
const latestOf = (noted: string) => `
  SELECT name, bytes, crc32, status, error FROM (
    SELECT *, row_number() OVER (PARTITION BY name ORDER BY page DESC, nth DESC) AS age,
      first_value(page) OVER (PARTITION BY name ORDER BY page, nth) AS first_page,
      first_value(nth) OVER (PARTITION BY name ORDER BY page, nth) AS first_nth
    FROM (${noted}))
  WHERE age = 1 ORDER BY first_page, first_nth`;
/** The same added up. Of the columns beside max() SQLite gives those of its row. */
const totalsOf = (noted: string) => `
  SELECT count(*) AS files, count(*) FILTER (WHERE status = 'failed') AS failed,
    coalesce(sum(bytes) FILTER (WHERE status <> 'failed'), 0) AS bytes
  FROM (SELECT max(page * 4294967296 + nth), bytes, status FROM (${noted}) GROUP BY name)`;

const ADD_TRANSFER = `INSERT INTO transfer (id, peer, status, started_ms, duration_ms, files, files_failed, bytes,
    bytes_per_second, bytes_resumed, retries, streams, durability)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET
    status = excluded.status, duration_ms = duration_ms + excluded.duration_ms,
    files = excluded.files, files_failed = excluded.files_failed, bytes = excluded.bytes,
    bytes_per_second = excluded.bytes_per_second, bytes_resumed = excluded.bytes_resumed, retries = retries + excluded.retries,
    streams = max(streams, excluded.streams), durability = excluded.durability`;
/** Of a page: what is noted of one file. */
type Entry = [name: string, bytes: number, crc32: string | null, status: FileRecord["status"], error: string | null];
const ENTRY_FIELDS = 5;
type Row = Record<string, SQLOutputValue>;

export class DatabaseHistory implements History {
  readonly #database: DatabaseSync;
  readonly #group: GroupCommit;
  readonly #hasRows: boolean;

  private constructor(database: DatabaseSync) {
    this.#database = database;
    this.#group = new GroupCommit(database);
    this.#hasRows = database.prepare(HAS_ROWS).get() !== undefined;
  }

  /** Opens or makes the history of a staging directory. Throws E_IO. */
  static open(staging: string): DatabaseHistory {
    return guarded("opening the history", () => {
      const database = new DatabaseSync(join(staging, HISTORY_NAME), { timeout: BUSY_MS });
      database.exec(SCHEMA);
      return new DatabaseHistory(database);
    });
  }

  /** Opens the history of a served directory to read; undefined where there is none yet. Throws E_CONFIG, E_IO. */
  static read(directory: string): DatabaseHistory | undefined {
    assertDirectory(directory);
    const path = join(directory, STAGING_NAME, HISTORY_NAME);
    if (!existsSync(path)) return undefined;
    return guarded("opening the history", () => {
      const database = new DatabaseSync(path, { readOnly: true });
      // One of before there were pages, which no server has opened since.
      if (database.prepare(HAS_PAGES).get() === undefined) database.exec(NO_PAGES);
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
      const record = transferOf(row, this.#firstNames(String(row["id"])));
      yield { ...this.#withEarlier(record), fileRecords: () => this.filesOf(record.transferId) };
    }
  }

  /** None where they can't be read: what else is known of the transfer, and of those before it, is told all the same. */
  #firstNames(transferId: string): string[] {
    const names = new Set<string>();
    try {
      for (const { name } of this.#notedOf(transferId)) {
        names.add(name);
        if (names.size === NAMES_SHOWN) break;
      }
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
    }
    return [...names];
  }

  /**
   * The totals of all runs: an earlier one had noted others, perhaps of a server that was killed and left no transfer that they
   * belong to. Adding up a million files takes seconds, so it is left to whoever reads, and done where there are more than the last run had.
   */
  #withEarlier(record: TransferRecord): TransferRecord {
    if (this.#countNoted(record.transferId) <= record.files) return record;
    const totals = this.#prepared(totalsOf).get(...this.#idFor(record.transferId)) as Row;
    return {
      ...record,
      files: Math.max(record.files, Number(totals["files"])),
      filesFailed: Math.max(record.filesFailed, Number(totals["failed"])),
      bytes: Math.max(record.bytes, Number(totals["bytes"])),
    };
  }

  async close(): Promise<void> {
    this.#group.close();
  }

  /** The files of a transfer, in the order they were settled. */
  *filesOf(transferId: string): Iterable<FileRecord> {
    const counted = this.#database.prepare("SELECT files FROM transfer WHERE id = ?").get(transferId)?.["files"];
    if (this.#countNoted(transferId) === counted) {
      yield* this.#notedOf(transferId);
      return;
    }
    // Sorting them by name takes seconds for a million, and is needed where one may have been noted twice.
    const latest = this.#prepared(latestOf).iterate(...this.#idFor(transferId));
    for (const file of latest as Iterable<unknown> as Iterable<FileRecord>) yield { ...file };
  }

  #prepared(query: (noted: string) => string): StatementSync {
    return this.#database.prepare(query(this.#hasRows ? NOTED_WITH_ROWS : NOTED));
  }
  /** As often as such a query asks for it. */
  #idFor(transferId: string): string[] {
    return this.#hasRows ? [transferId, transferId] : [transferId];
  }

  #countNoted(transferId: string): number {
    const { count } = this.#group.prepared(NOTED_IN_PAGES).get(transferId) as { count: number };
    if (!this.#hasRows) return count;
    return count + (this.#group.prepared(NOTED_IN_ROWS).get(transferId) as { count: number }).count;
  }

  /** As they were noted, and perhaps some of them twice. Throws SyntaxError where a page is spoilt. */
  *#notedOf(transferId: string): Iterable<FileRecord> {
    if (this.#hasRows) {
      const rows = this.#database.prepare(ROWS).iterate(transferId) as Iterable<unknown> as Iterable<FileRecord>;
      for (const row of rows) yield { ...row };
    }
    for (const { entries } of this.#database.prepare(PAGES).iterate(transferId) as Iterable<Row>) {
      for (const entry of entriesOf(String(entries))) {
        const [name, bytes, crc32, status, error] = entry;
        yield { name, bytes, crc32, status, error };
      }
    }
  }
}

function entriesOf(page: string): Entry[] {
  const entries: unknown = JSON.parse(page);
  if (!Array.isArray(entries) || !entries.every((entry) => Array.isArray(entry) && entry.length === ENTRY_FIELDS)) {
    throw new SyntaxError("a page of files is spoilt");
  }
  return entries;
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
