/**
 * The entries of a directory tree, one at a time as they are asked for: everything in a directory comes before the
 * directory itself, so that its times can be set when nothing is written into it any more. Within a directory the order is
 * the system's.
 *
 * Memory holds the directories that lead to the present one, with one handle each; below 64 levels, so that handles don't
 * run out, a directory's files are taken at once and the names of its subdirectories wait in memory.
 */
import type { Stats } from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import type { Filter } from "./filter.ts";
import { shownPath, sourceError } from "./source-error.ts";
import { type FileKind, kindOf } from "./stats.ts";
import { type DirectoryEntry, type OpenDirectory, TREE_SYSTEM, type TreeSystem } from "./tree-system.ts";

interface Found {
  /** To open it with. */
  readonly path: Buffer;
  /** Below the top, components separated by '/'; empty for the top itself. */
  readonly relative: Buffer;
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
  readonly prefix: Buffer;
  readonly stats: Stats;
  /** With copyLinks. */
  readonly identity: string | undefined;
  /** undefined when it has been read to its end. */
  open: OpenDirectory | undefined;
  /** Subdirectories that are entered when it has been; undefined where they are entered as they are found. */
  readonly waiting: Uint8Array[] | undefined;
}

const SLASH = 0x2f;
const EMPTY = Buffer.alloc(0);

/**
 * Walks the directory at `top`, which may be a link to one. Throws nothing: what can't be read is an entry as well, and the
 * walk goes on. Nothing is read before it is asked for; ended early, it closes what it has open.
 */
export function* walk(top: Uint8Array | string, options: WalkOptions = {}): Generator<TreeEntry, void, void> {
  const walker = new Walker(withoutSlashes(Buffer.from(top as Uint8Array)), options);
  try {
    for (let entry = walker.start(); ; entry = walker.step()) {
      if (entry !== undefined) yield entry;
      else if (walker.isDone) return;
    }
  } finally {
    walker.close();
  }
}

class Walker {
  readonly #top: Buffer;
  /** Where in a path the name below the top begins. */
  readonly #relativeAt: number;
  readonly #filter: Filter | undefined;
  readonly #copyLinks: boolean;
  readonly #system: TreeSystem;
  /** The directories that lead to the present one. */
  readonly #levels: Level[] = [];

  constructor(top: Buffer, { filter, copyLinks = false, system = TREE_SYSTEM }: WalkOptions) {
    this.#top = top;
    this.#relativeAt = prefixOf(top).length;
    this.#filter = filter;
    this.#copyLinks = copyLinks;
    this.#system = system;
  }

  get isDone(): boolean {
    return this.#levels.length === 0;
  }

  start(): TreeEntry | undefined {
    const top = { path: this.#top, relative: EMPTY };
    try {
      return this.#enter(top, this.#system.stat(this.#top));
    } catch (thrown) {
      return failed(top, thrown);
    }
  }

  /** One step further, which need not bring an entry. */
  step(): TreeEntry | undefined {
    const level = this.#levels[this.#levels.length - 1];
    if (level === undefined) return undefined;
    if (level.open !== undefined) return this.#read(level, level.open);
    const name = level.waiting?.pop();
    if (name !== undefined) return this.#enterIfDirectory(this.#look(this.#found(level, name)));
    this.#levels.pop();
    return { kind: "directory", path: level.path, relative: level.relative, stats: level.stats };
  }

  close(): void {
    for (const { open } of this.#levels) open?.closeSync();
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
    const found = this.#found(level, read.name);
    if (this.#filter?.excludes(found.relative, read.isDirectory())) return undefined;
    const entry = this.#look(found);
    if (entry === undefined || entry.kind !== "directory") return entry;
    if (level.waiting === undefined) return this.#enterIfDirectory(entry);
    level.waiting.push(read.name);
    return undefined;
  }

  #found({ prefix }: Level, name: Uint8Array): Found {
    const path = Buffer.concat([prefix, name]);
    return { path, relative: path.subarray(this.#relativeAt) };
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
      if (followedKind === "directory" && this.#filter?.excludes(relative, true)) return undefined;
      return { kind: followedKind, path, relative, stats: followed };
    } catch (thrown) {
      return failed({ path, relative }, thrown);
    }
  }

  /** What a link leads to. */
  #follow(path: Buffer): Stats {
    try {
      return this.#system.stat(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
      const [shown, target] = [shownPath(path), shownPath(this.#system.readlink(path))];
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
        const message = `'${shownPath(path)}' leads back to '${shownPath(same.path)}', in which it lies`;
        throw new HawserError("E_SOURCE_LOOP", message);
      }
      const waiting = this.#levels.length < OPEN_DIRECTORIES_MAX ? undefined : [];
      const open = this.#system.openDirectory(path);
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

function errorOf(path: Buffer, thrown: unknown): HawserError {
  if (thrown instanceof HawserError) return thrown;
  const { code } = thrown as NodeJS.ErrnoException;
  // Not the system's, but a bug of ours.
  if (code === undefined) throw thrown;
  if (code === "ENOTDIR" || code === "EINVAL") {
    const message = `'${shownPath(path)}' was something else when it was looked at`;
    return new HawserError("E_SOURCE_CHANGED", message, { cause: thrown });
  }
  return sourceError(path, thrown as NodeJS.ErrnoException);
}

function prefixOf(path: Buffer): Buffer {
  return path[path.length - 1] === SLASH ? path : Buffer.concat([path, Buffer.from([SLASH])]);
}

function withoutSlashes(path: Buffer): Buffer {
  let { length } = path;
  while (length > 1 && path[length - 1] === SLASH) length--;
  return path.subarray(0, length);
}
