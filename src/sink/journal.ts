/** Collects what is to be recorded of chunks, and writes it down every so many bytes or milliseconds, in the order it came. */
import type { SessionStore, StoredChunk } from "./session-store.ts";

const FLUSH_BYTES = 128 * 1024 * 1024;
const FLUSH_MS = 1000;

export class Journal {
  readonly #store: SessionStore;
  readonly #sessionId: string;
  #chunks: StoredChunk[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(store: SessionStore, sessionId: string) {
    this.#store = store;
    this.#sessionId = sessionId;
  }

  add(chunk: StoredChunk, bytes: number): void {
    this.#chunks.push(chunk);
    this.#bytes += bytes;
    if (this.#bytes >= FLUSH_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
  }

  /** Files that are settled need no record. Resolves when none of them is written any more. */
  forget(files: readonly number[]): Promise<void> {
    const gone = new Set(files);
    this.#chunks = this.#chunks.filter(({ file }) => !gone.has(file));
    return this.#writing;
  }

  close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#chunks = [];
    return this.#writing;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#bytes = 0;
    if (chunks.length === 0) return;
    // A journal that can't be written costs what it would have saved, and not the transfer.
    this.#writing = this.#writing.then(() => this.#store.recordChunks(this.#sessionId, chunks)).catch(() => {});
  }
}
