/**
 * Writes of one turn of the event loop to a database, in one transaction: 200 sessions at once would pay for a commit each, at every
 * step. They run when the turn is over, one after the other, and then are committed: the database is locked only while they do.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";

interface Work {
  /** May run twice: the second time by itself, where the transaction of the first was lost. */
  readonly run: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #works: Work[] = [];
  #isFlushing = false;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /**
   * Has `work` run, all of it or nothing, and resolves with what it returns when that is committed. It does nothing but write
   * to the database, at once. Rejects with what SQLite throws; what another writes in the same turn does not matter.
   */
  write<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#works.push({ run: work, resolve: resolve as (value: unknown) => void, reject });
      if (this.#works.length === 1) setImmediate(() => this.flush());
    });
  }

  /** Commits what waits, for who is about to read it. */
  flush(): void {
    if (this.#works.length === 0 || this.#isFlushing) return;
    this.#isFlushing = true;
    const works = this.#works;
    this.#works = [];
    try {
      this.prepared("BEGIN IMMEDIATE").run();
      const outcomes = this.#commit(works);
      if (outcomes !== undefined) for (const [i, work] of works.entries()) settle(work, outcomes[i] as Outcome);
      // What is too much for a full disk must not take the others with it.
      else for (const work of works) settle(work, this.#alone(work));
    } catch (error) {
      // Somebody else has the database: none of these would get it.
      for (const work of works) work.reject(error);
    } finally {
      this.#isFlushing = false;
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

  /** Of a transaction that was begun. undefined: it is lost, with all that was written in it. */
  #commit(works: readonly Work[]): Outcome[] | undefined {
    try {
      const outcomes = works.map((work) => this.#attempt(work));
      this.prepared("COMMIT").run();
      return outcomes;
    } catch {
      this.#rollBack();
      return undefined;
    }
  }

  /** Throws where the transaction is lost: on a full disk SQLite takes back all of it by itself. */
  #attempt({ run }: Work): Outcome {
    this.prepared("SAVEPOINT one").run();
    try {
      const value = run();
      this.prepared("RELEASE one").run();
      return { value };
    } catch (error) {
      this.prepared("ROLLBACK TO one").run();
      this.prepared("RELEASE one").run();
      return { error };
    }
  }

  #alone({ run }: Work): Outcome {
    try {
      this.prepared("BEGIN IMMEDIATE").run();
      const value = run();
      this.prepared("COMMIT").run();
      return { value };
    } catch (error) {
      this.#rollBack();
      return { error };
    }
  }

  #rollBack(): void {
    try {
      if (this.#database.isTransaction) this.prepared("ROLLBACK").run();
    } catch {
      // It is gone either way.
    }
  }
}

function settle({ resolve, reject }: Work, outcome: Outcome): void {
  if ("error" in outcome) reject(outcome.error);
  else resolve(outcome.value);
}
