/** hawser demo: a self-test that anyone can run. A server of its own, real sockets, and a comparison of its own. */
import { join } from "node:path";
import { clientKeys } from "../cli/client-keys.ts";
import * as common from "../cli/common-settings.ts";
import { demoRecord, verifiedText } from "../cli/demo-view.ts";
import { flagsOf } from "../cli/flags.ts";
import { type Interrupts, watchInterrupts } from "../cli/interrupts.ts";
import { toJson } from "../cli/json.ts";
import { NO_RESULTS, receipt } from "../cli/results.ts";
import { makeScratch } from "../cli/scratch.ts";
import { type ServerChild, startServerChild } from "../cli/self.ts";
import type { Resolved } from "../cli/settings.ts";
import { stateDirectory } from "../cli/state-directory.ts";
import { size } from "../cli/values.ts";
import type { TransferResult } from "../client/types.ts";
import { HawserError } from "../protocol/errors.ts";
import { HawserCommand } from "./base.ts";

const MIB = 1024 * 1024;

const SETTINGS = {
  sizeBytes: common.setting({
    flag: "size",
    placeholder: "SIZE",
    about: "how much to send",
    kind: size({ maxBytes: 1024 ** 4 }),
    fallback: 256 * MIB,
    fallbackText: "256MiB",
    perRun: true,
  }),
  streams: common.autoStreams,
  chunkBytes: common.chunkBytes,
  json: common.json,
  progress: common.progress,
  quiet: common.quiet,
  verbose: common.verbose,
};

type Values = Resolved<typeof SETTINGS>["values"];

export class DemoCommand extends HawserCommand {
  static override id = "demo";
  static override summary = "serves and sends on this machine, verifies, and cleans up: a self-test";
  static override description =
    "Starts a server on a free port of this machine, sends it a file of random bytes over real connections, and compares " +
    "what is on the disk with what was sent, byte by byte. Everything it makes is in one temporary directory, which it " +
    "removes.";
  static override usage = "demo";
  static override examples = ["<%= config.bin %> demo", "<%= config.bin %> demo --size 4GiB --streams 8"];
  static override flags = flagsOf(SETTINGS);

  #child: ServerChild | undefined;

  override async run(): Promise<void> {
    const { values } = await this.settings(SETTINGS);
    const interrupts = watchInterrupts();
    try {
      const scratch = await makeScratch(2 * values.sizeBytes, () => this.#child?.kill());
      try {
        process.exitCode = await this.#demonstrate(scratch.dir, values, interrupts);
      } finally {
        await this.#child?.stop();
        await scratch.remove();
      }
    } finally {
      interrupts.dispose();
    }
  }

  async #demonstrate(dir: string, values: Values, { signal }: Interrupts): Promise<number> {
    const { mkdir } = await import("node:fs/promises");
    const { firstDifference, writeRandomFile } = await import("../cli/random-file.ts");
    const [source, served] = [join(dir, "demo.bin"), join(dir, "received")];
    await mkdir(served);
    if (!values.quiet && values.progress !== "json")
      this.output.err(`hawser: ${size({}).show(values.sizeBytes)} of random bytes, in ${dir}\n`);
    await writeRandomFile(source, values.sizeBytes, signal);
    this.#child = await startServerChild({ dir: served, home: dir, signal });
    const result = await this.#send(source, dir, values, signal);
    const verified = result.ok && (await firstDifference(source, join(served, "demo.bin"), signal)) === undefined;
    if (values.json) this.output.out(`${toJson(demoRecord(result, verified))}\n`);
    else if (verified && !values.quiet) this.output.out(verifiedText(result.bytes));
    if (!result.ok) return result.exitCode;
    if (!verified) throw new HawserError("E_CONTENT", "the file on the disk is not the file that was sent");
    return 0;
  }

  async #send(source: string, home: string, values: Values, signal: AbortSignal): Promise<TransferResult> {
    const [{ send }, { runTransfer }] = await Promise.all([import("../client/send.ts"), import("../cli/transfer.ts")]);
    const { streams, chunkBytes, json, quiet } = values;
    const to = (this.#child as ServerChild).address;
    const results = json || quiet ? NO_RESULTS : receipt((text) => this.output.out(text));
    const view = { ...values, results };
    const secure = clientKeys(to, { directory: stateDirectory({ XDG_STATE_HOME: home }) });
    return await runTransfer(send, { paths: [source], to, secure, streams, chunkBytes, signal }, view, this.output);
  }
}
