/**
 * Names on the wire are bytes: components separated by '/', relative to the served directory. What is refused is said
 * with the name shown escaped; nothing is ever rewritten. The rules of every platform are pure functions, so that all
 * are tested everywhere.
 */
import { type ByteText, bytesOf } from "./byte-text.ts";
import { COMPONENT_BYTES_MAX, NAME_BYTES_MAX } from "./limits.ts";

export type Platform = "posix" | "windows";

/** The server's own directory in the served one. */
export const STAGING_NAME = ".hawser";

const SLASH = 0x2f;
const DOT = 0x2e;

/** CON, NUL and their kind are devices on Windows, with any extension (Microsoft: Naming Files, Paths, and Namespaces). */
const WINDOWS_DEVICE =
  /^(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$) *(\.|$)/i;
const WINDOWS_FORBIDDEN = /[<>:"|?*\\]/;

/** Strict, and a byte order mark is a character like any other. */
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The components of a name, without copying. */
export function componentsOf(name: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i <= name.length; i++) {
    if (i === name.length || name[i] === SLASH) {
      parts.push(name.subarray(start, i));
      start = i + 1;
    }
  }
  return parts;
}

/** Why a server on `platform` can't take a file of this name; `undefined` when it can. */
export function nameRefusal(name: Uint8Array, platform: Platform): string | undefined {
  if (platform === "posix" && isPlain(name)) return undefined;
  if (name.length === 0) return "it is empty";
  if (name.length > NAME_BYTES_MAX) return `it is ${name.length} bytes long, and ${NAME_BYTES_MAX} is the most`;
  if (name[0] === SLASH) return "it is absolute";
  const components = componentsOf(name);
  for (const component of components) {
    if (isStaging(component, platform)) return `'${STAGING_NAME}' belongs to the server`;
    const refusal = componentRefusal(component) ?? (platform === "windows" ? windowsRefusal(component) : undefined);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/**
 * Whether a name has nothing in it that a rule of POSIX is about: ASCII, and no component empty, too long or begun with a
 * dot. Nearly all names are such, and a server looks at thousands a second.
 */
function isPlain(name: Uint8Array): boolean {
  if (name.length > NAME_BYTES_MAX) return false;
  let start = 0;
  for (let i = 0; i < name.length; i++) {
    const byte = name[i] as number;
    if (byte === 0 || byte >= 0x80) return false;
    if (byte === SLASH) {
      if (i === start || i - start > COMPONENT_BYTES_MAX) return false;
      start = i + 1;
    } else if (byte === DOT && i === start) return false;
  }
  return name.length > start && name.length - start <= COMPONENT_BYTES_MAX;
}

/** Printable ASCII, and no component that is empty, too long, or begins with a dot. */
const PLAIN_NAME = /^[ !-\-0-~][ -.0-~]{0,254}(?:\/[ !-\-0-~][ -.0-~]{0,254})*$/;

/**
 * Whether a name is as most are, so that nothing of `nameRefusal` on "posix" can be true of it: to look is ten times as fast.
 * Of others it says nothing.
 */
export function isPlainName(name: ByteText): boolean {
  return name.length <= NAME_BYTES_MAX && PLAIN_NAME.test(name);
}

function componentRefusal(component: Uint8Array): string | undefined {
  if (component.length === 0) return "a component of it is empty";
  if (component.length === 1 && component[0] === DOT) return "'.' is not a name";
  if (component.length === 2 && component[0] === DOT && component[1] === DOT) return "'..' leads out of the directory";
  if (component.length > COMPONENT_BYTES_MAX) {
    return `a component of it is ${component.length} bytes long, and ${COMPONENT_BYTES_MAX} is the most`;
  }
  if (component.includes(0)) return "it contains a NUL byte";
  return undefined;
}

function windowsRefusal(component: Uint8Array): string | undefined {
  const text = utf8(component);
  if (text === undefined) return "the server runs on Windows, and it is not UTF-8";
  if (WINDOWS_DEVICE.test(text)) return "it is a device on Windows, where the server runs";
  if (WINDOWS_FORBIDDEN.test(text)) return 'the server runs on Windows, where none of <>:"|?*\\ is allowed';
  if (/[. ]$/.test(text)) return "it ends in a dot or a space, which Windows drops";
  if (component.some((byte) => byte < 0x20)) return "it contains a control character, which Windows forbids";
  return undefined;
}

/**
 * Whether a file system could take it for the server's own directory: those that fold names ignore letter case, marks
 * that nobody sees, and differences of compatibility (Unicode, UAX #15 and #31). At any depth, since what lies below may
 * be served by itself.
 */
function isStaging(component: Uint8Array, platform: Platform): boolean {
  // Most names are plain ASCII of another length: there is nothing to be folded.
  if (platform === "posix" && component.length !== STAGING_NAME.length && isAscii(component)) return false;
  const text = utf8(component);
  if (text === undefined) return false;
  const visible = text.normalize("NFKC").replace(/\p{Default_Ignorable_Code_Point}/gu, "");
  const folded = visible.toUpperCase().toLowerCase();
  if (platform === "posix") return folded === STAGING_NAME;
  // Windows drops dots and spaces at the end, and gives long names a short one.
  return folded.replace(/[. ]+$/, "") === STAGING_NAME || /^hawser~\d+$/.test(folded);
}

function isAscii(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if ((bytes[i] as number) >= 0x80) return false;
  return true;
}

/** Control characters, marks that reorder or hide text, line and paragraph separators (Unicode general categories). */
export const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Text from a peer as it may be shown: control characters and marks that reorder text stand as \u{...}. */
export function escapeText(text: string): string {
  return text.replace(UNPRINTABLE, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`);
}

const PRINTABLE_ASCII = /^[ -~]*$/;

/** Whether text has nothing in it that `escapeText` escapes, as nearly all: found out without a table of all characters. */
export const isPrintableAscii = (text: string): boolean => PRINTABLE_ASCII.test(text);

/** A name as it may be shown: escaped, and bytes that are not UTF-8 stand as \xNN. */
export function displayName(name: Uint8Array | ByteText): string {
  if (typeof name === "string") return PRINTABLE_ASCII.test(name) ? name : displayName(bytesOf(name));
  const text = utf8(name);
  if (text !== undefined) return escapeText(text);
  let shown = "";
  for (const byte of name) {
    shown += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return shown;
}
