/** The command that goes on with what a run of `hawser send` has begun. Pure. */
import { shellQuote } from "./quote.ts";

export function againText(argv: readonly string[]): string {
  const command = ["hawser", "send", ...argv].map(shellQuote).join(" ");
  return `  The same command goes on where this one stopped:\n  ${command}\n`;
}

/** What has to be known of a flag, in the words of the command line parser: a value follows an `option`. */
export interface TypedFlag {
  readonly type: "boolean" | "option";
  readonly char?: string | undefined;
  readonly aliases?: readonly string[] | undefined;
}

/** They are about standard input alone, and a value follows each. */
const OF_INPUT: ReadonlySet<string> = new Set(["--spool", "--expect-bytes", "--expect-crc32"]);

/** The same for standard input that was copied: the copy is sent in its place. `flags` are those of the command, by name. */
export function spooledText(argv: readonly string[], path: string, flags: Readonly<Record<string, TypedFlag>>): string {
  const valued = new Set(
    Object.entries(flags)
      .filter(([, { type }]) => type === "option")
      .flatMap(([name, { char, aliases = [] }]) => [
        ...[name, ...aliases].map((long) => `--${long}`),
        ...(char === undefined ? [] : [`-${char}`]),
      ]),
  );
  const words: string[] = [];
  let operandsOnly = false;
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string;
    const next = argv[at + 1];
    if (operandsOnly || word === "-") words.push(word === "-" ? path : word);
    else if (OF_INPUT.has(word)) at++;
    else if (OF_INPUT.has(word.split("=", 1)[0] as string)) continue;
    else if (valued.has(word) && next !== undefined) {
      words.push(word, next);
      at++;
    } else words.push(word);
    operandsOnly ||= word === "--";
  }
  const command = ["hawser", "send", ...words].map(shellQuote).join(" ");
  const kept = `  Standard input was copied to ${shellQuote(path)}, which stays there. This goes on, and removes it when it is done:\n`;
  return `${kept}  ${command} && rm ${shellQuote(path)}\n`;
}
