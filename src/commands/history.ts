/** hawser history: what a directory received. Parses, reads, renders row by row. */
import { resolve } from "node:path";
import { string } from "@oclif/core/args";
import * as common from "../cli/common-settings.ts";
import { flagsOf } from "../cli/flags.ts";
import { addHistory, HISTORY_HEADER, historyRow } from "../cli/history-view.ts";
import { ListDocument } from "../cli/json.ts";
import { optional } from "../cli/settings.ts";
import { wholeNumber } from "../cli/values.ts";
import { escapeText } from "../protocol/names.ts";
import { HawserCommand } from "./base.ts";

const SETTINGS = {
  limit: common.setting({
    flag: "limit",
    placeholder: "N",
    about: "the newest N only",
    kind: optional(wholeNumber(1, 1_000_000_000)),
    fallback: undefined,
    fallbackText: "all",
    perRun: true,
  }),
  json: common.json,
};

/** Rows between two looks at whether anybody still reads. */
const ROWS_AT_ONCE = 64;

export class HistoryCommand extends HawserCommand {
  static override id = "history";
  static override summary = "lists what was received, from whom";
  static override description =
    "Lists the transfers that DIR (the current directory) received, newest first. With --json each has all its files.";
  static override usage = "history [DIR]";
  static override examples = [
    "<%= config.bin %> history /srv/inbox --limit 20",
    "<%= config.bin %> history /srv/inbox --json | jq '.transfers[].files[].name'",
  ];
  static override args = {
    dir: string({ description: "a directory that was served", default: ".", ignoreStdin: true }),
  };
  static override flags = flagsOf(SETTINGS);

  override async run(): Promise<void> {
    const { values, operands } = await this.settings(SETTINGS);
    const { limit, json } = values;
    const dir = resolve(operands[0] ?? ".");
    const { readHistory } = await import("../server/database-history.ts");
    const document = json ? new ListDocument("transfers", (text) => this.output.out(text)) : undefined;
    let rows = 0;
    for (const transfer of readHistory(dir, limit === undefined ? {} : { limit })) {
      if (document !== undefined) addHistory(document, transfer, transfer.fileRecords());
      else this.output.out((rows === 0 ? HISTORY_HEADER : "") + historyRow(transfer));
      rows += 1;
      if (rows % ROWS_AT_ONCE === 0) await new Promise((resume) => setImmediate(resume));
      if (this.output.outClosed) return;
    }
    document?.finish({});
    if (rows === 0) this.output.err(`hawser: ${escapeText(dir)} has received nothing yet\n`);
  }
}
