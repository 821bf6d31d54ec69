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

export interface StoredFile {
  readonly file: number;
  readonly name: Uint8Array;
  /** In bytes; null while it isn't known. */
  readonly size: number | null;
  readonly mtime: readonly [seconds: number, nanoseconds: number];
  readonly mode: number;
  /** Id of its part. */
  readonly partId: string;
}

export interface StoredChunk {
  readonly file: number;
  readonly offset: number;
  readonly crc32: number;
}

export interface StoredSession {
  readonly record: SessionRecord;
  readonly files: readonly StoredFile[];
  readonly chunks: readonly StoredChunk[];
}

export interface SessionStore {
  /** Throws E_IO; so does everything below. */
  create(record: SessionRecord): Promise<void>;
  /** Adds files to a session; one that is there already (by its index) is replaced. */
  putFiles(id: string, files: readonly StoredFile[]): Promise<void>;
  /** Appends to the journal, all or nothing. A chunk that is there already is replaced. */
  recordChunks(id: string, chunks: readonly StoredChunk[]): Promise<void>;
  /** A file is settled: it and its chunks are forgotten. */
  settleFiles(id: string, files: readonly number[]): Promise<void>;
  /** All that is known of a session; undefined where there is none. Files and chunks by index and offset. */
  load(id: string): Promise<StoredSession | undefined>;
  /** Sessions, oldest first. */
  list(): Promise<readonly SessionRecord[]>;
  /** Forgets a session. Idempotent. */
  drop(id: string): Promise<void>;
  close(): Promise<void>;
}
