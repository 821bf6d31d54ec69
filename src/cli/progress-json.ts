/** Progress as NDJSON on standard error, one event a line, for programs. schema/progress-event.json describes it. */
import type { FailureReport, TransferEvent } from "../client/types.ts";
import { toJson } from "./json.ts";
import type { Output } from "./output.ts";
import type { ProgressView } from "./progress-view.ts";

export function jsonProgress(output: Output): ProgressView {
  return {
    show: (event) => output.err(`${toJson(progressRecord(event))}\n`),
    aside: (write) => write(),
    stop: () => {},
  };
}

/** The event with its kind first, under the name that the server's events use too. */
export function progressRecord({ type, ...fields }: TransferEvent): Record<string, unknown> {
  return { event: type, ...fields };
}

/** How the transfer failed: the last line. */
export function errorLine(error: FailureReport): string {
  return `${toJson({ event: "error", error })}\n`;
}
