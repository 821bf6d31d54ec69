/** Turns what a session settles into history and events. A history that can't be written is a warning. */
import { formatCrc32 } from "../protocol/crc32.ts";
import { displayName } from "../protocol/names.ts";
import type { SettledRecord } from "../sink/outcome-queue.ts";
import { type History, NAMES_SHOWN } from "./history.ts";
import type { LiveSession } from "./live-session.ts";
import type { FileRecord, ServerEvent, TransferRecord } from "./types.ts";

/** Of the files committed by now, bytes that did not have to come. */
export interface BytesSpared {
  /** Earlier runs had brought them. */
  readonly bytesResumed: number;
  /** They were in the files that gave way. */
  readonly bytesMatched: number;
}

export class TransferLog {
  readonly #history: History;
  readonly #spared: () => BytesSpared;
  readonly #emit: (event: ServerEvent) => void;
  readonly #startedMs = performance.now();
  readonly #names: string[] = [];
  #files = 0;
  #failed = 0;
  #bytes = 0;
  #bytesReceived = 0;
  #written = false;

  constructor(history: History, spared: () => BytesSpared, emit: (event: ServerEvent) => void) {
    this.#history = history;
    this.#spared = spared;
    this.#emit = emit;
  }

  async files(session: LiveSession, records: readonly SettledRecord[]): Promise<void> {
    const noted = records.filter(isNoted);
    if (noted.length === 0) return;
    const files = noted.map(fileRecordOf);
    const transferId = session.terms.transfer;
    await this.#note(() => this.#history.addFiles(transferId, files));
    for (const [i, file] of files.entries()) {
      const failure = noted[i]?.failure;
      this.#files++;
      if (file.status === "failed") this.#failed++;
      else this.#bytes += file.bytes;
      if (file.status === "committed") this.#bytesReceived += file.bytes;
      if (this.#names.length < NAMES_SHOWN) this.#names.push(file.name);
      const code = failure === undefined ? {} : { code: failure.code };
      this.#emit({ type: "file", transferId, peer: session.peer, file, ...code });
    }
  }

  async finished(session: LiveSession): Promise<void> {
    const record = this.#record(session, this.#status);
    await this.#write(record);
    this.#emit({ type: "transfer", record });
  }

  get #status(): TransferRecord["status"] {
    if (this.#failed === 0) return "complete";
    return this.#failed === this.#files ? "failed" : "partial";
  }

  /** The client went away. What was committed until then is history all the same. */
  async interrupted(session: LiveSession): Promise<void> {
    if (this.#files > 0 && !this.#written) await this.#write(this.#record(session, "interrupted"));
  }

  async #write(record: TransferRecord): Promise<void> {
    this.#written = true;
    await this.#note(() => this.#history.addTransfer(record));
  }

  async #note(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (thrown) {
      this.#emit({
        type: "warning",
        message: `${(thrown as Error).message}; the transfer goes on without a record of it`,
      });
    }
  }

  #record(session: LiveSession, status: TransferRecord["status"]): TransferRecord {
    const { bytesResumed, bytesMatched } = this.#spared();
    const durationMs = performance.now() - this.#startedMs;
    return {
      transferId: session.terms.transfer,
      peer: session.peer,
      status,
      startedMs: session.startedMs,
      durationMs,
      files: this.#files,
      filesFailed: this.#failed,
      bytes: this.#bytes,
      bytesPerSecond: (Math.max(0, this.#bytesReceived - bytesResumed - bytesMatched) / durationMs) * 1000,
      bytesResumed,
      retries: session.retries,
      streams: session.streamsSeen,
      durability: session.terms.durability,
      names: [...this.#names],
    };
  }
}

/** Not a directory that is there: it is no file, and the files in it tell where they are. */
function isNoted({ outcome: { status }, kind }: SettledRecord): boolean {
  return status !== "planned" && (kind !== "directory" || status === "failed");
}

function fileRecordOf({ outcome, name, failure }: SettledRecord): FileRecord {
  const { size = 0, crc32, status } = outcome;
  return {
    name: displayName(outcome.name ?? name),
    bytes: size,
    crc32: crc32 === undefined ? null : formatCrc32(crc32),
    status: status as FileRecord["status"],
    error: failure?.message ?? null,
  };
}
