/** What is found in a directory, as what a transfer offers. */
import type { Stats } from "node:fs";
import { type ByteText, bytesOf, byteTextOf } from "../protocol/byte-text.ts";
import { asHawserError, type HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import type { SmallItem, SourceEntry } from "./entry.ts";
import type { Filter } from "./filter.ts";
import { FileItem } from "./item.ts";
import { mtimeOf } from "./stats.ts";
import { assertSendable } from "./top-level.ts";
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
  const above = byteTextOf(target);
  const prefix = above === "" ? "" : `${above}/`;
  for (const found of walk(top, { filter, copyLinks })) {
    const name = found.relative === "" ? above : prefix + found.relative;
    // Where what is in a directory goes right to the destination, that keeps its own time and mode.
    if (name.length > 0 || found.kind === "failed") yield entryOf(found, name, options);
  }
}

export function entryOf(found: TreeEntry, name: ByteText, { quick, smallMax }: TreeOptions): SourceEntry {
  if (found.kind === "failed") return failed(name, found.error);
  const { kind, path, stats } = found;
  try {
    assertSendable(name);
    if (kind === "file" && stats.size <= smallMax) return smallItem(path, name, stats, quick);
    if (kind === "file") return new FileItem(bytesOf(path), bytesOf(name), quick);
    const entry = { name: bytesOf(name), size: 0, mtime: mtimeOf(stats), mode: stats.mode & PERMISSIONS } as const;
    if (kind === "directory") return { kind, ...entry };
    if (kind === "symlink") return { kind, ...entry, target: found.target };
    const message = `'${displayName(path)}' is a socket, a FIFO or a device, and was left out`;
    return { kind: "skipped", name: bytesOf(name), failure: { code: "E_SOURCE_SPECIAL", message } };
  } catch (thrown) {
    return failed(name, asHawserError(thrown));
  }
}

function failed(name: ByteText, error: HawserError): SourceEntry {
  return { kind: "failed", name: bytesOf(name), failure: error.toFailure() };
}

/** A file that is sent whole. */
export function smallItem(path: ByteText, name: ByteText, stats: Stats, quick: boolean): SmallItem {
  const { size, mode, mtimeMs, ino: inode } = stats;
  return { kind: "small", name, size, mode: mode & PERMISSIONS, quick, path, mtimeMs, inode };
}
