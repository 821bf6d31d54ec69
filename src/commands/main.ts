/** Where bin/run.js enters. Asking for the version loads nothing else; anything else loads the commands. */
import { VERSION } from "../agent.ts";

export async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === "--version" || argv[0] === "-V") {
    process.stdout.write(`hawser/${VERSION} ${process.platform}-${process.arch} node-${process.version}\n`);
    return;
  }
  const { runProgram } = await import("./program.ts");
  await runProgram(argv);
}
