/** What every command does alike: reads its settings, says what it understood, leaves errors to main. */
import { type ArgInput, type FlagInput, parse } from "@oclif/core/parser";
import { assertArgumentsAreText } from "../cli/argument-bytes.ts";
import { readConfigSection } from "../cli/config-file.ts";
import { reportOf } from "../cli/errors.ts";
import type { ParsedToken } from "../cli/filter-flags.ts";
import { toJson } from "../cli/json.ts";
import { type Output, standardOutput } from "../cli/output.ts";
import { describeSettings, type Resolved, resolveSettings, type SettingTable } from "../cli/settings.ts";
import { assertNoSwitchHasValue, usageErrorOf } from "../cli/usage.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";

/** The sections of the configuration file: the commands that have something to set. */
export const CONFIGURABLE = ["serve", "send", "shell", "demo", "bench"];

export interface Invocation<S extends SettingTable> extends Resolved<S> {
  /** What is not a flag. */
  readonly operands: readonly string[];
  /** All of the command line, in its order. */
  readonly tokens: readonly ParsedToken[];
}

/**
 * Its static fields are what oclif's parser and help read of a command. It is none of oclif's own, since such a one loads
 * oclif's configuration for plugins, hooks and themes, which this program has none of, before it begins.
 */
export abstract class HawserCommand {
  /** As it stands on the command line. */
  static id: string;
  static summary: string;
  static description: string;
  static usage: string;
  static examples: string[];
  static args: ArgInput = {};
  static flags: FlagInput = {};

  /** Throws what the command throws, UsageError, and the parser's own errors. */
  static async run(this: CommandClass, argv: readonly string[]): Promise<void> {
    const command = new this(argv);
    // What is over sooner does not even load it.
    setTimeout(() => void boundMemory(command.youngBytesMax), BOUND_AFTER_MS).unref();
    try {
      await command.run();
    } catch (thrown) {
      command.failed(thrown);
      throw thrown;
    }
  }

  protected readonly argv: readonly string[];
  protected readonly output: Output = standardOutput();
  /** Room for young objects where the command lasts: what a client makes is few and large. */
  protected readonly youngBytesMax: number = 8 * 1024 * 1024;
  #flags: Readonly<Record<string, unknown>> = {};

  constructor(argv: readonly string[]) {
    this.argv = argv;
  }

  abstract run(): Promise<void>;

  /**
   * It has thrown, which main will say. Who asked for JSON gets a document all the same, usage errors and bugs included; but
   * what has begun to be written is as it is.
   */
  protected failed(thrown: unknown): void {
    if (this.wantsJson && !this.output.outUsed) {
      this.output.out(`${toJson({ ok: false, error: reportOf(this.reported(thrown)) })}\n`);
    }
  }

  /** Before parsing, which may fail: --json stands on the command line or not at all. */
  protected get wantsJson(): boolean {
    const end = this.argv.indexOf("--");
    return (end === -1 ? this.argv : this.argv.slice(0, end)).includes("--json");
  }

  /** Throws UsageError, and the parser's own errors. */
  protected async settings<S extends SettingTable>(table: S): Promise<Invocation<S>> {
    const { args, flags: known, id } = this.#class;
    assertArgumentsAreText(this.argv);
    assertNoSwitchHasValue(this.argv, { command: id, flags: known });
    const { flags, argv, raw } = await parse([...this.argv], { args, flags: known });
    this.#flags = flags;
    const resolved = await this.resolved(table);
    const { verbose, progress } = resolved.values as { verbose?: boolean; progress?: string };
    // With --progress json standard error carries events and nothing else.
    if (verbose === true && progress !== "json") {
      for (const line of describeSettings(table, resolved)) this.output.err(`hawser: ${line}\n`);
    }
    return { ...resolved, operands: argv as string[], tokens: raw };
  }

  /** The settings as they are now: the file is read again, flags and environment are those of the start. */
  protected async resolved<S extends SettingTable>(table: S): Promise<Resolved<S>> {
    const section = await readConfigSection(this.#class.id, CONFIGURABLE, process.env);
    return resolveSettings(table, { flags: this.#flags, environment: process.env, section });
  }

  /** Anything thrown, as main will say it. */
  protected reported(thrown: unknown): HawserError {
    if (thrown instanceof HawserError) return thrown;
    const { id, flags } = this.#class;
    return usageErrorOf(thrown, { command: id, flags: Object.keys(flags) }) ?? asHawserError(thrown);
  }

  get #class(): CommandClass {
    return this.constructor as CommandClass;
  }
}

export type CommandClass = (new (
  argv: readonly string[],
) => HawserCommand) &
  Pick<typeof HawserCommand, "id" | "args" | "flags" | "run">;

/** After this a command counts as one that lasts. */
const BOUND_AFTER_MS = 1_000;

async function boundMemory(youngBytesMax: number): Promise<void> {
  const { boundYoungGeneration } = await import("../cli/young-generation.ts");
  void boundYoungGeneration(youngBytesMax);
}
