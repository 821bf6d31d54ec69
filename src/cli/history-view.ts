/** History for people (a table) and for programs (one JSON document). Rows are written one by one. */
import type { FileRecord, TransferRecord } from "../server/types.ts";
import { formatBytes, formatLocalTime, formatRate } from "./format.ts";
import { type ListDocument, milliseconds } from "./json.ts";
import { namesText } from "./server-log.ts";

/** Widths that hold an IPv4 address, `1023 MiB` and `1023 MiB/s`; longer values push the rest of their line. */
const WIDTHS = [19, 15, 8, 10, 11];

export const HISTORY_HEADER = row(["WHEN", "FROM", "BYTES", "RATE", "STATUS", "NAMES"]);

export function historyRow(record: TransferRecord): string {
  const { startedMs, peer, bytes, bytesPerSecond, status } = record;
  const when = formatLocalTime(startedMs);
  return row([when, peer, formatBytes(bytes), formatRate(bytesPerSecond), status, namesText(record)]);
}

function row(cells: readonly string[]): string {
  return `${cells.map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0)).join("  ")}\n`;
}

/** A transfer with all of its files. */
export function addHistory(document: ListDocument, record: TransferRecord, fileRecords: Iterable<FileRecord>): void {
  const { transferId, peer, status, startedMs, durationMs, filesFailed, bytes, bytesPerSecond } = record;
  const { bytesResumed, retries, streams, durability } = record;
  const fields = {
    transferId,
    peer,
    status,
    startedMs,
    durationMs: milliseconds(durationMs),
    bytes,
    bytesPerSecond: Math.round(bytesPerSecond),
    bytesResumed,
    retries,
    streams,
    durability,
    filesFailed,
  };
  document.addWithList(fields, "files", fileRecords);
}
