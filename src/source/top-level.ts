/**
 * What is sent under which name: the rules for what the user names, as in rsync. Pure: it doesn't look at the files.
 */
import { type ByteText, bytesOf } from "../protocol/byte-text.ts";
import { HawserError } from "../protocol/errors.ts";
import { componentsOf, displayName, isPlainName, nameRefusal } from "../protocol/names.ts";

/** Something that the user named, and what it turned out to be: a link is what it leads to, under the link's own name. */
export interface Named {
  readonly path: Uint8Array;
  readonly isDirectory: boolean;
}

export interface TopLevel extends Named {
  /** At the destination; of a directory, what the names of all that it holds begin with. Empty: they begin with nothing. */
  readonly name: Buffer;
}

export interface Naming {
  readonly into?: string | undefined;
  /** In place of the only one's own name. */
  readonly name?: string | undefined;
}

const SLASH = 0x2f;
const DOT = ".";
const PARENT = "..";

/** The names of all that is sent. Throws E_USAGE where two would have the same: directories may, and are put together. */
export function nameTopLevel(named: readonly Named[], { into = "", name }: Naming = {}): TopLevel[] {
  if (name !== undefined && named.length > 1) {
    throw new HawserError("E_USAGE", `--name names one file, and ${named.length} are to be sent`);
  }
  const before = new Map<string, Named>();
  return named.map(({ path, isDirectory }) => {
    const own = name === undefined ? ownNameOf(path) : Buffer.from(name);
    const full = joinNames(Buffer.from(into.replace(/\/+$/, "")), own);
    // What a directory holds goes where other things go as well.
    if (own.length > 0) {
      const key = full.toString("latin1");
      const other = before.get(key);
      if (other !== undefined && !(other.isDirectory && isDirectory)) throw sameName(other.path, path, full);
      before.set(key, { path, isDirectory });
    }
    return { path, isDirectory, name: full };
  });
}

/** The last name in a path; empty where what the directory holds is meant: `photos/`, `.`, `..`, `/`. */
export function ownNameOf(path: Uint8Array): Buffer {
  if (path.length === 0) throw new HawserError("E_USAGE", "an empty path names nothing: the current directory is '.'");
  const last = Buffer.from(path.subarray(path.lastIndexOf(SLASH) + 1));
  return isDots(last) ? Buffer.alloc(0) : last;
}

/**
 * The name of a path out of a list: the path itself, below the destination, since the names in it would not be enough to tell
 * a list's files apart. `./`, slashes at its ends and double ones are left out. Empty where the list says `.`. Throws E_NAME.
 */
export function listedNameOf(path: Uint8Array): Buffer {
  const components = componentsOf(path).filter((part) => part.length > 0 && String(Buffer.from(part)) !== DOT);
  if (components.some((part) => String(Buffer.from(part)) === PARENT)) {
    const shown = displayName(path);
    throw new HawserError("E_NAME", `'${shown}' in the list of files leads out of the directory that it is sent to`);
  }
  return joinNames(...components);
}

/** What no server takes is said here; what only this server's platform can't hold, it says itself. Throws E_NAME. */
export function assertSendable(name: Uint8Array | ByteText): void {
  if (typeof name === "string" && isPlainName(name)) return;
  const refusal = nameRefusal(typeof name === "string" ? bytesOf(name) : name, "posix");
  if (refusal !== undefined) throw new HawserError("E_NAME", `the name '${displayName(name)}' is refused: ${refusal}`);
}

/** Names one below the other; empty ones are nothing. */
export function joinNames(...names: readonly Uint8Array[]): Buffer {
  const parts = names.filter(({ length }) => length > 0);
  const slashes = Math.max(0, parts.length - 1);
  const joined = Buffer.allocUnsafe(parts.reduce((sum, { length }) => sum + length, slashes));
  let at = 0;
  for (const part of parts) {
    if (at > 0) joined[at++] = SLASH;
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function isDots(name: Buffer): boolean {
  const text = name.toString("latin1");
  return text === DOT || text === PARENT;
}

function sameName(first: Uint8Array, second: Uint8Array, name: Uint8Array): HawserError {
  const [a, b, both] = [first, second, name].map(displayName);
  return new HawserError("E_USAGE", `'${a}' and '${b}' would both be named '${both}' at the destination`);
}
