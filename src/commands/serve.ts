/** hawser serve: receives files until it is stopped. Parses, calls the server, renders its events. */
import { resolve } from "node:path";
import { isatty } from "node:tty";
import { string } from "@oclif/core/args";
import * as common from "../cli/common-settings.ts";
import { formatFailure, UsageError } from "../cli/errors.ts";
import { flagsOf } from "../cli/flags.ts";
import { formatLimit } from "../cli/format.ts";
import { watchHangup } from "../cli/hangup.ts";
import { type Interrupts, watchInterrupts } from "../cli/interrupts.ts";
import { toJson } from "../cli/json.ts";
import { rawOutput } from "../cli/raw-output.ts";
import { serverLogLine, serverRecord } from "../cli/server-log.ts";
import { optional, type Resolved } from "../cli/settings.ts";
import { StreamedFile } from "../cli/streamed-file.ts";
import { choice, duration, host, networks, RATE_MIN, rate, size, wholeNumber } from "../cli/values.ts";
import { formatEndpoint } from "../net/dial.ts";
import { asHawserError, ERRORS } from "../protocol/errors.ts";
import { CHUNK_BYTES_MAX, DEFAULT_PORT, NAME_BYTES_MAX } from "../protocol/limits.ts";
import { escapeText } from "../protocol/names.ts";
import { formatPin } from "../protocol/ticket.ts";
import { type HawserServer, SESSION_TTL_MS, type ServeOptions, type ServerEvent } from "../server/types.ts";
import type { Durability } from "../sink/sink.ts";
import { isClosed } from "../source/input.ts";
import { HawserCommand } from "./base.ts";

