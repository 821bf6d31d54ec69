/**
 * What was received, from whom, when and how fast: kept for good. Two implementations hold to one contract. A history
 * that can't be written costs a warning, never a transfer: that is the caller's part.
 */
import type { FileRecord, TransferRecord } from "./types.ts";

export interface History {
  /** Notes files of a transfer, in the order they were settled. Throws E_IO. */
  addFiles(transferId: string, files: readonly FileRecord[]): Promise<void>;
  /** Notes the transfer; once. Throws E_IO. */
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
    const known = this.#files.get(transferId);
    if (known === undefined) this.#files.set(transferId, [...files]);
    else known.push(...files);
  }

  async addTransfer(record: TransferRecord): Promise<void> {
    this.#transfers.push(record);
  }

  *list(limit = Number.POSITIVE_INFINITY): Iterable<PastTransfer> {
    for (const record of this.#transfers.toReversed().slice(0, limit)) {
      const files = this.#files.get(record.transferId) ?? [];
      yield { ...record, names: files.slice(0, NAMES_SHOWN).map(({ name }) => name), fileRecords: () => files };
    }
  }

  async close(): Promise<void> {}
}
