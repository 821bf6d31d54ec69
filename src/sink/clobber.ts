/** What becomes of what has a name already: the rules, apart from any disk. Pure. */
import { HawserError } from "../protocol/errors.ts";
import { COMPONENT_BYTES_MAX, NAME_BYTES_MAX } from "../protocol/limits.ts";
import type { OfferedFile } from "../protocol/messages.ts";
import { displayName } from "../protocol/names.ts";
import type { Clobber, ExistingFile } from "./sink.ts";

/** As the client asks: see PROTOCOL.md, HELLO. */
export type Overwrite = "never" | "if-different" | "always" | "rename";

/** `send`: as `clobber` says. `compare`: it has the same size, and its content decides. `unchanged`: it is the same. */
export type Verdict =
  | { readonly action: "send"; readonly clobber: Clobber | undefined }
  | { readonly action: "compare" }
  | { readonly action: "unchanged" };

/** Times that differ by less are the same: what comes through a double of seconds is off by a quarter of this. */
const SAME_TIME_MS = 0.001;

/** What to do with a file whose name something has. Throws E_EXISTS, E_NAME. */
export function judgeExisting(offer: OfferedFile, existing: ExistingFile, overwrite: Overwrite): Verdict {
  if (existing.ownName === undefined && overwrite !== "always") {
    if (offer.quick && isLikely(offer, existing)) return { action: "unchanged" };
    if (isSameSize(offer, existing)) return { action: "compare" };
  }
  return { action: "send", clobber: clobberFor(offer.name, existing, overwrite, offer.size === null) };
}

/** Whether it has the size and the time of what is offered, as what was made of it has. */
export function isLikely(offer: OfferedFile, existing: ExistingFile): boolean {
  return isSameSize(offer, existing) && isSameTime(offer.mtime, existing.mtimeMs);
}

const isSameSize = ({ size }: OfferedFile, existing: ExistingFile) => existing.size !== null && existing.size === size;

/** How a file that differs from what has its name is committed. `isPiped`: it was not compared. Throws E_EXISTS, E_NAME. */
export function clobberFor(name: Uint8Array, existing: ExistingFile, overwrite: Overwrite, isPiped = false): Clobber {
  if (overwrite === "rename") return "rename";
  if (existing.ownName !== undefined) throw oneName(name, existing.ownName);
  if (overwrite === "never" || existing.isDirectory) throw alreadyThere(name, existing, isPiped);
  return "replace";
}

export function isSameTime([seconds, nanoseconds]: readonly [number, number], mtimeMs: number): boolean {
  return Math.abs(seconds * 1000 + nanoseconds / 1e6 - mtimeMs) <= SAME_TIME_MS;
}

/** E_EXISTS for a name that something else has. */
export function alreadyThere(
  name: Uint8Array,
  { size, isDirectory, target }: ExistingFile,
  isPiped = false,
): HawserError {
  const link = target === undefined ? "something that is not a file" : "a link";
  const other = isDirectory ? "a directory" : link;
  const file = isPiped ? "a file, with which a pipe can't be compared before it is sent," : "a file with other content";
  const what = size === null ? other : file;
  return new HawserError("E_EXISTS", `${what} is already there under the name '${displayName(name)}'`);
}

/**
 * E_NAME for a name that the server's file system takes for the one that another file or directory has: were it to give
 * way, or to count as the same, one of two files would be lost, or be there under a name that nobody gave it.
 */
export function oneName(name: Uint8Array, ownName: Uint8Array): HawserError {
  const [shown, other] = [name, ownName].map(displayName);
  return new HawserError(
    "E_NAME",
    `'${shown}' is refused: to the server's file system it is one name with '${other}', which is there`,
  );
}

/** E_NOT_DIRECTORY for something else that has the name of a directory. */
export function notDirectory(name: Uint8Array): HawserError {
  return new HawserError("E_NOT_DIRECTORY", `'${displayName(name)}' on the server is not a directory`);
}

/** E_EXISTS for a name that was free when it was looked at. */
export function appeared(name: Uint8Array): HawserError {
  return new HawserError("E_EXISTS", `'${displayName(name)}' appeared on the server meanwhile, and was left as it is`);
}

const DOT = 0x2e;
const SLASH = 0x2f;

/**
 * `dir/dump.sql` becomes `dir/dump (1).sql`, then `dir/dump (2).sql`: the name is cut where it would be too long. Throws
 * E_EXISTS where there is no room for another one.
 */
export function nextName(name: Uint8Array, nth: number): Uint8Array {
  const start = name.lastIndexOf(SLASH) + 1;
  const dot = name.lastIndexOf(DOT);
  // A dot at the start hides a file, and is no extension; nor is what is longer than any.
  const end = dot > start && name.length - dot <= 16 ? dot : name.length;
  const tail = Buffer.concat([Buffer.from(` (${nth})`), name.subarray(end)]);
  const room = Math.min(COMPONENT_BYTES_MAX, NAME_BYTES_MAX - start) - tail.length;
  if (room < 0) {
    throw new HawserError("E_EXISTS", `'${displayName(name)}' is already there, and too long for a number behind it`);
  }
  const stem = name.subarray(start, Math.min(end, start + room));
  return Buffer.concat([name.subarray(0, start), stem, tail]);
}