const SETTINGS = {
  port: common.setting({
    flag: "port",
    placeholder: "PORT",
    about: "0 picks a free one",
    kind: wholeNumber(0, 65535),
    fallback: DEFAULT_PORT,
    fallbackText: String(DEFAULT_PORT),
  }),
  bind: common.setting({
    flag: "bind",
    placeholder: "ADDRESS",
    about: "where to listen",
    kind: optional(host),
    fallback: undefined,
    fallbackText: "all addresses, with --insecure 127.0.0.1",
  }),
  insecure: common.insecure,
  cert: common.fileSetting("cert", "a certificate to show, in PEM, in place of one that is made and pinned"),
  key: common.fileSetting("key", "its key, where that is not in the same file"),
  clientCa: common.fileSetting("client-ca", "who signs clients' certificates, in PEM: they stand in for tickets"),
  once: common.perRunSwitch("once", "exit after one finished transfer: 0 when it is complete, 23 when files failed"),
  toStdout: common.perRunSwitch(
    "to-stdout",
    "write the one file that comes to standard output, in order, for another program to read; with --once",
  ),
  maxConnections: common.setting({
    flag: "max-connections",
    placeholder: "N",
    about: "connections of transfers at once, all clients together",
    kind: wholeNumber(1, 1_000_000),
    fallback: 1024,
    fallbackText: "1024",
  }),
  maxConnectionsPerPeer: common.setting({
    flag: "max-connections-per-ip",
    placeholder: "N",
    about: "the same from one address; here and below an IPv6 /64 is one",
    kind: wholeNumber(1, 1_000_000),
    fallback: 512,
    fallbackText: "512",
  }),
  maxSessions: common.setting({
    flag: "max-sessions",
    placeholder: "N",
    about: "transfers at once, all clients together",
    kind: wholeNumber(1, 1_000_000),
    fallback: 256,
    fallbackText: "256",
  }),
  maxSessionsPerPeer: common.setting({
    flag: "max-sessions-per-ip",
    placeholder: "N",
    about: "transfers at once from one address",
    kind: wholeNumber(1, 1_000_000),
    fallback: 64,
    fallbackText: "64",
  }),
  maxFileBytes: common.setting({
    flag: "max-file-size",
    placeholder: "SIZE",
    about: "refuse larger files",
    kind: optional(size({})),
    fallback: undefined,
    fallbackText: "no limit",
  }),
  maxEntries: common.setting({
    flag: "max-entries",
    placeholder: "N",
    about: "files, directories and links in one transfer",
    kind: wholeNumber(1, Number.MAX_SAFE_INTEGER),
    fallback: 10_000_000,
    fallbackText: "10000000",
  }),
  maxDepth: common.setting({
    flag: "max-depth",
    placeholder: "N",
    about: "components of a name: the directories that lead to a file, and its own",
    kind: wholeNumber(1, NAME_BYTES_MAX),
    fallback: 128,
    fallbackText: "128",
  }),
  quotaBytes: common.setting({
    flag: "quota",
    placeholder: "SIZE",
    about: "what unfinished files of one client may take on the disk, those under way included",
    kind: optional(size({ minBytes: CHUNK_BYTES_MAX })),
    fallback: undefined,
    fallbackText: "no limit",
  }),
  minFreeBytes: common.setting({
    flag: "min-free",
    placeholder: "SIZE",
    about: "bytes that stay free on the file system",
    kind: optional(size({})),
    fallback: undefined,
    fallbackText: "a twentieth of it, 1GiB at most",
  }),
  minRate: common.setting({
    flag: "min-rate",
    placeholder: "RATE",
    about: "a transfer slower than this for a minute gives way when others want its place; off for none",
    kind: rate,
    fallback: RATE_MIN,
    fallbackText: "1KiB",
  }),
  allow: common.setting<readonly string[]>({
    flag: "allow",
    placeholder: "NETWORK",
    about: "an address or network that may connect, and nobody else; can be given again",
    kind: networks,
    fallback: [],
    repeatable: true,
  }),
  deny: common.setting<readonly string[]>({
    flag: "deny",
    placeholder: "NETWORK",
    about: "one that may not, whatever --allow says; can be given again",
    kind: networks,
    fallback: [],
    repeatable: true,
  }),
  bwlimit: common.bwlimit("what each client may send, all its transfers together"),
  durability: common.setting<Durability>({
    flag: "durability",
    placeholder: "none|commit|checkpoint|strict",
    about:
      "what outlives a power cut: nothing; committed files; those, and what is recorded of unfinished ones; and read back",
    kind: choice("none", "commit", "checkpoint", "strict"),
    fallback: "commit",
    fallbackText: "commit",
  }),
  sessionTtlMs: common.setting({
    flag: "session-ttl",
    placeholder: "DURATION",
    about: "how long what is unfinished is kept for its client to come back",
    kind: duration(100),
    fallback: SESSION_TTL_MS,
    fallbackText: "7d",
  }),
  drainMs: common.setting({
    flag: "drain-timeout",
    placeholder: "DURATION",
    about: "how long transfers under way may go on after SIGTERM or ^C",
    kind: duration(0),
    fallback: 30_000,
    fallbackText: "30s",
  }),
  json: common.perRunSwitch("json", "print events as NDJSON on standard output, the first when it listens"),
  quiet: common.quiet,
  verbose: common.verbose,
};

type Values = Resolved<typeof SETTINGS>["values"];

export class ServeCommand extends HawserCommand {
  static override id = "serve";
  static override summary = "receives files into a directory until stopped";
  static override description =
    "Receives files into DIR (the current directory) until SIGTERM or ^C, and then lets transfers under way finish. A " +
    "second signal exits at once. SIGHUP reads the configuration file again: --bwlimit from there then holds also for " +
    "transfers under way. With --to-stdout there is no DIR: one file goes to standard output, and the exit code says " +
    "whether all of it did. Connections are encrypted, and only who has a ticket is let in: `hawser ticket` makes one. " +
    "The same user on this machine needs none. With --insecure it is plain TCP for everybody who reaches it, which is this " +
    "machine only, unless --bind says otherwise.";
  static override usage = "serve [DIR]";
  static override examples = [
    "<%= config.bin %> serve /srv/inbox",
    "<%= config.bin %> serve /srv/inbox --bind 192.168.1.7 --insecure --min-free 10GiB",
    "<%= config.bin %> serve . --port 0 --once --json",
    "<%= config.bin %> serve --to-stdout --once | tar x",
  ];
  static override args = {
    dir: string({ description: "an existing directory (.)", ignoreStdin: true }),
  };
  static override flags = flagsOf(SETTINGS);

  /** Of the key that is shown; undefined in plain. */
  #pin: Uint8Array | undefined;

