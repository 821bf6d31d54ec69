/** What a measurement came to, for people and for programs. Numbers in, text out. */
import type { FailureReport, TransferEvent } from "../client/types.ts";
import { type Endpoint, formatEndpoint } from "../net/dial.ts";
import { formatBitRate, formatBytes, formatDuration, formatRate } from "./format.ts";

export interface Measured {
  readonly ok: boolean;
  readonly bytes: number;
  readonly seconds: number;
  readonly bytesPerSecond: number;
  readonly streams: number;
  readonly cpuSeconds: { readonly client: number; readonly server: number | null };
  readonly error: FailureReport | null;
}

/** How far a measurement is. */
export interface MeasureProgress {
  readonly bytes: number;
  readonly elapsedMs: number;
}

/** As the views of progress know it: bytes without an end, and a time with one. */
export function progressOf({ bytes, elapsedMs }: MeasureProgress, seconds: number): TransferEvent {
  return {
    type: "progress",
    phase: "sending",
    stall: null,
    bytesDone: bytes,
    bytesTotal: null,
    filesDone: 0,
    filesTotal: 0,
    bytesPerSecond: elapsedMs > 0 ? (bytes / elapsedMs) * 1000 : 0,
    limitBytesPerSecond: null,
    etaMs: Math.max(0, seconds * 1000 - elapsedMs),
    elapsedMs,
    streamBytes: [],
  };
}

const GIB = 1024 ** 3;

/** A thread this busy has nothing left to give. */
const BUSY_SHARE = 0.85;

export function benchText(to: Endpoint, own: boolean, measured: Measured): string {
  const { bytes, seconds, bytesPerSecond, streams, cpuSeconds } = measured;
  const where = own ? `${formatEndpoint(to)} (a server of its own, on this machine)` : formatEndpoint(to);
  const rows = [
    ["path", where],
    ["sent", `${formatBytes(bytes)} in ${formatDuration(seconds * 1000)} over ${streams} streams, written nowhere`],
    ["rate", `${formatRate(bytesPerSecond)} (${formatBitRate(bytesPerSecond)})`],
    ["client", cpuText(cpuSeconds.client, bytes, seconds)],
    ["server", cpuText(cpuSeconds.server, bytes, seconds)],
    ["limit", limitText(measured)],
  ];
  return rows.map(([label = "", value = ""]) => `${label.padEnd(6)}  ${value}\n`).join("");
}

function cpuText(cpuSeconds: number | null, bytes: number, seconds: number): string {
  const perGib = cpuPerGib(cpuSeconds, bytes);
  if (cpuSeconds === null || perGib === null) return "CPU time unknown";
  const share = seconds > 0 ? Math.round((cpuSeconds / seconds) * 100) : 0;
  return `${perGib.toFixed(2)} CPU seconds per GiB, ${share}% of a core`;
}

export function cpuPerGib(cpuSeconds: number | null, bytes: number): number | null {
  return cpuSeconds === null || bytes === 0 ? null : cpuSeconds / (bytes / GIB);
}

/** Which of the three a faster transfer would need; said only as far as the numbers show it. */
function limitText({ cpuSeconds: { client, server }, seconds }: Measured): string {
  const busy = (cpuSeconds: number | null) => cpuSeconds !== null && cpuSeconds >= seconds * BUSY_SHARE;
  if (busy(client) && busy(server)) return "the CPU of both ends";
  if (busy(client)) return "the CPU of this end";
  if (busy(server)) return "the CPU of the server";
  return "neither end's CPU: the path, or what else runs on the machines; more --streams may help";
}

/** schema/bench.json describes it. */
export function benchRecord(to: Endpoint, measured: Measured): Record<string, unknown> {
  const { ok, bytes, seconds, bytesPerSecond, streams, cpuSeconds, error } = measured;
  return {
    ok,
    to: formatEndpoint(to),
    bytes,
    seconds,
    bytesPerSecond: Math.round(bytesPerSecond),
    streams,
    cpuSeconds,
    cpuSecondsPerGib: { client: cpuPerGib(cpuSeconds.client, bytes), server: cpuPerGib(cpuSeconds.server, bytes) },
    ...(error === null ? {} : { error }),
  };
}
