/** hawser send: files to a server. Parses, calls the client, renders. */
import { string } from "@oclif/core/args";
import * as common from "../cli/common-settings.ts";
import { reportOf, UsageError } from "../cli/errors.ts";
import { flagsOf } from "../cli/flags.ts";
import { watchInterrupts } from "../cli/interrupts.ts";
import { shellQuote } from "../cli/quote.ts";
import { JsonResults, NO_RESULTS, type ResultsView, receipt } from "../cli/results.ts";
import { optional } from "../cli/settings.ts";
import { choice, onOff, text, wholeNumber } from "../cli/values.ts";
import type { SendOptions, TransferResult } from "../client/types.ts";
import { HawserCommand } from "./base.ts";

type CompressMode = NonNullable<SendOptions["compress"]>;

const SETTINGS = {
  to: common.to,
  streams: common.streams,
  chunkBytes: common.chunkBytes,
  into: common.setting({
    flag: "into",
    placeholder: "DIR",
    about: "a directory below the served one; it is made where it is missing",
    kind: optional(text),
    fallback: undefined,
  }),
  name: common.setting({
    flag: "name",
    placeholder: "NAME",
    about: "another name for the one file that is sent",
    kind: optional(text),
    fallback: undefined,
    perRun: true,
  }),
  timeoutMs: common.timeoutMs,
  retries: common.setting({
    flag: "retries",
    placeholder: "N",
    about: "dial a broken connection again N times at most, without progress in between",
    kind: optional(wholeNumber(0, 1_000_000)),
    fallback: undefined,
    fallbackText: "until --timeout",
  }),
  resume: common.setting({
    flag: "resume",
    about: "go on where an interrupted run of the same files stood",
    kind: onOff,
    fallback: true,
    fallbackText: "on",
    negatable: true,
  }),
  trustMtime: common.setting({
    flag: "trust-mtime",
    about: "don't read again what an interrupted run has read, where size and times are the same",
    kind: onOff,
    fallback: false,
  }),
  compress: common.setting<CompressMode>({
    flag: "compress",
    placeholder: "auto|zstd|none",
    about: "compress what is sent; auto: where that makes the transfer faster",
    kind: choice("auto", "zstd", "none"),
    fallback: "auto",
    fallbackText: "auto",
  }),
  insecure: common.insecure,
  json: common.json,
  progress: common.progress,
  quiet: common.quiet,
  verbose: common.verbose,
};

export class SendCommand extends HawserCommand {
  static override summary = "sends files to a server";
  static override description =
    "Sends regular files over several connections at once, and prints a receipt: each file's CRC-32 is that of what was " +
    "read here and of what the server wrote. A file already there with the same content is a success, with other content " +
    "an error. Interrupted, the same command goes on where it stood.";
  static override usage = "send PATH... --to HOST[:PORT]";
  static override examples = [
    "<%= config.bin %> send backup.tar --to nas",
    "<%= config.bin %> send *.iso --to 192.168.1.7:23300 --streams 16 --into images",
    "<%= config.bin %> send report.pdf --to [fe80::1]:23300 --name report-2026.pdf --json",
  ];
  static override args = {
    path: string({ description: "a regular file", multiple: true, required: true, ignoreStdin: true }),
  };
  static override flags = flagsOf(SETTINGS);

  #json: JsonResults | undefined;

  override async run(): Promise<void> {
    if (this.#wantsJson()) this.#json = new JsonResults((text) => this.output.out(text));
    const { values, operands } = await this.settings(SETTINGS);
    const { to, into, name, quiet } = values;
    refuse(operands, name);
    if (to === undefined) {
      throw new UsageError("send needs a server", 'Give it with --to HOST[:PORT], HAWSER_TO, or to = "..." in [send].');
    }
    const [{ send }, { runTransfer }] = await Promise.all([import("../client/send.ts"), import("../cli/transfer.ts")]);
    const interrupts = watchInterrupts({
      onSecond: (error) => {
        this.#json?.abandon(reportOf(error));
        if (values.progress !== "json") this.output.err(againText(this.argv));
      },
    });
    try {
      const options = {
        paths: operands,
        to,
        streams: values.streams,
        chunkBytes: values.chunkBytes,
        timeoutMs: values.timeoutMs,
        resume: values.resume,
        trustMtime: values.trustMtime,
        compress: values.compress,
        ...(values.retries === undefined ? {} : { retries: values.retries }),
        signal: interrupts.signal,
        ...(into === undefined ? {} : { into }),
        ...(name === undefined ? {} : { name }),
      };
      const result = await runTransfer(send, options, { ...values, results: this.#results(quiet) }, this.output);
      if (canBeResumed(result) && values.progress !== "json") this.output.err(againText(this.argv));
      process.exitCode = result.exitCode;
    } finally {
      interrupts.dispose();
    }
  }

  /** With --json there is a document after any failure too: usage errors and bugs included. */
  protected override async catch(error: Error): Promise<never> {
    this.#json?.abandon(reportOf(this.reported(error)));
    throw error;
  }

  /** Before parsing, which may fail: --json stands on the command line or not at all. */
  #wantsJson(): boolean {
    const end = this.argv.indexOf("--");
    return (end === -1 ? this.argv : this.argv.slice(0, end)).includes("--json");
  }

  #results(quiet: boolean): ResultsView {
    if (this.#json !== undefined) return this.#json;
    return quiet ? NO_RESULTS : receipt((text) => this.output.out(text));
  }
}

function refuse(paths: readonly string[], name: string | undefined): void {
  if (paths.includes("-")) {
    throw new UsageError(
      "'-' (standard input) can't be sent yet: that comes in a later version",
      "Write it to a file first, and send that; a file named '-' is ./-",
    );
  }
  if (name !== undefined && paths.length > 1) {
    throw new UsageError(
      `--name renames one file, and ${paths.length} are given`,
      "Send them one by one, or use --into.",
    );
  }
}

/** It was begun, and the same command will go on with it. */
function canBeResumed({ error, transferId }: TransferResult): boolean {
  return error?.retryable === true && transferId !== null;
}

function againText(argv: readonly string[]): string {
  const command = ["hawser", "send", ...argv].map(shellQuote).join(" ");
  return `  The same command goes on where this one stopped:\n  ${command}\n`;
}
