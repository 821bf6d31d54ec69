/** Sessions in memory: the database's twin, with the same contract and nothing kept. */
import type {
  CommitRecord,
  KeptSession,
  NewFile,
  SessionRecord,
  SessionStore,
  StoredChunk,
  StoredFile,
  StoredSession,
} from "./session-store.ts";

interface Entry {
  record: KeptSession;
  readonly files: Map<number, FileEntry>;
}

interface FileEntry {
  file: StoredFile;
  readonly chunks: Map<number, StoredChunk>;
}

export class MemorySessionStore implements SessionStore {
  readonly #sessions = new Map<string, Entry>();
  readonly #bootId: string | null;
  #ids = 0;

  constructor(bootId: string | null = null) {
    this.#bootId = bootId;
  }

  async create(record: SessionRecord): Promise<void> {
    const kept = { ...record, generation: 1, seenMs: record.createdMs, live: true };
    this.#sessions.set(record.id, { record: kept, files: new Map() });
  }

  async open(id: string): Promise<StoredSession | undefined> {
    const entry = this.#sessions.get(id);
    if (entry === undefined) return undefined;
    entry.record = { ...entry.record, live: true, generation: entry.record.generation + 1, seenMs: Date.now() };
    return this.load(id);
  }

  async close(id: string): Promise<void> {
    const entry = this.#sessions.get(id);
    if (entry !== undefined) entry.record = { ...entry.record, live: false, seenMs: Date.now() };
  }

  async find(peer: string, keys: readonly string[]): Promise<KeptSession | undefined> {
    const has = ({ files }: Entry) => [...files.values()].some(({ file }) => keys.includes(file.key ?? ""));
    const found = [...this.#sessions.values()].filter((entry) => entry.record.peer === peer && has(entry));
    return found.map(({ record }) => record).sort((a, b) => b.seenMs - a.seenMs)[0];
  }

  async findFile(
    peer: string,
    key: string,
    sessionId: string,
  ): Promise<{ file: StoredFile; sessionId: string } | undefined> {
    const own = this.#sessions.get(sessionId);
    for (const entry of own === undefined ? this.#sessions.values() : [own, ...this.#sessions.values()]) {
      if (entry.record.peer !== peer) continue;
      for (const { file } of entry.files.values()) if (file.key === key) return { file, sessionId: entry.record.id };
    }
    return undefined;
  }

  async findNamed(peer: string, name: Uint8Array): Promise<{ file: StoredFile; sessionId: string; live: boolean }[]> {
    return [...this.#sessions.values()].flatMap(({ record: { id: sessionId, live, peer: owner }, files }) => {
      const found = [...files.values()].filter(({ file }) => Buffer.compare(file.name, name) === 0);
      return owner === peer ? found.map(({ file }) => ({ file, sessionId, live })) : [];
    });
  }

  async addFiles(sessionId: string, files: readonly NewFile[]): Promise<number[]> {
    const entry = this.#sessions.get(sessionId);
    this.#seen(entry);
    return files.map((file) => {
      const id = ++this.#ids;
      const stored: StoredFile = { ...file, id, state: "receiving", commit: null, bootId: this.#bootId };
      entry?.files.set(id, { file: stored, chunks: new Map() });
      return id;
    });
  }

  async moveFile(file: number, sessionId: string): Promise<void> {
    for (const { files } of this.#sessions.values()) {
      const entry = files.get(file);
      if (entry === undefined) continue;
      files.delete(file);
      this.#sessions.get(sessionId)?.files.set(file, entry);
      return;
    }
  }

  async chunks(file: number): Promise<StoredChunk[]> {
    return [...(this.#file(file)?.chunks.values() ?? [])].sort((a, b) => a.offset - b.offset);
  }

  async hasChunks(file: number): Promise<boolean> {
    return (this.#file(file)?.chunks.size ?? 0) > 0;
  }

  async recordChunks(chunks: readonly StoredChunk[]): Promise<void> {
    for (const chunk of chunks) {
      this.#file(chunk.file)?.chunks.set(chunk.offset, chunk);
      this.#seen([...this.#sessions.values()].find(({ files }) => files.has(chunk.file)));
    }
  }

  async forgetChunks(file: number, which: readonly number[] | "unsynced"): Promise<void> {
    const chunks = this.#file(file)?.chunks;
    for (const { offset, synced } of [...(chunks?.values() ?? [])]) {
      if (which === "unsynced" ? !synced : which.includes(offset)) chunks?.delete(offset);
    }
  }

  async renewBoot(file: number): Promise<void> {
    this.#change(file, { bootId: this.#bootId });
  }

  async beginCommit(file: number, commit: CommitRecord): Promise<void> {
    this.#change(file, { state: "committing", commit });
  }

  async endCommit(file: number, committed: boolean): Promise<void> {
    if (!committed) return this.#change(file, { state: "receiving", commit: null });
    this.#change(file, { state: "committed" });
    this.#file(file)?.chunks.clear();
  }

  async forgetFiles(files: readonly number[]): Promise<void> {
    for (const entry of this.#sessions.values()) for (const file of files) entry.files.delete(file);
  }

  async load(id: string): Promise<StoredSession | undefined> {
    const entry = this.#sessions.get(id);
    return entry && { record: entry.record, files: [...entry.files.values()].map(({ file }) => file) };
  }

  async list(): Promise<readonly KeptSession[]> {
    return [...this.#sessions.values()].map(({ record }) => record).sort((a, b) => a.createdMs - b.createdMs);
  }

  async drop(id: string): Promise<void> {
    this.#sessions.delete(id);
  }

  async sync(): Promise<void> {}
  async release(): Promise<void> {}

  #seen(entry: Entry | undefined): void {
    if (entry !== undefined) entry.record = { ...entry.record, seenMs: Date.now() };
  }

  #file(id: number): FileEntry | undefined {
    for (const { files } of this.#sessions.values()) {
      const entry = files.get(id);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  #change(id: number, change: Partial<StoredFile>): void {
    const entry = this.#file(id);
    if (entry !== undefined) entry.file = { ...entry.file, ...change };
  }
}
