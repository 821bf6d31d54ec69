/** Sessions in memory: the database's twin, with the same contract and nothing kept. */
import type { SessionRecord, SessionStore, StoredChunk, StoredFile, StoredSession } from "./session-store.ts";

interface Entry {
  readonly record: SessionRecord;
  readonly files: Map<number, StoredFile>;
  readonly chunks: Map<string, StoredChunk>;
}

export class MemorySessionStore implements SessionStore {
  readonly #sessions = new Map<string, Entry>();

  async create(record: SessionRecord): Promise<void> {
    this.#sessions.set(record.id, { record, files: new Map(), chunks: new Map() });
  }

  async putFiles(id: string, files: readonly StoredFile[]): Promise<void> {
    const entry = this.#sessions.get(id);
    for (const file of files) entry?.files.set(file.file, file);
  }

  async recordChunks(id: string, chunks: readonly StoredChunk[]): Promise<void> {
    const entry = this.#sessions.get(id);
    for (const chunk of chunks) entry?.chunks.set(`${chunk.file}:${chunk.offset}`, chunk);
  }

  async settleFiles(id: string, files: readonly number[]): Promise<void> {
    const entry = this.#sessions.get(id);
    for (const file of files) entry?.files.delete(file);
    for (const [key, chunk] of entry?.chunks ?? []) if (files.includes(chunk.file)) entry?.chunks.delete(key);
  }

  async load(id: string): Promise<StoredSession | undefined> {
    const entry = this.#sessions.get(id);
    if (entry === undefined) return undefined;
    return {
      record: entry.record,
      files: [...entry.files.values()].sort((a, b) => a.file - b.file),
      chunks: [...entry.chunks.values()].sort((a, b) => a.file - b.file || a.offset - b.offset),
    };
  }

  async list(): Promise<readonly SessionRecord[]> {
    return [...this.#sessions.values()].map(({ record }) => record).sort((a, b) => a.createdMs - b.createdMs);
  }

  async drop(id: string): Promise<void> {
    this.#sessions.delete(id);
  }

  async close(): Promise<void> {}
}
