/** A command line in, an exit code out: finds the command, and is the one place that says errors. */
import { PACKAGE } from "../agent.ts";
import { formatBug, formatFailure, UsageError } from "../cli/errors.ts";
import { type Output, standardOutput } from "../cli/output.ts";
import { closest } from "../cli/suggest.ts";
import { usageErrorOf } from "../cli/usage.ts";
import { HawserError } from "../protocol/errors.ts";
import { hasTicket } from "../protocol/ticket.ts";
import type { CommandClass } from "./base.ts";
import type { COMMANDS } from "./index.ts";

/** Each is loaded when it is named, so that a command pays for itself only. */
const LOAD: { readonly [name in keyof typeof COMMANDS]: () => Promise<CommandClass> } = {
  serve: async () => (await import("./serve.ts")).ServeCommand,
  send: async () => (await import("./send.ts")).SendCommand,
  shell: async () => (await import("./shell.ts")).ShellCommand,
  ticket: async () => (await import("./ticket.ts")).TicketCommand,
  pair: async () => (await import("./pair.ts")).PairCommand,
  history: async () => (await import("./history.ts")).HistoryCommand,
  sessions: async () => (await import("./sessions.ts")).SessionsCommand,
  bench: async () => (await import("./bench.ts")).BenchCommand,
  demo: async () => (await import("./demo.ts")).DemoCommand,
};

type Name = keyof typeof LOAD;

const HELP = ["--help", "-h"];

/** Runs the command line; the exit code is in `process.exitCode`, and the process ends when nothing is left to do. */
export async function runProgram(argv: readonly string[]): Promise<void> {
  const output = standardOutput();
  const onBug = (thrown: unknown) => {
    // Last of all that happens at the exit: bars that are cleared must not take the trace with them.
    process.once("exit", () => output.err(formatBug(thrown, PACKAGE.version)));
    process.exit(1);
  };
  process.on("uncaughtException", onBug);
  process.on("unhandledRejection", onBug);
  const words = argv[0] === "help" ? [...argv.slice(1), "--help"] : argv;
  const [word] = words;
  const name = word !== undefined && isName(word) ? word : undefined;
  try {
    refuseTickets(words);
    if (asksForHelp(words)) await (await import("./help.ts")).showHelp(words);
    else if (name !== undefined) await (await LOAD[name]()).run(words.slice(1));
    await output.drained();
    // All is said and committed: there is nothing that connections which are being closed could still tell anybody.
    if (name === "send" && !process.exitCode) process.exit();
  } catch (thrown) {
    const exitCode = await say(thrown, name, output);
    process.exitCode ||= exitCode;
  }
}

/** Throws UsageError where the first word is no command. Anything behind `--` is an operand. */
function asksForHelp(words: readonly string[]): boolean {
  const [word] = words;
  if (word === undefined || HELP.includes(word)) return true;
  if (!isName(word)) throw unknown(word);
  const end = words.indexOf("--");
  return words.slice(0, end === -1 ? words.length : end).some((each) => HELP.includes(each));
}

/** Other users see the arguments of every program, and shells keep them. */
function refuseTickets(words: readonly string[]): void {
  if (!words.some(hasTicket)) return;
  throw new UsageError(
    "a ticket is a secret, and arguments can be seen by others on this machine",
    "Give it to `hawser pair` at its prompt or on standard input, or with --ticket-file or HAWSER_TICKET. This one was shown: " +
      "`hawser ticket revoke` it on the server, and make another.",
  );
}

function isName(word: string): word is Name {
  return Object.hasOwn(LOAD, word);
}

/** Says the error on standard error; returns the exit code. */
async function say(thrown: unknown, command: Name | undefined, output: Output): Promise<number> {
  const error = thrown instanceof HawserError ? thrown : await usageError(thrown, command);
  if (error === undefined || error.code === "E_INTERNAL") {
    output.err(formatBug(error?.cause ?? thrown, PACKAGE.version));
    return 1;
  }
  output.err(formatFailure(error));
  return error.exitCode;
}

async function usageError(thrown: unknown, command: Name | undefined): Promise<UsageError | undefined> {
  const flags = command === undefined ? [] : Object.keys((await LOAD[command]()).flags);
  return usageErrorOf(thrown, { command, flags });
}

function unknown(word: string): UsageError {
  const names = Object.keys(LOAD);
  const list = `Commands: ${names.join(", ")}. See \`hawser --help\`.`;
  if (word.startsWith("-")) return new UsageError(`hawser has no flag ${word} before the command`, list);
  const meant = closest(word, names);
  return new UsageError(`there is no command '${word}'`, meant === undefined ? list : `Did you mean ${meant}? ${list}`);
}
