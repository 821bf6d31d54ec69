/** oclif and the commands: a command line in, an exit code out. The one place that says errors. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { run } from "@oclif/core/run";
import { formatBug, formatFailure, UsageError } from "../cli/errors.ts";
import { type Output, standardOutput } from "../cli/output.ts";
import { closest } from "../cli/suggest.ts";
import { usageErrorOf } from "../cli/usage.ts";
import { HawserError } from "../protocol/errors.ts";
import { COMMANDS } from "./index.ts";

type Package = { readonly name: string; readonly version: string; readonly description: string };

/** The package's root is two levels up, from the sources as from what is compiled. */
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const HELP = ["--help", "-h"];

/** Runs the command line; the exit code is in `process.exitCode`, and the process ends when nothing is left to do. */
export async function runProgram(argv: readonly string[]): Promise<void> {
  const pjson = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as Package;
  // oclif's listener throws what is not EPIPE; ours reports it.
  process.stdout.removeAllListeners("error");
  const output = standardOutput();
  const onBug = (thrown: unknown) => {
    // Last of all that happens at the exit: bars that are cleared must not take the trace with them.
    process.once("exit", () => output.err(formatBug(thrown, pjson.version)));
    process.exit(1);
  };
  process.on("uncaughtException", onBug);
  process.on("unhandledRejection", onBug);
  const words = argv[0] === "help" ? [...argv.slice(1), "--help"] : [...argv];
  try {
    refuseUnknown(words[0]);
    await run(words, loadOptions(pjson));
    await output.drained();
  } catch (thrown) {
    const exitCode = say(thrown, words[0], output, pjson.version);
    process.exitCode ||= exitCode;
  }
}

/** Says the error on standard error; returns the exit code. */
function say(thrown: unknown, command: string | undefined, output: Output, version: string): number {
  const known =
    command !== undefined && Object.hasOwn(COMMANDS, command) ? (command as keyof typeof COMMANDS) : undefined;
  const flags = known === undefined ? [] : Object.keys(COMMANDS[known].flags);
  const error = thrown instanceof HawserError ? thrown : usageErrorOf(thrown, { command: known, flags });
  if (error === undefined || error.code === "E_INTERNAL") {
    output.err(formatBug(error?.cause ?? thrown, version));
    return 1;
  }
  output.err(formatFailure(error));
  return error.exitCode;
}

function refuseUnknown(word: string | undefined): void {
  if (word === undefined || Object.hasOwn(COMMANDS, word) || HELP.includes(word)) return;
  const names = Object.keys(COMMANDS);
  const list = `Commands: ${names.join(", ")}. See \`hawser --help\`.`;
  if (word.startsWith("-")) throw new UsageError(`hawser has no flag ${word} before the command`, list);
  const meant = closest(word, names);
  throw new UsageError(`there is no command '${word}'`, meant === undefined ? list : `Did you mean ${meant}? ${list}`);
}

/** What oclif would look for in package.json and on the disk; no plugins, since they would run other people's code. */
function loadOptions(pjson: Package) {
  const [dir, extension] = import.meta.url.endsWith(".ts") ? ["./src", "ts"] : ["./dist", "js"];
  const oclif = {
    bin: "hawser",
    dirname: "hawser",
    commands: { strategy: "explicit", target: `${dir}/commands/index.${extension}`, identifier: "COMMANDS" },
    helpClass: { target: `${dir}/cli/help.${extension}`, identifier: "HawserHelp" },
    additionalHelpFlags: HELP.slice(1),
    helpOptions: { flagSortOrder: "none" },
  };
  return {
    root: ROOT,
    pjson: { ...pjson, type: "module", oclif } as never,
    userPlugins: false,
    devPlugins: false,
    jitPlugins: false,
    ignoreManifest: true,
  };
}
