/** hawser bench: what the path carries, measured with the real protocol. Parses, measures, renders. */

import { benchRecord, benchText, type MeasureProgress, progressOf } from "../cli/bench-view.ts";
import { clientKeys, secureOption } from "../cli/client-keys.ts";
import * as common from "../cli/common-settings.ts";
import { formatFailure } from "../cli/errors.ts";
import { flagsOf } from "../cli/flags.ts";
import { watchInterrupts } from "../cli/interrupts.ts";
import { toJson } from "../cli/json.ts";
import { progressMode, progressView } from "../cli/progress.ts";
import { errorLine } from "../cli/progress-json.ts";
import { makeScratch } from "../cli/scratch.ts";
import { type ServerChild, startServerChild } from "../cli/self.ts";
import type { Resolved } from "../cli/settings.ts";
import { stateDirectory } from "../cli/state-directory.ts";
import { wholeNumber } from "../cli/values.ts";
import type { MeasureOptions, MeasureResult } from "../client/measure.ts";
import type { Endpoint } from "../net/dial.ts";
import { HawserCommand } from "./base.ts";

const SETTINGS = {
  to: { ...common.to, about: "a running server (without it: one of its own, on this machine)" },
  streams: common.streams,
  seconds: common.setting({
    flag: "seconds",
    placeholder: "N",
    about: "how long to measure",
    kind: wholeNumber(1, 3600),
    fallback: 5,
    fallbackText: "5",
    perRun: true,
  }),
  chunkBytes: common.chunkBytes,
  insecure: common.insecure,
  ...common.keySettings,
  json: common.json,
  progress: common.progress,
  quiet: common.quiet,
  verbose: common.verbose,
};

type Values = Resolved<typeof SETTINGS>["values"];

export class BenchCommand extends HawserCommand {
  static override id = "bench";
  static override summary = "measures the path with the real protocol";
  static override description =
    "Sends data that the server checks and drops, over real connections, and prints the rate and what the CPUs of both " +
    "ends spent on it. Nothing is written to a disk.";
  static override usage = "bench [--to HOST[:PORT]]";
  static override examples = [
    "<%= config.bin %> bench",
    "<%= config.bin %> bench --to nas --streams 16 --seconds 10 --json",
  ];
  static override flags = flagsOf(SETTINGS);

  #child: ServerChild | undefined;

  override async run(): Promise<void> {
    const { values, origins } = await this.settings(SETTINGS);
    const interrupts = watchInterrupts({
      onFirst: () => this.output.err("hawser: stopping; ^C again ends it at once\n"),
    });
    try {
      const { to } = values;
      if (to === undefined) await this.#measureOwn(values, interrupts.signal);
      else
        await this.#measure(to, false, secureOption(to, { values, origins }, process.env), values, interrupts.signal);
    } finally {
      interrupts.dispose();
    }
  }

  async #measureOwn(values: Values, signal: AbortSignal): Promise<void> {
    const scratch = await makeScratch(0, () => this.#child?.kill());
    try {
      this.#child = await startServerChild({ dir: scratch.dir, home: scratch.dir, insecure: values.insecure, signal });
      const { address } = this.#child;
      // With what it has made for itself: a ticket or an authority that is set is of another server.
      const directory = stateDirectory({ XDG_STATE_HOME: scratch.dir });
      const keys = values.insecure ? {} : { secure: clientKeys(address, { directory }) };
      await this.#measure(address, true, keys, values, signal);
    } finally {
      await this.#child?.stop();
      await scratch.remove();
    }
  }

  async #measure(
    to: Endpoint,
    own: boolean,
    keys: Pick<MeasureOptions, "secure">,
    values: Values,
    signal: AbortSignal,
  ): Promise<void> {
    const { streams, seconds, chunkBytes, json, quiet } = values;
    const { measure } = await import("../client/measure.ts");
    const mode = progressMode(values.progress, quiet, this.output, process.env);
    const progress = await progressView(mode, this.output);
    signal.throwIfAborted();
    let result: MeasureResult;
    try {
      const onEvent = (at: MeasureProgress) => progress.show(progressOf(at, seconds));
      result = await measure({ to, ...keys, streams, seconds, chunkBytes, signal, onEvent });
    } finally {
      progress.stop();
    }
    if (json) this.output.out(`${toJson(benchRecord(to, result))}\n`);
    else if (result.ok) this.output.out(benchText(to, own, result));
    // What ended it here is known here better than there.
    if (signal.aborted) throw signal.reason;
    if (result.error !== null) this.output.err(mode === "json" ? errorLine(result.error) : formatFailure(result.error));
    process.exitCode = result.exitCode;
  }
}
