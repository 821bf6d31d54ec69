/** oclif's help with what it lays out differently put right. Loaded only when help is asked for. */
import { CommandHelp, Help } from "@oclif/core/help";

class HawserCommandHelp extends CommandHelp {
  /** Without the summary, which stands at the top already, and with lists left as they are. */
  protected override description(): string | undefined {
    const lines = this.command.description?.split("\n") ?? [];
    return lines.map((line) => (line.length < this.opts.maxWidth - 2 ? line : this.wrap(line))).join("\n");
  }

  /** oclif trims the list, and with it the indentation of a first flag that has no letter. */
  override renderList(...[input, options]: Parameters<CommandHelp["renderList"]>): string {
    const indentation = /^ */.exec(input[0]?.[0] ?? "")?.[0] ?? "";
    return indentation + super.renderList(input, options);
  }
}

export class HawserHelp extends Help {
  protected override CommandHelpClass = HawserCommandHelp;
}
