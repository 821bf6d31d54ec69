/** hawser bench: what the path carries, measured with the real protocol. Parses, measures, renders. */

import { type BenchPlan, benchRecord, benchText, type MeasureProgress, progressOf } from "../cli/bench-view.ts";
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
import { optional, type Resolved } from "../cli/settings.ts";
import { stateDirectory } from "../cli/state-directory.ts";
import { onOff, text, wholeNumber, wholeNumbers } from "../cli/values.ts";
import type { MeasureOptions } from "../client/measure.ts";
import type { SweepResult } from "../client/sweep.ts";
import type { Endpoint } from "../net/dial.ts";
import { HawserCommand } from "./base.ts";

/** From what one does to where more make no difference on most paths. */
const SWEEP = [1, 2, 4, 8, 16, 32];

const SETTINGS = {
  to: { ...common.to, about: "a running server (without it: one of its own, on this machine)" },
  streams: common.setting({
    ...common.streams,
    placeholder: "N,N,...",
    about: `connections that carry data, 1 to ${common.STREAMS_ASKED_MAX}: each number is measured, one after the other`,
    kind: wholeNumbers(1, common.STREAMS_ASKED_MAX, SWEEP),
    fallback: SWEEP,
    fallbackText: SWEEP.join(","),
  }),
  workers: common.workers,
  seconds: common.setting({
    flag: "seconds",
    placeholder: "N",
    about: "how long to measure with each number of streams",
    kind: wholeNumber(1, 300),
    fallback: 5,
    fallbackText: "5",
    perRun: true,
  }),
  disk: common.setting({
    flag: "disk",
    about:
      "have the server write what it gets to its disk, as it would a file, and drop it; 4 GiB a measurement at most",
    kind: onOff,
    fallback: false,
    perRun: true,
  }),
  from: common.setting({
    flag: "from",
    placeholder: "FILE",
    about: "send what is in FILE, again and again, in place of bytes that are made up: to see the disk that it is on",
    kind: optional(text),
    fallback: undefined,
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
  static override summary = "measures the path with the real protocol, and says what limits it";
  static override description =
    "Sends data that the server checks and drops, over real connections, with one number of streams after the other. Prints " +
    "the rate of each, what both ends were busy with, what was sent again where the system tells (Linux), and at last what limits: the CPU of an end, a disk, loss on the path, how much a stream may have on its " +
    "way, the path's own rate, or a limit that somebody has set; and what would help. Without --to it measures this " +
    "machine. Nothing is written to a disk unless --disk says so. Who may send may measure; a server lets four clients " +
    "measure at once, for ten minutes and 8 GiB on its disk each.";
  static override usage = "bench [--to HOST[:PORT]]";
  static override examples = [
    "<%= config.bin %> bench",
    "<%= config.bin %> bench --to nas --disk --from /srv/big.iso",
    "<%= config.bin %> bench --to nas --streams 4,16,64 --seconds 10 --json",
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
    const { streams, workers, seconds, chunkBytes, disk, from, json, quiet } = values;
    const { sweep } = await import("../client/sweep.ts");
    const mode = progressMode(values.progress, quiet, this.output, process.env);
    const progress = await progressView(mode, this.output);
    signal.throwIfAborted();
    let swept: SweepResult;
    try {
      let left = streams.length;
      const onEvent = (at: MeasureProgress) => progress.show(progressOf(at, seconds * left));
      const onMeasured = () => left--;
      swept = await sweep({
        to,
        ...keys,
        streams,
        workers,
        seconds,
        chunkBytes,
        disk,
        from,
        signal,
        onEvent,
        onMeasured,
      });
    } finally {
      progress.stop();
    }
    const { result } = swept;
    const plan: BenchPlan = { to, own, disk, from };
    if (json) this.output.out(`${toJson(benchRecord(plan, swept))}\n`);
    // What was measured before one failed is worth something.
    else if (swept.best !== null) this.output.out(benchText(plan, swept, swept.best));
    // What ended it here is known here better than there.
    if (signal.aborted) throw signal.reason;
    if (result.error !== null) this.output.err(mode === "json" ? errorLine(result.error) : formatFailure(result.error));
    process.exitCode = result.exitCode;
  }
}
