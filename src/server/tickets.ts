/**
 * The tickets that a server has given out: one for each client, by name, in a database that the server reads for each
 * connection and `hawser ticket` writes meanwhile. It keeps what a token is checked with, never the token.
 */
import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { isIP } from "node:net";
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { ticketKeyOf } from "../net/proof.ts";
import { HawserError } from "../protocol/errors.ts";
import { TICKET_ID_BYTES, TICKET_TOKEN_BYTES } from "../protocol/limits.ts";
import { escapeText } from "../protocol/names.ts";

export interface TicketRecord {
  /** Hexadecimal; no secret. */
  readonly id: string;
  readonly name: string;
  /** Milliseconds since 1970, as all times here. */
  readonly createdMs: number;
  readonly expiresMs: number | null;
  readonly revokedMs: number | null;
}

export interface NewTicket {
  readonly name: string;
  readonly id: Uint8Array;
  /** Here and nowhere else. */
  readonly token: Uint8Array;
}

export interface KnownTicket extends TicketRecord {
  readonly key: Uint8Array;
}

/** Letters, digits and a few signs, so that a name looks the same in a log, a table and a shell. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** The name of this machine's own client; no ticket that is given out has it. */
export const LOCAL_NAME = "local";

/** Writers hold it for a millisecond; the event loop of a server stands still while it waits. */
const BUSY_MS = 2000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS ticket (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, key BLOB NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER,
    revoked_ms INTEGER
  ) STRICT;
`;

const COLUMNS = "id, name, key, created_ms, expires_ms, revoked_ms";

type Row = Record<string, SQLOutputValue>;

export class Tickets {
  readonly #database: DatabaseSync;
  readonly #byId: StatementSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
    this.#byId = database.prepare(`SELECT ${COLUMNS} FROM ticket WHERE id = ?`);
  }

  /** Opens or makes the database, readable for its owner only. Throws E_IO. */
  static open(path: string): Tickets {
    return guarded(path, () => {
      // SQLite gives its journals the mode of the database.
      closeSync(openSync(path, "a", 0o600));
      const database = new DatabaseSync(path, { timeout: BUSY_MS });
      database.exec(SCHEMA);
      return new Tickets(database);
    });
  }

  /** Throws E_USAGE where the name can't be one, or has a ticket that is good. */
  add(name: string | undefined, nowMs: number, expiresMs: number | null = null): NewTicket {
    if (name !== undefined) checkName(name);
    return this.atOnce(() => {
      const all = this.list();
      const named = name ?? freeName(new Set(all.map((ticket) => ticket.name)));
      if (all.some((ticket) => ticket.name === named && isGood(ticket, nowMs))) {
        throw new HawserError(
          "E_USAGE",
          `there is a ticket for '${named}' already: revoke it first, or take another --name`,
        );
      }
      return this.#insert(named, nowMs, expiresMs);
    });
  }

  /** A new ticket for this machine's own client, in place of the one before. Within `atOnce`. */
  renewLocal(nowMs: number): NewTicket {
    this.#database.prepare("DELETE FROM ticket WHERE name = ?").run(LOCAL_NAME);
    return this.#insert(LOCAL_NAME, nowMs, null);
  }

  #insert(name: string, nowMs: number, expiresMs: number | null): NewTicket {
    const id = randomBytes(TICKET_ID_BYTES);
    const token = randomBytes(TICKET_TOKEN_BYTES);
    const insert = this.#database.prepare(`INSERT INTO ticket (${COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL)`);
    insert.run(id.toString("hex"), name, ticketKeyOf(token), nowMs, expiresMs);
    return { name, id, token };
  }

  find(id: Uint8Array): KnownTicket | undefined {
    const row = guarded("the tickets", () => this.#byId.get(Buffer.from(id).toString("hex")));
    return row === undefined ? undefined : { ...recordOf(row), key: row["key"] as Uint8Array };
  }

  /** All that were given out, oldest first. */
  list(): TicketRecord[] {
    const all = this.#database.prepare(`SELECT ${COLUMNS} FROM ticket WHERE name <> ? ORDER BY created_ms, rowid`);
    return guarded("the tickets", () => all.all(LOCAL_NAME).map(recordOf));
  }

  /** Takes back what is good of this name. Returns whether there was any. */
  revoke(name: string, nowMs: number): boolean {
    const update = this.#database.prepare(
      "UPDATE ticket SET revoked_ms = ? WHERE name = ? AND name <> ? AND revoked_ms IS NULL",
    );
    return guarded("the tickets", () => update.run(nowMs, name, LOCAL_NAME).changes) > 0;
  }

  /** Does all of it, with no other program in between, or nothing. */
  atOnce<T>(work: () => T): T {
    return guarded("the tickets", () => {
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        const result = work();
        this.#database.exec("COMMIT");
        return result;
      } catch (error) {
        this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  close(): void {
    this.#database.close();
  }
}

export function isGood({ expiresMs, revokedMs }: TicketRecord, nowMs: number): boolean {
  return revokedMs === null && (expiresMs === null || nowMs < expiresMs);
}

function checkName(name: string): void {
  // An address stands for a client that has no ticket.
  if (NAME.test(name) && isIP(name) === 0 && name !== LOCAL_NAME) return;
  const expected = "letters, digits and . _ @ - (64 at most), neither an address nor 'local'";
  throw new HawserError("E_USAGE", `'${escapeText(name)}' can't be a ticket's name; expected: ${expected}`);
}

function freeName(taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) if (!taken.has(`client-${number}`)) return `client-${number}`;
}

function recordOf(row: Row): TicketRecord {
  return {
    id: row["id"] as string,
    name: row["name"] as string,
    createdMs: row["created_ms"] as number,
    expiresMs: row["expires_ms"] as number | null,
    revokedMs: row["revoked_ms"] as number | null,
  };
}

function guarded<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof HawserError) throw cause;
    throw new HawserError("E_IO", `${what} can't be read or written: ${(cause as Error).message}`, { cause });
  }
}
