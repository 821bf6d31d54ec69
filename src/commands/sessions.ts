/** hawser sessions: what is unfinished in a directory. Parses, reads or drops, renders. */
import { resolve } from "node:path";
import { string } from "@oclif/core/args";
import * as common from "../cli/common-settings.ts";
import { flagsOf } from "../cli/flags.ts";
import { ListDocument } from "../cli/json.ts";
import { SESSIONS_HEADER, sessionRow } from "../cli/sessions-view.ts";
import { optional } from "../cli/settings.ts";
import { text } from "../cli/values.ts";
import { escapeText } from "../protocol/names.ts";
import { HawserCommand } from "./base.ts";

const SETTINGS = {
  drop: common.setting({
    flag: "drop",
    placeholder: "TRANSFER",
    about: "throw away what is there of this one, named by its id or the beginning of it",
    kind: optional(text),
    fallback: undefined,
    perRun: true,
  }),
  json: common.json,
};

export class SessionsCommand extends HawserCommand {
  static override id = "sessions";
  static override summary = "lists what is under way or unfinished, or drops it";
  static override description =
    "Lists the transfers into DIR (the current directory) that have not come to their end: from whom, what, how much is " +
    "there, since when, and when it expires. An unfinished one goes on when its client sends the same files again. A " +
    "server may have the directory open meanwhile; what it has under way can't be dropped.";
  static override usage = "sessions [DIR]";
  static override examples = [
    "<%= config.bin %> sessions /srv/inbox",
    "<%= config.bin %> sessions /srv/inbox --drop 3f2a",
    "<%= config.bin %> sessions /srv/inbox --json | jq '.sessions[].peer'",
  ];
  static override args = {
    dir: string({ description: "a directory that is or was served", default: ".", ignoreStdin: true }),
  };
  static override flags = flagsOf(SETTINGS);

  override async run(): Promise<void> {
    const { values, operands } = await this.settings(SETTINGS);
    const dir = resolve(operands[0] ?? ".");
    const { dropSession, readSessions, wasServed } = await import("../server/kept-sessions.ts");
    if (values.drop !== undefined) {
      const transferId = dropSession(dir, values.drop);
      this.output.err(`hawser: what was there of ${escapeText(transferId)} is dropped\n`);
    }
    const sessions = readSessions(dir);
    if (values.json) {
      const document = new ListDocument("sessions", (line) => this.output.out(line));
      for (const session of sessions) document.add(session);
      document.finish({});
      return;
    }
    if (values.drop !== undefined) return;
    const nothing = wasServed(dir) ? "nothing is unfinished in" : "no server has ever received into";
    if (sessions.length === 0) this.output.err(`hawser: ${nothing} ${escapeText(dir)}\n`);
    else this.output.out(SESSIONS_HEADER);
    for (const session of sessions) this.output.out(sessionRow(session, Date.now()));
  }
}
