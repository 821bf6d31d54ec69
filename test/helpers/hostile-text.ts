/** Text that does harm to a terminal, a log or a reader, and looking for it in what a program has written. */
import type { Test } from "tap";

/** Each for use in a name: without a slash, and short. */
export const HOSTILE: readonly string[] = [
  "\u001b[2J\u001b[31mred\u001b[0m",
  "\u001b]0;title\u0007",
  "\u001b]52;c;aGk=\u0007",
  "\u001b]8;;x\u0007link\u001b]8;;\u0007",
  "\u001bPq\u001b\\",
  "\u001bc",
  "\u009b31m",
  "\u009d0;title\u009c",
  "\r\nhawser: committed 1 file",
  '\n{"event":"transfer"}\n',
  "overwritten\r\u001b[1A\u001b[Kforged",
  "\b\b\b\b",
  "\u0001\u0002\u0003\u0005\u000e\u000f",
  "\t\u000b\u000c\u0085\u007f",
  "evil\u202egpj.exe",
  "\u2066a\u2069\u200e\u200f\u061c",
  "a\u200bb\u200c\u200d\u2060\ufeff\u00ad",
  "\u2028\u2029",
  "\u{e0041}\u{e0042}",
];

/** All of it at once, for where one text is shown. */
export const ALL_HOSTILE = HOSTILE.join(" ");

/** Nothing in it that a terminal obeys, or that reorders or hides text, but the ends of lines. */
export function assertHarmless(t: Test, text: string, what: string): void {
  const found = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.exec(text.replaceAll("\n", ""));
  t.equal(found?.[0], undefined, what);
  // A line of a peer's own would pass for ours.
  t.notMatch(text, /^(hawser: committed 1 file|\{"event":"transfer"\})/m, `${what}: no line is forged`);
}
