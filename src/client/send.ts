/** One transfer from this machine: look at the files, connect, send, and say what became of it. */
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { CHUNK_BYTES_DEFAULT, STREAMS_DEFAULT, STREAMS_MAX } from "../protocol/limits.ts";
import type { SourceEvents } from "../source/events.ts";
import { SourceSession } from "../source/session.ts";
import { abortReason } from "./abort.ts";
import { Gauge } from "./gauge.ts";
import type { ClientIdentity } from "./handshake.ts";
import { Link } from "./link.ts";
import { type Plan, planTransfer } from "./plan.ts";
import { ProgressReporter } from "./progress.ts";
import { fileResultOf, passedOver, ResultBuilder } from "./result.ts";
import type { FileResult, SendOptions, TransferEvent, TransferResult } from "./types.ts";
import { judge } from "./verdict.ts";
import { workersFor } from "./worker-count.ts";

const TIMEOUT_MS = 60_000;

/** How long an interrupted transfer waits for what is in flight to be acknowledged. */
const STOPPING_MS = 5_000;
/** The same where only acknowledgements of what was sent before can come. */
const STOPPING_LIMITED_MS = 500;

/**
 * Sends files. Resolves whatever becomes of them: the result says whether all are committed, and why not. Rejects only
 * where hawser itself has a bug.
 */
export async function send(options: SendOptions): Promise<TransferResult> {
  const { input, spool, dryRun } = options;
  // To see what would happen nothing needs to be copied.
  if (input !== undefined && spool !== undefined && dryRun !== true) {
    const { sendSpooled } = await import("./spool.ts");
    return sendSpooled(options, send);
  }
  const results = new ResultBuilder(options.dryRun);
  const emit = (event: TransferEvent) => options.onEvent?.(event);
  const settle = (file: FileResult, bytesResumed = 0, bytesTrusted = 0, bytesMatched = 0) => {
    results.addFile(file, bytesResumed, bytesTrusted, bytesMatched);
    emit({ type: "file", file });
  };
  results.readOnce = options.input !== undefined;
  let plan: Plan;
  let identity: ClientIdentity | undefined;
  try {
    if (options.secure !== undefined) {
      const { identityOf } = await import("./identity.ts");
      identity = identityOf(options.secure, options.to);
    }
    if (options.delta === true) refuseDelta(options.overwrite);
    plan = planTransfer({ ...options, chunkBytes: options.chunkBytes ?? CHUNK_BYTES_DEFAULT });
  } catch (thrown) {
    const error = asHawserError(thrown);
    if (typeof options.input === "object") options.input.destroy();
    if (error.code === "E_INTERNAL") throw thrown;
    return results.build(error, 0);
  }
  if (plan.totals?.files === 0) {
    for (let entry = plan.feed.next(); entry !== undefined; entry = plan.feed.next()) {
      if (entry !== "later" && (entry.kind === "failed" || entry.kind === "skipped")) settle(passedOver(entry));
    }
    return results.build(undefined, 0);
  }
  return transfer(options, identity, plan, results, settle);
}

