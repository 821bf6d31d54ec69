/** hawser shell: commands from a terminal or a pipe, one a line. Reads lines; ShellSession knows what they mean. */
import { stat } from "node:fs/promises";
import { secureOption } from "../cli/client-keys.ts";
import * as common from "../cli/common-settings.ts";
import { flagsOf } from "../cli/flags.ts";
import { watchInterrupts } from "../cli/interrupts.ts";
import { readLines } from "../cli/lines.ts";
import { Prompt, type Terminal } from "../cli/prompt.ts";
import { NO_RESULTS, receipt } from "../cli/results.ts";
import type { Resolved } from "../cli/settings.ts";
import { ShellSession } from "../cli/shell-session.ts";
import type { TransferResult } from "../client/types.ts";
import type { Endpoint } from "../net/dial.ts";
import type { HawserError } from "../protocol/errors.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";
import { HawserCommand } from "./base.ts";

const SETTINGS = {
  to: common.to,
  streams: common.autoStreams,
  workers: common.workers,
  chunkBytes: common.chunkBytes,
  timeoutMs: common.timeoutMs,
  insecure: common.insecure,
  ...common.keySettings,
  progress: common.progress,
  quiet: common.quiet,
  verbose: common.verbose,
};

type Settings = Resolved<typeof SETTINGS>;

export class ShellCommand extends HawserCommand {
  static override id = "shell";
  static override summary = "an interactive session: set a file and a server, and send";
  static override description = [
    "Reads one command a line, from a terminal or a pipe:",
    "  file_name NAME          the file to send",
    `  count_threads N         over how many connections, 1 to ${common.STREAMS_ASKED_MAX}`,
    "  server_url HOST[:PORT]  where to (127.0.0.1:23300)",
    "  transfer_file           send it",
    "  status, help, exit",
    "A committed transfer prints `Your file has been uploaded successfully!` on standard output, which carries nothing else.",
    "The exit code is 0 when the last transfer succeeded or none was asked for, else that transfer's.",
  ].join("\n");
  static override usage = "shell";
  static override examples = [
    "<%= config.bin %> shell",
    "printf 'file_name big.iso\\ntransfer_file\\n' | <%= config.bin %> shell --to nas",
  ];
  static override flags = flagsOf(SETTINGS);

  /** Set when a signal ended a transfer, and with it this program. */
  #endedBy: HawserError | undefined;

  override async run(): Promise<void> {
    const settings = await this.settings(SETTINGS);
    const prompt = process.stdin.isTTY ? new Prompt(process.stdin, this.#terminal) : undefined;
    const session = this.#session(settings, prompt);
    try {
      for await (const line of prompt?.lines() ?? readLines(process.stdin)) {
        await session.run(line);
        if (session.ended || this.#endedBy !== undefined) break;
      }
      process.exitCode = this.#endedBy?.exitCode ?? session.exitCode;
    } finally {
      prompt?.close();
      // A pipe that stays open must not keep the process.
      process.stdin.destroy();
    }
  }

  /** Through the output, so that a prompt comes behind the result that it follows. */
  get #terminal(): Terminal {
    const write = (text: string) => this.output.err(text);
    return {
      get columns() {
        return process.stderr.columns;
      },
      write,
    };
  }

  #session(settings: Settings, prompt: Prompt | undefined): ShellSession {
    const { values } = settings;
    return new ShellSession({
      to: values.to ?? { host: "127.0.0.1", port: DEFAULT_PORT },
      streams: values.streams,
      streamsMax: common.STREAMS_ASKED_MAX,
      lookAt,
      out: (text) => this.output.out(text),
      err: (text) => this.output.err(text),
      transfer: (path, to, streams) => this.#transfer({ path, to, streams }, settings, prompt),
    });
  }

  async #transfer(
    { path, to, streams }: Asked,
    settings: Settings,
    prompt: Prompt | undefined,
  ): Promise<TransferResult> {
    const [{ send }, { runTransfer }] = await Promise.all([import("../client/send.ts"), import("../cli/transfer.ts")]);
    const { values } = settings;
    const { workers, chunkBytes, timeoutMs, quiet } = values;
    const interrupts = watchInterrupts();
    prompt?.busy(() => interrupts.raise("SIGINT"));
    // Standard output carries the success line alone.
    const results = quiet ? NO_RESULTS : receipt((text) => this.output.err(text));
    try {
      const keys = secureOption(to, settings, process.env);
      const { signal } = interrupts;
      const options = { paths: [path], to, ...keys, streams, workers, chunkBytes, timeoutMs, signal };
      const result = await runTransfer(send, options, { ...values, results }, this.output);
      const reason = interrupts.signal.reason as HawserError | undefined;
      // At a terminal ^C ends the transfer and not the session.
      if (prompt === undefined || reason?.code === "E_TERMINATED") this.#endedBy = reason;
      return result;
    } finally {
      prompt?.idle();
      interrupts.dispose();
    }
  }
}

interface Asked {
  readonly path: string;
  readonly to: Endpoint;
  readonly streams: number | "auto";
}

/** What is wrong with sending `path`, as far as can be told now. */
async function lookAt(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isFile() ? undefined : `'${path}' is no regular file`;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return missing ? `there is no file '${path}'` : `'${path}' can't be looked at: ${(error as Error).message}`;
  }
}
