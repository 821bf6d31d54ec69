/** hawser pair: takes a ticket, once, and keeps it for `send` and the others. */
import { string } from "@oclif/core/args";
import { keepTicket } from "../cli/client-keys.ts";
import * as common from "../cli/common-settings.ts";
import { ENDPOINT_EXPECTED, parseEndpoint } from "../cli/endpoint.ts";
import { UsageError } from "../cli/errors.ts";
import { flagsOf } from "../cli/flags.ts";
import { needed } from "../cli/named-file.ts";
import { askSecret } from "../cli/secret-prompt.ts";
import { optional } from "../cli/settings.ts";
import { stateDirectory } from "../cli/state-directory.ts";
import { text } from "../cli/values.ts";
import { type Endpoint, formatEndpoint } from "../net/dial.ts";
import { HawserError } from "../protocol/errors.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";
import { escapeText } from "../protocol/names.ts";
import { formatPin, parseTicket } from "../protocol/ticket.ts";
import { HawserCommand } from "./base.ts";

const SETTINGS = {
  ticketFile: common.setting({
    flag: "ticket-file",
    placeholder: "FILE",
    about: "where the ticket stands",
    kind: optional(text),
    fallback: undefined,
    fallbackText: "asked for at a terminal, else standard input",
    perRun: true,
  }),
};

/** More than any ticket has. */
const INPUT_CHARS_MAX = 64 * 1024;

export class PairCommand extends HawserCommand {
  static override id = "pair";
  static override summary = "takes a server's ticket, so that send reaches it from then on";
  static override description =
    "Takes the line that `hawser ticket` printed on a server: typed or pasted without being shown, from standard input, or " +
    "from a file; never as an argument, which others on this machine can see. It is kept, readable by this user only, for " +
    "the server that it names, or for HOST[:PORT] where you reach that server by another name.";
  static override usage = "pair [HOST[:PORT]]";
  static override examples = [
    "<%= config.bin %> pair",
    "<%= config.bin %> pair nas --ticket-file nas.ticket",
    "ssh nas hawser ticket --name laptop | <%= config.bin %> pair nas",
  ];
  static override args = {
    server: string({ description: "the name by which you send to it (the one in the ticket)", ignoreStdin: true }),
  };
  static override flags = flagsOf(SETTINGS);

  override async run(): Promise<void> {
    const { values, operands } = await this.settings(SETTINGS);
    const named = operands[0] === undefined ? undefined : serverOf(operands[0]);
    const line = values.ticketFile === undefined ? await this.#ask() : needed(values.ticketFile);
    const ticket = parseTicket(line);
    const server = named ?? { host: ticket.host, port: ticket.port };
    keepTicket(line.replace(/\s+/g, ""), server, stateDirectory(process.env));
    const shown = server.port === DEFAULT_PORT ? server.host : formatEndpoint(server);
    this.output.err(
      `hawser: paired with ${escapeText(formatEndpoint(server))}, whose key is ${formatPin(ticket.pin)}\n`,
    );
    this.output.err(`  From now on: hawser send FILE --to ${escapeText(shown)}\n`);
  }

  async #ask(): Promise<string> {
    if (process.stdin.isTTY !== true) return await readAll(process.stdin);
    const line = await askSecret("The ticket (it is not shown): ", process.stdin, process.stderr);
    if (line === undefined) throw new HawserError("E_INTERRUPTED", "no ticket was given");
    return line;
  }
}

function serverOf(operand: string): Endpoint {
  const server = parseEndpoint(operand);
  if (server !== undefined) return server;
  throw new UsageError(`'${operand}' is no server`, `Expected: ${ENDPOINT_EXPECTED}.`);
}

async function readAll(input: NodeJS.ReadableStream): Promise<string> {
  let all = "";
  for await (const piece of input) {
    all += String(piece);
    if (all.length > INPUT_CHARS_MAX) break;
  }
  return all;
}