  override async run(): Promise<void> {
    const { values, origins, operands } = await this.settings(SETTINGS);
    refuseKeys(values);
    if (values.toStdout) refuseForStdout(values, origins, operands);
    const output = values.toStdout ? rawOutput() : undefined;
    const finished = Promise.withResolvers<number>();
    // From before the first event on: who reads it may send a signal at once.
    const interrupts = watchInterrupts({
      onFirst: () => {
        if (!values.quiet)
          this.output.err("hawser: stopping: transfers under way may finish; a second signal ends it\n");
        finished.resolve(output === undefined ? 0 : INTERRUPTED);
      },
    });
    // Who started this program over a channel, and is gone, wants no server; nor does who closed the pipe of its events.
    process.once("disconnect", () => finished.resolve(0));
    if (output === undefined) this.output.onOutClosed(() => finished.resolve(0));
    const streamed = output && new StreamedFile();
    let whole = false;
    const started = Promise.withResolvers<HawserServer>();
    const stopWatching = watchHangup({
      onReload: () => void started.promise.then((server) => this.#reload(server, values.quiet)),
      onHangup: () => interrupts.raise("SIGTERM"),
    });
    try {
      const { serve } = await import("../server/serve.ts");
      const where = output === undefined ? { dir: resolve(operands[0] ?? ".") } : { output };
      const onEvent = (event: ServerEvent) => {
        this.#show(event, values, finished.resolve);
        const exitCode = streamed?.exitCode(event, output?.bytesWritten ?? 0);
        if (exitCode !== undefined) finished.resolve(exitCode);
        whole ||= exitCode === 0;
      };
      const server = await serveOn(values, async (host) => {
        return await serve({ ...where, ...serveOptions(values), host, ...(await this.#secure(values)), onEvent });
      });
      started.resolve(server);
      const exitCode = await this.#until(finished.promise, server, values.drainMs);
      process.exitCode = exitCode === INTERRUPTED ? interruptedCode(interrupts, whole) : exitCode;
      if (streamed?.isWhole === false && process.exitCode !== 0 && (output?.bytesWritten ?? 0) > 0) {
        this.output.err(NOT_WHOLE);
      }
    } finally {
      stopWatching();
      interrupts.dispose();
      // The channel alone would keep a server that did not come up.
      if (process.connected) process.disconnect?.();
    }
  }

  /** Keys and tickets; made where this is the first time. */
  async #secure({ insecure, cert, key, clientCa }: Values): Promise<Pick<ServeOptions, "secure">> {
    if (insecure) return {};
    const [{ keepLocalTicket, serverKeys }, { stateDirectory }] = await Promise.all([
      import("../cli/server-keys.ts"),
      import("../cli/state-directory.ts"),
    ]);
    const directory = stateDirectory(process.env);
    const { pin, ...secure } = await serverKeys(directory, { cert, key, clientCa });
    keepLocalTicket(directory, { pin, ...secure });
    this.#pin = pin;
    return { secure };
  }

  /** The settings that can change on the way are read again. What is wrong with them changes nothing. */
  async #reload(server: HawserServer, quiet: boolean): Promise<void> {
    try {
      const { values, origins } = await this.resolved(SETTINGS);
      const { from, place } = origins.bwlimit;
      if (from === "flag" || from === "environment") {
        const limit = SETTINGS.bwlimit.kind.show(values.bwlimit);
        if (!quiet) this.output.err(`hawser: the rate limit stays as ${place} says: ${limit}\n`);
      } else server.setRateLimit(values.bwlimit);
    } catch (thrown) {
      this.output.err(formatFailure(this.reported(thrown)));
    }
  }

  async #until(finished: Promise<number>, server: HawserServer, drainMs: number): Promise<number> {
    const exitCode = await finished;
    await server.close({ drainMs });
    return exitCode;
  }

  #show(event: ServerEvent, values: Values, finish: (exitCode: number) => void): void {
    if (event.type === "listening") this.#greet(event, values);
    if (values.json) this.output.out(`${toJson(serverRecord(event))}\n`);
    this.output.err(serverLogLine(event, Date.now(), values));
    if (event.type === "transfer" && values.once && !values.toStdout)
      finish(event.record.filesFailed > 0 ? ERRORS.E_PARTIAL.exit : 0);
  }

