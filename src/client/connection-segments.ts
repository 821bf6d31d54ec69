/**
 * TCP segments that single connections sent, and sent again. The system counts them (tcp(7), TCP_INFO) and Node does not
 * tell; ss(8) of iproute2 does, on Linux, where it is installed.
 */
import { execFile } from "node:child_process";
import type { Segments } from "./segments.ts";

const ANSWER_MS = 1_000;
/** A line of a connection is some 600 characters. */
const OUTPUT_BYTES_MAX = 1024 * 1024;

/** Of this machine's connections to `port` elsewhere that begin at one of `localPorts`; null where that is not known. */
export function askSegments(localPorts: ReadonlySet<number>, port: number): Promise<Segments | null> {
  const args = ["-H", "-t", "-i", "-n", "-O", "state", "established", "dport", "=", `:${port}`];
  const options = { timeout: ANSWER_MS, maxBuffer: OUTPUT_BYTES_MAX };
  return new Promise((resolve) => {
    execFile("ss", args, options, (error, stdout) => resolve(error === null ? sumSegments(stdout, localPorts) : null));
  });
}

/** Of lines as `ss -tinO` writes them: both addresses, then words of which `retrans` is missing where nothing was sent again. */
export function sumSegments(text: string, localPorts: ReadonlySet<number>): Segments | null {
  const all: Segments[] = [];
  for (const line of text.split("\n")) {
    const [, localPort] = /^\s*\d+\s+\d+\s+\S+:(\d+)\s/.exec(line) ?? [];
    const [, sent] = /\bsegs_out:(\d+)/.exec(line) ?? [];
    if (localPort === undefined || sent === undefined || !localPorts.has(Number(localPort))) continue;
    // On its way now, and in all.
    const [, retransmitted = 0] = /\bretrans:\d+\/(\d+)/.exec(line) ?? [];
    const one = { sent: Number(sent), retransmitted: Number(retransmitted) };
    // What else a program of this name may print.
    if (Number.isSafeInteger(one.sent) && one.retransmitted <= one.sent) all.push(one);
  }
  const sum = (of: (one: Segments) => number) => all.reduce((total, one) => total + of(one), 0);
  return all.length === 0 ? null : { sent: sum((one) => one.sent), retransmitted: sum((one) => one.retransmitted) };
}
