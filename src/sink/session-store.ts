/**
 * What outlives the program of a session under way: who it belongs to, the files it was offered, and the journal of
 * chunks that are written. One conformance suite holds every store to this contract.
 */

export interface SessionRecord {
  /** The unguessable id, as hexadecimal digits. */
  readonly id: string;
  readonly transferId: string;
  readonly peer: string;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly chunkBytes: number;
}

/** A session as it lies in the store. */
export interface KeptSession extends SessionRecord {
  /** Counts the times that it was opened, from 1. */
  readonly generation: number;
  /** When something was last written of it, in milliseconds since 1970. */
  readonly seenMs: number;
  /** Whether a server has it open. */
  readonly live: boolean;
}

export interface NewFile {
  /** What it is known again by, as hexadecimal digits; null where it can't be. */
  readonly key: string | null;
  readonly name: Uint8Array;
  /** In bytes; null while it isn't known. */
  readonly size: number | null;
  readonly mtime: readonly [seconds: number, nanoseconds: number];
  readonly mode: number;
  /** Id of its part. */
  readonly partId: string;
}

/** A commit: about to happen, or done. */
export interface CommitRecord {
  readonly size: number;
  readonly crc32: number;
  /** By which the sink knows what it put in place. */
  readonly fingerprint: string;
}

export interface StoredFile extends NewFile {
  /** Of the store, never used twice. */
  readonly id: number;
  /**
   * `committing`: whether it came to that is for the sink to say; `committed`: it did, and the source may not have heard.
   */
  readonly state: "receiving" | "committing" | "committed";
  readonly commit: CommitRecord | null;
  /** The boot of the machine during which its chunks were recorded; null where the platform has no word for it. */
  readonly bootId: string | null;
}

export interface StoredChunk {
  /** Id of its file. */
  readonly file: number;
  readonly offset: number;
  readonly crc32: number;
  /** Whether its bytes were synced before it was recorded: else it counts only as long as the machine runs. */
  readonly synced: boolean;
}

export interface StoredSession {
  readonly record: KeptSession;
  readonly files: readonly StoredFile[];
}

/** What is known of an unfinished session, for whoever lists them. */
export interface SessionSummary extends KeptSession {
  readonly files: readonly {
    readonly name: Uint8Array;
    readonly size: number | null;
    readonly bytesPresent: number;
    readonly state: StoredFile["state"];
  }[];
}

export interface SessionStore {
  /** Makes a session, live, in its first generation. Throws E_IO; so does everything below. */
  create(record: SessionRecord): Promise<void>;
  /** Opens a session: live from now on, one generation later. undefined where there is none. */
  open(id: string): Promise<StoredSession | undefined>;
  /** Nobody has it open any more. */
  close(id: string): Promise<void>;
  /** Of all sessions of `peer`, the one with a file of one of these keys that was seen last. */
  find(peer: string, keys: readonly string[]): Promise<KeptSession | undefined>;
  /** The file of this key, and the session that has it: the given one first. */
  findFile(peer: string, key: string, sessionId: string): Promise<{ file: StoredFile; sessionId: string } | undefined>;
  /** Files of this name that sessions of `peer` have, with whether somebody has the session open. */
  findNamed(peer: string, name: Uint8Array): Promise<{ file: StoredFile; sessionId: string; live: boolean }[]>;
  /** Adds files to a session. Returns their ids, in the same order. */
  addFiles(sessionId: string, files: readonly NewFile[]): Promise<number[]>;
  /** Makes a file that another session left this one's. */
  moveFile(file: number, sessionId: string): Promise<void>;
  /** The journal of a file, by offset. */
  chunks(file: number): Promise<StoredChunk[]>;
  /** Whether there is any chunk in it. */
  hasChunks(file: number): Promise<boolean>;
  /** Appends to the journal, all or nothing. A chunk that is there already is replaced. */
  recordChunks(chunks: readonly StoredChunk[]): Promise<void>;
  /** Takes chunks out of the journal: those at `offsets`, or all that are not synced. */
  forgetChunks(file: number, which: readonly number[] | "unsynced"): Promise<void>;
  /** What is recorded of a file counts from now on as recorded during this boot of the machine. */
  renewBoot(file: number): Promise<void>;
  /** A commit is about to happen. */
  beginCommit(file: number, commit: CommitRecord): Promise<void>;
  /** It did not, or did: its chunks are then forgotten, and the outcome kept for whoever asks again. */
  endCommit(file: number, committed: boolean): Promise<void>;
  /** Files that are settled, and whose outcome nobody will ask for: they are forgotten with their chunks. */
  forgetFiles(files: readonly number[]): Promise<void>;
  /** A session by its id, without opening it. */
  load(id: string): Promise<StoredSession | undefined>;
  /** Sessions, oldest first. */
  list(): Promise<readonly KeptSession[]>;
  /** Forgets a session. Idempotent. */
  drop(id: string): Promise<void>;
  /** What was written so far outlives a power cut when it resolves. */
  sync(): Promise<void>;
  release(): Promise<void>;
}
