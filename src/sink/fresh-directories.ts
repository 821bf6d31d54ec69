/**
 * Directories that are not there yet, made in staging for a batch of small files, and given their names with all that is
 * in them: one rename for each directory, in place of a link and an unlink for each file. Nothing is ever replaced by
 * that, since a directory gives way to another only while it is empty (rename(2)); where something is there by then, the
 * files go the way of all parts.
 */
import { lstatSync, renameSync, rmdirSync } from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { DirectoryCache } from "./directory-cache.ts";
import { type HeldDirectory, splitName } from "./held-directory.ts";

export interface FreshDirectory {
  /** What it will be called, below the root. */
  readonly path: Uint8Array;
  /** What it is called in staging. */
  readonly name: Buffer;
}

export class FreshDirectories {
  readonly #root: HeldDirectory;
  readonly #staging: HeldDirectory;
  /** By path; undefined for those that are there. */
  readonly #known = new Map<string, FreshDirectory | undefined>();
  /** What was asked for last: neighbours come together. */
  #lastPath: Uint8Array | undefined;
  #last: FreshDirectory | undefined;
  /** The one that is held: one descriptor is enough for neighbours, and a batch may have very many directories. */
  #held: { readonly fresh: FreshDirectory; readonly directory: HeldDirectory } | undefined;

  constructor(root: HeldDirectory, staging: HeldDirectory) {
    this.#root = root;
    this.#staging = staging;
  }

  /** Where files of the directory at `path` are staged; undefined where it is there. `id` is unique in staging. */
  at(path: Uint8Array, id: string): FreshDirectory | undefined {
    if (this.#lastPath !== undefined && Buffer.compare(this.#lastPath, path) === 0) return this.#last;
    const key = Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
    if (!this.#known.has(key)) this.#known.set(key, this.#make(path, id));
    this.#lastPath = path;
    this.#last = this.#known.get(key);
    return this.#last;
  }

  /** The path of an entry of one. Throws E_IO. */
  entry(fresh: FreshDirectory, name: Uint8Array): Buffer {
    if (this.#held?.fresh === fresh) return this.#held.directory.entry(name);
    this.#letGo();
    const directory = this.#staging.child(fresh.name);
    if (directory === undefined) throw new HawserError("E_IO", `'${displayName(fresh.name)}' was taken out of staging`);
    this.#held = { fresh, directory };
    return directory.entry(name);
  }

  /** Gives those that have something in them their names. Returns the ones that have them. */
  move(filled: ReadonlySet<FreshDirectory>, cache: DirectoryCache): Set<FreshDirectory> {
    const moved = new Set<FreshDirectory>();
    // What leads to another comes first: made for the other, it would be in its own way, and all its files linked.
    for (const fresh of [...filled].sort((a, b) => a.path.length - b.path.length)) {
      const [parent, last] = splitName(fresh.path);
      try {
        const above = cache.make(parent);
        // One that is empty would give way, and whoever holds it to put a large file there would hold what is gone.
        if (lstatSync(above.entry(last), { throwIfNoEntry: false }) !== undefined) continue;
        renameSync(this.#staging.entry(fresh.name), above.entry(last));
      } catch {
        // Something is there by now, or in the way: each of its files will say what.
        continue;
      }
      cache.noteChange(parent);
      cache.noteChange(fresh.path);
      moved.add(fresh);
    }
    return moved;
  }

  /** Lets go of all, and drops what did not get its name. */
  close(moved: ReadonlySet<FreshDirectory>): void {
    this.#letGo();
    for (const fresh of this.#known.values()) {
      if (fresh === undefined || moved.has(fresh)) continue;
      try {
        rmdirSync(this.#staging.entry(fresh.name));
      } catch {
        // Something is left in it: the next start drops both.
      }
    }
  }

  #letGo(): void {
    this.#held?.directory.close();
    this.#held = undefined;
  }

  #make(path: Uint8Array, id: string): FreshDirectory | undefined {
    if (path.length === 0) return undefined;
    const cache = new DirectoryCache(this.#root);
    try {
      if (cache.find(path) !== undefined) return undefined;
      const name = Buffer.from(id);
      this.#staging.makeNow(name);
      return { path, name };
    } catch {
      // Whatever is the matter, the way of all parts finds it again and says it.
      return undefined;
    } finally {
      cache.close();
    }
  }
}
