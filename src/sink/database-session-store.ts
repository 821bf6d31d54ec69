/** Sessions in a database in staging. One process writes it: whoever holds the directory's lock. */
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { ioError } from "./io-error.ts";
import type { SessionRecord, SessionStore, StoredChunk, StoredFile, StoredSession } from "./session-store.ts";

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA foreign_keys = ON;
  CREATE TABLE IF NOT EXISTS session (
    id TEXT PRIMARY KEY, transfer TEXT NOT NULL, peer TEXT NOT NULL, created_ms INTEGER NOT NULL,
    chunk_bytes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS file (
    session TEXT NOT NULL REFERENCES session ON DELETE CASCADE, file INTEGER NOT NULL, name BLOB NOT NULL,
    size INTEGER, mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, part TEXT NOT NULL,
    PRIMARY KEY (session, file)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS chunk (
    session TEXT NOT NULL REFERENCES session ON DELETE CASCADE, file INTEGER NOT NULL, offset INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    PRIMARY KEY (session, file, offset)
  ) STRICT, WITHOUT ROWID;
`;

type Row = Record<string, SQLOutputValue>;

export class DatabaseSessionStore implements SessionStore {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Opens or makes the database at `path`. Throws E_IO. */
  constructor(path: string) {
    this.#database = guarded("opening the sessions' database", () => new DatabaseSync(path));
    guarded("preparing the sessions' database", () => this.#database.exec(SCHEMA));
  }

  async create(r: SessionRecord): Promise<void> {
    this.#run("INSERT INTO session VALUES (?, ?, ?, ?, ?)", r.id, r.transferId, r.peer, r.createdMs, r.chunkBytes);
  }

  async putFiles(id: string, files: readonly StoredFile[]): Promise<void> {
    this.#together(() => {
      for (const { file, name, size, mtime, mode, partId } of files) {
        const sql = "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        this.#run(sql, id, file, name, size, mtime[0], mtime[1], mode, partId);
      }
    });
  }

  async recordChunks(id: string, chunks: readonly StoredChunk[]): Promise<void> {
    this.#together(() => {
      for (const { file, offset, crc32 } of chunks) {
        this.#run("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?)", id, file, offset, crc32);
      }
    });
  }

  async settleFiles(id: string, files: readonly number[]): Promise<void> {
    this.#together(() => {
      for (const file of files) {
        this.#run("DELETE FROM chunk WHERE session = ? AND file = ?", id, file);
        this.#run("DELETE FROM file WHERE session = ? AND file = ?", id, file);
      }
    });
  }

  async load(id: string): Promise<StoredSession | undefined> {
    const [session] = this.#all("SELECT * FROM session WHERE id = ?", id);
    if (session === undefined) return undefined;
    return {
      record: recordOf(session),
      files: this.#all("SELECT * FROM file WHERE session = ? ORDER BY file", id).map(fileOf),
      chunks: this.#all("SELECT file, offset, crc32 FROM chunk WHERE session = ? ORDER BY file, offset", id).map(
        (row) => ({ file: Number(row["file"]), offset: Number(row["offset"]), crc32: Number(row["crc32"]) }),
      ),
    };
  }

  async list(): Promise<readonly SessionRecord[]> {
    return this.#all("SELECT * FROM session ORDER BY created_ms, id").map(recordOf);
  }

  async drop(id: string): Promise<void> {
    this.#run("DELETE FROM session WHERE id = ?", id);
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  #together(work: () => void): void {
    this.#run("BEGIN IMMEDIATE");
    try {
      work();
      this.#run("COMMIT");
    } catch (error) {
      this.#run("ROLLBACK");
      throw error;
    }
  }

  #run(sql: string, ...values: (string | number | Uint8Array | null)[]): void {
    guarded("writing the sessions' database", () => this.#prepared(sql).run(...values));
  }

  #all(sql: string, ...values: string[]): Row[] {
    return guarded("reading the sessions' database", () => this.#prepared(sql).all(...values) as Row[]);
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

function recordOf(row: Row): SessionRecord {
  return {
    id: String(row["id"]),
    transferId: String(row["transfer"]),
    peer: String(row["peer"]),
    createdMs: Number(row["created_ms"]),
    chunkBytes: Number(row["chunk_bytes"]),
  };
}

function fileOf(row: Row): StoredFile {
  return {
    file: Number(row["file"]),
    name: row["name"] as Uint8Array,
    size: row["size"] === null ? null : Number(row["size"]),
    mtime: [Number(row["mtime_s"]), Number(row["mtime_ns"])],
    mode: Number(row["mode"]),
    partId: String(row["part"]),
  };
}

function guarded<T>(doing: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw ioError(doing, thrown);
  }
}
