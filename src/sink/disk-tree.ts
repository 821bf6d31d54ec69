/**
 * Directories and links on the disk, and what lies at many names at once: looked at and made with directories held for a
 * batch. Small files have a room of their own (disk-batch.ts).
 */
import { linkSync, lutimesSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { asHawserError, type HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { alreadyThere, nextName, oneName } from "./clobber.ts";
import { DirectoryCache } from "./directory-cache.ts";
import { modeOf, timeOf } from "./disk-attributes.ts";
import { DiskBatch } from "./disk-batch.ts";
import { existingIn } from "./disk-existing.ts";
import { type HeldDirectory, splitName } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import { HOLDS_DIRECTORIES } from "./platform.ts";
import type { Batch, Committed, Durability, EntrySpec, ExistingFile, TreeSink } from "./sink.ts";
import { TreeSyncing } from "./tree-syncing.ts";

export interface DiskTreeHome {
  readonly durability: Durability;
  readonly root: HeldDirectory;
  readonly staging: HeldDirectory;
  /** Of paths in staging: they are plain text, and joined for every file. */
  readonly stagingPrefix: string;
  readonly hasHardLinks: boolean;
  readonly fileBytesMax: number;
  /** Throws E_NO_SPACE where so many bytes more are not to be had. */
  assertSpace(bytes: number): void;
  /** The name of a part in staging. */
  stagingNameOf(id: string): string;
}

const SPACE_CHECK_BYTES = 4 * 1024 * 1024;

/** What link(2) says where a link can't have a second name, or nothing can. */
const NO_SECOND_NAME = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

export class DiskTree implements TreeSink {
  readonly stages: boolean;
  readonly #home: DiskTreeHome;
  readonly #syncing: TreeSyncing;
  #links = 0;
  /** Whether link(2) gives a link itself a second name: on Linux it does, and POSIX leaves open whether it follows it. */
  #linksLinks = HOLDS_DIRECTORIES;
  /** Of the free space that was seen, what is not used yet. */
  #spaceSeenBytes = 0;

  constructor(home: DiskTreeHome) {
    this.#home = home;
    this.#syncing = new TreeSyncing(home.root, home.durability);
    // What is read back is read one by one; and without links nothing answers for many at once.
    this.stages = home.durability !== "strict" && home.hasHardLinks;
  }

  findAll(names: readonly Uint8Array[]): (ExistingFile | HawserError | undefined)[] {
    const { root } = this.#home;
    return this.#with((cache) =>
      names.map((name) => {
        try {
          const [path, last] = splitName(name);
          const directory = cache.find(path);
          return directory && existingIn(root, directory, name, last);
        } catch (thrown) {
          return asHawserError(thrown);
        }
      }),
    );
  }

  batch(): Batch {
    return new DiskBatch(this.#home, this.#syncing, (bytes) => this.#assertSpace(bytes));
  }

  /** Looked at now and then, as long as there is plenty; where there is little, for every file. */
  #assertSpace(bytes: number): void {
    if (bytes > this.#spaceSeenBytes) {
      try {
        this.#home.assertSpace(SPACE_CHECK_BYTES);
        this.#spaceSeenBytes = SPACE_CHECK_BYTES;
      } catch {
        this.#home.assertSpace(bytes);
        this.#spaceSeenBytes = bytes;
      }
    }
    this.#spaceSeenBytes -= bytes;
  }

  async makeDirectory(spec: EntrySpec): Promise<void> {
    const cache = new DirectoryCache(this.#home.root);
    try {
      // Something else that has the name is said to be there: E_NOT_DIRECTORY.
      const directory = cache.make(spec.name);
      directory.setAttributes(modeOf(spec), timeOf(spec.mtime));
      if (!this.#syncing.isOn) return;
      await directory.sync();
      await this.#syncing.syncChanged(cache);
    } catch (thrown) {
      throw ioError(`making the directory '${displayName(spec.name)}'`, thrown);
    } finally {
      cache.close();
    }
  }

  async makeLink(spec: EntrySpec): Promise<Committed | "unchanged"> {
    const cache = new DirectoryCache(this.#home.root);
    try {
      const made = this.#placeLink(cache, spec, spec.target ?? new Uint8Array(0));
      if (this.#syncing.isOn && made !== "unchanged") await this.#syncing.syncChanged(cache);
      return made;
    } catch (thrown) {
      throw ioError(`making the link '${displayName(spec.name)}'`, thrown);
    } finally {
      cache.close();
    }
  }

  #placeLink(cache: DirectoryCache, spec: EntrySpec, target: Uint8Array): Committed | "unchanged" {
    for (let nth = 0; ; nth++) {
      const name = nth === 0 ? spec.name : nextName(spec.name, nth);
      const [path, last] = splitName(name);
      const directory = cache.make(path);
      const final = directory.entry(last);
      const there = existingIn(this.#home.root, directory, name, last);
      if (there?.ownName !== undefined && spec.clobber !== "rename") throw oneName(name, there.ownName);
      if (there?.ownName === undefined && there?.target !== undefined && Buffer.compare(there.target, target) === 0)
        return "unchanged";
      if (there !== undefined && spec.clobber === "rename") continue;
      if (there !== undefined && (spec.clobber !== "replace" || there.isDirectory)) throw alreadyThere(name, there);
      this.#makeLinkAt(final, target, timeOf(spec.mtime), there !== undefined);
      cache.noteChange(path);
      return { ...(nth === 0 ? {} : { name }), ...(there === undefined ? {} : { replaced: true }) };
    }
  }

  /**
   * Made in staging with its time, and then given its name as a file is: by a second name, which never replaces, or by moving it
   * where something gives way. In place where a link can't have two names.
   */
  #makeLinkAt(final: Buffer, target: Uint8Array, time: number | Date, replaces: boolean): void {
    if (!replaces && !this.#linksLinks) {
      makeDatedLink(final, target, time);
      return;
    }
    const staged = this.#home.staging.entry(Buffer.from(`link-${process.pid}-${this.#links++}`));
    makeDatedLink(staged, target, time);
    try {
      if (replaces) {
        renameSync(staged, final);
        return;
      }
      linkSync(staged, final);
    } catch (thrown) {
      tryTo(() => unlinkSync(staged));
      if (replaces || !NO_SECOND_NAME.has((thrown as NodeJS.ErrnoException).code ?? "")) throw thrown;
      this.#linksLinks = false;
      makeDatedLink(final, target, time);
      return;
    }
    tryTo(() => unlinkSync(staged));
  }

  #with<T>(use: (cache: DirectoryCache) => T): T {
    const cache = new DirectoryCache(this.#home.root);
    try {
      return use(cache);
    } finally {
      cache.close();
    }
  }
}

function makeDatedLink(path: Buffer, target: Uint8Array, time: number | Date): void {
  symlinkSync(target as Buffer, path);
  tryTo(() => lutimesSync(path, time, time));
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // Not there, or not to be had: either way there is nothing more to be done.
  }
}
