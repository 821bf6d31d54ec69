/** Text for a POSIX shell to read back as one word. Pure. */
import { UNPRINTABLE } from "../protocol/names.ts";

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

export function shellQuote(word: string): string {
  if (PLAIN.test(word)) return word;
  if (word.search(UNPRINTABLE) >= 0) return ansiCQuote(word);
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** `$'...'` (POSIX 2024): no control character reaches the terminal, and the shell still gets the bytes. */
function ansiCQuote(word: string): string {
  let quoted = "";
  for (const char of word) {
    if (char === "'" || char === "\\") quoted += `\\${char}`;
    else if (char.search(UNPRINTABLE) >= 0) quoted += [...Buffer.from(char)].map(octal).join("");
    else quoted += char;
  }
  return `$'${quoted}'`;
}

/** Three digits always, so that a digit after it stays what it is. */
const octal = (byte: number) => `\\${byte.toString(8).padStart(3, "0")}`;
