/**
 * What was received, from whom, when and how fast: kept for good. Two implementations hold to one contract. A history
 * that can't be written costs a warning, never a transfer: that is the caller's part.
 */
import type { FileRecord, TransferRecord } from "./types.ts";

export interface History {
  /** Notes files of a transfer, in the order they were settled; one noted before, by its name, is replaced. Throws E_IO. */
  addFiles(transferId: string, files: readonly FileRecord[]): Promise<void>;
  /** Notes the transfer; again when it went on after an interruption: its totals are then those of all its runs. Throws E_IO. */
  addTransfer(record: TransferRecord): Promise<void>;
  /** Transfers, newest first. */
  list(limit?: number): Iterable<PastTransfer>;
  close(): Promise<void>;
}

export interface PastTransfer extends TransferRecord {
  /** All its files, in the order they were settled. */
  fileRecords(): Iterable<FileRecord>;
}

/** How many names a record shows by itself. */
export const NAMES_SHOWN = 3;

export class MemoryHistory implements History {
  readonly #files = new Map<string, FileRecord[]>();
  readonly #transfers: TransferRecord[] = [];

  async addFiles(transferId: string, files: readonly FileRecord[]): Promise<void> {
    const known = this.#files.get(transferId) ?? [];
    this.#files.set(transferId, known);
    for (const file of files) {
      const before = known.findIndex(({ name }) => name === file.name);
      if (before === -1) known.push(file);
      else known[before] = file;
    }
  }

  async addTransfer(record: TransferRecord): Promise<void> {
    const before = this.#transfers.findIndex(({ transferId }) => transferId === record.transferId);
    if (before === -1) this.#transfers.push(record);
    else this.#transfers[before] = this.#goneOn(this.#transfers[before] as TransferRecord, record);
  }

  #goneOn(first: TransferRecord, latest: TransferRecord): TransferRecord {
    const files = this.#files.get(latest.transferId) ?? [];
    const succeeded = files.filter(({ status }) => status !== "failed");
    return {
      ...latest,
      startedMs: first.startedMs,
      durationMs: first.durationMs + latest.durationMs,
      files: files.length,
      filesFailed: files.length - succeeded.length,
      bytes: succeeded.reduce((sum, { bytes }) => sum + bytes, 0),
      retries: first.retries + latest.retries,
      streams: Math.max(first.streams, latest.streams),
    };
  }

  *list(limit = Number.POSITIVE_INFINITY): Iterable<PastTransfer> {
    for (const record of this.#transfers.toReversed().slice(0, limit)) {
      const files = this.#files.get(record.transferId) ?? [];
      yield { ...record, names: files.slice(0, NAMES_SHOWN).map(({ name }) => name), fileRecords: () => files };
    }
  }

  async close(): Promise<void> {}
}
