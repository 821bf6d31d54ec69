/**
 * Staging belongs to the server alone: whoever else could write there would choose what gets a name in the served
 * directory, and what the server takes for its own records. A hostile local user may have made it beforehand.
 */
import { fstatSync, lstatSync, mkdirSync, rmdirSync, type Stats } from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import type { HeldDirectory } from "./held-directory.ts";

const WRITABLE_BY_OTHERS = 0o022;
const PRIVATE_MODE = 0o700;
const PROBE = Buffer.from("probe-mode");

/**
 * Holds the directory `name`, which only its owner may enter, made where it is missing; `shown` is how it is called.
 * Throws E_CONFIG where it is a link or no directory, another user's, or others may write to it.
 */
export function holdPrivate(parent: HeldDirectory, name: string, shown: string): HeldDirectory {
  const held = holdOrMake(parent, Buffer.from(name), shown);
  try {
    const reason = refusalOf(held);
    if (reason !== undefined) throw notOurs(shown, reason);
    return held;
  } catch (thrown) {
    held.close();
    throw thrown;
  }
}

/**
 * Throws E_CONFIG where one of these names in a private directory, or a link of that name, is another user's: left there
 * while others could write to it.
 */
export function assertOwnFiles(held: HeldDirectory, names: readonly string[], shown: string): void {
  for (const name of names) {
    const found = lstatSync(held.entry(Buffer.from(name)), { throwIfNoEntry: false });
    if (found !== undefined && !isOwn(found)) throw notOurs(`${shown}/${name}`, ownerText(found));
  }
}

/** Throws E_CONFIG where the path no longer leads to the directory that is held: somebody moves it about. */
export function assertStillAt(held: HeldDirectory, path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  const { dev, ino } = statsOf(held);
  if (found === undefined || found.dev !== dev || found.ino !== ino) {
    throw notOurs(path, "it was moved away while the server started");
  }
}

function holdOrMake(parent: HeldDirectory, name: Buffer, shown: string): HeldDirectory {
  const path = parent.entry(name);
  // Another may come first: then it is looked at as any that was there.
  const there = lstatSync(path, { throwIfNoEntry: false }) ?? makeAt(path);
  if (there?.isSymbolicLink()) throw notOurs(shown, "it is a link");
  if (there !== undefined && !there.isDirectory()) throw notOurs(shown, "it is no directory");
  const held = parent.child(name);
  if (held === undefined) throw new HawserError("E_IO", `'${shown}' was taken away`);
  return held;
}

function makeAt(path: Buffer): undefined {
  try {
    mkdirSync(path, { mode: PRIVATE_MODE });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
  }
}

/** Why it can't be trusted; undefined where it can. */
function refusalOf(held: HeldDirectory): string | undefined {
  const found = statsOf(held);
  if (!isOwn(found)) return ownerText(found);
  if ((found.mode & WRITABLE_BY_OTHERS) === 0 || !keepsModes(held)) return undefined;
  return `others may write to it (mode ${(found.mode & 0o7777).toString(8).padStart(4, "0")})`;
}

/** Whether the file system has permissions at all: FAT and its kind show the same for everything. */
function keepsModes(held: HeldDirectory): boolean {
  const path = held.entry(PROBE);
  tryTo(() => rmdirSync(path));
  mkdirSync(path, { mode: PRIVATE_MODE });
  try {
    return (lstatSync(path).mode & WRITABLE_BY_OTHERS) === 0;
  } finally {
    tryTo(() => rmdirSync(path));
  }
}

const statsOf = (held: HeldDirectory): Stats =>
  held.fd === undefined ? lstatSync(held.entry(Buffer.from("."))) : fstatSync(held.fd);

/** Windows has no numbers for users; there it is left to the access lists of the directory above. */
const isOwn = ({ uid }: Stats) => process.geteuid === undefined || uid === process.geteuid();
const ownerText = ({ uid }: Stats) =>
  `it belongs to another user (${uid}, and the server runs as ${process.geteuid?.()})`;

function notOurs(shown: string, reason: string): HawserError {
  const next = "remove it, if nobody needs what is in it, or serve another directory";
  return new HawserError("E_CONFIG", `'${shown}' can't be trusted: ${reason}; ${next}`);
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // Not there: nothing is to be done.
  }
}
