/**
 * The entries of a directory tree, one at a time as they are asked for: everything in a directory comes before the
 * directory itself, so that its times can be set when nothing is written into it any more. Within a directory the order is
 * the system's, or that of their bytes.
 *
 * Memory holds the directories that lead to the present one. A small one is read at once, and its names wait in memory. A
 * large one is read bit by bit, with a handle; below 64 levels, so that handles don't run out, such a directory's files are
 * taken at once and the names of its subdirectories wait in memory.
 */
import type { Stats } from "node:fs";
import { type ByteText, bytesOf, byteTextOf } from "../protocol/byte-text.ts";
import { HawserError } from "../protocol/errors.ts";
import type { Filter } from "./filter.ts";
import { shownPath, sourceError } from "./source-error.ts";
import { type FileKind, kindOf } from "./stats.ts";
import { type DirectoryEntry, type OpenDirectory, TREE_SYSTEM, type TreeSystem } from "./tree-system.ts";

interface Found {
  /** To open it with. */
  readonly path: ByteText;
  /** Below the top, components separated by '/'; empty for the top itself. */
  readonly relative: ByteText;
}

export type TreeEntry =
  | (Found & { readonly kind: "file" | "directory" | "special"; readonly stats: Stats })
  /** `target` is what it says, which need not exist. */
  | (Found & { readonly kind: "symlink"; readonly stats: Stats; readonly target: Buffer })
  /** A directory that can't be opened comes only as this; one that can't be read to its end also as this. */
  | (Found & { readonly kind: "failed"; readonly error: HawserError });

export interface WalkOptions {
  /** What it excludes is not looked at, and not entered. */
  readonly filter?: Filter;
  /** Sends what links lead to in their place. */
  readonly copyLinks?: boolean;
  readonly system?: TreeSystem;
}

/** Directories that are open at the same time, one more for the deepest. Systems still start programs with 1,024 handles. */
const OPEN_DIRECTORIES_MAX = 64;

interface Level extends Found {
  /** The path with the slash that its entries' names follow. */
  readonly prefix: ByteText;
  readonly stats: Stats;
  /** With copyLinks. */
  readonly identity: string | undefined;
  /** undefined when it has been read to its end. */
  open: OpenDirectory | undefined;
  /** Names whose turn comes when it has been, the last one first; undefined where subdirectories are entered as they are found. */
  readonly waiting: ByteText[] | undefined;
}

const SLASH = "/";

/**
 * Walks the directory at `top`, which may be a link to one. Throws nothing: what can't be read is an entry as well, and the
 * walk goes on. Nothing is read before it is asked for; ended early, it closes what it has open.
 */
export function walk(top: Uint8Array | string, options: WalkOptions = {}): IterableIterator<TreeEntry> {
  return new Walker(withoutSlashes(byteTextOf(Buffer.from(top as Uint8Array))), options);
}

/** Written out, since a generator costs more for each entry. */
class Walker implements IterableIterator<TreeEntry> {
  readonly #top: ByteText;
  /** Where in a path the name below the top begins. */
  readonly #relativeAt: number;
  readonly #filter: Filter | undefined;
  readonly #copyLinks: boolean;
  readonly #system: TreeSystem;
  /** The directories that lead to the present one. */
  readonly #levels: Level[] = [];
  #isStarted = false;

