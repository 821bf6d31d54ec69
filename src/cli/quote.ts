/** Text for a POSIX shell to read back as one word. Pure. */

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters need the form with escapes
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;

export function shellQuote(word: string): string {
  if (PLAIN.test(word)) return word;
  if (CONTROL.test(word)) return ansiCQuote(word);
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** `$'...'` (POSIX 2024): no control character reaches the terminal, and the shell still gets the bytes. */
function ansiCQuote(word: string): string {
  let quoted = "";
  for (const char of word) {
    if (char === "'" || char === "\\") quoted += `\\${char}`;
    else if (CONTROL.test(char)) quoted += [...Buffer.from(char)].map(octal).join("");
    else quoted += char;
  }
  return `$'${quoted}'`;
}

/** Three digits always, so that a digit after it stays what it is. */
const octal = (byte: number) => `\\${byte.toString(8).padStart(3, "0")}`;
