/**
 * Directories held open for as long as many names below one root are looked at or made, so that each is opened once and
 * not for every name in it. For one batch: what a directory is called may change between two.
 */
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { type HeldDirectory, splitName } from "./held-directory.ts";

/** What says that a process, or the system, has no more descriptors. */
const TOO_MANY = new Set(["EMFILE", "ENFILE"]);

/** Descriptors that a batch holds at most. */
const HELD_MAX = 64;

export class DirectoryCache {
  readonly #root: HeldDirectory;
  readonly #held = new Map<string, HeldDirectory | undefined>();
  /** Directories that got a new entry, by path. */
  readonly changed = new Map<string, Uint8Array>();
  /** What was asked for last: neighbours come together. */
  #lastPath: Uint8Array | undefined;
  #last: HeldDirectory | undefined;
  #lastChanged: Uint8Array | undefined;

  constructor(root: HeldDirectory) {
    this.#root = root;
  }

  /** The directory at `path` (empty: the root); undefined where there is none. Throws E_NOT_DIRECTORY, E_IO. */
  find(path: Uint8Array): HeldDirectory | undefined {
    if (path.length === 0) return this.#root;
    if (this.#lastPath !== undefined && isSame(this.#lastPath, path)) return this.#last;
    const key = keyOf(path);
    if (this.#held.has(key)) return this.#remember(path, this.#held.get(key));
    const [parent, last] = splitName(path);
    const above = this.find(parent);
    return this.#keep(key, above && this.#child(above, last));
  }

  /** Held directories give way where there are too few descriptors. */
  #child(directory: HeldDirectory, name: Uint8Array): HeldDirectory | undefined {
    try {
      return directory.child(name);
    } catch (thrown) {
      const { code } = ((thrown as Error).cause ?? {}) as NodeJS.ErrnoException;
      if (!TOO_MANY.has(code ?? "")) throw thrown;
    }
    // What was asked for last is closed as well, and its number may be another's before long.
    this.#lastPath = undefined;
    for (const [key, held] of this.#held) {
      if (held === directory) continue;
      this.#held.delete(key);
      held?.close();
    }
    return directory.child(name);
  }

  /** The same; made, with what leads to it, where it is missing. */
  make(path: Uint8Array): HeldDirectory {
    const there = this.find(path);
    if (there !== undefined) return there;
    const [parent, last] = splitName(path);
    const held = this.make(parent);
    held.makeNow(last);
    const made = this.#child(held, last);
    if (made === undefined) throw new HawserError("E_IO", `the directory '${displayName(path)}' was taken away`);
    this.changed.set(keyOf(parent), parent);
    return this.#keep(keyOf(path), made) as HeldDirectory;
  }

  /** Something was made in it. */
  noteChange(path: Uint8Array): void {
    if (this.#lastChanged !== undefined && isSame(this.#lastChanged, path)) return;
    this.#lastChanged = path;
    const key = keyOf(path);
    if (!this.changed.has(key)) this.changed.set(key, path);
  }

  close(): void {
    for (const directory of this.#held.values()) directory?.close();
    this.#held.clear();
    this.#lastPath = undefined;
  }

  #keep(key: string, directory: HeldDirectory | undefined): HeldDirectory | undefined {
    if (this.#held.size >= HELD_MAX) this.#closeOldest();
    this.#held.set(key, directory);
    this.#lastPath = undefined;
    return directory;
  }

  #remember(path: Uint8Array, directory: HeldDirectory | undefined): HeldDirectory | undefined {
    this.#lastPath = path;
    this.#last = directory;
    return directory;
  }

  #closeOldest(): void {
    for (const [key, directory] of this.#held) {
      this.#held.delete(key);
      directory?.close();
      return;
    }
  }
}

const isSame = (a: Uint8Array, b: Uint8Array) => a.length === b.length && Buffer.compare(a, b) === 0;

const keyOf = (path: Uint8Array) => Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
