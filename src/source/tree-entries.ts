/** What is found in a directory, as what a transfer offers. */
import type { Stats } from "node:fs";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import type { SmallItem, SourceEntry } from "./entry.ts";
import type { Filter } from "./filter.ts";
import { FileItem } from "./item.ts";
import { type TreeEntry, walk } from "./walk.ts";

export interface TreeOptions {
  readonly filter: Filter;
  readonly copyLinks: boolean;
  /** Size and time tell whether a file is the same. */
  readonly quick: boolean;
  /** Files up to this size are sent whole, in bytes. */
  readonly smallMax: number;
}

const PERMISSIONS = 0o7777;
const SLASH = Buffer.from("/");

/** What is in the directory at `top`, and itself, below the name `target` (empty: the destination itself). */
export function* treeEntries(top: string, target: Uint8Array, options: TreeOptions): Generator<SourceEntry> {
  const { filter, copyLinks } = options;
  for (const found of walk(top, { filter, copyLinks })) {
    const name = joined(target, found.relative);
    // Where what is in a directory goes right to the destination, that keeps its own time and mode.
    if (name.length > 0 || found.kind === "failed") yield entryOf(found, name, options);
  }
}

function entryOf(found: TreeEntry, name: Uint8Array, { quick, smallMax }: TreeOptions): SourceEntry {
  if (found.kind === "failed") return { kind: "failed", name, failure: found.error.toFailure() };
  const { kind, path, stats } = found;
  try {
    const refusal = nameRefusal(name, "posix");
    if (refusal !== undefined) throw new HawserError("E_NAME", `the name '${displayName(name)}' is refused: ${refusal}`);
    const mode = stats.mode & PERMISSIONS;
    if (kind === "directory") return { kind, name, size: 0, mtime: mtimeOf(stats), mode };
    if (kind === "symlink") return { kind, name, size: 0, mtime: mtimeOf(stats), mode, target: found.target };
    if (kind === "file") return stats.size <= smallMax ? smallItem(path, name, stats, quick) : new FileItem(path, name, quick);
    const message = `'${displayName(path)}' is a socket, a FIFO or a device, and was left out`;
    return { kind: "skipped", name, failure: { code: "E_SOURCE_SPECIAL", message } };
  } catch (thrown) {
    return { kind: "failed", name, failure: asHawserError(thrown).toFailure() };
  }
}

/** A file that is sent whole. */
export function smallItem(path: Uint8Array, name: Uint8Array, stats: Stats, quick: boolean): SmallItem {
  const { size, mode, mtimeMs, ino: inode } = stats;
  const asFile = () => new FileItem(path, name, quick);
  return { kind: "small", name, size, mtime: mtimeOf(stats), mode: mode & PERMISSIONS, quick, path, mtimeMs, inode, asFile };
}

/** Exact to a quarter of a microsecond, which is what a double of milliseconds holds. */
function mtimeOf({ mtimeMs }: Stats): [number, number] {
  const seconds = Math.floor(mtimeMs / 1000);
  return [seconds, Math.min(999_999_999, Math.round((mtimeMs - seconds * 1000) * 1e6))];
}

function joined(target: Uint8Array, relative: Uint8Array): Uint8Array {
  if (target.length === 0 || relative.length === 0) return target.length === 0 ? relative : target;
  return Buffer.concat([target, SLASH, relative]);
}
