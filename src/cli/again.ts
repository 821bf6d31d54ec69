/** The command that goes on with what a run of `hawser send` has begun. Pure. */
import { shellQuote } from "./quote.ts";

export function againText(argv: readonly string[]): string {
  const command = ["hawser", "send", ...argv].map(shellQuote).join(" ");
  return `  The same command goes on where this one stopped:\n  ${command}\n`;
}

/**
 * The same for standard input that was copied: the copy is sent in its place. `valued`: flags of which a value follows,
 * as they are typed; `dropped`: those that are about standard input alone.
 */
export function spooledText(
  argv: readonly string[],
  path: string,
  valued: ReadonlySet<string>,
  dropped: ReadonlySet<string>,
): string {
  const words: string[] = [];
  let operandsOnly = false;
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string;
    const next = argv[at + 1];
    if (operandsOnly || word === "-") words.push(word === "-" ? path : word);
    else if (dropped.has(word)) at++;
    else if (dropped.has(word.split("=", 1)[0] as string)) continue;
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
