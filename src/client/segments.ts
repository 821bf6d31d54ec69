/**
 * TCP segments that this machine sent, and sent again, where the system tells: Linux does in /proc/net/snmp (proc_net(5);
 * what the counters mean: RFC 4022). They are of all programs in this network namespace together.
 */
import { readFileSync } from "node:fs";

export interface Segments {
  readonly sent: number;
  readonly retransmitted: number;
}

const COUNTERS = "/proc/self/net/snmp";
/** For so long they are not read again: transfers that begin or end together share them. */
const FRESH_MS = 20;
let readAtMs = Number.NEGATIVE_INFINITY;
let lastRead: Segments | null = null;

/** Since the machine was started, as of 20 ms ago at most; null where the system does not tell. */
export function segmentsNow(): Segments | null {
  const nowMs = performance.now();
  if (nowMs - readAtMs >= FRESH_MS) {
    readAtMs = nowMs;
    lastRead = readSegments(COUNTERS);
  }
  return lastRead;
}

export function readSegments(path: string): Segments | null {
  try {
    return parseSegments(readFileSync(path, "latin1"));
  } catch {
    return null;
  }
}

/** Two lines that begin with `Tcp:`, the first of which names what the second counts. */
export function parseSegments(text: string): Segments | null {
  const [names, values] = text
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(/\s+/));
  const counterOf = (name: string) => Number(values?.[names?.indexOf(name) ?? -1] ?? Number.NaN);
  const sent = counterOf("OutSegs");
  const retransmitted = counterOf("RetransSegs");
  return Number.isFinite(sent) && Number.isFinite(retransmitted) ? { sent, retransmitted } : null;
}

/** What came in between; null where either is not known, or the counters began anew. */
export function segmentsBetween(before: Segments | null, after: Segments | null): Segments | null {
  if (before === null || after === null || after.sent < before.sent) return null;
  return { sent: after.sent - before.sent, retransmitted: Math.max(0, after.retransmitted - before.retransmitted) };
}
