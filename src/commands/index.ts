/** All commands, by name, as oclif finds them for its help. program.ts loads the one that is run. */
import { BenchCommand } from "./bench.ts";
import { DemoCommand } from "./demo.ts";
import { HistoryCommand } from "./history.ts";
import { PairCommand } from "./pair.ts";
import { SendCommand } from "./send.ts";
import { ServeCommand } from "./serve.ts";
import { SessionsCommand } from "./sessions.ts";
import { ShellCommand } from "./shell.ts";
import { TicketCommand } from "./ticket.ts";

export const COMMANDS = {
  serve: ServeCommand,
  send: SendCommand,
  shell: ShellCommand,
  ticket: TicketCommand,
  pair: PairCommand,
  history: HistoryCommand,
  sessions: SessionsCommand,
  bench: BenchCommand,
  demo: DemoCommand,
};
