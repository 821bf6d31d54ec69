/** What is said when help is asked for, by oclif: the only thing that needs all of oclif, and all commands. */
import { extname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Config } from "@oclif/core/config";
import { PACKAGE, ROOT } from "../agent.ts";
import { HawserHelp } from "../cli/help.ts";

/** Beside this file in the sources and in what is compiled; in the bundle, from the pieces as from a command. */
const COMMANDS = new URL(`../commands/index${extname(new URL(import.meta.url).pathname)}`, import.meta.url);

/** `words`: the command line. */
export async function showHelp(words: readonly string[]): Promise<void> {
  // What oclif would look for in package.json and on the disk; no plugins, since they would run other people's code.
  const oclif = {
    bin: "hawser",
    dirname: "hawser",
    commands: {
      strategy: "explicit",
      target: `./${relative(ROOT, fileURLToPath(COMMANDS))}`,
      identifier: "COMMANDS",
    },
    additionalHelpFlags: ["-h"],
  };
  const config = await Config.load({
    root: ROOT,
    pjson: { ...PACKAGE, type: "module", oclif } as never,
    userPlugins: false,
    devPlugins: false,
    jitPlugins: false,
    ignoreManifest: true,
  });
  await new HawserHelp(config, { flagSortOrder: "none" }).showHelp([...words]);
}
