/** What oclif's parser throws, in this program's words: a sentence and the next step. */
import { UsageError } from "./errors.ts";
import { closest } from "./suggest.ts";

/** The fields by which oclif's errors are told apart; its classes are not exported. */
interface ParserError extends Error {
  readonly oclif?: { readonly exit?: number | false };
  readonly flags?: readonly string[];
  readonly args?: readonly (string | { readonly name?: string })[];
}

export interface UsageContext {
  /** undefined before a command is known. */
  readonly command: string | undefined;
  readonly flags: readonly string[];
}

/** undefined when `thrown` is no complaint of the parser. */
export function usageErrorOf(thrown: unknown, { command, flags }: UsageContext): UsageError | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const error = thrown as ParserError;
  if (error.oclif === undefined || typeof error.oclif.exit !== "number") return undefined;
  const name = command ?? "hawser";
  const help = command === undefined ? "See `hawser --help`." : `See \`hawser ${command} --help\`.`;
  if (error.flags !== undefined) {
    const [flag = ""] = error.flags;
    const meant = closest(flag.replace(/^-+/, ""), flags);
    const hint = meant === undefined || !flag.startsWith("--") ? help : `Did you mean --${meant}? ${help}`;
    return new UsageError(`${name} has no flag ${flag}`, hint);
  }
  const [first] = error.args ?? [];
  if (typeof first === "string") return new UsageError(`${name} does not expect '${first}'`, help);
  if (first !== undefined)
    return new UsageError(`${name} needs ${(first.name ?? "an argument").toUpperCase()}, which is missing`, help);
  const [sentence = ""] = error.message.split("\n");
  return new UsageError(`${name}: ${sentence.replace(/^Flag /, "")}`, help);
}

/** The parser takes the value of `--json=false` for an operand, and switches on what was to be off. Throws UsageError. */
export function assertNoSwitchHasValue(
  argv: readonly string[],
  {
    command,
    flags,
  }: { readonly command: string; readonly flags: Readonly<Record<string, { readonly type?: string }>> },
): void {
  const end = argv.indexOf("--");
  for (const [i, token] of argv.slice(0, end === -1 ? argv.length : end).entries()) {
    const [, name = ""] = /^--([^=]+)=/.exec(token) ?? [];
    const known = name.startsWith("no-") && !Object.hasOwn(flags, name) ? name.slice("no-".length) : name;
    if (!Object.hasOwn(flags, known) || flags[known]?.type !== "boolean") continue;
    // What follows a flag with a value is that, whatever it looks like.
    const [, before = ""] = /^--([^=]+)$/.exec(argv[i - 1] ?? "") ?? [];
    if (Object.hasOwn(flags, before) && flags[before]?.type === "option") continue;
    throw new UsageError(`${command}: --${name} takes no value`, `Give --${name} alone, or leave it out.`);
  }
}
