/**
 * One server for one directory. The lock is that of a database that holds nothing: the system lets go of it when the
 * process ends, however it ends, so there is no stale lock to clear.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HawserError } from "../protocol/errors.ts";
import { escapeText } from "../protocol/names.ts";
import { ioError } from "../sink/io-error.ts";

export const LOCK_NAME = "lock.db";
/** SQLite's result code for 'the database file is locked'. */
const SQLITE_BUSY = 5;
/** For as long somebody may be looking whether the lock is taken. */
const LOOK_MS = 100;
export const HOLDER_NAME = "server.txt";
/** What stands there when the last one has let go. */
const NOBODY = "nobody";

export class DirectoryLock {
  readonly #database: DatabaseSync;
  readonly #holderPath: string;
  /** Whether whoever held it last ended without letting go of it. */
  readonly wasLeft: boolean;

  private constructor(database: DatabaseSync, holderPath: string) {
    this.#database = database;
    this.#holderPath = holderPath;
    this.wasLeft = !["", NOBODY].includes(readHolder(holderPath));
  }

  /** Takes the lock of a staging directory. Throws E_DIRECTORY_IN_USE, which says by whom. */
  static take(staging: string): DirectoryLock {
    const holderPath = join(staging, HOLDER_NAME);
    const database = new DatabaseSync(join(staging, LOCK_NAME), { timeout: LOOK_MS });
    try {
      database.exec("BEGIN EXCLUSIVE");
    } catch (cause) {
      database.close();
      if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) {
        const error = ioError("locking the directory", cause);
        if (error.code === "E_NO_SPACE") throw error;
        throw new HawserError("E_IO", `${error.message}; remove '${join(staging, LOCK_NAME)}' if no server runs`, {
          cause,
        });
      }
      const message = `another hawser serves this directory already${holderOf(holderPath)}`;
      throw new HawserError("E_DIRECTORY_IN_USE", message, { cause });
    }
    const lock = new DirectoryLock(database, holderPath);
    lock.describe(`process ${process.pid}`);
    return lock;
  }

  /** Whether a server holds the lock now. Asking keeps one that starts at this moment waiting, no more. */
  static isTaken(staging: string): boolean {
    const path = join(staging, LOCK_NAME);
    if (!existsSync(path)) return false;
    const database = new DatabaseSync(path, { timeout: 0, readOnly: true });
    try {
      database.exec("SELECT * FROM sqlite_schema");
      return false;
    } catch (cause) {
      if ((cause as { errcode?: number }).errcode === SQLITE_BUSY) return true;
      throw new HawserError("E_IO", `looking at the directory's lock failed: ${(cause as Error).message}`, { cause });
    } finally {
      database.close();
    }
  }

  /** What others are told of who holds it. */
  describe(holder: string): void {
    try {
      writeFileSync(this.#holderPath, `${holder}\n`, { mode: 0o600 });
    } catch {
      // The lock holds without it; only the message of whoever comes second says less.
    }
  }

  release(): void {
    this.describe(NOBODY);
    this.#database.close();
  }
}

function holderOf(path: string): string {
  const holder = readHolder(path);
  return holder === "" ? "" : ` (${escapeText(holder)})`;
}

/** Empty where nothing is said. */
function readHolder(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
