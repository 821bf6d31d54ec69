/** What a transfer came to, for people (the receipt) and for programs (one JSON document). Written as files finish. */
import type { FailureReport, FileResult, TransferResult } from "../client/types.ts";
import { escapeText } from "../protocol/names.ts";
import { formatFailure } from "./errors.ts";
import { formatBytes, formatCount, formatDuration, formatLimit, formatRate, plural } from "./format.ts";
import { ListDocument, milliseconds } from "./json.ts";
import { verdictText } from "./verdict-view.ts";

export interface ResultsView {
  file(file: FileResult): void;
  /** Nothing more comes. */
  finish(result: TransferResult): void;
}

export const NO_RESULTS: ResultsView = { file: () => {}, finish: () => {} };

/** `write` puts text where results go. */
/** `sizesKnown`: false where a dry run leaves unread what is piped in, so that nobody knows how much it is. */
export function receipt(write: (text: string) => void, sizesKnown = true, verbose = false): ResultsView {
  return {
    file: (file) => {
      if (file.status !== "failed") write(fileLine(file, sizesKnown) + digestLine(file));
    },
    finish: (result) => {
      if (result.filesCommitted > 0 || result.dryRun) write(receiptText(result, sizesKnown, verbose));
    },
  };
}

/** `sent         256 MiB  1c291ca3  big.bin`. The name stands last: it may contain anything. */
export function fileLine({ status, bytes, crc32, name, replaced }: FileResult, sizeKnown = true): string {
  const shownCrc = crc32 ?? "-".repeat(8);
  const shownStatus = replaced === true && status === "sent" ? "replaced" : status;
  const shownBytes = sizeKnown ? formatBytes(bytes) : "unknown";
  return `${shownStatus.padEnd(9)}  ${shownBytes.padStart(8)}  ${shownCrc}  ${escapeText(name)}\n`;
}

/** As `b3sum` prints it, and reads it with --check: where both ends have read the whole. */
export function digestLine({ blake3, name }: FileResult): string {
  return blake3 === undefined ? "" : `${blake3}  ${escapeText(name)}\n`;
}

/** `verbose`: with what limited it. */
export function receiptText(result: TransferResult, sizesKnown = true, verbose = false): string {
  const { filesCommitted, filesUnchanged, filesSkipped, bytes, bytesSent, durationMs, bytesResumed, retries, streams } =
    result;
  const bytesChanged = bytesSent + bytesResumed + result.bytesMatched;
  const filesSent = filesCommitted - filesUnchanged;
  const bytesUnchanged = bytes - bytesChanged;
  const amount = (bytes: number) => {
    if (!sizesKnown) return "of a size that is not known before it is read";
    const shown = formatBytes(bytes);
    return shown === `${bytes} B` ? shown : `${shown} (${formatCount(bytes)} bytes)`;
  };
  const skipped =
    filesSkipped > 0
      ? [
          [
            "skipped",
            filesSkipped === 1 ? "1 socket, FIFO or device" : `${formatCount(filesSkipped)} sockets, FIFOs and devices`,
          ],
        ]
      : [];
  if (result.dryRun) {
    return linesOf([
      ["would send", `${plural(filesSent, "file")}, ${amount(bytesChanged)}`],
      ...(filesUnchanged > 0 ? [["unchanged", `${plural(filesUnchanged, "file")}, ${amount(bytesUnchanged)}`]] : []),
      ...skipped,
      ["dry run", "nothing was sent"],
    ]);
  }
  return linesOf([
    ...(filesSent > 0 ? [["committed", `${plural(filesSent, "file")}, ${amount(bytesChanged)}`]] : []),
    ...(filesUnchanged > 0 ? [["unchanged", `${plural(filesUnchanged, "file")}, ${amount(bytesUnchanged)}`]] : []),
    ...skipped,
    ["time", formatDuration(durationMs)],
    ...(filesSent > 0 ? [["rate", formatRate(result.bytesPerSecond)]] : []),
    ...(result.limitBytesPerSecond === null ? [] : [["limit", formatLimit(result.limitBytesPerSecond)]]),
    ...(result.bytesSaved > 0 ? [["saved", savedText(result)]] : []),
    ["resumed", resumedText(result)],
    ...(result.bytesMatched > 0 ? [["matched", formatBytes(result.bytesMatched)]] : []),
    ["retries", formatCount(retries)],
    ["streams", formatCount(streams)],
    ["durability", result.durability ?? "unknown"],
    ...(verbose && result.verdict !== undefined ? [["limited by", verdictText(result.verdict)]] : []),
    ["transfer", escapeText(result.transferId ?? "none")],
  ]);
}

