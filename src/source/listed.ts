/**
 * What a list of paths names, as what a transfer offers: each path stands for itself alone, under its whole name, so that
 * what whoever made the list left out stays out. A directory comes after what the list has of it, as `find` lists it.
 */
import { lstatSync, readlinkSync, statSync } from "node:fs";
import { byteTextOf } from "../protocol/byte-text.ts";
import { asHawserError } from "../protocol/errors.ts";
import type { SourceEntry } from "./entry.ts";
import { sourceError } from "./source-error.ts";
import { kindOf } from "./stats.ts";
import { joinNames, listedNameOf } from "./top-level.ts";
import { entryOf, type TreeOptions } from "./tree-entries.ts";

export interface Listed {
  /** What comes of a path. */
  entriesOf(path: Buffer): Iterable<SourceEntry>;
  /** What was held back, when there are no more. */
  rest(): SourceEntry[];
}

const SLASH = 0x2f;

/** Names begin with `below`, which may be empty. */
export function listed(below: Uint8Array, tree: TreeOptions): Listed {
  /** Directories that lead to the latest path, each with its entry. */
  const open: { readonly name: Uint8Array; readonly entry: SourceEntry }[] = [];
  const closeUpTo = (name: Uint8Array | undefined) => {
    const closed: SourceEntry[] = [];
    for (let last = open.at(-1); last !== undefined; last = open.at(-1)) {
      if (name !== undefined && isBelow(name, last.name)) break;
      open.pop();
      closed.push(last.entry);
    }
    return closed;
  };
  return {
    entriesOf(path) {
      try {
        const relative = listedNameOf(path);
        const name = joinNames(below, relative);
        const entry = look(path, relative, name, tree);
        if (entry === undefined) return [];
        const entries = closeUpTo(name);
        if (entry.kind === "directory") open.push({ name, entry });
        else entries.push(entry);
        return entries;
      } catch (thrown) {
        return [{ kind: "failed", name: path, failure: asHawserError(thrown).toFailure() }];
      }
    },
    rest: () => closeUpTo(undefined),
  };
}

/** Undefined where it is left out, or is the destination itself. */
function look(path: Buffer, relative: Buffer, name: Buffer, tree: TreeOptions): SourceEntry | undefined {
  try {
    const stats = tree.copyLinks ? statSync(path) : lstatSync(path);
    const kind = kindOf(stats);
    if (relative.length === 0 || tree.filter.excludes(relative, kind === "directory")) return undefined;
    const found = { path: byteTextOf(path), relative: byteTextOf(relative), stats };
    if (kind === "symlink")
      return entryOf({ kind, ...found, target: readlinkSync(path, "buffer") }, byteTextOf(name), tree);
    return entryOf({ kind, ...found }, byteTextOf(name), tree);
  } catch (thrown) {
    return { kind: "failed", name, failure: sourceError(path, thrown as NodeJS.ErrnoException).toFailure() };
  }
}

function isBelow(name: Uint8Array, directory: Uint8Array): boolean {
  return (
    name.length > directory.length &&
    name[directory.length] === SLASH &&
    Buffer.compare(name.subarray(0, directory.length), directory) === 0
  );
}
