/** What measurements came to, for people and for programs. Numbers in, text out. */
import type { MeasureResult } from "../client/measure.ts";
import type { SweepResult } from "../client/sweep.ts";
import type { TransferEvent } from "../client/types.ts";
import { rateOf, sharesOf } from "../client/verdict.ts";
import { type Endpoint, formatEndpoint } from "../net/dial.ts";
import { escapeText } from "../protocol/names.ts";
import { formatBitRate, formatBytes, formatCount, formatDuration, formatRate, plural } from "./format.ts";
import { verdictRecord, verdictText } from "./verdict-view.ts";

/** What was asked for. */
export interface BenchPlan {
  readonly to: Endpoint;
  /** The server is one of its own, on this machine. */
  readonly own: boolean;
  readonly disk: boolean;
  /** What was read in place of bytes that are made up. */
  readonly from: string | undefined;
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

/** `result`: of which of the runs all is said. */
export function benchText(plan: BenchPlan, { runs, verdict }: SweepResult, result: MeasureResult): string {
  const { bytes, seconds, bytesPerSecond, streams, cpuSeconds, figures } = result;
  const where = plan.own
    ? `${formatEndpoint(plan.to)} (a server of its own, on this machine)`
    : formatEndpoint(plan.to);
  const roundTrip = figures?.roundTrip ? [["round trip", formatDuration(figures.roundTrip.leastMs)]] : [];
  const amount = `${formatBytes(bytes)}${plan.from === undefined ? "" : ` of ${escapeText(plan.from)}`}`;
  const whereTo = plan.disk ? "written to the disk there and dropped" : "written nowhere";
  return [
    rowsText([["path", where], ...roundTrip]),
    ...(runs.length > 1 ? ["\n", tableText(runs), "\n"] : []),
    rowsText([
      ["sent", `${amount} in ${formatDuration(seconds * 1000)} over ${plural(streams, "stream")}, ${whereTo}`],
      ["rate", `${formatRate(bytesPerSecond)} (${formatBitRate(bytesPerSecond)})`],
      ["client", cpuText(cpuSeconds.client, bytes, seconds)],
      ["server", cpuText(cpuSeconds.server, bytes, seconds)],
      ...diskRows(result),
      ...segmentRows(result),
      ...(verdict === null ? [] : [["limited by", verdictText(verdict)]]),
    ]),
  ].join("");
}

const rowsText = (rows: readonly (readonly string[])[]) =>
  rows.map(([label = "", value = ""]) => `${label.padEnd(10)}  ${value}\n`).join("");

const PLOT_WIDTH = 30;
const COLUMNS = ["streams", "rate", "busy here", "there", "sent again"];

/** One line for each number of streams, and its rate as a bar: the longest is that of the fastest. */
function tableText(runs: readonly MeasureResult[]): string {
  const most = Math.max(...runs.map(({ bytesPerSecond }) => bytesPerSecond));
  const lines = runs.map(({ streams, bytesPerSecond, figures, error }) => {
    if (figures === null || error !== null) return [String(streams), error?.code ?? "failed", "", "", "", ""];
    const { sender, receiver, segments, seconds } = figures;
    const busy = (load: typeof receiver) => (load === null ? "?" : percent(sharesOf(load, seconds).busy));
    const again = segments === null ? "?" : formatCount(segments.retransmitted);
    const bar = "█".repeat(most > 0 ? Math.max(1, Math.round((bytesPerSecond / most) * PLOT_WIDTH)) : 0);
    return [String(streams), formatRate(bytesPerSecond), busy(sender), busy(receiver), again, bar];
  });
  const widths = COLUMNS.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]?.length ?? 0)));
  const text = (line: readonly string[]) => {
    const cells = COLUMNS.map((_, i) => (line[i] ?? "").padStart(widths[i] ?? 0));
    return `${[...cells, line[COLUMNS.length] ?? ""].join("  ").trimEnd()}\n`;
  };
  return text(COLUMNS) + lines.map(text).join("");
}

const percent = (share: number) => `${Math.round(share * 100)}%`;

function diskRows({ figures }: MeasureResult): string[][] {
  const [read, written] = diskRates(figures);
  const parts = [
    ...(read ? [`${formatRate(read)} read here`] : []),
    ...(written ? [`${formatRate(written)} written there`] : []),
  ];
  return parts.length === 0 ? [] : [["disk", parts.join(", ")]];
}

/** Bytes a second that this end read and the server wrote. */
function diskRates(figures: MeasureResult["figures"]): readonly [number | null, number | null] {
  if (figures === null || figures.seconds === 0) return [null, null];
  const { sender, receiver, seconds } = figures;
  return [sender.diskBytes / seconds, receiver === null ? null : receiver.diskBytes / seconds];
}

function segmentRows({ figures }: MeasureResult): string[][] {
  if (!figures?.segments) return [];
  const { isOfAllPrograms } = figures;
  const { sent, retransmitted } = figures.segments;
  const share = sent > 0 ? ` (${((retransmitted / sent) * 100).toFixed(3)}%)` : "";
  const text = `${formatCount(retransmitted)} of ${formatCount(sent)} segments${share}${isOfAllPrograms ? ", of all programs on this machine" : ""}`;
  return [["sent again", text]];
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

/** schema/bench.json describes it. */
export function benchRecord(plan: BenchPlan, { runs, result, verdict }: SweepResult): Record<string, unknown> {
  const { error } = result;
  return {
    ok: result.ok,
    to: formatEndpoint(plan.to),
    ...runFields(result),
    disk: plan.disk,
    from: plan.from ?? null,
    runs: runs.map((run) => ({ ok: run.ok, ...runFields(run), ...figureFields(run) })),
    verdict: verdict === null ? null : verdictRecord(verdict),
    ...(error === null ? {} : { error }),
  };
}

function runFields({ bytes, seconds, bytesPerSecond, streams, cpuSeconds }: MeasureResult): Record<string, unknown> {
  const { client, server } = cpuSeconds;
  return {
    bytes,
    seconds,
    bytesPerSecond: Math.round(bytesPerSecond),
    streams,
    cpuSeconds,
    cpuSecondsPerGib: { client: cpuPerGib(client, bytes), server: cpuPerGib(server, bytes) },
  };
}

function figureFields({ figures }: MeasureResult): Record<string, unknown> {
  if (figures === null) return { figures: null };
  const { roundTrip, segments, isOfAllPrograms, peerLimit, settlingSeconds, sender, receiver, seconds } = figures;
  const [read, written] = diskRates(figures);
  return {
    figures: {
      wireBytesPerSecond: Math.round(rateOf(figures)),
      settlingSeconds,
      roundTripMs: roundTrip === null ? null : { least: roundTrip.leastMs, median: roundTrip.medianMs },
      segments: segments === null ? null : { ...segments, ofAllPrograms: isOfAllPrograms },
      serverLimitBytesPerSecond: peerLimit,
      shares: { client: sharesOf(sender, seconds), server: receiver && sharesOf(receiver, seconds) },
      diskBytesPerSecond: { client: read, server: written },
    },
  };
}
