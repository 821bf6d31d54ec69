/** Where bin/run.js enters. Asking for the version loads nothing else; anything else loads the commands. */
import { homedir } from "node:os";
import { PACKAGE } from "../agent.ts";

export async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === "--version" || argv[0] === "-V") {
    process.stdout.write(`hawser/${PACKAGE.version} ${process.platform}-${process.arch} node-${process.version}\n`);
    return;
  }
  giveHome();
  const { runProgram } = await import("./program.ts");
  await runProgram(argv);
}

/**
 * What is loaded next asks the system for the user's home and shell, and fails for a user id without an entry in the
 * password file, as containers have them.
 */
function giveHome(): void {
  process.env["SHELL"] ??= "";
  try {
    homedir();
  } catch {
    process.env["HOME"] = "/nonexistent";
  }
}
