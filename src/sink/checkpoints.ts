/**
 * Records which chunks are there, every so many bytes or milliseconds, one checkpoint after the other, while chunks go on
 * arriving. Where the sink's durability asks for it their bytes are synced first, and the record after: a record without
 * its bytes would claim zeros.
 */
import { asHawserError, type HawserError } from "../protocol/errors.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { SessionStore, StoredChunk } from "./session-store.ts";
import type { Durability } from "./sink.ts";

const EVERY_BYTES = 128 * 1024 * 1024;
const EVERY_MS = 1000;

export interface CheckpointsOptions {
  readonly store: SessionStore;
  readonly durability: Durability;
  /** A file could not be synced: what was written of it since its last checkpoint is lost. */
  readonly onSyncFailed: (file: ReceivedFile, error: HawserError) => void;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  readonly #syncs: boolean;
  /** Chunks that are written and not recorded, by file. */
  #waiting = new Map<ReceivedFile, StoredChunk[]>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** Syncing now, for whoever asks what takes so long. */
  isSyncing = false;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#syncs = options.durability === "checkpoint" || options.durability === "strict";
  }

  /** A chunk was written. */
  add(file: ReceivedFile, offset: number, crc32: number, bytes: number): void {
    if (file.id === undefined) return;
    const chunk = { file: file.id, offset, crc32, synced: this.#syncs };
    const known = this.#waiting.get(file);
    if (known === undefined) this.#waiting.set(file, [chunk]);
    else known.push(chunk);
    this.#bytes += bytes;
    if (this.#bytes >= EVERY_BYTES) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), EVERY_MS);
  }

  /** Nothing that waits of this file is recorded any more. Resolves when nothing of it is being recorded either. */
  async forget(file: ReceivedFile): Promise<void> {
    this.#waiting.delete(file);
    await this.#running;
  }

  /** Records all that was added so far. */
  async flush(): Promise<void> {
    await this.#running;
    this.#begin();
    await this.#running;
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // What comes meanwhile is recorded after it.
    if (this.#running !== undefined || this.#waiting.size === 0) return;
    const batch = this.#waiting;
    this.#waiting = new Map();
    this.#bytes = 0;
    this.#running = this.#record(batch).finally(() => {
      this.#running = undefined;
      if (this.#bytes >= EVERY_BYTES) this.#begin();
      else if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => this.#begin(), EVERY_MS);
    });
  }

  async #record(batch: ReadonlyMap<ReceivedFile, StoredChunk[]>): Promise<void> {
    const chunks: StoredChunk[] = [];
    for (const [file, added] of batch) {
      if (!(await this.#sync(file))) continue;
      for (const chunk of added) chunks.push(chunk);
    }
    const { store } = this.#options;
    try {
      await store.recordChunks(chunks);
      if (this.#syncs) await store.sync();
    } catch {
      // A journal that can't be written costs what it would have saved, and not the transfer.
    }
  }

  async #sync(file: ReceivedFile): Promise<boolean> {
    if (!this.#syncs) return true;
    this.isSyncing = true;
    try {
      await file.part?.sync();
      return true;
    } catch (thrown) {
      this.#options.onSyncFailed(file, asHawserError(thrown));
      return false;
    } finally {
      this.isSyncing = false;
    }
  }
}