async function transfer(
  options: SendOptions,
  identity: ClientIdentity | undefined,
  { feed, keys, totals }: Plan,
  results: ResultBuilder,
  settle: (file: FileResult, bytesResumed: number, bytesTrusted: number, bytesMatched: number) => void,
): Promise<TransferResult> {
  const emit = (event: TransferEvent) => options.onEvent?.(event);
  const { overwrite = options.delta === true ? "if-different" : undefined } = options;
  const progress = new ProgressReporter(totals, emit, () => link.limitBytesPerSecond);
  let session: SourceSession | undefined;
  let resent = 0;
  let gauge: Gauge | undefined;
  const link: Link = new Link({
    to: options.to,
    identity,
    workers: workersFor(options.dryRun === true ? 0 : (options.workers ?? "auto"), {
      cores: availableParallelism(),
      isEncrypted: identity !== undefined,
      isPiped: options.input !== undefined,
      bytes: totals?.bytes ?? null,
      streams: typeof options.streams === "number" ? options.streams : STREAMS_MAX,
    }),
    role: "source",
    purpose: options.dryRun ? "plan" : "transfer",
    ...(overwrite === undefined ? {} : { overwrite }),
    ...(options.delta === true ? { delta: true } : {}),
    ...(options.preserveMode === undefined ? {} : { preserveMode: options.preserveMode }),
    ...(options.verify === "full" ? { verify: "full" } : {}),
    streams: options.streams ?? "auto",
    startStreams: startStreams(totals?.bytes ?? null, options.chunkBytes ?? CHUNK_BYTES_DEFAULT),
    chunkBytes: options.chunkBytes ?? CHUNK_BYTES_DEFAULT,
    keys,
    fresh: options.resume === false,
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
    ...(options.retries === undefined ? {} : { retries: options.retries }),
    signal: options.signal,
    limit: options.bwlimit,
    awaitsAcknowledgement: () => session?.hasOutstanding ?? false,
    isWorking: () => session?.isComparing ?? false,
    isWaitingForInput: () => session?.isWaitingForInput ?? false,
    onPong: (pong, roundTripMs) => gauge?.pong(pong, roundTripMs),
    onAnswered: (ms) => gauge?.answered(ms),
    onReady: (terms, address, streams) => {
      const connections = () => ({ localPorts: link.localPorts, port: options.to.port });
      gauge = new Gauge(() => session, options.watchConnections === true ? connections : undefined);
      results.opened(terms);
      progress.streams(streams);
      const { transfer: transferId, agent, chunkBytes, durability } = terms;
      emit({ type: "connected", ...address, transferId, agent, streams, chunkBytes, durability });
      if (options.verify === "full" && terms.verify !== "full") link.fail(cannotReadBack());
    },
    onStreams: (streams) => emit({ type: "streams", streams }),
    onWarning: (message) => emit({ type: "warning", message }),
    makeEnd: (terms) => {
      const events: SourceEvents = {
        onFound: (entry) => {
          if (entry.kind === "failed" || entry.kind === "skipped") settle(passedOver(entry), 0, 0, 0);
          else if (entry.kind !== "directory") progress.found(entry.size);
        },
        onAllFound: () => progress.allFound(),
        onSettled: (settled) => {
          // A directory that is there is no news.
          if (settled.item.kind === "directory" && settled.outcome.status !== "failed") return;
          const { item, outcome, wasBegun } = settled;
          if (item.kind !== "directory") progress.settled(item.size ?? outcome.size ?? 0, wasBegun);
          settle(fileResultOf(settled), settled.bytesResumed, settled.bytesTrusted, settled.bytesMatched);
        },
        onSized: (bytes) => progress.sized(bytes),
        onInherited: (bytes) => progress.inherited(bytes),
        onRestarted: () => progress.restarted(),
        onAcknowledged: (stream, bytes) => {
          link.progress();
          gauge?.acknowledged();
          progress.acknowledged(stream, bytes);
        },
        onResent: (_reason, count) => {
          resent += count;
        },
        onSent: (bytes, sent) => results.sent(bytes, sent),
        onReceipt: (receipt) => {
          results.receipt(receipt);
          gauge?.receipt(receipt);
          link.finish();
        },
        onFailed: (error) => link.fail(error),
      };
      session = new SourceSession(feed, terms, events, options.trustMtime, options.compress ?? "auto");
      progress.begin(session, () => link.stall);
      return session;
    },
  });
  const onAbort = () => void stop(link, session, abortReason(options.signal), patienceMs(options, session));
  options.signal?.addEventListener("abort", onAbort, { once: true });
  if (options.signal?.aborted) onAbort();
  else void link.start();
  const error = await link.over;
  options.signal?.removeEventListener("abort", onAbort);
  gauge?.stop();
  const ownLimit = options.bwlimit?.bytesPerSecond ?? null;
  const figures = gauge?.figures(link, results.bytesOnWire, ownLimit);
  if (figures !== undefined && figures.bytes > 0) results.verdict = judge([figures]);
  await session?.dispose();
  // Also what it never came to.
  feed.close();
  progress.stop();
  results.streams = link.streamsUsed;
  return results.build(error, link.retries + resent, link.limitBytesPerSecond);
}

/** What fits into fewer chunks than there would be streams needs no more: each would cost a connection and carry nothing. */
function startStreams(bytes: number | null, chunkBytes: number): number {
  return bytes === null ? STREAMS_DEFAULT : Math.max(1, Math.min(STREAMS_DEFAULT, Math.ceil(bytes / chunkBytes)));
}

/** What stays as it is gives nothing to a new file. */
function refuseDelta(overwrite: SendOptions["overwrite"]): void {
  if (overwrite === "never" || overwrite === "rename") {
    const message = `what differs is sent where the old file gives way, and with --overwrite ${overwrite} it stays`;
    throw new HawserError("E_USAGE", `${message}: use --delta with --overwrite if-different or always`);
  }
}

function cannotReadBack(): HawserError {
  const message = "the server can't read back what it has written: send without --verify full";
  return new HawserError("E_USAGE", message);
}

/** Lets what is in flight be recorded, for a while, and ends the transfer. */
async function stop(
  link: Link,
  session: SourceSession | undefined,
  reason: HawserError,
  patienceMs: number,
): Promise<void> {
  if (session !== undefined) {
    const patience = new AbortController();
    await Promise.race([session.stop(), delay(patienceMs, undefined, { signal: patience.signal })]);
    patience.abort();
  }
  link.fail(reason);
}

/** Chunks that the limit lets nobody finish in time are not waited for. */
function patienceMs({ bwlimit }: SendOptions, session: SourceSession | undefined): number {
  const neededMs = bwlimit?.msFor(session?.unacknowledgedBytes ?? 0) ?? 0;
  return neededMs > STOPPING_MS ? STOPPING_LIMITED_MS : STOPPING_MS;
}
