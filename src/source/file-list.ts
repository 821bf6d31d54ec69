/**
 * A list of paths to send, from a file or from standard input: each ended by a NUL byte, as `find -print0` writes it, or by
 * a newline. It is read as its paths are taken, so its length costs no memory.
 */
import { createReadStream } from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { PATH_BYTES_MAX, reasonOf, shownPath } from "./source-error.ts";

const NUL = 0x00;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** How much of a path that is none is shown. */
const SHOWN_BYTES = 40;

/**
 * The paths in the list at `from`; `-` is standard input, and a file of that name is `./-`. Throws E_CONFIG where it can't be
 * read or is no list of paths.
 */
export async function* readFileList(
  from: string,
  standardInput: () => AsyncIterable<Uint8Array> = () => process.stdin,
): AsyncGenerator<Buffer, void, void> {
  const shown = from === "-" ? "standard input" : `'${displayName(Buffer.from(from))}'`;
  try {
    // Standard input by Node's own stream: a read that waits in the thread pool would keep the program from ending.
    yield* pathsIn(from === "-" ? standardInput() : createReadStream(from), shown);
  } catch (cause) {
    if (cause instanceof HawserError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "it does not exist" : reasonOf(cause as Error);
    throw new HawserError("E_CONFIG", `the list of files in ${shown} can't be read: ${why}`, { cause });
  }
}

/**
 * The paths in bytes that come in pieces of any size; empty ones are left out. Throws E_CONFIG; `shown` is what the error calls
 * the list.
 *
 * NUL or newline: a path has 4,095 bytes at most, so a list that is separated by NUL has one in its first 4,096. They decide,
 * as soon as they do. In a list that is separated by newlines one carriage return before each is taken away.
 */
export async function* pathsIn(pieces: AsyncIterable<Uint8Array>, shown: string): AsyncGenerator<Buffer, void, void> {
  let separator: number | undefined;
  let rest: Buffer = Buffer.alloc(0);
  let count = 0;

  const pathOf = (bytes: Buffer): Buffer => {
    count++;
    const isCrLf = separator === NEWLINE && bytes[bytes.length - 1] === CARRIAGE_RETURN;
    const path = isCrLf ? bytes.subarray(0, -1) : bytes;
    if (path.length > PATH_BYTES_MAX) throw noPath(`is longer than ${PATH_BYTES_MAX} bytes`, path);
    if (path.includes(NUL)) throw noPath("contains a NUL byte, and the one before ended in a newline", path);
    // A copy: what keeps it keeps no piece.
    return Buffer.from(path);
  };
  const noPath = (why: string, path: Buffer): HawserError => {
    const begins = shownPath(path.subarray(0, SHOWN_BYTES));
    return new HawserError("E_CONFIG", `path ${count} in ${shown} ${why}; it begins with '${begins}'`);
  };

  for await (const piece of pieces) {
    const bytes = Buffer.concat([rest, piece]);
    separator ??= separatorOf(bytes);
    let start = 0;
    if (separator !== undefined) {
      for (let end = bytes.indexOf(separator); end !== -1; end = bytes.indexOf(separator, start)) {
        const path = pathOf(bytes.subarray(start, end));
        start = end + 1;
        if (path.length > 0) yield path;
      }
    }
    rest = bytes.subarray(start);
    // One more for a carriage return.
    if (separator !== undefined && rest.length > PATH_BYTES_MAX + 1) pathOf(rest);
  }
  separator ??= NEWLINE;
  // A list shorter than what decides, or the last path, which need not be ended.
  let start = 0;
  while (start < rest.length) {
    const found = rest.indexOf(separator, start);
    const end = found === -1 ? rest.length : found;
    const path = pathOf(rest.subarray(start, end));
    start = end + 1;
    if (path.length > 0) yield path;
  }
}

/** undefined while it can't be told. */
function separatorOf(head: Buffer): number | undefined {
  if (head.subarray(0, PATH_BYTES_MAX + 1).includes(NUL)) return NUL;
  return head.length > PATH_BYTES_MAX ? NEWLINE : undefined;
}
