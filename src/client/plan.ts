/** What the user named, as what a transfer offers: found bit by bit while it is sent, each with its name at the destination. */
import { type Stats, statSync } from "node:fs";
import { byteTextOf } from "../protocol/byte-text.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { RESUME_KEYS_MAX } from "../protocol/limits.ts";
import { displayName } from "../protocol/names.ts";
import { type EntryFeed, feedOf, type SourceEntry } from "../source/entry.ts";
import { readFileList } from "../source/file-list.ts";
import { Filter } from "../source/filter.ts";
import type { FilterRule } from "../source/filter-rules.ts";
import { openInput } from "../source/input.ts";
import { FileItem } from "../source/item.ts";
import { ListFeed } from "../source/list-feed.ts";
import { listed } from "../source/listed.ts";
import { PipeItem } from "../source/pipe-item.ts";
import { smallBytesMax } from "../source/small-entries.ts";
import { sourceError } from "../source/source-error.ts";
import { assertSendable, joinNames, nameTopLevel, ownNameOf } from "../source/top-level.ts";
import { smallItem, type TreeOptions, treeEntries } from "../source/tree-entries.ts";
import type { SendOptions } from "./types.ts";

export interface Plan {
  readonly feed: EntryFeed;
  /** By which the server knows what earlier runs left. */
  readonly keys: readonly Uint8Array[];
  /** Where all is known beforehand; `bytes` are null where a size isn't. */
  readonly totals: { readonly files: number; readonly bytes: number | null } | undefined;
}

export interface PlanOptions {
  readonly paths: readonly string[];
  /** A list of more paths: a file, or `-` for standard input. */
  readonly filesFrom?: string | undefined;
  readonly into?: string | undefined;
  readonly name?: string | undefined;
  readonly chunkBytes: number;
  readonly checksum?: boolean | undefined;
  readonly verify?: "crc" | "full" | undefined;
  readonly copyLinks?: boolean | undefined;
  readonly filter?: readonly FilterRule[] | undefined;
}

/** What `send` is asked for. Throws as `planFiles` and `planInput` do. */
export function planTransfer(options: SendOptions & { readonly chunkBytes: number }): Plan {
  const { input, paths = [], expectBytes, expectCrc32 } = options;
  if (input !== undefined) return planInput(options);
  if (expectBytes !== undefined || expectCrc32 !== undefined) {
    throw new HawserError("E_USAGE", "what is expected is for what is piped in, and files are to be sent");
  }
  return planFiles({ ...options, paths });
}

/** One input that is read once. Throws E_USAGE, E_NAME and what `openInput` throws. */
function planInput(options: SendOptions): Plan {
  const { input = 0, expectBytes, expectCrc32, verify } = options;
  if (verify === "full") {
    throw new HawserError("E_USAGE", "what is piped in is read once, and --verify full reads it again: use --spool");
  }
  const expected = { bytes: expectBytes, crc32: expectCrc32 };
  const name = nameOfInput(options);
  const item = new PipeItem(openInput(input), name, expected, Date.now());
  return {
    feed: { ...feedOf([item]), close: () => item.close() },
    keys: [],
    totals: { files: 1, bytes: expectBytes ?? null },
  };
}

/** At the destination. Throws E_USAGE, E_NAME. */
export function nameOfInput({ paths = [], into, name }: SendOptions): Uint8Array {
  if (name === undefined) throw new HawserError("E_USAGE", "what is piped in needs a name");
  if (paths.length > 0) throw new HawserError("E_USAGE", "what is piped in is sent alone, without files");
  const full = joinNames(Buffer.from(into?.replace(/\/+$/, "") ?? ""), Buffer.from(name));
  assertSendable(full);
  return full;
}

/** No file is so small that it is sent whole. */
const NONE = -1;

/**
 * Looks at each path, and at what is in directories when its turn comes. Throws E_USAGE where what was asked for makes no
 * sense as a whole, E_CONFIG where patterns can't be read.
 */
export function planFiles(options: PlanOptions): Plan {
  const { paths, into, name, filesFrom } = options;
  if (paths.length === 0 && filesFrom === undefined) throw new HawserError("E_USAGE", "no file was named");
  const tree: TreeOptions = {
    filter: new Filter(options.filter ?? []),
    copyLinks: options.copyLinks === true,
    // What is to be verified is read, and read back, in chunks.
    quick: options.checksum !== true && options.verify !== "full",
    smallMax: options.verify === "full" ? NONE : smallBytesMax(options.chunkBytes),
  };
  if (filesFrom !== undefined) return listPlan(filesFrom, into, tree);
  const found = paths.map((path) => lookAt(Buffer.from(path)));
  const tops = nameTopLevel(
    found.map(({ path, stats }) => ({ path, isDirectory: stats?.isDirectory() === true })),
    { into, name },
  );
  const entries = found.map((one, i) => entriesOf(one, tops[i]?.name ?? Buffer.alloc(0), tree));
  return planOf(entries.filter((entry) => entry !== undefined));
}

/** Each path of a list under its whole name, below `into`; the list may be long, and still be written. */
function listPlan(from: string, into: string | undefined, tree: TreeOptions): Plan {
  const below = Buffer.from(into?.replace(/\/+$/, "") ?? "");
  return { feed: new ListFeed(readFileList(from), listed(below, tree)), keys: [], totals: undefined };
}

interface Found {
  readonly path: Buffer;
  readonly stats?: Stats;
  readonly error?: HawserError;
}

function lookAt(path: Buffer): Found {
  try {
    return { path, stats: statSync(path) };
  } catch (thrown) {
    return { path, error: sourceError(path, thrown as NodeJS.ErrnoException) };
  }
}

/** Undefined where it is left out. */
function entriesOf(
  { path, stats, error }: Found,
  name: Buffer,
  tree: TreeOptions,
): SourceEntry | Iterable<SourceEntry> | undefined {
  if (stats === undefined) return failed(name, error ?? new HawserError("E_SOURCE_MISSING", "it is missing"));
  const isDirectory = stats.isDirectory();
  if (tree.filter.excludesNamed(ownNameOf(path), isDirectory)) return undefined;
  return isDirectory ? treeEntries(path, name, tree) : fileEntry(path, name, stats, tree.smallMax);
}

function fileEntry(path: Buffer, name: Buffer, stats: Stats, smallMax: number): SourceEntry {
  try {
    assertSendable(name);
    if (!stats.isFile())
      throw new HawserError("E_SOURCE_SPECIAL", `'${displayName(path)}' is a socket, a FIFO or a device`);
    return stats.size <= smallMax
      ? smallItem(byteTextOf(path), byteTextOf(name), stats, false)
      : new FileItem(path, name);
  } catch (thrown) {
    return failed(name, asHawserError(thrown));
  }
}

function failed(name: Uint8Array, error: HawserError): SourceEntry {
  return { kind: "failed", name, failure: error.toFailure() };
}

function planOf(named: readonly (SourceEntry | Iterable<SourceEntry>)[]): Plan {
  const keys: Uint8Array[] = [];
  let totals: { files: number; bytes: number } | undefined = { files: 0, bytes: 0 };
  for (const entry of named) {
    if (Symbol.iterator in entry) totals = undefined;
    else if (entry.kind !== "failed" && entry.kind !== "skipped") {
      if (totals !== undefined) totals = { files: totals.files + 1, bytes: totals.bytes + (entry.size ?? 0) };
      if (entry.kind === undefined && entry.key !== undefined && keys.length < RESUME_KEYS_MAX) keys.push(entry.key);
    }
  }
  return { feed: feedOf(named), keys, totals };
}
