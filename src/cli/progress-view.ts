/** What every view of progress is, and the words they share. */
import type { TransferEvent } from "../client/types.ts";
import { escapeText } from "../protocol/names.ts";
import { formatBytes, formatCount, formatEta, formatPercent, formatRate } from "./format.ts";

export type Progress = Extract<TransferEvent, { type: "progress" }>;

export interface ProgressView {
  show(event: TransferEvent): void;
  /** Runs `write` while nothing of this is on the screen. */
  aside(write: () => void): void;
  /** Leaves the terminal as it was. Safe to call again. */
  stop(): void;
}

/** What the phases are called. */
export const PHASES = {
  spooling: "copying the input into the spool directory",
  connecting: "connecting",
  comparing: "comparing with what is there",
  sending: "sending",
  committing: "committing",
  stalled: "stalled",
} as const satisfies Record<Progress["phase"], string>;

/** `no data for 12 s: waiting for the server to write`. */
export function stallText({ ms, waitingFor }: NonNullable<Progress["stall"]>): string {
  return `no data for ${Math.floor(ms / 1000)} s: waiting for ${waitingFor}`;
}

/** A warning, as every view but JSON words it. */
export function warningLine(message: string): string {
  return `hawser: warning: ${escapeText(message)}\n`;
}

/** ` (limit 10.0 MiB/s)`; empty without one. */
export function limitText({ limitBytesPerSecond }: Pick<Progress, "limitBytesPerSecond">): string {
  return limitBytesPerSecond === null ? "" : ` (limit ${formatRate(limitBytesPerSecond)})`;
}

/** `1.20 GiB of 4.00 GiB (30%), 812 MiB/s, 4 s left`. */
export function progressText(event: Progress): string {
  const { phase, bytesDone, bytesTotal, filesDone, filesTotal, bytesPerSecond, etaMs } = event;
  const files = filesTotal > 1 ? `, ${formatCount(filesDone)} of ${formatCount(filesTotal)} files` : "";
  const bytes =
    bytesTotal === null
      ? formatBytes(bytesDone)
      : `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)} (${formatPercent(bytesDone, bytesTotal)})`;
  if (event.stall !== null) return `${bytes}${files}, ${escapeText(stallText(event.stall))}`;
  if (phase !== "sending") return `${PHASES[phase]}: ${bytes}${files}`;
  const eta = etaMs === null ? "" : `, ${formatEta(etaMs)} left`;
  return `${bytes}${files}, ${formatRate(bytesPerSecond)}${limitText(event)}${eta}`;
}