function linesOf(rows: readonly (readonly string[])[]): string {
  return rows.map(([label = "", value = ""]) => `${label.padEnd(10)}  ${value}\n`).join("");
}

/** What compression, and zeros that were left out, came to. */
function savedText({ bytesSaved, bytesOnWire }: TransferResult): string {
  return `${formatBytes(bytesSaved)}: ${formatBytes(bytesOnWire)} went over the wire`;
}

/** `2.00 GiB`, and how much of it this run has not read itself. */
function resumedText({ bytesResumed, bytesTrusted }: TransferResult): string {
  if (bytesTrusted === 0) return formatBytes(bytesResumed);
  return `${formatBytes(bytesResumed)}, ${formatBytes(bytesTrusted)} of it trusted by size and time, not read again`;
}

/** The document that design and schema promise: its fields, in this order, and an error when there is one. */
export class JsonResults implements ResultsView {
  readonly #document: ListDocument;
  #bytes = 0;

  constructor(write: (text: string) => void) {
    this.#document = new ListDocument("files", write);
  }

  file({ name, bytes, crc32, blake3, status, replaced, error }: FileResult): void {
    const digest = blake3 === undefined ? {} : { blake3 };
    this.#document.add({
      name,
      bytes,
      crc32,
      ...digest,
      status,
      ...(replaced === undefined ? {} : { replaced }),
      error,
    });
    if (status !== "failed") this.#bytes += bytes;
  }

  finish(result: TransferResult): void {
    this.#document.finish(transferFields(result));
  }

  /** Without a result: a transfer that never began, or of which nobody will say the end. Nothing if it was finished. */
  abandon(error: FailureReport): void {
    this.#document.finish({ ...NOTHING_SENT, bytes: this.#bytes, error });
  }
}

const NOTHING_SENT = {
  ok: false,
  transferId: null,
  bytes: 0,
  bytesResumed: 0,
  durationMs: 0,
  bytesPerSecond: 0,
  streams: 0,
  retries: 0,
  durability: null,
  bytesSent: 0,
  bytesTrusted: 0,
  limitBytesPerSecond: null,
  bytesOnWire: 0,
  bytesSaved: 0,
  bytesMatched: 0,
};

export function transferFields(result: TransferResult): Record<string, unknown> {
  return {
    ok: result.ok,
    transferId: result.transferId,
    bytes: result.bytes,
    bytesResumed: result.bytesResumed,
    durationMs: milliseconds(result.durationMs),
    bytesPerSecond: Math.round(result.bytesPerSecond),
    streams: result.streams,
    retries: result.retries,
    durability: result.durability,
    bytesSent: result.bytesSent,
    bytesTrusted: result.bytesTrusted,
    limitBytesPerSecond: result.limitBytesPerSecond,
    bytesOnWire: result.bytesOnWire,
    bytesSaved: result.bytesSaved,
    bytesMatched: result.bytesMatched,
    ...(result.dryRun ? { dryRun: true } : {}),
    ...(result.spooled === null ? {} : { spooled: result.spooled }),
    ...(result.error === null ? {} : { error: result.error }),
  };
}

/** A file that failed, for standard error. */
export function failedFileText({ name, error }: FileResult): string {
  if (error === null) return `hawser: ${escapeText(name)} failed\n`;
  const message = error.message.includes(name) ? error.message : `${name}: ${error.message}`;
  return formatFailure({ ...error, message });
}
