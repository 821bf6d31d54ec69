/** What is unfinished in a directory, for whoever asks from outside: also while a server has it open. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../protocol/errors.ts";
import { displayName, escapeText, STAGING_NAME } from "../protocol/names.ts";
import { DatabaseSessionStore } from "../sink/database-session-store.ts";
import { dropPartIn } from "../sink/disk-sink.ts";
import type { SessionSummary } from "../sink/session-store.ts";
import { assertDirectory } from "./assert-directory.ts";
import { DirectoryLock } from "./directory-lock.ts";
import { SESSIONS_NAME } from "./open-directory.ts";
import { SESSION_TTL_MS } from "./types.ts";

/** A transfer that did not come to its end, or not yet. */
export interface UnfinishedTransfer {
  readonly transferId: string;
  /** The client's canonical IP address. */
  readonly peer: string;
  /** `active`: a server has it open. `waiting`: for its client to send the same again. */
  readonly state: "active" | "waiting";
  /** Milliseconds since 1970; so are the others. */
  readonly createdMs: number;
  /** When something of it was last recorded. */
  readonly seenMs: number;
  /** When it will be dropped; null while it is active. */
  readonly expiresMs: number | null;
  /** Of its files, what is recorded as there. */
  readonly bytesPresent: number;
  /** null while the size of a file isn't known. */
  readonly bytesTotal: number | null;
  readonly files: readonly {
    /** Safe to show. */
    readonly name: string;
    readonly bytes: number | null;
    readonly bytesPresent: number;
    /** `committed`: it is in its place, and only the client has not heard of it. */
    readonly state: "receiving" | "committed";
  }[];
}

/** Whether a server ever had the directory. */
export function wasServed(directory: string): boolean {
  return existsSync(pathOf(directory));
}

/** What is unfinished in a served directory, oldest first. Throws E_CONFIG, E_IO. */
export function readSessions(directory: string): UnfinishedTransfer[] {
  return reading(directory, (store) => {
    const serverRuns = isServed(directory);
    const ttlMs = store.ttlMs ?? SESSION_TTL_MS;
    return [...store.summaries()].map((summary) => unfinishedOf(summary, serverRuns, ttlMs));
  });
}

/**
 * Drops a waiting transfer with its parts, by its id or the beginning of it. Returns the whole id. Throws E_USAGE where
 * none or several are meant, E_CONFIG where there is no such directory, E_BUSY where a server has it open, E_IO.
 */
export function dropSession(directory: string, transferId: string): string {
  const found = reading(directory, (store) =>
    [...store.summaries()].filter((s) => s.transferId.startsWith(transferId)),
  );
  const [session] = found;
  const shown = escapeText(transferId);
  if (session === undefined) throw new HawserError("E_USAGE", `no unfinished transfer is called '${shown}'`);
  if (found.length > 1) throw new HawserError("E_USAGE", `'${shown}' may be any of ${found.length} transfers`);
  const store = DatabaseSessionStore.open(pathOf(directory));
  try {
    const parts = store.dropIdle(session.id, isServed(directory));
    if (parts === undefined) {
      const message = `the server has the transfer ${session.transferId} open: its client is there, or went away a minute ago at most`;
      throw new HawserError("E_BUSY", message);
    }
    for (const part of parts) dropPartIn(directory, part);
    return session.transferId;
  } finally {
    void store.release();
  }
}

const pathOf = (directory: string) => join(directory, STAGING_NAME, SESSIONS_NAME);
const isServed = (directory: string) => DirectoryLock.isTaken(join(directory, STAGING_NAME));

function reading<T>(directory: string, read: (store: DatabaseSessionStore) => T[]): T[] {
  assertDirectory(directory);
  if (!existsSync(pathOf(directory))) return [];
  const store = DatabaseSessionStore.read(pathOf(directory));
  try {
    return read(store);
  } finally {
    void store.release();
  }
}

function unfinishedOf(summary: SessionSummary, serverRuns: boolean, ttlMs: number): UnfinishedTransfer {
  const { transferId, peer, createdMs, seenMs } = summary;
  const isActive = serverRuns && summary.live;
  const files = summary.files.map(({ name, size, bytesPresent, state }) => ({
    name: displayName(name),
    bytes: size,
    bytesPresent,
    state: state === "committed" ? state : ("receiving" as const),
  }));
  return {
    transferId,
    peer,
    state: isActive ? "active" : "waiting",
    createdMs,
    seenMs,
    expiresMs: isActive ? null : seenMs + ttlMs,
    bytesPresent: files.reduce((sum, file) => sum + file.bytesPresent, 0),
    bytesTotal: files.some(({ bytes }) => bytes === null)
      ? null
      : files.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    files,
  };
}