  constructor(top: ByteText, { filter, copyLinks = false, system = TREE_SYSTEM }: WalkOptions) {
    this.#top = top;
    this.#relativeAt = prefixOf(top).length;
    this.#filter = filter?.isEmpty ? undefined : filter;
    this.#copyLinks = copyLinks;
    this.#system = system;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<TreeEntry> {
    try {
      for (;;) {
        const entry = this.#isStarted ? this.#step() : this.#start();
        if (entry !== undefined) return { value: entry, done: false };
        if (this.#levels.length === 0) return { value: undefined, done: true };
      }
    } catch (bug) {
      this.return();
      throw bug;
    }
  }

  return(): IteratorResult<TreeEntry> {
    this.#isStarted = true;
    for (const { open } of this.#levels) open?.closeSync();
    this.#levels.length = 0;
    return { value: undefined, done: true };
  }

  #start(): TreeEntry | undefined {
    this.#isStarted = true;
    const top = { path: this.#top, relative: "" };
    try {
      return this.#enter(top, this.#system.stat(this.#top));
    } catch (thrown) {
      return failed(top, thrown);
    }
  }

  /** One step further, which need not bring an entry. */
  #step(): TreeEntry | undefined {
    const level = this.#levels[this.#levels.length - 1];
    if (level === undefined) return undefined;
    if (level.open !== undefined) return this.#read(level, level.open);
    const name = level.waiting?.pop();
    if (name !== undefined) return this.#enterIfDirectory(this.#look(this.#found(level, name)));
    this.#levels.pop();
    return { kind: "directory", path: level.path, relative: level.relative, stats: level.stats };
  }

  #read(level: Level, open: OpenDirectory): TreeEntry | undefined {
    let read: DirectoryEntry | null = null;
    let problem: TreeEntry | undefined;
    try {
      read = open.readSync();
    } catch (thrown) {
      // It is not read on: names may be lost, since Node looks at those whose kind the file system doesn't tell.
      problem = failed(level, thrown);
    }
    if (read === null) {
      level.open = undefined;
      open.closeSync();
      return problem;
    }
    const name = byteTextOf(read.name);
    const found = this.#found(level, name);
    if (this.#excludes(found.relative, read.isDirectory())) return undefined;
    const entry = this.#look(found);
    if (entry === undefined || entry.kind !== "directory") return entry;
    if (level.waiting === undefined) return this.#enterIfDirectory(entry);
    level.waiting.push(name);
    return undefined;
  }

  #found({ prefix }: Level, name: ByteText): Found {
    const path = prefix + name;
    return { path, relative: path.slice(this.#relativeAt) };
  }

  #excludes(relative: ByteText, isDirectory: boolean): boolean {
    return this.#filter?.excludes(bytesOf(relative), isDirectory) ?? false;
  }

  /** undefined for a link that stands for a directory which is left out. */
  #look({ path, relative }: Found): TreeEntry | undefined {
    try {
      const stats = this.#system.lstat(path);
      const kind = kindOf(stats);
      if (kind !== "symlink") return { kind, path, relative, stats };
      if (!this.#copyLinks) return { kind, path, relative, stats, target: this.#system.readlink(path) };
      const followed = this.#follow(path);
      const followedKind = kindOf(followed) as Exclude<FileKind, "symlink">;
      if (followedKind === "directory" && this.#excludes(relative, true)) return undefined;
      return { kind: followedKind, path, relative, stats: followed };
    } catch (thrown) {
      return failed({ path, relative }, thrown);
    }
  }

  /** What a link leads to. */
  #follow(path: ByteText): Stats {
    try {
      return this.#system.stat(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
      const [shown, target] = [shownPath(bytesOf(path)), shownPath(this.#system.readlink(path))];
      const message = `'${shown}' is a link to '${target}', which does not exist`;
      throw new HawserError("E_SOURCE_MISSING", message, { cause });
    }
  }

  #enterIfDirectory(entry: TreeEntry | undefined): TreeEntry | undefined {
    return entry?.kind === "directory" ? this.#enter(entry, entry.stats) : entry;
  }

  /** Returns an entry where that fails. */
  #enter({ path, relative }: Found, stats: Stats): TreeEntry | undefined {
    try {
      const identity = this.#copyLinks ? this.#system.identity(path) : undefined;
      const same = identity === undefined ? undefined : this.#levels.find((level) => level.identity === identity);
      if (same !== undefined) {
        const message = `'${shownPath(bytesOf(path))}' leads back to '${shownPath(bytesOf(same.path))}', in which it lies`;
        throw new HawserError("E_SOURCE_LOOP", message);
      }
      // What a filter leaves out it must not be looked at, and names alone don't tell what is a directory.
      const names = this.#filter === undefined ? this.#system.namesOf(path, stats)?.reverse() : undefined;
      const waiting = this.#levels.length < OPEN_DIRECTORIES_MAX ? names : (names ?? []);
      const open = names === undefined ? this.#system.openDirectory(path) : undefined;
      this.#levels.push({ path, relative, stats, prefix: prefixOf(path), identity, open, waiting });
      return undefined;
    } catch (thrown) {
      return failed({ path, relative }, thrown);
    }
  }
}

function failed({ path, relative }: Found, thrown: unknown): TreeEntry {
  return { kind: "failed", path, relative, error: errorOf(path, thrown) };
}

function errorOf(path: ByteText, thrown: unknown): HawserError {
  if (thrown instanceof HawserError) return thrown;
  const { code } = thrown as NodeJS.ErrnoException;
  // Not the system's, but a bug of ours.
  if (code === undefined) throw thrown;
  if (code === "ENOTDIR" || code === "EINVAL") {
    const message = `'${shownPath(bytesOf(path))}' was something else when it was looked at`;
    return new HawserError("E_SOURCE_CHANGED", message, { cause: thrown });
  }
  return sourceError(bytesOf(path), thrown as NodeJS.ErrnoException);
}

function prefixOf(path: ByteText): ByteText {
  return path.endsWith(SLASH) ? path : path + SLASH;
}

function withoutSlashes(path: ByteText): ByteText {
  let { length } = path;
  while (length > 1 && path[length - 1] === SLASH) length--;
  return path.slice(0, length);
}