  #greet({ host, port, dir }: Extract<ServerEvent, { type: "listening" }>, values: Values): void {
    const { insecure, quiet, bwlimit } = values;
    const isAll = host === "::" || host === "0.0.0.0";
    const address = isAll ? `port ${port} of all addresses` : formatEndpoint({ host, port });
    const where = dir === null ? "standard output" : escapeText(dir);
    if (!quiet) this.output.err(`hawser: receiving into ${where} on ${address}\n`);
    if (!quiet && this.#pin !== undefined) {
      const at = port === DEFAULT_PORT ? "" : ` --host HOST:${port}`;
      this.output.err(`hawser: encrypted, for who has a ticket; the key is ${formatPin(this.#pin)}\n`);
      this.output.err(`  To let a client in: hawser ticket --name NAME${at} here, then hawser pair there.\n`);
    }
    if (!quiet && bwlimit !== null) this.output.err(`hawser: each client may send ${formatLimit(bwlimit)}\n`);
    if (insecure) {
      this.output.err("hawser: plain TCP without token: whoever reaches this address can send files, and read along\n");
    }
  }
}

/** Keys mean nothing in plain, and a key belongs to a certificate. */
function refuseKeys({ insecure, cert, key, clientCa }: Values): void {
  const given = cert !== undefined || key !== undefined || clientCa !== undefined;
  if (insecure && given) {
    throw new UsageError("--insecure is plain TCP, where no certificate is shown", "Leave one or the other out.");
  }
  if (key !== undefined && cert === undefined) throw new UsageError("--key needs --cert", "Give both.");
}

/** Both families at once; where this machine has no IPv6, the other. */
async function serveOn(
  { bind, insecure }: Values,
  start: (host: string) => Promise<HawserServer>,
): Promise<HawserServer> {
  if (bind !== undefined || insecure) return await start(bind ?? "127.0.0.1");
  try {
    return await start("::");
  } catch (thrown) {
    const code = ((thrown as Error).cause as NodeJS.ErrnoException | undefined)?.code;
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw thrown;
    return await start("0.0.0.0");
  }
}

/** Not an exit code: a signal came, and what had become of the file until then decides. */
const INTERRUPTED = -1;

const NOT_WHOLE = "hawser: what came out on standard output is not whole\n";

function interruptedCode({ signal }: Interrupts, whole: boolean): number {
  return whole ? 0 : asHawserError(signal.reason).exitCode;
}

function refuseForStdout(
  { once, json }: Values,
  origins: Resolved<typeof SETTINGS>["origins"],
  operands: readonly string[],
): void {
  if (!once) throw new UsageError("--to-stdout is for one file, and needs --once", "Add --once.");
  if (json) throw new UsageError("--json and --to-stdout both want standard output", "Leave --json out.");
  const [dir] = operands;
  if (dir !== undefined) {
    throw new UsageError(`nothing is written to a directory with --to-stdout, and '${dir}' is given`, "Leave it out.");
  }
  const unused = [origins.durability, origins.minFreeBytes, origins.quotaBytes].find(({ from }) => from === "flag");
  if (unused !== undefined) throw new UsageError(`${unused.place} means nothing with --to-stdout`, "Leave it out.");
  if (isatty(1) || isClosed(1)) {
    const what = isatty(1) ? "a terminal" : "closed";
    throw new UsageError(`standard output is ${what}`, "Say `hawser serve --to-stdout --once | PROGRAM`, or `> FILE`.");
  }
}

function serveOptions(values: Values): ServeOptions {
  const { port, maxConnections, maxConnectionsPerPeer, maxSessions, maxSessionsPerPeer } = values;
  const { maxFileBytes, maxEntries, maxDepth, quotaBytes, minFreeBytes, minRate, allow, deny } = values;
  const { sessionTtlMs, durability, bwlimit } = values;
  return {
    port,
    maxConnections,
    maxConnectionsPerPeer,
    maxSessions,
    maxSessionsPerPeer,
    maxEntries,
    maxDepth,
    minFreeBytes: minFreeBytes ?? "auto",
    minBytesPerSecond: minRate,
    allow,
    deny,
    sessionTtlMs,
    durability,
    bytesPerSecondPerPeer: bwlimit,
    ...(maxFileBytes === undefined ? {} : { maxFileBytes }),
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
  };
}
