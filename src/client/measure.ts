/** Measures the path to a server with the real protocol: bytes made up here, and thrown away there, unless it is told otherwise. */

import { availableParallelism } from "node:os";
import type { Endpoint } from "../net/dial.ts";
import type { Load } from "../net/load.ts";
import { asHawserError, errorCodeOf, HawserError } from "../protocol/errors.ts";
import { CHUNK_BYTES_DEFAULT, STREAMS_DEFAULT } from "../protocol/limits.ts";
import { displayName, escapeText } from "../protocol/names.ts";
import { FileItem, PatternItem } from "../source/item.ts";
import { SourceSession } from "../source/session.ts";
import { Gauge } from "./gauge.ts";
import type { ClientIdentity } from "./handshake.ts";
import { Link } from "./link.ts";
import { reportOf } from "./result.ts";
import type { ClientKeys, FailureReport } from "./types.ts";
import type { RunFigures } from "./verdict.ts";
import { workersFor } from "./worker-count.ts";

export interface MeasureOptions {
  readonly to: Endpoint;
  /** As of `send`. Throws E_TICKET. */
  readonly secure?: ClientKeys | undefined;
  /** 1 to 128; "auto": as many as pay (4). */
  readonly streams?: number | "auto";
  /** How long to send (5). */
  readonly seconds?: number;
  /** As of `send` ("auto"). */
  readonly workers?: number | "auto";
  readonly chunkBytes?: number;
  /** The server writes what it gets to its disk, as it would a file, and drops it (false). */
  readonly disk?: boolean;
  /** A file, whose bytes are sent again and again (bytes made up on the spot); it holds a chunk at least. */
  readonly from?: string | undefined;
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
  /** What a verdict is made of; null where no session was opened. */
  readonly figures: RunFigures | null;
  readonly exitCode: number;
  readonly error: FailureReport | null;
}

const SECONDS = 5;
const TIMEOUT_MS = 60_000;
const REPORT_MS = 500;
/** Round trips are what is measured as well. */
const PING_MS = 250;
/** What a run leaves for a moment on the server's disk, at most; half of what a server allows (server/measurements.ts). */
const DISK_BYTES_MAX = 4 * 1024 ** 3;
/**
 * On a slow path megabytes of each stream wait in the system's buffers when the time is up (tcp_wmem): they are waited for
 * this long, or half of the time that was measured, and then dropped with their session.
 */
const DRAIN_MS_MIN = 1000;

/** Resolves whatever happens, as `send` does. */
export async function measure(options: MeasureOptions): Promise<MeasureResult> {
  let session: SourceSession | undefined;
  let gauge: Gauge | undefined;
  let bytes = 0;
  let serverMicros: number | null = null;
  let isEnough = false;
  const timers: NodeJS.Timeout[] = [];
  const { disk = false, chunkBytes = CHUNK_BYTES_DEFAULT } = options;
  let item: PatternItem;
  let identity: ClientIdentity | undefined;
  try {
    item = new PatternItem(options.from === undefined ? undefined : fileOf(options.from, chunkBytes));
    identity = options.secure && (await import("./identity.ts")).identityOf(options.secure, options.to);
  } catch (thrown) {
    const error = asHawserError(thrown);
    if (error.code === "E_INTERNAL") throw thrown;
    return { ...NOTHING, exitCode: error.exitCode, error: reportOf(error) };
  }
  const link: Link = new Link({
    to: options.to,
    identity,
    workers: workersFor(options.workers ?? "auto", {
      cores: availableParallelism(),
      isEncrypted: identity !== undefined,
      isPiped: false,
      bytes: null,
      streams: typeof options.streams === "number" ? options.streams : STREAMS_DEFAULT,
    }),
    role: "source",
    purpose: disk ? "scratch" : "discard",
    streams: options.streams ?? STREAMS_DEFAULT,
    chunkBytes,
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
    pingMs: PING_MS,
    signal: options.signal,
    awaitsAcknowledgement: () => session?.hasOutstanding ?? false,
    onPong: (pong, roundTripMs) => gauge?.pong(pong, roundTripMs),
    onAnswered: (ms) => gauge?.answered(ms),
    onReady: () => {
      const started = performance.now();
      gauge = new Gauge(
        () => session,
        () => ({ localPorts: link.localPorts, port: options.to.port }),
      );
      const forMs = (options.seconds ?? SECONDS) * 1000;
      timers.push(
        setTimeout(() => session?.endEndless(), forMs),
        setTimeout(
          () => {
            if (session?.hasOutstanding !== true || bytes === 0) return;
            isEnough = true;
            link.fail(new HawserError("E_INTERRUPTED", "the measurement is over"));
          },
          forMs + Math.max(DRAIN_MS_MIN, forMs / 2),
        ),
      );
      timers.push(setInterval(() => options.onEvent?.({ bytes, elapsedMs: performance.now() - started }), REPORT_MS));
    },
    onWarning: () => {},
    makeEnd: (terms) => {
      session = new SourceSession([item], terms, {
        onSettled: ({ outcome: { error } }) => {
          if (error !== undefined) link.fail(new HawserError(errorCodeOf(error.code), escapeText(error.message)));
        },
        onAcknowledged: (_stream, count) => {
          link.progress();
          gauge?.acknowledged();
          bytes += count;
          if (disk && bytes >= DISK_BYTES_MAX) session?.endEndless();
        },
        onResent: () => {},
        onInherited: () => {},
        onRestarted: () => {},
        onReceipt: (receipt) => {
          serverMicros = receipt.cpuMicros;
          gauge?.receipt(receipt);
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
  const ended = await link.over;
  const error = isEnough ? undefined : ended;
  options.signal?.removeEventListener("abort", onAbort);
  for (const timer of timers) clearTimeout(timer);
  gauge?.stop();
  const figures = withoutMadeUp(gauge?.figures(link, bytes, null), options.from !== undefined);
  await session?.dispose();
  const seconds = figures?.seconds ?? 0;
  return {
    ok: error === undefined,
    bytes,
    seconds,
    bytesPerSecond: seconds > 0 ? bytes / seconds : 0,
    streams: link.streamsUsed,
    cpuSeconds: {
      client: (figures?.sender.cpuMicros ?? 0) / 1e6,
      server: serverCpuSeconds(serverMicros ?? figures?.receiver?.cpuMicros ?? null),
    },
    figures: figures ?? null,
    exitCode: error?.exitCode ?? 0,
    error: error === undefined ? null : reportOf(error),
  };
}

const serverCpuSeconds = (micros: number | null) => (micros === null ? null : micros / 1e6);

const NOTHING = {
  ok: false,
  bytes: 0,
  seconds: 0,
  bytesPerSecond: 0,
  streams: 0,
  cpuSeconds: { client: 0, server: null },
  figures: null,
};

/** What is made up is read from no disk. */
function withoutMadeUp(figures: RunFigures | undefined, isRead: boolean): RunFigures | undefined {
  if (figures === undefined || isRead) return figures;
  const sender: Load = { ...figures.sender, diskBytes: 0 };
  return { ...figures, sender };
}

/** Throws what looking at it throws, and E_USAGE. */
function fileOf(path: string, chunkBytes: number): FileItem {
  const file = new FileItem(path, Buffer.from("bench"));
  if (file.size >= chunkBytes) return file;
  throw new HawserError(
    "E_USAGE",
    `'${displayName(Buffer.from(path))}' holds ${file.size} bytes, and a chunk takes ${chunkBytes}`,
  );
}
