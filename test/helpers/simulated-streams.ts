/**
 * Streams over a path without sockets and without time: each has a window that grows and halves as TCP's does, and the
 * path a rate, a round trip, a queue and losses. The control decides how many there are, so that it can be judged by
 * what came of it.
 */
import type { StreamCounter } from "../../src/client/stream-control.ts";

export interface SimulatedStreams {
  readonly roundTripMs: number;
  /** What the path, a processor or whatever all share carries, in bytes a millisecond, by the time in milliseconds. */
  readonly rate: (ms: number) => number;
  /** Of packets, by the time (0). */
  readonly loss?: (ms: number) => number;
  /** What one stream may have under way, in bytes (none). */
  readonly windowBytes?: number;
  /** What so many streams carry of `rate`, at most 1: they cost something (1). */
  readonly cost?: (streams: number) => number;
  /** What the source brings, in bytes a millisecond (as much as is wanted). */
  readonly sourceRate?: number;
  /** What is to be sent, in bytes (no end). */
  readonly bytes?: number;
  readonly limitBytesPerSecond?: number;
  /** More are refused. */
  readonly streamsMax?: number;
  readonly forMs: number;
  readonly seed?: number;
}

export interface SimulatedCourse {
  /** By the end, or when all was sent. */
  readonly ms: number;
  readonly bytes: number;
  /** How many there were after each change: the time and the number. */
  readonly changes: readonly (readonly [ms: number, streams: number])[];
  /** The most at once. */
  readonly most: number;
  readonly refusals: number;
  /** Between two times. */
  bytesPerMs(fromMs: number, toMs: number): number;
  /** At a time. */
  streamsAt(ms: number): number;
}

interface Flow {
  /** In bytes. */
  window: number;
  /** What it was when a packet was last lost, and when that was; undefined in slow start. */
  lost: { window: number; ms: number } | undefined;
  /** When the next packet is lost, in bytes from now. */
  lossIn: number;
}

const PACKET = 1448;
const FIRST_WINDOW = 10 * PACKET;

/** CUBIC (RFC 9438): what a loss leaves, and how the window grows after it. */
const KEPT_AT_LOSS = 0.7;
const CUBIC_C = 0.4;

function cubic(windowAtLoss: number, sinceMs: number, roundTripMs: number): number {
  const packets = windowAtLoss / PACKET;
  const seconds = sinceMs / 1000;
  const back = Math.cbrt((packets * (1 - KEPT_AT_LOSS)) / CUBIC_C);
  // Where that is less it grows as Reno would.
  const reno = packets * KEPT_AT_LOSS + (3 * (1 - KEPT_AT_LOSS) * sinceMs) / ((1 + KEPT_AT_LOSS) * roundTripMs);
  return PACKET * Math.max(CUBIC_C * (seconds - back) ** 3 + packets, reno);
}

/** mulberry32: a small generator of uniform numbers, the same for the same seed. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function simulateStreams(control: StreamCounter, path: SimulatedStreams): SimulatedCourse {
  const { roundTripMs, rate, loss = () => 0, windowBytes = Number.POSITIVE_INFINITY, cost = () => 1 } = path;
  const { sourceRate = Number.POSITIVE_INFINITY, bytes: total = Number.POSITIVE_INFINITY, forMs, seed = 1 } = path;
  const limit = path.limitBytesPerSecond === undefined ? Number.POSITIVE_INFINITY : path.limitBytesPerSecond / 1000;
  const random = uniform(seed);
  const flows: Flow[] = [];
  const changes: [number, number][] = [];
  const course: number[] = [];
  let sent = 0;
  let refusals = 0;
  let sampledMs = 0;
  let isStarved = false;
  let most = 0;
  let sourceBytes = 0;
  const lossIn = (p: number) => (p === 0 ? Number.POSITIVE_INFINITY : (-Math.log(1 - random()) / p) * PACKET);
  control.roundTrip(roundTripMs);
  const stepMs = Math.max(1, roundTripMs / 8);
  let ms = 0;
  for (; ms < forMs && sent < total; ms += stepMs) {
    while (flows.length > control.wanted) flows.pop();
    while (flows.length < control.wanted) {
      if (flows.length >= (path.streamsMax ?? Number.POSITIVE_INFINITY)) {
        refusals++;
        control.refused(flows.length, ms);
        break;
      }
      flows.push({ window: FIRST_WINDOW, lost: undefined, lossIn: lossIn(loss(ms)) });
    }
    if (changes[changes.length - 1]?.[1] !== flows.length) changes.push([ms, flows.length]);
    most = Math.max(most, flows.length);
    const capacity = rate(ms) * cost(flows.length) * stepMs;
    const wishes = flows.map(({ window }) => (Math.min(window, windowBytes) / Math.max(roundTripMs, 0.1)) * stepMs);
    const wished = wishes.reduce((sum, wish) => sum + wish, 0);
    sourceBytes = Math.min(sourceBytes + sourceRate * stepMs, 64 * 1024 * 1024);
    const allowed = Math.min(capacity, limit * stepMs);
    const moved = Math.min(wished, allowed, sourceBytes, total - sent);
    if (sourceBytes < Math.min(wished, allowed)) isStarved = true;
    sourceBytes -= moved;
    // The queue holds a round trip's worth: who wants more than twice what goes through loses some.
    const overflows = wished > 2 * capacity;
    for (const [i, flow] of flows.entries()) {
      const carried = wished === 0 ? 0 : (moved * (wishes[i] as number)) / wished;
      flow.lossIn -= carried;
      if (flow.lossIn <= 0 || (overflows && random() < stepMs / Math.max(roundTripMs, stepMs))) {
        flow.lost = { window: flow.window, ms };
        flow.window = Math.max(2 * PACKET, flow.window * KEPT_AT_LOSS);
        flow.lossIn = lossIn(loss(ms));
      } else if (moved >= wished * 0.99 || wished <= 2 * capacity) {
        const rounds = stepMs / Math.max(roundTripMs, stepMs);
        if (flow.lost === undefined) flow.window *= 2 ** rounds;
        else flow.window = Math.max(flow.window, cubic(flow.lost.window, ms - flow.lost.ms, roundTripMs));
      }
      flow.window = Math.min(flow.window, windowBytes, 2 ** 30);
    }
    sent += moved;
    course.push(moved);
    if (ms - sampledMs < control.everyMs && ms > 0) continue;
    sampledMs = ms;
    control.sample({
      nowMs: ms,
      bytes: sent,
      streams: flows.length,
      isStarved,
      remainingBytes: total - sent,
      limitBytesPerSecond: path.limitBytesPerSecond ?? null,
    });
    isStarved = false;
  }
  return {
    ms,
    bytes: sent,
    changes,
    most,
    refusals,
    bytesPerMs: (fromMs, toMs) => {
      const part = course.slice(Math.floor(fromMs / stepMs), Math.floor(toMs / stepMs));
      return part.reduce((sum, bytes) => sum + bytes, 0) / (part.length * stepMs);
    },
    streamsAt: (at) => changes.findLast(([since]) => since <= at)?.[1] ?? 0,
  };
}
