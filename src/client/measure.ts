/** Measures the path to a server with the real protocol: bytes made up here, and thrown away there. */

import type { Endpoint } from "../net/dial.ts";
import { HawserError } from "../protocol/errors.ts";
import { CHUNK_BYTES_DEFAULT, STREAMS_DEFAULT } from "../protocol/limits.ts";
import { PatternItem } from "../source/item.ts";
import { SourceSession } from "../source/session.ts";
import { Link } from "./link.ts";
import { reportOf } from "./result.ts";
import type { ClientKeys, FailureReport } from "./types.ts";

export interface MeasureOptions {
  readonly to: Endpoint;
  /** As of `send`. Throws E_TICKET. */
  readonly secure?: ClientKeys | undefined;
  /** 1 to 64; "auto": as many as pay (4). */
  readonly streams?: number | "auto";
  /** How long to send (5). */
  readonly seconds?: number;
  readonly chunkBytes?: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: { readonly bytes: number; readonly elapsedMs: number }) => void;
}

export interface MeasureResult {
  readonly ok: boolean;
  readonly bytes: number;
  /** From the first chunk sent to the last acknowledged. */
  readonly seconds: number;
  readonly bytesPerSecond: number;
  readonly streams: number;
  /** While the session lived, in seconds. */
  readonly cpuSeconds: { readonly client: number; readonly server: number | null };
  readonly exitCode: number;
  readonly error: FailureReport | null;
}

const SECONDS = 5;
const TIMEOUT_MS = 60_000;
const REPORT_MS = 500;

/** Resolves whatever happens, as `send` does. */
export async function measure(options: MeasureOptions): Promise<MeasureResult> {
  let session: SourceSession | undefined;
  let streams = 0;
  let bytes = 0;
  let startedMs = performance.now();
  let startedCpu = process.cpuUsage();
  let endedMs = startedMs;
  let serverMicros: number | null = null;
  const timers: NodeJS.Timeout[] = [];
  const identity = options.secure && (await import("./identity.ts")).identityOf(options.secure, options.to);
  const link: Link = new Link({
    to: options.to,
    identity,
    role: "source",
    purpose: "discard",
    streams: options.streams ?? STREAMS_DEFAULT,
    chunkBytes: options.chunkBytes ?? CHUNK_BYTES_DEFAULT,
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
    signal: options.signal,
    awaitsAcknowledgement: () => session?.hasOutstanding ?? false,
    onReady: () => {
      startedMs = performance.now();
      startedCpu = process.cpuUsage();
      timers.push(setTimeout(() => session?.endEndless(), (options.seconds ?? SECONDS) * 1000));
      timers.push(setInterval(() => options.onEvent?.({ bytes, elapsedMs: performance.now() - startedMs }), REPORT_MS));
    },
    onWarning: () => {},
    makeEnd: (terms) => {
      session = new SourceSession([new PatternItem()], terms, {
        onSettled: () => {},
        onAcknowledged: (_stream, count) => {
          link.progress();
          bytes += count;
          endedMs = performance.now();
        },
        onResent: () => {},
        onInherited: () => {},
        onRestarted: () => {},
        onReceipt: (receipt) => {
          serverMicros = receipt.cpuMicros;
          link.finish();
        },
        onFailed: (error) => link.fail(error),
      });
      return session;
    },
  });
  const onAbort = () => link.fail(new HawserError("E_INTERRUPTED", "the measurement was interrupted"));
  options.signal?.addEventListener("abort", onAbort, { once: true });
  if (options.signal?.aborted) onAbort();
  else void link.start();
  const error = await link.over;
  options.signal?.removeEventListener("abort", onAbort);
  for (const timer of timers) clearTimeout(timer);
  await session?.dispose();
  streams = link.streamsUsed;
  const { user, system } = process.cpuUsage(startedCpu);
  const seconds = Math.max(0, endedMs - startedMs) / 1000;
  return {
    ok: error === undefined,
    bytes,
    seconds,
    bytesPerSecond: seconds > 0 ? bytes / seconds : 0,
    streams,
    cpuSeconds: { client: (user + system) / 1e6, server: serverMicros === null ? null : serverMicros / 1e6 },
    exitCode: error?.exitCode ?? 0,
    error: error === undefined ? null : reportOf(error),
  };
}
