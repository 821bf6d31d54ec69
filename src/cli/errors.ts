/** Errors of the command line: what the user can mend, with the next step, and how any error is said on a terminal. */

import type { FailureReport } from "../client/types.ts";
import { ERRORS, HawserError } from "../protocol/errors.ts";
import { escapeText } from "../protocol/names.ts";
import { redactTickets } from "../protocol/ticket.ts";

/** A command line, a variable or a configuration file that can't be followed. Its hint says what to do instead. */
export class UsageError extends HawserError {
  readonly #hint: string | undefined;

  constructor(message: string, hint?: string, code: "E_USAGE" | "E_CONFIG" = "E_USAGE") {
    super(code, message);
    this.#hint = hint;
  }

  override get hint(): string {
    return this.#hint ?? super.hint;
  }
}

/** An error as data, as `--json` shows it. */
export function reportOf(error: HawserError): FailureReport {
  return { code: error.code, message: redactTickets(error.message), hint: error.hint, retryable: error.retryable };
}

/** A sentence, its code, and the next step. */
export function formatFailure(failure: Pick<FailureReport, "code" | "message" | "hint">): string {
  const next = failure.hint === "" ? "" : `  ${escapeText(failure.hint)}\n`;
  return `hawser: ${escapeText(failure.message)} (${failure.code})\n${next}`;
}

/** What nobody foresaw: a short notice and the trace, for a report. */
export function formatBug(thrown: unknown, version: string): string {
  const trace = thrown instanceof Error ? (thrown.stack ?? String(thrown)) : String(thrown);
  // It may quote what a peer said.
  const shown = trace.split("\n").map(escapeText).join("\n");
  return `hawser ${version}: a bug, not your mistake. ${ERRORS.E_INTERNAL.hint}\n${shown}\n`;
}
