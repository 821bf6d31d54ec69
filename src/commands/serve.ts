/** hawser serve: receives files until it is stopped. Parses, calls the server, renders its events. */
import { resolve } from "node:path";
import { string } from "@oclif/core/args";
import { formatFailure } from "../cli/errors.ts";
import { flagsOf } from "../cli/flags.ts";
import { watchHangup } from "../cli/hangup.ts";
import { type Interrupts, watchInterrupts } from "../cli/interrupts.ts";
import { toJson } from "../cli/json.ts";
import { rawOutput } from "../cli/raw-output.ts";
import { refuseContradictions, serveOptions } from "../cli/serve-options.ts";
import { SERVE_SETTINGS, type ServeValues } from "../cli/serve-settings.ts";
import { greeting } from "../cli/server-greeting.ts";
import { serverLogLine, serverRecord } from "../cli/server-log.ts";
import { StreamedFile } from "../cli/streamed-file.ts";
import { asHawserError, ERRORS } from "../protocol/errors.ts";
import type { HawserServer, ServeOptions, ServerEvent } from "../server/types.ts";
import { HawserCommand } from "./base.ts";

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
  static override flags = flagsOf(SERVE_SETTINGS);

  /** Of the key that is shown; undefined in plain. */
  #pin: Uint8Array | undefined;

  /** Small files make many that live for a moment: with a client's room they take a fifth more of the processor's time. */
  protected override readonly youngBytesMax: number = 32 * 1024 * 1024;

  /** What is printed with --json is events. */
  protected override failed(): void {}

  override async run(): Promise<void> {
    const { operands, ...settings } = await this.settings(SERVE_SETTINGS);
    const { values } = settings;
    refuseContradictions(settings, operands);
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
  async #secure({ insecure, cert, key, clientCa, tlsStreams }: ServeValues): Promise<Pick<ServeOptions, "secure">> {
    if (insecure) return {};
    const [{ keepLocalTicket, serverKeys }, { stateDirectory }] = await Promise.all([
      import("../cli/server-keys.ts"),
      import("../cli/state-directory.ts"),
    ]);
    const directory = stateDirectory(process.env);
    const { pin, ...secure } = await serverKeys(directory, { cert, key, clientCa });
    keepLocalTicket(directory, { pin, ...secure });
    this.#pin = pin;
    return { secure: { ...secure, tlsStreams } };
  }

  /** The settings that can change on the way are read again. What is wrong with them changes nothing. */
  async #reload(server: HawserServer, quiet: boolean): Promise<void> {
    try {
      const { values, origins } = await this.resolved(SERVE_SETTINGS);
      const { from, place } = origins.bwlimit;
      if (from === "flag" || from === "environment") {
        const limit = SERVE_SETTINGS.bwlimit.kind.show(values.bwlimit);
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

  #show(event: ServerEvent, values: ServeValues, finish: (exitCode: number) => void): void {
    if (event.type === "listening") this.output.err(greeting(event, values, this.#pin));
    if (values.json) this.output.out(`${toJson(serverRecord(event))}\n`);
    this.output.errSoon(serverLogLine(event, Date.now(), values));
    if (event.type === "transfer" && values.once && !values.toStdout)
      finish(event.record.filesFailed > 0 ? ERRORS.E_PARTIAL.exit : 0);
  }
}

/** Both families at once; where this machine has no IPv6, the other. */
async function serveOn(
  { bind, insecure }: ServeValues,
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
