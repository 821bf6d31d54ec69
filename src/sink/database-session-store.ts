/** Sessions in a database in staging. One process writes it: whoever holds the directory's lock. */
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import { syncPath } from "./durable.ts";
import { GroupCommit } from "./group-commit.ts";
import { ioError } from "./io-error.ts";
import { bootId } from "./platform.ts";
import type {
  CommitRecord,
  KeptSession,
  NewFile,
  SessionRecord,
  SessionStore,
  SessionSummary,
  StoredChunk,
  StoredFile,
  StoredSession,
} from "./session-store.ts";

/** Of the schema below; a database of another version is set aside by whoever opens it. */
const VERSION = 2;

/**
 * What is not synced may be gone after a power cut, but is never half there: the write-ahead log is read up to the first
 * frame whose checksum is wrong (sqlite.org/wal.html). `sync` is for those who need more.
 */
const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA foreign_keys = ON;
  CREATE TABLE IF NOT EXISTS session (
    id TEXT PRIMARY KEY, transfer TEXT NOT NULL, peer TEXT NOT NULL, created_ms INTEGER NOT NULL,
    chunk_bytes INTEGER NOT NULL, generation INTEGER NOT NULL, seen_ms INTEGER NOT NULL, live INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL REFERENCES session ON DELETE CASCADE, key TEXT,
    name BLOB NOT NULL, size INTEGER, mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,
    part TEXT NOT NULL UNIQUE, state TEXT NOT NULL, commit_size INTEGER, commit_crc32 INTEGER, fingerprint TEXT,
    boot TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS file_of_session ON file (session);
  CREATE INDEX IF NOT EXISTS file_by_key ON file (key);
  CREATE INDEX IF NOT EXISTS file_by_name ON file (name);
  CREATE TABLE IF NOT EXISTS chunk (
    file INTEGER NOT NULL REFERENCES file ON DELETE CASCADE, offset INTEGER NOT NULL, crc32 INTEGER NOT NULL,
    synced INTEGER NOT NULL,
    PRIMARY KEY (file, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS server (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), ttl_ms INTEGER NOT NULL) STRICT;
  PRAGMA user_version = ${VERSION};
`;

/** How long we wait for whoever drops a session from outside. */
const BUSY_MS = 2000;

type Row = Record<string, SQLOutputValue>;
type Value = string | number | Uint8Array | null;

export class DatabaseSessionStore implements SessionStore {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #group: GroupCommit;

  private constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
    this.#group = new GroupCommit(database);
  }

  /** Opens or makes the database at `path`. Throws E_IO, also where it is of another version, or spoilt. */
  static open(path: string): DatabaseSessionStore {
    const store = guarded("opening the sessions' database", () => {
      return new DatabaseSessionStore(path, new DatabaseSync(path, { timeout: BUSY_MS }));
    });
    try {
      store.#prepare();
      return store;
    } catch (thrown) {
      store.#database.close();
      throw thrown;
    }
  }

  /** Opens it to be looked at, beside the server that has it open. */
  static read(path: string): DatabaseSessionStore {
    return guarded("opening the sessions' database", () => {
      const store = new DatabaseSessionStore(path, new DatabaseSync(path, { readOnly: true, timeout: BUSY_MS }));
      store.#assertVersion();
      return store;
    });
  }

  #prepare(): void {
    guarded("preparing the sessions' database", () => {
      this.#assertVersion();
      const [check] = this.#all("PRAGMA quick_check(1)");
      if (check?.["quick_check"] !== "ok") throw new Error(`it is spoilt: ${check?.["quick_check"]}`);
      this.#database.exec(SCHEMA);
    });
  }

  #assertVersion(): void {
    const [row] = this.#all("PRAGMA user_version");
    const version = Number(row?.["user_version"]);
    const isNew = version === 0 && this.#all("SELECT name FROM sqlite_schema").length === 0;
    if (!isNew && version !== VERSION) throw new Error(`it is of version ${version}, and this program's is ${VERSION}`);
  }

  async create(r: SessionRecord): Promise<void> {
    const { id, transferId, peer, createdMs, chunkBytes } = r;
    const sql = "INSERT INTO session VALUES (?, ?, ?, ?, ?, 1, ?, 1)";
    await this.#write(() => this.#run(sql, id, transferId, peer, createdMs, chunkBytes, createdMs));
  }

  async open(id: string): Promise<StoredSession | undefined> {
    const sql = "UPDATE session SET live = 1, generation = generation + 1, seen_ms = ? WHERE id = ?";
    await this.#write(() => this.#run(sql, Date.now(), id));
    return this.load(id);
  }

  async close(id: string): Promise<void> {
    await this.#write(() => this.#run("UPDATE session SET live = 0, seen_ms = ? WHERE id = ?", Date.now(), id));
  }

  async find(peer: string, keys: readonly string[]): Promise<KeptSession | undefined> {
    const sql = `SELECT * FROM session WHERE peer = ? AND id IN (
      SELECT session FROM file WHERE key IN (${keys.map(() => "?").join(", ")})
    ) ORDER BY seen_ms DESC LIMIT 1`;
    const [row] = this.#all(sql, peer, ...keys);
    return row && recordOf(row);
  }

  async findFile(
    peer: string,
    key: string,
    sessionId: string,
  ): Promise<{ file: StoredFile; sessionId: string } | undefined> {
    const sql = `SELECT file.* FROM file JOIN session ON session.id = file.session WHERE key = ? AND peer = ?
      ORDER BY session = ? DESC, file.id LIMIT 1`;
    const [row] = this.#all(sql, key, peer, sessionId);
    return row && { file: fileOf(row), sessionId: String(row["session"]) };
  }

  async findNamed(peer: string, name: Uint8Array): Promise<{ file: StoredFile; sessionId: string; live: boolean }[]> {
    const sql = `SELECT file.*, session.live FROM file JOIN session ON session.id = file.session
      WHERE name = ? AND peer = ? ORDER BY file.id`;
    return this.#all(sql, name, peer).map((row) => ({
      file: fileOf(row),
      sessionId: String(row["session"]),
      live: row["live"] === 1,
    }));
  }

  async addFiles(sessionId: string, files: readonly NewFile[]): Promise<number[]> {
    const boot = bootId();
    return this.#write(() => {
      this.#seen(sessionId);
      return files.map(({ key, name, size, mtime, mode, partId }) => {
        const sql = `INSERT INTO file (session, key, name, size, mtime_s, mtime_ns, mode, part, state, boot)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'receiving', ?)`;
        return Number(this.#run(sql, sessionId, key, name, size, mtime[0], mtime[1], mode, partId, boot));
      });
    });
  }

  async moveFile(file: number, sessionId: string): Promise<void> {
    await this.#write(() => this.#run("UPDATE file SET session = ? WHERE id = ?", sessionId, file));
  }

  async chunks(file: number): Promise<StoredChunk[]> {
    const rows = this.#all("SELECT offset, crc32, synced FROM chunk WHERE file = ? ORDER BY offset", file);
    return rows.map((row) => ({
      file,
      offset: Number(row["offset"]),
      crc32: Number(row["crc32"]),
      synced: row["synced"] === 1,
    }));
  }

  async hasChunks(file: number): Promise<boolean> {
    return this.#all("SELECT 1 FROM chunk WHERE file = ? LIMIT 1", file).length > 0;
  }

  async recordChunks(chunks: readonly StoredChunk[]): Promise<void> {
    await this.#write(() => {
      const files = new Set<number>();
      for (const { file, offset, crc32, synced } of chunks) {
        files.add(file);
        this.#run("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?)", file, offset, crc32, synced ? 1 : 0);
      }
      for (const file of files) {
        const sql = "UPDATE session SET seen_ms = ? WHERE id = (SELECT session FROM file WHERE id = ?)";
        this.#run(sql, Date.now(), file);
      }
    });
  }

  async forgetChunks(file: number, which: readonly number[] | "unsynced"): Promise<void> {
    await this.#write(() => {
      if (which === "unsynced") this.#run("DELETE FROM chunk WHERE file = ? AND synced = 0", file);
      else for (const offset of which) this.#run("DELETE FROM chunk WHERE file = ? AND offset = ?", file, offset);
    });
  }

  async renewBoot(file: number): Promise<void> {
    await this.#write(() => this.#run("UPDATE file SET boot = ? WHERE id = ?", bootId(), file));
  }

  async beginCommit(file: number, { size, crc32, fingerprint }: CommitRecord): Promise<void> {
    const sql = `UPDATE file SET state = 'committing', commit_size = ?, commit_crc32 = ?, fingerprint = ? WHERE id = ?`;
    await this.#write(() => this.#run(sql, size, crc32, fingerprint, file));
  }

  async endCommit(file: number, committed: boolean): Promise<void> {
    await this.#write(() => {
      this.#run("UPDATE file SET state = ? WHERE id = ?", committed ? "committed" : "receiving", file);
      if (committed) this.#run("DELETE FROM chunk WHERE file = ?", file);
    });
  }

  async forgetFiles(files: readonly number[]): Promise<void> {
    await this.#write(() => {
      for (const file of files) this.#run("DELETE FROM file WHERE id = ?", file);
    });
  }

  async load(id: string): Promise<StoredSession | undefined> {
    const [session] = this.#all("SELECT * FROM session WHERE id = ?", id);
    if (session === undefined) return undefined;
    const files = this.#all("SELECT * FROM file WHERE session = ? ORDER BY id", id).map(fileOf);
    return { record: recordOf(session), files };
  }

  async list(): Promise<readonly KeptSession[]> {
    return this.#all("SELECT * FROM session ORDER BY created_ms, id").map(recordOf);
  }

  /** Sessions with their files, and how much of each is there, oldest first. */
  *summaries(): Generator<SessionSummary> {
    const sql = `SELECT file.*, (
        SELECT coalesce(sum(min(?, file.size - chunk.offset)), 0) FROM chunk WHERE chunk.file = file.id
      ) AS present FROM file WHERE session = ? ORDER BY id`;
    for (const row of this.#all("SELECT * FROM session ORDER BY created_ms, id")) {
      const record = recordOf(row);
      const files = this.#all(sql, record.chunkBytes, record.id).map((file) => {
        const { name, size, state, commit } = fileOf(file);
        return { name, size, state, bytesPresent: commit?.size ?? Number(file["present"]) };
      });
      yield { ...record, files };
    }
  }

  /** Forgets a session that nobody has open. Returns the ids of its parts; undefined where somebody has it open. */
  dropIdle(id: string, serverRuns: boolean): string[] | undefined {
    // For who asks from outside, and at once.
    return this.#now(() => {
      const [row] = this.#all("SELECT live FROM session WHERE id = ?", id);
      if (row === undefined || (serverRuns && row["live"] === 1)) return undefined;
      const parts = this.#all("SELECT part FROM file WHERE session = ?", id).map(({ part }) => String(part));
      this.#run("DELETE FROM session WHERE id = ?", id);
      return parts;
    });
  }

  /** How long the server that was here last keeps what nobody has open. */
  get ttlMs(): number | undefined {
    const [row] = this.#all("SELECT ttl_ms FROM server");
    return row && Number(row["ttl_ms"]);
  }
  noteTtl(ttlMs: number): void {
    this.#run("INSERT OR REPLACE INTO server VALUES (1, ?)", ttlMs);
  }

  /** No session is open: said by a server that starts, of what one before it may have left so. */
  async closeAll(): Promise<void> {
    await this.#write(() => this.#run("UPDATE session SET live = 0"));
  }

  async drop(id: string): Promise<void> {
    await this.#write(() => this.#run("DELETE FROM session WHERE id = ?", id));
  }

  /** The log is where all that isn't yet in the database itself stands. */
  sync(): Promise<void> {
    this.#group.flush();
    return syncPath(`${this.#path}-wal`);
  }

  async release(): Promise<void> {
    this.#group.close();
  }

  #seen(sessionId: string): void {
    this.#run("UPDATE session SET seen_ms = ? WHERE id = ?", Date.now(), sessionId);
  }

  /** All or nothing; what is written in the same turn of the event loop is committed together. */
  async #write<T>(work: () => T): Promise<T> {
    try {
      return await this.#group.write(work);
    } catch (thrown) {
      throw ioError("writing the sessions' database", thrown);
    }
  }

  #now<T>(work: () => T): T {
    this.#group.flush();
    this.#run("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#run("COMMIT");
      return result;
    } catch (error) {
      try {
        this.#run("ROLLBACK");
      } catch {
        // SQLite has rolled back by itself, as it does on a full disk.
      }
      throw error;
    }
  }

  #run(sql: string, ...values: Value[]): number | bigint {
    return guarded("writing the sessions' database", () => this.#group.prepared(sql).run(...values).lastInsertRowid);
  }

  #all(sql: string, ...values: Value[]): Row[] {
    return guarded("reading the sessions' database", () => this.#group.prepared(sql).all(...values) as Row[]);
  }
}

