/** Names as text to match patterns against: different bytes are always different text, also where they aren't UTF-8. */
import { isUtf8 } from "node:buffer";

/**
 * UTF-8 as it is; a byte that is no part of any as a lone surrogate, U+DC80 to U+DCFF, which no UTF-8 gives (as Python
 * does, PEP 383). A wildcard matches it like one character.
 */
export function textOf(name: Uint8Array): string {
  const bytes = Buffer.from(name.buffer, name.byteOffset, name.byteLength);
  if (isUtf8(bytes)) return bytes.toString();
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = lengthAt(bytes[at] as number);
    const character = bytes.subarray(at, at + length);
    if (character.length === length && isUtf8(character)) {
      text += character.toString();
      at += length;
    } else {
      text += String.fromCharCode(0xdc00 + (bytes[at] as number));
      at++;
    }
  }
  return text;
}

/** How long a character is that begins with this byte (RFC 3629, section 3). */
function lengthAt(first: number): number {
  if (first < 0xc0) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}
