/**
 * What limits a transfer: figures of it in, the cause out. Pure: no clock, no files, no sockets. Whoever shows it makes the
 * sentence (cli/verdict-view.ts). The figures are those of docs/decisions/0033.
 */
import type { Load } from "../net/load.ts";
import type { Segments } from "./segments.ts";

/** One transfer, or one measurement: from when it was begun until the last byte was acknowledged, unless said otherwise. */
export interface RunFigures {
  readonly streams: number;
  /** Whether more were tried meanwhile, and brought nothing more. */
  readonly knowsMost: boolean;
  readonly seconds: number;
  /** As they are on the wire, acknowledged. */
  readonly bytes: number;
  /** After the last acknowledgement, until the server had committed all. */
  readonly settlingSeconds: number;
  /** In which there was nothing to send, since a pipe gave nothing. */
  readonly inputSeconds: number;
  /** Limits that somebody has set, in bytes a second; null: none. */
  readonly ownLimit: number | null;
  readonly peerLimit: number | null;
  /** From asking to the answer; null where nobody asked. The least is the path's, the median also its queues'. */
  readonly roundTrip: { readonly leastMs: number; readonly medianMs: number } | null;
  /** Of the streams, or `isOfAllPrograms` on this machine; null where the system does not tell. */
  readonly segments: Segments | null;
  readonly isOfAllPrograms: boolean;
  readonly sender: Load;
  /** null: the server does not tell. */
  readonly receiver: Load | null;
}

export type Cause =
  | "own-limit"
  | "peer-limit"
  | "sender-cpu"
  | "receiver-cpu"
  | "source-disk"
  | "destination-disk"
  | "path-loss"
  | "path-window"
  | "path-rate"
  /** Nothing that is known explains it, and not all is known. */
  | "unknown"
  /** Over before anything could be said. */
  | "too-short";

/** Shares of the time, from 0 to 1. */
export interface Shares {
  /** The end's thread had something to do. */
  readonly busy: number;
  /** And had a processor for it. */
  readonly thread: number;
  readonly disk: number;
  readonly held: number;
  /** All threads of all processors that the process may use. */
  readonly machine: number;
}

export interface Verdict {
  readonly cause: Cause;
  /** Of several runs the fastest: what limits it limits all. */
  readonly run: RunFigures;
  readonly bytesPerSecond: number;
  /** The fewest streams that came as far, within a twentieth. */
  readonly streams: number;
  /** Whether more streams than all that were tried may bring more. */
  readonly wantsMoreStreams: boolean;
  readonly sender: Shares;
  readonly receiver: Shares | null;
  /** Of the segments that were sent, those that were sent again; null where that is not known. */
  readonly lossShare: number | null;
}

/** Below this neither slow start nor a disk's cache has shown what is behind it. */
const SECONDS_MIN = 0.5;
/** A limit that is set is held within a few percent; what is on the way at the end is not acknowledged. */
const CAPPED = 0.8;
/**
 * A thread that is at its limit still waits now and then for the other end's, and both may run on one machine: those that
 * were measured were busy for 0.85 to 1 of the time, and those that were not at it for 0.5 at most.
 */
const BUSY = 0.7;
/** Of all processors. */
const MACHINE_BUSY = 0.85;
/** Most of the time something else was waited for. */
const MOSTLY = 0.5;
/** As fast as the fastest. */
const SAME = 0.95;
/** Twice the streams bring this much more where they still bring something. */
const GROWS = 1.15;
/** A long path: on shorter ones a stream's window is more than the path carries in a round trip. */
const LONG_MS = 5;
/** A queue that fills makes the round trip longer: by half of it, and by more than answers are late anyway. */
const QUEUED = 1.5;
const QUEUED_MS = 5;
/**
 * Fewer segments that were sent again are no figure, and a share below this no loss: reordering makes some, and so does an end
 * that is too busy to acknowledge in time (RFC 8985, 7: a probe is sent then).
 */
const RETRANSMITTED_MIN = 30;
const LOSS_MIN = 0.0001;
/** A segment's payload on Ethernet. */
const SEGMENT_BYTES = 1448;
/**
 * Loss explains a rate up to this many times below what it would let through: the formula is of Reno, CUBIC is faster on
 * long paths (RFC 9438, 5.1), and what was lost before the time that was measured counts too.
 */
const EXPLAINS = 4;

/** Runs that differ in their number of streams only, in any order; one at least. */
export function judge(runs: readonly [RunFigures, ...RunFigures[]]): Verdict {
  const sorted = runs.toSorted((a, b) => a.streams - b.streams) as [RunFigures, ...RunFigures[]];
  const best = sorted.reduce((most, run) => (rateOf(run) > rateOf(most) ? run : most));
  const enough = sorted.find((run) => rateOf(run) >= SAME * rateOf(best)) ?? best;
  const growth = growthOf(sorted, enough);
  const cause = causeOf(enough, growth);
  const isOfPath = cause === "path-loss" || cause === "path-window";
  return {
    cause,
    run: enough,
    bytesPerSecond: rateOf(enough),
    streams: enough.streams,
    wantsMoreStreams: isOfPath && enough === sorted[sorted.length - 1] && !enough.knowsMost,
    sender: sharesOf(enough.sender, enough.seconds),
    receiver: enough.receiver && sharesOf(enough.receiver, enough.seconds),
    lossShare: lossShareOf(enough),
  };
}

