/** What the user named, as what a transfer offers: found bit by bit while it is sent, each with its name at the destination. */
import { basename } from "node:path";
import { type Stats, statSync } from "node:fs";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { RESUME_KEYS_MAX } from "../protocol/limits.ts";
import { displayName, nameRefusal } from "../protocol/names.ts";
import { type EntryFeed, feedOf, type SourceEntry } from "../source/entry.ts";
import { Filter } from "../source/filter.ts";
import type { FilterRule } from "../source/filter-rules.ts";
import { FileItem, sourceError } from "../source/item.ts";
import { smallBytesMax } from "../source/small-entries.ts";
import { smallItem, treeEntries } from "../source/tree-entries.ts";

export interface Plan {
  readonly feed: EntryFeed;
  /** By which the server knows what earlier runs left. */
  readonly keys: readonly Uint8Array[];
  /** Where all is known beforehand. */
  readonly totals: { readonly files: number; readonly bytes: number } | undefined;
}

export interface PlanOptions {
  readonly paths: readonly string[];
  readonly into?: string | undefined;
  readonly name?: string | undefined;
  readonly chunkBytes: number;
  readonly checksum?: boolean | undefined;
  readonly copyLinks?: boolean | undefined;
  readonly filter?: readonly FilterRule[] | undefined;
}

/** Looks at each path, and at what is in directories when its turn comes. Throws E_USAGE where that makes no sense as a whole. */
export function planFiles(options: PlanOptions): Plan {
  const { paths, into, name } = options;
  if (paths.length === 0) throw new HawserError("E_USAGE", "no file was named");
  if (name !== undefined && paths.length > 1) {
    throw new HawserError("E_USAGE", `--name names one file, and ${paths.length} are to be sent`);
  }
  const filter = new Filter(options.filter ?? []);
  const smallMax = smallBytesMax(options.chunkBytes);
  const named: (SourceEntry | Iterable<SourceEntry>)[] = [];
  const byName = new Map<string, string>();
  for (const path of paths) {
    const top = topLevelOf(path);
    const target = [into?.replace(/\/+$/, ""), name ?? top].filter((part) => part).join("/");
    const found = lookAt(path);
    const isDirectory = !(found instanceof HawserError) && found.isDirectory();
    const before = byName.get(target);
    if (before !== undefined && !isDirectory) {
      throw new HawserError("E_USAGE", `'${before}' and '${path}' would both be named '${target}' at the destination`);
    }
    byName.set(target, path);
    if (found instanceof HawserError) named.push(failed(target, found));
    else if (isDirectory) {
      const quick = options.checksum !== true;
      named.push(treeEntries(path, Buffer.from(target), { filter, copyLinks: options.copyLinks === true, quick, smallMax }));
    } else named.push(fileEntry(path, target, found, smallMax));
  }
  return planOf(named);
}

/** `photos` and `photos/` as rsync tells them apart: the directory, or what is in it. */
function topLevelOf(path: string): string {
  const last = basename(path);
  return /(^|\/)\.{0,2}\/*$/.test(path) || path.endsWith("/") ? "" : last;
}

function planOf(named: readonly (SourceEntry | Iterable<SourceEntry>)[]): Plan {
  const keys: Uint8Array[] = [];
  let totals: { files: number; bytes: number } | undefined = { files: 0, bytes: 0 };
  for (const entry of named) {
    if (Symbol.iterator in entry) totals = undefined;
    else {
      if (totals !== undefined && entry.kind !== "failed" && entry.kind !== "skipped") {
        totals = { files: totals.files + 1, bytes: totals.bytes + (entry.size ?? 0) };
      }
      if (entry.kind === undefined && entry.key !== undefined && keys.length < RESUME_KEYS_MAX) keys.push(entry.key);
    }
  }
  return { feed: feedOf(flat(named)), keys, totals };
}

function* flat(named: readonly (SourceEntry | Iterable<SourceEntry>)[]): Generator<SourceEntry> {
  for (const entry of named) {
    if (Symbol.iterator in entry) yield* entry;
    else yield entry;
  }
}

function lookAt(path: string): Stats | HawserError {
  try {
    return statSync(path);
  } catch (thrown) {
    return sourceError(Buffer.from(path), thrown as NodeJS.ErrnoException);
  }
}

function fileEntry(path: string, target: string, found: Stats, smallMax: number): SourceEntry {
  const name = Buffer.from(target);
  try {
    // What no server takes is said here; what only this server's platform can't hold, it says itself.
    const refusal = nameRefusal(name, "posix");
    if (refusal !== undefined) throw new HawserError("E_NAME", `the name '${displayName(name)}' is refused: ${refusal}`);
    if (!found.isFile()) throw new HawserError("E_SOURCE_SPECIAL", `'${displayName(Buffer.from(path))}' is not a regular file`);
    return found.size <= smallMax ? smallItem(Buffer.from(path), name, found, false) : new FileItem(path, name);
  } catch (thrown) {
    return failed(target, asHawserError(thrown));
  }
}

function failed(target: string, error: HawserError): SourceEntry {
  return { kind: "failed", name: Buffer.from(target), failure: error.toFailure() };
}
