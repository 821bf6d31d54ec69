/** What every command does alike: reads its settings, says what it understood, leaves errors to main. */
import { Command } from "@oclif/core/command";
import { readConfigSection } from "../cli/config-file.ts";
import type { ParsedToken } from "../cli/filter-flags.ts";
import { type Output, standardOutput } from "../cli/output.ts";
import { describeSettings, type Resolved, resolveSettings, type SettingTable } from "../cli/settings.ts";
import { usageErrorOf } from "../cli/usage.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";

/** The sections of the configuration file: the commands that have something to set. */
export const CONFIGURABLE = ["serve", "send", "shell", "demo", "bench"];

export interface Invocation<S extends SettingTable> extends Resolved<S> {
  /** What is not a flag. */
  readonly operands: readonly string[];
  /** All of the command line, in its order. */
  readonly tokens: readonly ParsedToken[];
}

export abstract class HawserCommand extends Command {
  protected readonly output: Output = standardOutput();
  #flags: Readonly<Record<string, unknown>> = {};

  /** Throws UsageError, and oclif's own errors. */
  protected async settings<S extends SettingTable>(table: S): Promise<Invocation<S>> {
    const { flags, argv, raw } = await this.parse(this.ctor);
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
    const section = await readConfigSection(this.id ?? "", CONFIGURABLE, process.env);
    return resolveSettings(table, { flags: this.#flags, environment: process.env, section });
  }

  /** Anything thrown, as main will say it. */
  protected reported(thrown: unknown): HawserError {
    if (thrown instanceof HawserError) return thrown;
    const context = { command: this.id, flags: Object.keys(this.ctor.flags) };
    return usageErrorOf(thrown, context) ?? asHawserError(thrown);
  }

  /** main says every error, in one place. */
  protected override async catch(error: Error): Promise<never> {
    throw error;
  }
}
