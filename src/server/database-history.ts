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
  CREATE TABLE IF NOT EXISTS file (
    number INTEGER PRIMARY KEY, transfer INTEGER NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, crc32 TEXT,
    status TEXT NOT NULL, error TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS file_of_transfer ON file (transfer, number);
  CREATE UNIQUE INDEX IF NOT EXISTS file_by_name ON file (transfer, name);
`;

/**
 * A transfer's number, as SQL of its row; files have that and not its id, which would stand in three places for each of
 * them and make noting one take half as long again.
 */
const NUMBER = "(SELECT number FROM noted WHERE noted.id = transfer.id)";
/** Of all files of a transfer that went on after an interruption, as SQL of its row. */
const COUNT = `(SELECT count(*) FROM file WHERE file.transfer = ${NUMBER})`;
const SUCCEEDED = `(SELECT count(*) FROM file WHERE file.transfer = ${NUMBER} AND file.status <> 'failed')`;
const BYTES = `(SELECT coalesce(sum(file.bytes), 0) FROM file WHERE file.transfer = ${NUMBER} AND file.status <> 'failed')`;
/** The same of a transfer of this id. */
const NUMBER_OF = "(SELECT number FROM noted WHERE id = ?)";

// A file that failed may be there when the transfer is gone on with, and what is told again is not new.
const addFiles = (count: number) => `INSERT INTO file (transfer, name, bytes, crc32, status, error)
  VALUES ${Array(count).fill("(?, ?, ?, ?, ?, ?)").join(", ")}
  ON CONFLICT (transfer, name) DO UPDATE SET
    bytes = excluded.bytes, crc32 = excluded.crc32, status = excluded.status, error = excluded.error`;
const ADD_FILE = addFiles(1);
/** Small files come by thousands, and in rows of so many a statement they take half the time; more bring no more. */
const FILES_AT_ONCE = 16;
const ADD_FILES = addFiles(FILES_AT_ONCE);
const ADD_TRANSFER = `INSERT INTO transfer (id, peer, status, started_ms, duration_ms, files, files_failed, bytes,
    bytes_per_second, bytes_resumed, retries, streams, durability)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET
    status = excluded.status, duration_ms = duration_ms + excluded.duration_ms,
    files = excluded.files, files_failed = excluded.files_failed, bytes = excluded.bytes,
    bytes_per_second = excluded.bytes_per_second, bytes_resumed = excluded.bytes_resumed, retries = retries + excluded.retries,
    streams = max(streams, excluded.streams), durability = excluded.durability`;
// An earlier run had written others, perhaps of a server that was killed and left no transfer that they belong to.
// That is rare, and adding up a million files takes seconds: counting them, which the index does, says whether to.
const ADD_EARLIER = `UPDATE transfer SET files = ${COUNT}, files_failed = max(files_failed, ${COUNT} - ${SUCCEEDED}),
  bytes = max(bytes, ${BYTES}) WHERE id = ? AND ${COUNT} > files`;

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
      return new DatabaseHistory(database);
    });
  }

  /** Opens the history of a served directory to read; undefined where there is none yet. Throws E_CONFIG, E_IO. */
  static read(directory: string): DatabaseHistory | undefined {
    if (!existsSync(directory)) throw new HawserError("E_CONFIG", `the directory '${directory}' does not exist`);
    const path = join(directory, STAGING_NAME, HISTORY_NAME);
    if (!existsSync(path)) return undefined;
    return guarded("opening the history", () => new DatabaseHistory(new DatabaseSync(path, { readOnly: true })));
  }

  async addFiles(transferId: string, files: readonly FileRecord[]): Promise<void> {
    await this.#write(() => {
      const number = this.#numberOf(transferId);
      const rows = files.map(({ name, bytes, crc32, status, error }) => [number, name, bytes, crc32, status, error]);
      let next = 0;
      for (; next + FILES_AT_ONCE <= rows.length; next += FILES_AT_ONCE) {
        this.#group.prepared(ADD_FILES).run(...rows.slice(next, next + FILES_AT_ONCE).flat());
      }
      for (const row of rows.slice(next)) this.#group.prepared(ADD_FILE).run(...row);
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
      this.#group.prepared(ADD_EARLIER).run(r.transferId);
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
    const names = this.#database.prepare(`SELECT name FROM file WHERE transfer = ${NUMBER_OF} ORDER BY number LIMIT ?`);
    for (const row of rows as Iterable<Row>) {
      const id = String(row["id"]);
      const first = (names.all(id, NAMES_SHOWN) as Row[]).map((file) => String(file["name"]));
      yield { ...transferOf(row, first), fileRecords: () => this.filesOf(id) };
    }
  }

  async close(): Promise<void> {
    this.#group.close();
  }

  /** The files of a transfer, in the order they were settled. */
  *filesOf(transferId: string): Iterable<FileRecord> {
    const files = this.#database.prepare(`SELECT * FROM file WHERE transfer = ${NUMBER_OF} ORDER BY number`);
    const rows = files.iterate(transferId);
    for (const row of rows as Iterable<Row>) {
      yield {
        name: String(row["name"]),
        bytes: Number(row["bytes"]),
        crc32: row["crc32"] === null ? null : String(row["crc32"]),
        status: String(row["status"]) as FileRecord["status"],
        error: row["error"] === null ? null : String(row["error"]),
      };
    }
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
