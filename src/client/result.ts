/** Collects what becomes of the files of a transfer, and makes its result. */
import { processMicros } from "../net/load.ts";
import { formatCrc32 } from "../protocol/crc32.ts";
import { ERRORS, type ErrorCode, errorCodeOf, type Failure, type HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import { displayName, escapeText } from "../protocol/names.ts";
import type { PassedOver } from "../source/entry.ts";
import type { SettledItem } from "../source/events.ts";
import type { SentAs } from "../source/stream.ts";
import type { FailureReport, FileResult, FileStatus, TransferResult } from "./types.ts";
import type { Verdict } from "./verdict.ts";

export function reportOf({ code, message }: Failure): FailureReport {
  const { hint, retryable } = ERRORS[code];
  return { code, message, hint, retryable };
}

/** The result of a file from its outcome. */
export function fileResultOf({ item, outcome, crc32, blake3, bytesResumed }: SettledItem): FileResult {
  const { error, name, replaces = false } = outcome;
  const status = statusOf(outcome, bytesResumed);
  const result: FileResult = {
    name: displayName(name ?? item.name),
    bytes: outcome.size ?? item.size ?? 0,
    crc32: status !== "failed" && crc32 !== undefined ? formatCrc32(crc32) : null,
    status,
    error: error === undefined ? null : reportOf({ code: errorCodeOf(error.code), message: escapeText(error.message) }),
  };
  // Most files have neither, and spreads of what isn't there cost more than all the rest.
  if (blake3 === undefined && !replaces) return result;
  return {
    ...result,
    ...(blake3 === undefined ? {} : { blake3: Buffer.from(blake3).toString("hex") }),
    ...(replaces ? { replaced: true } : {}),
  };
}

/** What is only planned has the status that it would have. */
function statusOf({ status, name }: SettledItem["outcome"], bytesResumed: number): FileStatus {
  if (status === "failed" || status === "unchanged") return status;
  if (name !== undefined) return "renamed";
  return bytesResumed > 0 ? "resumed" : "sent";
}

/** Of what was not even offered. */
export function passedOver({ kind, name, failure }: PassedOver): FileResult {
  const error = kind === "failed" ? reportOf(failure) : null;
  return { name: displayName(name), bytes: 0, crc32: null, status: kind, error };
}

export class ResultBuilder {
  readonly #startedMs = performance.now();
  readonly #startedCpu = processMicros();
  #committed = 0;
  #failed = 0;
  #unchanged = 0;
  #skipped = 0;
  #bytes = 0;
  #bytesSent = 0;
  #bytesResumed = 0;
  #bytesTrusted = 0;
  #bytesOnWire = 0;
  #bytesSaved = 0;
  readonly #chunks = { raw: 0, zstd: 0, sparse: 0 };
  #bytesMatched = 0;
  #isRetryable = false;
  #firstFailure: FailureReport | undefined;
  readonly #dryRun: boolean;
  #terms: Message<"WELCOME"> | undefined;
  #receipt: Message<"RECEIPT"> | undefined;

  /** What limited the transfer. */
  verdict: Verdict | undefined;

  /** What is sent can't be read again. */
  readOnce = false;
  /** The most that were attached at once. */
  streams = 0;

  constructor(dryRun = false) {
    this.#dryRun = dryRun;
  }

  get filesSettled(): number {
    return this.#committed + this.#failed;
  }
  get bytesOnWire(): number {
    return this.#bytesOnWire;
  }
  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  addFile(file: FileResult, bytesResumed = 0, bytesTrusted = 0, bytesMatched = 0): void {
    if (file.error !== null) {
      this.#failed++;
      this.#isRetryable ||= file.error.retryable;
      this.#firstFailure ??= file.error;
    } else if (file.status === "skipped") this.#skipped++;
    else {
      this.#committed++;
      this.#bytes += file.bytes;
      if (file.status === "unchanged") this.#unchanged++;
      else this.#bytesSent += file.bytes - bytesResumed - bytesMatched;
      this.#bytesResumed += bytesResumed;
      this.#bytesTrusted += bytesTrusted;
      this.#bytesMatched += bytesMatched;
    }
  }

  /** A chunk went out. */
  sent(bytes: number, { encoding, bytesOnWire }: SentAs): void {
    this.#bytesOnWire += bytesOnWire;
    this.#bytesSaved += bytes - bytesOnWire;
    this.#chunks[encoding]++;
  }

  opened(terms: Message<"WELCOME">): void {
    this.#terms = terms;
  }
  receipt(receipt: Message<"RECEIPT">): void {
    this.#receipt = receipt;
  }

  build(ended: HawserError | undefined, retries: number, limitBytesPerSecond: number | null = null): TransferResult {
    const error = ended === undefined ? this.#filesError() : reportOf(ended);
    const cpuMicros = processMicros() - this.#startedCpu;
    const durationMs = this.elapsedMs;
    return {
      ok: error === null,
      dryRun: this.#dryRun,
      transferId: this.#terms?.transfer ?? null,
      filesCommitted: this.#committed,
      filesFailed: this.#failed,
      filesUnchanged: this.#unchanged,
      filesSkipped: this.#skipped,
      bytesSent: this.#bytesSent,
      bytes: this.#bytes,
      bytesResumed: this.#bytesResumed,
      bytesMatched: this.#bytesMatched,
      bytesTrusted: this.#bytesTrusted,
      bytesOnWire: this.#bytesOnWire,
      bytesSaved: this.#bytesSaved,
      chunks: { ...this.#chunks },
      durationMs,
      bytesPerSecond: (this.#bytesSent / durationMs) * 1000,
      streams: this.streams,
      retries,
      durability: this.#terms?.durability ?? null,
      limitBytesPerSecond,
      cpuSeconds: {
        client: cpuMicros / 1e6,
        server: this.#receipt === undefined ? null : this.#receipt.cpuMicros / 1e6,
      },
      ...(this.verdict === undefined ? {} : { verdict: this.verdict }),
      exitCode: error === null ? 0 : ERRORS[error.code].exit,
      error,
      resumable: error?.retryable === true && this.#keeps,
      spooled: null,
    };
  }

  /** Whether the server keeps what it has, and this end can send the rest. */
  get #keeps(): boolean {
    return this.#terms !== undefined && this.#terms.inOrder !== true && !this.readOnce;
  }

  /** Some files failed: E_PARTIAL, or the failure itself where nothing else was committed. */
  #filesError(): FailureReport | null {
    if (this.#firstFailure === undefined) return null;
    if (this.#committed === 0) return this.#firstFailure;
    const code: ErrorCode = "E_PARTIAL";
    const message = `${this.#failed} of ${this.filesSettled} files failed, the first of them: ${this.#firstFailure.message}`;
    const report = { ...reportOf({ code, message }), retryable: this.#isRetryable };
    return this.#dryRun ? { ...report, hint: "The files that would fail are listed; nothing was sent." } : report;
  }
}