function recordOf(row: Row): KeptSession {
  return {
    id: String(row["id"]),
    transferId: String(row["transfer"]),
    peer: String(row["peer"]),
    createdMs: Number(row["created_ms"]),
    chunkBytes: Number(row["chunk_bytes"]),
    generation: Number(row["generation"]),
    seenMs: Number(row["seen_ms"]),
    live: row["live"] === 1,
  };
}

function fileOf(row: Row): StoredFile {
  const commit = row["fingerprint"] === null ? null : commitOf(row);
  return {
    id: Number(row["id"]),
    key: row["key"] === null ? null : String(row["key"]),
    name: row["name"] as Uint8Array,
    size: row["size"] === null ? null : Number(row["size"]),
    mtime: [Number(row["mtime_s"]), Number(row["mtime_ns"])],
    mode: Number(row["mode"]),
    partId: String(row["part"]),
    state: String(row["state"]) as StoredFile["state"],
    commit: row["state"] === "receiving" ? null : commit,
    bootId: row["boot"] === null ? null : String(row["boot"]),
  };
}

function commitOf(row: Row): CommitRecord {
  return {
    size: Number(row["commit_size"]),
    crc32: Number(row["commit_crc32"]),
    fingerprint: String(row["fingerprint"]),
  };
}

function guarded<T>(doing: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw ioError(doing, thrown);
  }
}
