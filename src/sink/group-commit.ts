/**
 * Writes of one turn of the event loop to a database, in one transaction: 200 sessions at once would pay for a commit each, at every
 * step. What was written is there for reads of this connection at once; whoever wrote it goes on when it is committed.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";

interface Group {
  readonly committed: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #group: Group | undefined;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /**
   * Runs `work` at once, all of it or nothing, and resolves when it is committed. Rejects with what SQLite throws; where the disk is
   * full all that waited for the same commit may be lost, and each of them hears of it.
   */
  async write<T>(work: () => T): Promise<T> {
    const group = this.#open();
    const result = this.#attempt(work);
    await group.committed;
    return result;
  }

  /** Commits what waits. */
  flush(): void {
    const group = this.#group;
    if (group === undefined) return;
    this.#group = undefined;
    try {
      this.prepared("COMMIT").run();
      group.resolve();
    } catch (thrown) {
      this.#rollBack();
      group.reject(thrown);
    }
  }

  /** A statement, prepared once. */
  prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Commits what waits, and closes the database. */
  close(): void {
    this.flush();
    this.#statements.clear();
    this.#database.close();
  }

  #open(): Group {
    if (this.#group !== undefined) return this.#group;
    this.prepared("BEGIN IMMEDIATE").run();
    const { promise: committed, resolve, reject } = Promise.withResolvers<void>();
    // Whoever's own work failed does not wait for it.
    committed.catch(() => {});
    this.#group = { committed, resolve, reject };
    setImmediate(() => this.flush());
    return this.#group;
  }

  #attempt<T>(work: () => T): T {
    this.prepared("SAVEPOINT one").run();
    try {
      const result = work();
      this.prepared("RELEASE one").run();
      return result;
    } catch (thrown) {
      // On a full disk SQLite takes back all of the transaction by itself.
      if (this.#database.isTransaction) this.#takeBack();
      else this.#lose(thrown);
      throw thrown;
    }
  }

  #takeBack(): void {
    try {
      this.prepared("ROLLBACK TO one").run();
      this.prepared("RELEASE one").run();
    } catch (thrown) {
      this.#rollBack();
      this.#lose(thrown);
    }
  }

  #lose(thrown: unknown): void {
    this.#group?.reject(thrown);
    this.#group = undefined;
  }

  #rollBack(): void {
    try {
      if (this.#database.isTransaction) this.prepared("ROLLBACK").run();
    } catch {
      // It is gone either way.
    }
  }
}
