/** Where `send` takes its files from, and the refusal of what makes no sense together. Asks what standard input is. */
import { isatty } from "node:tty";
import { isClosed } from "../source/input.ts";
import { UsageError } from "./errors.ts";
import type { Origin } from "./settings.ts";

/** The paths themselves, a list of more of them, or the content of standard input. */
export type SendSource = "paths" | "list" | "input";

/** Settings that are about standard input alone; the key is that of the table. */
type InputSetting = "spool" | "expectBytes" | "expectCrc32";

export interface SendWishes {
  readonly name: string | undefined;
  readonly filesFrom: string | undefined;
}

/** Throws UsageError where it isn't clear what is to be sent. */
export function sendSourceOf(
  paths: readonly string[],
  { name, filesFrom }: SendWishes,
  origins: Readonly<Record<InputSetting, Origin>>,
): SendSource {
  if (paths.includes("-") && filesFrom === undefined) {
    refuseInput(paths, name);
    return "input";
  }
  if (filesFrom === undefined) refusePaths(paths, name);
  else refuseList(paths, name, filesFrom);
  for (const { from, place } of [origins.spool, origins.expectBytes, origins.expectCrc32]) {
    if (from !== "flag") continue;
    throw new UsageError(`${place} is about standard input, and files are to be sent`, "Leave it out.");
  }
  return filesFrom === undefined ? "paths" : "list";
}

function refuseList(paths: readonly string[], name: string | undefined, filesFrom: string): void {
  if (filesFrom === "-") {
    refuseNothingPiped("no list is piped in", "Say `find ... -print0 | hawser send --files-from - ...`.");
  }
  if (paths.length > 0) {
    throw new UsageError("--files-from says what is sent, and so does PATH", "Give one of the two.");
  }
  if (name !== undefined) {
    throw new UsageError("--name renames one file or directory, and --files-from is a list", "Use --into.");
  }
}

function refusePaths(paths: readonly string[], name: string | undefined): void {
  if (paths.length === 0) {
    throw new UsageError(
      "send needs PATH, which is missing",
      "Name a file or a directory, or give a list with --files-from.",
    );
  }
  if (name !== undefined && paths.length > 1) {
    throw new UsageError(
      `--name renames one file or directory, and ${paths.length} are given`,
      "Send them one by one, or use --into.",
    );
  }
}

function refuseInput(paths: readonly string[], name: string | undefined): void {
  if (paths.length > 1) {
    throw new UsageError("standard input (-) is sent alone, and files are given too", "A file named '-' is ./-");
  }
  if (name === undefined) {
    throw new UsageError("standard input (-) needs a name", "Give it with --name NAME; a file named '-' is ./-");
  }
  refuseNothingPiped("nothing is piped in", "Say `PROGRAM | hawser send - ...`, or `hawser send - ... < FILE`.");
}

function refuseNothingPiped(what: string, hint: string): void {
  const isTerminal = isatty(0);
  if (!isTerminal && !isClosed(0)) return;
  throw new UsageError(`standard input is ${isTerminal ? "this terminal" : "closed"}, and ${what}`, hint);
}
