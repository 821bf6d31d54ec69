/** What is found in a directory, as what a transfer offers. */
import type { Stats } from "node:fs";
import { asHawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import type { SmallItem, SourceEntry } from "./entry.ts";
import type { Filter } from "./filter.ts";
import { FileItem } from "./item.ts";
import { mtimeOf } from "./stats.ts";
import { assertSendable, joinNames } from "./top-level.ts";
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

/** What is in the directory at `top`, and itself, below the name `target` (empty: the destination itself). */
export function* treeEntries(top: Uint8Array, target: Uint8Array, options: TreeOptions): Generator<SourceEntry> {
  const { filter, copyLinks } = options;
  for (const found of walk(top, { filter, copyLinks })) {
    const name = joinNames(target, found.relative);
    // Where what is in a directory goes right to the destination, that keeps its own time and mode.
    if (name.length > 0 || found.kind === "failed") yield entryOf(found, name, options);
  }
}

export function entryOf(found: TreeEntry, name: Uint8Array, { quick, smallMax }: TreeOptions): SourceEntry {
  if (found.kind === "failed") return { kind: "failed", name, failure: found.error.toFailure() };
  const { kind, path, stats } = found;
  try {
    assertSendable(name);
    const mode = stats.mode & PERMISSIONS;
    if (kind === "directory") return { kind, name, size: 0, mtime: mtimeOf(stats), mode };
    if (kind === "symlink") return { kind, name, size: 0, mtime: mtimeOf(stats), mode, target: found.target };
    if (kind === "file")
      return stats.size <= smallMax ? smallItem(path, name, stats, quick) : new FileItem(path, name, quick);
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
  return {
    kind: "small",
    name,
    size,
    mtime: mtimeOf(stats),
    mode: mode & PERMISSIONS,
    quick,
    path,
    mtimeMs,
    inode,
    asFile,
  };
}
