/** What a server says on standard error: a line for each transfer, and what went wrong. Events in, text out. */
import { escapeText } from "../protocol/names.ts";
import type { ServerEvent, TransferRecord } from "../server/types.ts";
import { formatBytes, formatDuration, formatLimit, formatRate, plural } from "./format.ts";
import { milliseconds } from "./json.ts";

export interface LogOptions {
  readonly quiet: boolean;
  readonly verbose: boolean;
}

/** The line for an event at a time; empty where nothing is to be said. */
export function serverLogLine(event: ServerEvent, nowMs: number, { quiet, verbose }: LogOptions): string {
  const line = (text: string) => `${new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z")} ${escapeText(text)}\n`;
  switch (event.type) {
    case "transfer":
      return quiet && event.record.filesFailed === 0 ? "" : line(transferText(event.record));
    case "ended":
      return line(
        `${event.peer} ended before it was complete: ${event.message} (${event.code})${event.resumable ? "; it can be resumed" : ""}`,
      );
    case "expired":
      return line(`${event.peer} did not come back: what transfer ${event.transferId} had left is dropped`);
    case "refused":
      return line(`${event.peer} refused: ${event.message} (${event.code})`);
    case "warning":
      return line(`warning: ${event.message}`);
    case "session":
      return verbose
        ? line(`${event.peer} ${event.resumed ? "resumes" : "begins"} transfer ${event.transferId} (${event.agent})`)
        : "";
    case "file": {
      const { name, bytes, crc32, status, error } = event.file;
      if (status === "failed") return line(`${event.peer} failed: ${name}: ${error ?? "no reason given"}`);
      return verbose ? line(`${event.peer} ${status}: ${name}, ${formatBytes(bytes)}, ${crc32 ?? "not read"}`) : "";
    }
    case "limit": {
      const limit = formatLimit(event.bytesPerSecond);
      return quiet ? "" : line(`the rate limit of each client is now ${limit.replace(/^no limit$/, "off")}`);
    }
    case "listening":
      return "";
  }
}

function transferText(record: TransferRecord): string {
  const { peer, files, filesFailed, bytes, durationMs, bytesPerSecond, bytesResumed } = record;
  const resumed = bytesResumed > 0 ? `, ${formatBytes(bytesResumed)} of it by earlier runs,` : "";
  const amount = `${formatBytes(bytes)}${resumed} in ${formatDuration(durationMs)}, ${formatRate(bytesPerSecond)}`;
  // Nothing was received of what is there now: it was there before.
  if (filesFailed === 0 && bytes > 0 && bytesPerSecond === 0) {
    return `${peer} unchanged: ${namesText(record)}, ${formatBytes(bytes)}`;
  }
  const result = filesFailed === 0 ? "committed" : `${filesFailed} of ${plural(files, "file")} failed`;
  return `${peer} ${result}: ${namesText(record)}, ${amount}`;
}

/** `a.bin, b.bin and 12 more`. */
export function namesText({ names, files }: Pick<TransferRecord, "names" | "files">, shownMax = 3): string {
  const shown = names.slice(0, shownMax);
  const more = files - shown.length;
  if (shown.length === 0) return plural(files, "file");
  return escapeText(shown.join(", ")) + (more > 0 ? ` and ${more} more` : "");
}

/** An event as a line of `serve --json`; schema/serve-event.json describes it. */
export function serverRecord(event: ServerEvent): Record<string, unknown> {
  const { type, ...fields } = event;
  if (event.type !== "transfer") return { event: type, ...fields };
  const { durationMs, bytesPerSecond } = event.record;
  const rounded = { durationMs: milliseconds(durationMs), bytesPerSecond: Math.round(bytesPerSecond) };
  return { event: type, ...event.record, ...rounded };
}