export function rateOf({ bytes, seconds }: RunFigures): number {
  return seconds > 0 ? bytes / seconds : 0;
}

/** What a session was at before the first byte, and after the last, counts too: hence no more than all of it. */
export function sharesOf(load: Load, seconds: number): Shares {
  const share = (micros: number) => (seconds > 0 ? Math.min(1, micros / 1e6 / seconds) : 0);
  return {
    busy: share(load.busyMicros),
    thread: share(load.threadMicros),
    disk: share(load.diskMicros),
    held: share(load.heldMicros),
    machine: share(load.cpuMicros / load.cores),
  };
}

/** Whether more streams brought more: `unknown` where one number was tried. */
type Growth = "unknown" | "growing" | "flat";

/** Of the run that was as fast as any: where others had more streams, they were no faster. */
function growthOf(sorted: readonly RunFigures[], best: RunFigures): Growth {
  if (best.knowsMost) return "flat";
  if (sorted.length === 1) return "unknown";
  if (best !== sorted[sorted.length - 1]) return "flat";
  const before = sorted.filter(({ streams }) => streams <= best.streams / 2).map(rateOf);
  if (before.length === 0) return "unknown";
  return rateOf(best) >= GROWS * Math.max(...before) ? "growing" : "flat";
}

function causeOf(run: RunFigures, growth: Growth): Cause {
  const { seconds, settlingSeconds, inputSeconds, ownLimit, peerLimit } = run;
  if (seconds + settlingSeconds < SECONDS_MIN || run.bytes === 0) return "too-short";
  const rate = rateOf(run);
  const limit = Math.min(ownLimit ?? Number.POSITIVE_INFINITY, peerLimit ?? Number.POSITIVE_INFINITY);
  if (rate >= CAPPED * limit) return limit === ownLimit ? "own-limit" : "peer-limit";
  if (settlingSeconds > seconds) return "destination-disk";
  if (inputSeconds >= MOSTLY * seconds) return "source-disk";
  const sender = sharesOf(run.sender, seconds);
  const receiver = run.receiver && sharesOf(run.receiver, seconds);
  if (receiver !== null && receiver.held >= MOSTLY) return "destination-disk";
  // Of two that are at their limit, the one that is more so.
  const receiverIsBusier = receiver !== null && receiver.busy > sender.busy;
  if (receiverIsBusier && receiver.busy >= BUSY) return isDisk(receiver) ? "destination-disk" : "receiver-cpu";
  if (sender.busy >= BUSY) return isDisk(sender) ? "source-disk" : "sender-cpu";
  if (receiver !== null && receiver.machine >= MACHINE_BUSY) return "receiver-cpu";
  if (sender.machine >= MACHINE_BUSY) return "sender-cpu";
  if (receiver === null) return "unknown";
  return pathCauseOf(run, growth);
}

/** What the thread did besides is work, or waiting for a processor. */
const isDisk = ({ disk, busy }: Shares) => disk >= MOSTLY * busy;

/** Neither end was at its limit, so what is between them is. */
function pathCauseOf(run: RunFigures, growth: Growth): Cause {
  // A full path loses too, and its queue shows that it is full; where there is none, loss is all that is seen of it.
  if (growth !== "growing" && isQueued(run)) return "path-rate";
  if (isLossy(run)) return "path-loss";
  if (growth === "flat") return "path-rate";
  if (growth === "growing" || (run.roundTrip?.leastMs ?? 0) >= LONG_MS) return "path-window";
  return "path-rate";
}

function isQueued({ roundTrip }: RunFigures): boolean {
  if (roundTrip === null) return false;
  const { leastMs, medianMs } = roundTrip;
  return medianMs >= QUEUED * leastMs && medianMs - leastMs >= QUEUED_MS;
}

function lossShareOf({ segments }: RunFigures): number | null {
  if (segments === null || segments.sent === 0) return null;
  return segments.retransmitted / segments.sent;
}

/**
 * Whether the loss lets through no more than was seen: a stream gets 1.22 segments a round trip, over the root of the share
 * that is lost (Mathis, Semke, Mahdavi, Ott: The macroscopic behavior of the TCP congestion avoidance algorithm, 1997).
 */
function isLossy(run: RunFigures): boolean {
  const loss = lossShareOf(run);
  if (loss === null || loss < LOSS_MIN || (run.segments?.retransmitted ?? 0) < RETRANSMITTED_MIN) return false;
  if (run.roundTrip === null) return true;
  const perSecond = (1.22 * SEGMENT_BYTES) / ((run.roundTrip.leastMs / 1000) * Math.sqrt(loss));
  return perSecond <= EXPLAINS * (rateOf(run) / run.streams);
}
