/** hawser ticket: gives a client what it needs to be let in, lists what was given, takes it back. */
import { string } from "@oclif/core/args";
import * as common from "../cli/common-settings.ts";
import { UsageError } from "../cli/errors.ts";
import { flagsOf } from "../cli/flags.ts";
import { ListDocument } from "../cli/json.ts";
import { ownAddress } from "../cli/own-address.ts";
import { optional, type Resolved } from "../cli/settings.ts";
import { stateDirectory } from "../cli/state-directory.ts";
import { TICKETS_HEADER, ticketEntry, ticketRow } from "../cli/tickets-view.ts";
import { duration, endpoint, text } from "../cli/values.ts";
import { formatEndpoint } from "../net/dial.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";
import { escapeText } from "../protocol/names.ts";
import { formatTicket } from "../protocol/ticket.ts";
import { HawserCommand } from "./base.ts";

const DAY_MS = 24 * 3600 * 1000;

const SETTINGS = {
  name: common.setting({
    flag: "name",
    placeholder: "NAME",
    about: "who it is for, as history shows it",
    kind: optional(text),
    fallback: undefined,
    fallbackText: "client-N",
    perRun: true,
  }),
  expiresMs: common.setting({
    flag: "expires",
    placeholder: "DURATION",
    about: "how long it is good",
    kind: optional(duration(1000, 10_000 * DAY_MS)),
    fallback: undefined,
    fallbackText: "until it is revoked",
    perRun: true,
  }),
  host: common.setting({
    flag: "host",
    placeholder: "HOST[:PORT]",
    about: "where the client reaches this server",
    kind: optional(endpoint),
    fallback: undefined,
    fallbackText: `this machine's address, port ${DEFAULT_PORT}`,
    perRun: true,
  }),
  cert: common.setting({
    flag: "cert",
    placeholder: "FILE",
    about: "the certificate that `serve --cert` shows, where it has one of its own",
    kind: optional(text),
    fallback: undefined,
    perRun: true,
  }),
  qr: common.perRunSwitch("qr", "show it as a QR code too, on standard error"),
  json: common.perRunSwitch("json", "with list: print one JSON document on standard output"),
};

type Values = Resolved<typeof SETTINGS>["values"];

export class TicketCommand extends HawserCommand {
  static override id = "ticket";
  static override summary = "gives a client a ticket to this server; list, revoke NAME";
  static override description =
    "Prints a ticket: one line with this server's address, the fingerprint of its key, and a token that lets one client in. " +
    "It is a secret, and shown this once: carry it to the client, and give it to `hawser pair` there. `ticket list` says " +
    "what was given out, `ticket revoke NAME` takes it back, for every connection from then on. Run it as the user that " +
    "runs `hawser serve`, which may be running.";
  static override usage = "ticket [list | revoke NAME]";
  static override examples = [
    "<%= config.bin %> ticket --name laptop --host nas.example",
    "<%= config.bin %> ticket --name backup --expires 30d | ssh backup hawser pair",
    "<%= config.bin %> ticket list",
    "<%= config.bin %> ticket revoke laptop",
  ];
  static override args = {
    what: string({
      description: "list, or revoke and a name; nothing makes a new one",
      multiple: true,
      ignoreStdin: true,
    }),
  };
  static override flags = flagsOf(SETTINGS);

  /** What else it does prints no document. */
  protected override get wantsJson(): boolean {
    return super.wantsJson && this.argv.includes("list");
  }

  override async run(): Promise<void> {
    const { values, origins, operands } = await this.settings(SETTINGS);
    const [what, name] = operands;
    const directory = stateDirectory(process.env);
    if (values.json && what !== "list") throw new UsageError("--json is for `ticket list`", "Leave it out.");
    const { name: named, expiresMs, host, cert, qr } = origins;
    const unused = [named, expiresMs, host, cert, qr].find(({ from }) => what !== undefined && from === "flag");
    if (unused !== undefined) throw new UsageError(`${unused.place} is for a new ticket`, "Leave it out.");
    if (what === undefined) await this.#make(values, directory);
    else if (what === "list" && operands.length === 1) await this.#list(values, directory);
    else if (what === "revoke" && name !== undefined && operands.length === 2) await this.#revoke(name, directory);
    else {
      const hint = "Say `hawser ticket`, `hawser ticket list` or `hawser ticket revoke NAME`.";
      throw new UsageError(`\`ticket ${operands.join(" ")}\` means nothing`, hint);
    }
  }

  async #make(values: Values, directory: string): Promise<void> {
    const [{ serverKeys }, { Tickets }] = await Promise.all([
      import("../cli/server-keys.ts"),
      import("../server/tickets.ts"),
    ]);
    const { pin, tickets: path } = await serverKeys(directory, { cert: values.cert });
    const { host, port } = values.host ?? { host: ownAddress(), port: DEFAULT_PORT };
    const tickets = Tickets.open(path);
    try {
      const nowMs = Date.now();
      const expiresMs = values.expiresMs === undefined ? null : nowMs + values.expiresMs;
      const { id, token, name } = tickets.add(values.name, nowMs, expiresMs);
      const line = formatTicket({ id, token, pin, host, port });
      this.output.out(`${line}\n`);
      if (values.qr) this.output.err(`${(await import("uqr")).renderUnicodeCompact(line)}\n`);
      const where = formatEndpoint({ host, port });
      this.output.err(`hawser: a ticket for '${name}', to reach this server at ${escapeText(where)}; it is a secret\n`);
      this.output.err("  On the client: hawser pair, and give it this line.\n");
    } finally {
      tickets.close();
    }
  }

  async #list({ json }: Values, directory: string): Promise<void> {
    const list = await this.#withTickets(directory, (tickets) => tickets.list());
    const nowMs = Date.now();
    if (json) {
      const document = new ListDocument("tickets", (line) => this.output.out(line));
      for (const ticket of list) document.add(ticketEntry(ticket, nowMs));
      document.finish({});
      return;
    }
    if (list.length === 0) this.output.err("hawser: no ticket was given out yet\n");
    else this.output.out(TICKETS_HEADER);
    for (const ticket of list) this.output.out(ticketRow(ticket, nowMs));
  }

  async #revoke(name: string, directory: string): Promise<void> {
    if (!(await this.#withTickets(directory, (tickets) => tickets.revoke(name, Date.now())))) {
      throw new UsageError(
        `there is no ticket for '${name}' that could be revoked`,
        "`hawser ticket list` has them all.",
      );
    }
    this.output.err(`hawser: the ticket of '${escapeText(name)}' is revoked\n`);
  }

  async #withTickets<T>(directory: string, work: (tickets: import("../server/tickets.ts").Tickets) => T): Promise<T> {
    const [{ ticketsPath }, { Tickets }] = await Promise.all([
      import("../cli/server-keys.ts"),
      import("../server/tickets.ts"),
    ]);
    const tickets = Tickets.open(ticketsPath(directory));
    try {
      return work(tickets);
    } finally {
      tickets.close();
    }
  }
}
