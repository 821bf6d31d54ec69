/** Unfinished transfers for people (a table) and for programs (one JSON document). */
import type { UnfinishedTransfer } from "../server/kept-sessions.ts";
import { formatBytes, formatDuration, formatLocalTime, formatPercent } from "./format.ts";
import { namesText } from "./server-log.ts";

/** Widths that hold the beginning of an id, an IPv4 address and `1023 MiB of 1023 MiB (99%)`. */
const WIDTHS = [8, 15, 7, 27, 19, 14];
/** Enough of an id to name it by. */
const ID_CHARS = 8;

export const SESSIONS_HEADER = row(["TRANSFER", "FROM", "STATE", "THERE", "SINCE", "EXPIRES", "NAMES"]);

export function sessionRow(transfer: UnfinishedTransfer, nowMs: number): string {
  const { transferId, peer, state, createdMs, expiresMs, files } = transfer;
  const names = namesText({ names: files.map(({ name }) => name), files: files.length });
  const expires = expiresMs === null ? "-" : `in ${formatDuration(Math.max(0, expiresMs - nowMs))}`;
  const since = formatLocalTime(createdMs);
  return row([transferId.slice(0, ID_CHARS), peer, state, thereText(transfer), since, expires, names]);
}

function thereText({ bytesPresent, bytesTotal }: UnfinishedTransfer): string {
  if (bytesTotal === null) return formatBytes(bytesPresent);
  return `${formatBytes(bytesPresent)} of ${formatBytes(bytesTotal)} (${formatPercent(bytesPresent, bytesTotal)})`;
}

function row(cells: readonly string[]): string {
  return `${cells.map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0)).join("  ")}\n`;
}
