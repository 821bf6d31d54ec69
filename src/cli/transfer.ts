/**
 * One transfer as send, shell and demo run it: the library sends, the views show. Everything that differs between the
 * three is in what they hand over.
 */
import { isatty } from "node:tty";
import type { FailureReport, SendOptions, TransferEvent, TransferResult } from "../client/types.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import { escapeText } from "../protocol/names.ts";
import { formatFailure } from "./errors.ts";
import { formatBytes, formatLimit, plural } from "./format.ts";
import type { Interrupts } from "./interrupts.ts";
import type { Output } from "./output.ts";
import { type ProgressMode, progressMode, progressView } from "./progress.ts";
import { errorLine } from "./progress-json.ts";
import { warningLine } from "./progress-view.ts";
import { failedFileText, NO_RESULTS, type ResultsView } from "./results.ts";

export type Send = (options: SendOptions) => Promise<TransferResult>;

/** After the first signal. */
const STOPPING = "stopping: what is in flight is being finished; ^C again ends it at once";

/** What is piped in, before it is sent. */
const READ_ONCE =
  "standard input is read once: if this is interrupted it can't go on, and has to be sent again (--spool DIR makes it resumable)";

export interface TransferView {
  readonly results: ResultsView;
  readonly progress: ProgressMode;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** What keys change while bars are shown. */
  readonly limitKeys?: { readonly limit: RateLimit; readonly interrupts: Pick<Interrupts, "raise"> };
}

export async function runTransfer(
  send: Send,
  options: Omit<SendOptions, "onEvent">,
  view: TransferView,
  output: Output,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<TransferResult> {
  const mode = progressMode(view.progress, view.quiet, output, environment);
  const progress = await progressView(mode, output);
  // With --progress json standard error carries events and nothing else.
  const say = mode === "json" ? () => {} : (text: string) => progress.aside(() => output.err(text));
  let firstFailure: FailureReport | null = null;
  let bytesPerSecond = 0;
  // Of many files it would be most of what is done for each here, and for nobody.
  const isNoNews = mode === "none" && view.results === NO_RESULTS;
  const onEvent = (event: TransferEvent) => {
    if (isNoNews && event.type === "file" && event.file.error === null) return;
    progress.show(event);
    if (event.type === "progress") bytesPerSecond = event.bytesPerSecond;
    if (event.type === "file") firstFailure ??= event.file.error;
    if (event.type === "file") progress.aside(() => view.results.file(event.file));
    const text = eventText(event, view);
    if (text !== "") say(text);
  };
  if (options.input !== undefined && options.spool === undefined && options.dryRun !== true)
    onEvent({ type: "warning", message: READ_ONCE });
  const limitKeys = async ({ limit, interrupts }: NonNullable<TransferView["limitKeys"]>) => {
    // Even to look at it would make a stream of it.
    if (!isatty(0)) return () => {};
    const [{ watchKeys }, { limitAfter }] = await Promise.all([import("./keys.ts"), import("./limit-keys.ts")]);
    return watchKeys(process.stdin, interrupts, (key) => {
      const next = limitAfter(key, limit.bytesPerSecond, bytesPerSecond);
      if (next === undefined) return;
      limit.set(next);
      say(`hawser: ${next === null ? "no rate limit any more" : `the rate limit is now ${formatLimit(next)}`}\n`);
    });
  };
  const onAbort = () => {
    if (mode === "json") progress.show({ type: "warning", message: STOPPING });
    else say(`hawser: ${STOPPING}\n`);
  };
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const stopKeys = mode === "bar" && view.limitKeys !== undefined ? await limitKeys(view.limitKeys) : () => {};
  try {
    const result = await send({ ...options, onEvent });
    stopKeys();
    progress.stop();
    view.results.finish(result);
    if (result.error !== null) {
      if (mode === "json") output.err(errorLine(result.error));
      // Where nothing was committed the transfer's failure is its first file's, and that was said.
      // The next step after an interrupt is the caller's to say: it knows the command.
      const hint = options.signal?.aborted ? "" : result.error.hint;
      if (!isSame(result.error, firstFailure)) say(formatFailure({ ...result.error, hint }));
    }
    // Whoever left everything out, or named an empty directory, is to know why there is so little to see.
    if (result.ok && result.filesCommitted + result.filesSkipped === 0 && !view.quiet) say(NO_FILES);
    if (view.verbose) {
      say(`hawser: ${chunksText(result)}\n`);
      say(`hawser: ${cpuText(result)}\n`);
    }
    return result;
  } finally {
    stopKeys();
    options.signal?.removeEventListener("abort", onAbort);
    progress.stop();
  }
}

const NO_FILES = "hawser: no file was found to be sent: only directories, an empty list, or all was left out\n";

function isSame(a: FailureReport, b: FailureReport | null): boolean {
  return a.code === b?.code && a.message === b.message;
}

/** What an event is worth on standard error beside the progress. */
function eventText(event: TransferEvent, { quiet, verbose }: TransferView): string {
  switch (event.type) {
    case "warning":
      return quiet ? "" : warningLine(event.message);
    case "file":
      return event.file.status === "failed" ? failedFileText(event.file) : "";
    case "connected":
      return verbose ? `hawser: ${escapeText(connectedText(event))}\n` : "";
    case "streams":
      return verbose ? `hawser: ${plural(event.streams, "stream")} from here on\n` : "";
    case "spooled":
      return verbose ? `hawser: ${escapeText(event.path)} has the input, ${formatBytes(event.bytes)}\n` : "";
    case "progress":
      return "";
  }
}

function connectedText(event: Extract<TransferEvent, { type: "connected" }>): string {
  const { agent, streams, chunkBytes, durability, transferId } = event;
  const what = `${plural(streams, "stream")}, chunks of ${formatBytes(chunkBytes)}, durability ${durability}`;
  return `connected to ${agent}: ${what}, transfer ${transferId}`;
}

function chunksText({ chunks, bytesOnWire, bytesSaved }: TransferResult): string {
  const { raw, zstd, sparse } = chunks;
  const how = `${zstd} compressed, ${sparse} without their zeros, ${raw} as they are`;
  return `chunks sent: ${how}; ${formatBytes(bytesOnWire)} went over the wire for ${formatBytes(bytesOnWire + bytesSaved)}`;
}

function cpuText({ cpuSeconds, bytes }: TransferResult): string {
  const server = cpuSeconds.server === null ? "unknown" : `${cpuSeconds.server.toFixed(2)} s`;
  return `CPU time for ${formatBytes(bytes)}: client ${cpuSeconds.client.toFixed(2)} s, server ${server}`;
}
