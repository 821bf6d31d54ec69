/** hawser send: files to a server. Parses, calls the client, renders. */
import { string as arg } from "@oclif/core/args";
import { string } from "@oclif/core/flags";
import { againText, spooledText } from "../cli/again.ts";
import { secureOption } from "../cli/client-keys.ts";
import * as common from "../cli/common-settings.ts";
import { reportOf, UsageError } from "../cli/errors.ts";
import { filterRulesOf } from "../cli/filter-flags.ts";
import { flagsOf } from "../cli/flags.ts";
import { watchInterrupts } from "../cli/interrupts.ts";
import { JsonResults, NO_RESULTS, type ResultsView, receipt } from "../cli/results.ts";
import { sendSourceOf } from "../cli/send-source.ts";
import { optional, type Resolved } from "../cli/settings.ts";
import { choice, crc32, onOff, size, text, wholeNumber } from "../cli/values.ts";
import type { Overwrite, SendOptions, TransferEvent, Verify } from "../client/types.ts";
import { RateLimit } from "../net/rate-limit.ts";
import { HawserCommand } from "./base.ts";

type CompressMode = NonNullable<SendOptions["compress"]>;

const SETTINGS = {
  to: common.to,
  streams: common.autoStreams,
  workers: common.workers,
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
    about: "another name for the one file or directory that is sent; standard input (-) needs one",
    kind: optional(text),
    fallback: undefined,
    perRun: true,
  }),
  overwrite: common.setting<Overwrite>({
    flag: "overwrite",
    placeholder: "never|if-different|always|rename",
    about:
      "what becomes of a file that is there with other content: it stays, gives way (always: whatever its content), or the " +
      "new one is renamed",
    kind: choice("never", "if-different", "always", "rename"),
    fallback: "never",
    fallbackText: "never",
  }),
  delta: common.setting({
    flag: "delta",
    about:
      "send only the chunks in which a file that is there differs, where it gives way: implies --overwrite if-different",
    kind: onOff,
    fallback: false,
  }),
  verify: common.setting<Verify>({
    flag: "verify",
    placeholder: "crc|full",
    about:
      "full: after the last byte both ends read each file back and compare its BLAKE3, whatever --trust-mtime says",
    kind: choice("crc", "full"),
    fallback: "crc",
    fallbackText: "crc",
  }),
  checksum: common.setting({
    flag: "checksum",
    about: "compare files in directories by content; otherwise the same size and time is the same file",
    kind: onOff,
    fallback: false,
  }),
  copyLinks: common.setting({
    flag: "copy-links",
    about: "send what links in directories point to, in their place",
    kind: onOff,
    fallback: false,
  }),
  preserveMode: common.setting({
    flag: "preserve-mode",
    about: "give files and directories the permission bits that they have here, whatever the server's umask",
    kind: onOff,
    fallback: false,
  }),
  filesFrom: common.setting({
    flag: "files-from",
    placeholder: "FILE",
    about: "send what this list names, or - for standard input: paths separated by NUL or newline",
    kind: optional(text),
    fallback: undefined,
    perRun: true,
  }),
  dryRun: common.perRunSwitch("dry-run", "send nothing, and list what would be sent", "n"),
  spool: common.setting({
    flag: "spool",
    placeholder: "DIR",
    about:
      "copy standard input to a file there first, so that it can go on after an interruption; removed when committed",
    kind: optional(text),
    fallback: undefined,
  }),
  expectBytes: common.setting({
    flag: "expect-bytes",
    placeholder: "SIZE",
    about: "commit standard input only if it is this long",
    kind: optional(size({})),
    fallback: undefined,
    perRun: true,
  }),
  expectCrc32: common.setting({
    flag: "expect-crc32",
    placeholder: "HEX",
    about: "commit standard input only if it has this CRC-32, as receipts show it",
    kind: optional(crc32),
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
  bwlimit: common.bwlimit("what all streams together may send"),
  compress: common.setting<CompressMode>({
    flag: "compress",
    placeholder: "auto|zstd|none",
    about: "compress what is sent; auto: where that makes the transfer faster",
    kind: choice("auto", "zstd", "none"),
    fallback: "auto",
    fallbackText: "auto",
  }),
  insecure: common.insecure,
  ...common.keySettings,
  json: common.json,
  progress: common.progress,
  quiet: common.quiet,
  verbose: common.verbose,
};

const pattern = (summary: string, helpValue: string) =>
  string({ summary, helpValue, multiple: true, multipleNonGreedy: true });

/** They may be given again and again, and their order means something: no settings, which have one value. */
const FILTERS = {
  exclude: pattern(
    "leave out what matches, as in a .gitignore; of several flags the last that matches counts",
    "PATTERN",
  ),
  include: pattern("send what matches after all", "PATTERN"),
  "exclude-from": pattern("patterns from a file, one a line", "FILE"),
};
type Settings = Resolved<typeof SETTINGS>;

export class SendCommand extends HawserCommand {
  static override id = "send";
  static override summary = "sends files and directories to a server";
  static override description =
    "Sends files and directories over several connections at once, and prints a receipt: each file's CRC-32 is that of " +
    "what was read here and of what the server wrote. A directory arrives with all that is in it: times, modes, links and " +
    "empty directories; DIR/ stands for what is in it. A file already there with the same content is a success, with other " +
    "content an error, unless --overwrite says otherwise. Interrupted, the same command goes on where it stood. '-' is " +
    "standard input, read to its end and sent as --name while it comes; it can't be gone on with, unless --spool copies " +
    "it first. While bars are shown, the keys + and - change the rate limit by a quarter, and 0 ends it.";
  static override usage = "send PATH... --to HOST[:PORT]";
  static override examples = [
    "<%= config.bin %> send backup.tar photos --to nas",
    "<%= config.bin %> send *.iso --to 192.168.1.7:23300 --streams 16 --into images",
    "<%= config.bin %> send report.pdf --to [fe80::1]:23300 --name report-2026.pdf --json",
    "pg_dump mydb | <%= config.bin %> send - --name mydb.sql --to nas",
  ];
  static override args = {
    path: arg({ description: "a file or a directory, or - for standard input", multiple: true, ignoreStdin: true }),
  };
  static override flags = { ...flagsOf(SETTINGS), ...FILTERS };

  #json: JsonResults | undefined;
  /** Where standard input was copied to. */
  #spooled: string | null = null;

  override async run(): Promise<void> {
    if (this.wantsJson) this.#json = new JsonResults((text) => this.output.out(text));
    const { values, operands, origins, tokens } = await this.settings(SETTINGS);
    const { to, into, name, filesFrom } = values;
    const isPiped = sendSourceOf(operands, values, origins) === "input";
    if (to === undefined) {
      throw new UsageError("send needs a server", 'Give it with --to HOST[:PORT], HAWSER_TO, or to = "..." in [send].');
    }
    const [{ send }, { runTransfer }] = await Promise.all([import("../client/send.ts"), import("../cli/transfer.ts")]);
    const keys = secureOption(to, { values, origins }, process.env);
    const limit = new RateLimit(values.bwlimit);
    const interrupts = watchInterrupts({
      onSecond: (error) => {
        this.#json?.abandon(reportOf(error));
        if (values.progress !== "json") this.output.err(this.#nextText(isPiped, this.#spooled));
      },
    });
    try {
      const options = {
        ...(isPiped ? inputOptions(values) : { paths: operands }),
        ...(filesFrom === undefined ? {} : { filesFrom }),
        filter: filterRulesOf(tokens),
        to,
        ...keys,
        streams: values.streams,
        workers: values.workers,
        chunkBytes: values.chunkBytes,
        timeoutMs: values.timeoutMs,
        resume: values.resume,
        trustMtime: values.trustMtime,
        // What nobody said is for --delta to say.
        ...(values.delta && origins.overwrite.from === "default" ? {} : { overwrite: values.overwrite }),
        delta: values.delta,
        verify: values.verify,
        checksum: values.checksum,
        copyLinks: values.copyLinks,
        preserveMode: values.preserveMode,
        dryRun: values.dryRun,
        bwlimit: limit,
        // What limits it is said then.
        watchConnections: values.verbose,
        compress: values.compress,
        ...(values.retries === undefined ? {} : { retries: values.retries }),
        signal: interrupts.signal,
        ...(into === undefined ? {} : { into }),
        ...(name === undefined ? {} : { name }),
      };
      const view = {
        ...values,
        results: this.#results(values, !isPiped || !values.dryRun || values.spool !== undefined),
        ...(isPiped || filesFrom === "-" ? {} : { limitKeys: { limit, interrupts } }),
      };
      const noting: typeof send = (all) => send({ ...all, onEvent: (event) => this.#note(event, all.onEvent) });
      const result = await runTransfer(noting, options, view, this.output);
      if ((result.resumable || result.spooled !== null) && values.progress !== "json") {
        this.output.err(this.#nextText(isPiped, result.spooled));
      }
      process.exitCode = result.exitCode;
    } finally {
      interrupts.dispose();
    }
  }

  #note(event: TransferEvent, show: SendOptions["onEvent"]): void {
    if (event.type === "spooled") this.#spooled = event.path;
    show?.(event);
  }

  /** The command that goes on; nothing where none can. */
  #nextText(isPiped: boolean, spooled: string | null): string {
    if (spooled !== null) return spooledText(this.argv, spooled, SendCommand.flags);
    return isPiped ? "" : againText(this.argv);
  }

  /** With --json there is a document after any failure too: usage errors and bugs included. */
  protected override failed(thrown: unknown): void {
    this.#json?.abandon(reportOf(this.reported(thrown)));
  }

  #results({ quiet, verbose }: Settings["values"], sizesKnown: boolean): ResultsView {
    if (this.#json !== undefined) return this.#json;
    return quiet ? NO_RESULTS : receipt((text) => this.output.out(text), sizesKnown, verbose);
  }
}

function inputOptions({ spool, expectBytes, expectCrc32 }: Settings["values"]): Partial<SendOptions> {
  return {
    input: 0,
    ...(spool === undefined ? {} : { spool }),
    ...(expectBytes === undefined ? {} : { expectBytes }),
    ...(expectCrc32 === undefined ? {} : { expectCrc32 }),
  };
}
