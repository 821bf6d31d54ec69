/**
 * Directories, links and small files on the disk, many at once: looked at and made with directories held for a batch, and
 * synced together. A small file goes the way of every part: written in staging, synced, linked to its name.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  openSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { alreadyThere, appeared, nextName } from "./clobber.ts";
import { DirectoryCache } from "./directory-cache.ts";
import { modeOf, timeOf } from "./disk-attributes.ts";
import { existingIn } from "./disk-existing.ts";
import { syncFile } from "./durable.ts";
import { type HeldDirectory, splitName } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import { O_NOFOLLOW } from "./platform.ts";
import type {
  Committed,
  Durability,
  EntrySpec,
  ExistingFile,
  PartSpec,
  StagedFile,
  StagedOutcome,
  TreeSink,
} from "./sink.ts";
import { canSyncFileSystems, isInMemory, syncFileSystem } from "./sync-file-system.ts";

export interface DiskTreeHome {
  readonly durability: Durability;
  readonly root: HeldDirectory;
  readonly staging: HeldDirectory;
  readonly hasHardLinks: boolean;
  readonly fileBytesMax: number;
  /** Throws E_NO_SPACE where so many bytes more are not to be had. */
  assertSpace(bytes: number): void;
  /** The name of a part in staging. */
  stagingNameOf(id: string): string;
}

const SPACE_CHECK_BYTES = 4 * 1024 * 1024;

/** From so many on one sync of the whole file system is cheaper than one of each. */
const SYNC_ALL_FROM = 4;

export class DiskTree implements TreeSink {
  readonly stages: boolean;
  readonly #home: DiskTreeHome;
  readonly #syncs: boolean;
  /** Of paths in staging: they are plain text, and joined three times for every file. */
  readonly #stagingPrefix: string;
  #canSyncAll = canSyncFileSystems();
  #links = 0;
  /** Of the free space that was seen, what is not used yet. */
  #spaceSeenBytes = 0;

  constructor(home: DiskTreeHome) {
    this.#home = home;
    this.#stagingPrefix = home.staging.entry(Buffer.alloc(0)).toString("utf8");
    this.#syncs = home.durability !== "none" && !isInMemory(home.root.entry(Buffer.from(".")));
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

  stage(spec: PartSpec, content: Uint8Array): StagedFile {
    const { fileBytesMax } = this.#home;
    if (content.length > fileBytesMax) {
      throw new HawserError("E_TOO_LARGE", `the server takes files of ${fileBytesMax} bytes at most`);
    }
    this.#assertSpace(content.length);
    const path = this.#pathOf(spec);
    const mode = modeOf(spec);
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW, mode);
      for (let at = 0; at < content.length; ) at += writeSync(fd, content, at, content.length - at, at);
      if (spec.exactMode === true) fchmodSync(fd, mode);
      const time = timeOf(spec.mtime);
      futimesSync(fd, time, time);
      return { spec, size: content.length };
    } catch (thrown) {
      if (fd !== undefined) tryTo(() => unlinkSync(path));
      throw ioError(`writing '${displayName(spec.name)}'`, thrown);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
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

  async commitStaged(files: readonly StagedFile[]): Promise<StagedOutcome[]> {
    const failed = await this.#syncStaged(files);
    for (const file of failed.keys()) this.#drop(file);
    const published = await this.#publishAll(failed.size === 0 ? files : files.filter((file) => !failed.has(file)));
    let next = 0;
    return files.map((file) => failed.get(file) ?? (published[next++] as StagedOutcome));
  }

  async makeDirectory(spec: EntrySpec): Promise<void> {
    const cache = new DirectoryCache(this.#home.root);
    try {
      // Something else that has the name is said to be there: E_NOT_DIRECTORY.
      const directory = cache.make(spec.name);
      directory.setAttributes(modeOf(spec), timeOf(spec.mtime));
      if (!this.#syncs) return;
      await directory.sync();
      await this.#syncChanged(cache);
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
      if (this.#syncs && made !== "unchanged") await this.#syncChanged(cache);
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
      if (there?.target !== undefined && Buffer.compare(there.target, target) === 0) return "unchanged";
      if (there !== undefined && spec.clobber === "rename") continue;
      if (there !== undefined && (spec.clobber !== "replace" || there.isDirectory)) throw alreadyThere(name, there);
      this.#makeLinkAt(final, target, timeOf(spec.mtime), there !== undefined);
      cache.noteChange(path);
      return { ...(nth === 0 ? {} : { name }), ...(there === undefined ? {} : { replaced: true }) };
    }
  }

  /** Made in staging and moved where something gives way; else in place, which is one call and never replaces. */
  #makeLinkAt(final: Buffer, target: Uint8Array, time: number | Date, replaces: boolean): void {
    const place = replaces ? this.#home.staging.entry(Buffer.from(`link-${process.pid}-${this.#links++}`)) : final;
    symlinkSync(target as Buffer, place);
    tryTo(() => lutimesSync(place, time, time));
    if (!replaces) return;
    try {
      renameSync(place, final);
    } catch (thrown) {
      tryTo(() => unlinkSync(place));
      throw thrown;
    }
  }

  #drop({ spec }: StagedFile): void {
    tryTo(() => unlinkSync(this.#pathOf(spec)));
  }

  #pathOf({ id }: PartSpec): string {
    return this.#stagingPrefix + this.#home.stagingNameOf(id);
  }

  #with<T>(use: (cache: DirectoryCache) => T): T {
    const cache = new DirectoryCache(this.#home.root);
    try {
      return use(cache);
    } finally {
      cache.close();
    }
  }

  // --- syncing ----------------------------------------------------------------------------------------------------

  /** Returns those that could not be synced. */
  async #syncStaged(files: readonly StagedFile[]): Promise<Map<StagedFile, HawserError>> {
    const failed = new Map<StagedFile, HawserError>();
    if (!this.#syncs) return failed;
    try {
      if (files.length >= SYNC_ALL_FROM && (await this.#syncAll())) return failed;
    } catch (thrown) {
      // Nobody can say of which file that is true.
      return new Map(files.map((file) => [file, asHawserError(thrown)]));
    }
    for (const file of files) {
      try {
        await this.#syncOne(file);
      } catch (thrown) {
        failed.set(file, ioError(`syncing '${displayName(file.spec.name)}'`, thrown));
      }
    }
    return failed;
  }

  async #syncOne({ spec }: StagedFile): Promise<void> {
    const fd = openToSync(this.#pathOf(spec), modeOf(spec));
    try {
      await syncFile(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Directories that got new entries, and staging if it lost some. */
  async #syncChanged(cache: DirectoryCache, staging?: HeldDirectory): Promise<void> {
    // While the disk is waited for, others need descriptors.
    cache.close();
    if (cache.changed.size >= SYNC_ALL_FROM && (await this.#syncAll())) return;
    for (const path of cache.changed.values()) await cache.find(path)?.sync();
    // By now the files have their names for good.
    await staging?.sync().catch(() => {});
  }

  async #syncAll(): Promise<boolean> {
    const { fd } = this.#home.root;
    if (fd === undefined || !this.#canSyncAll) return false;
    this.#canSyncAll = await syncFileSystem(fd);
    return this.#canSyncAll;
  }

  // --- committing -------------------------------------------------------------------------------------------------

  async #publishAll(files: readonly StagedFile[]): Promise<StagedOutcome[]> {
    const cache = new DirectoryCache(this.#home.root);
    try {
      const outcomes = files.map((file) => {
        try {
          return this.#publish(cache, file);
        } catch (thrown) {
          return ioError(`committing '${displayName(file.spec.name)}'`, thrown);
        }
      });
      // Before the names are synced: one in staging that came back after a power cut would only be one too many.
      for (const [i, file] of files.entries()) if (!wasMoved(file, outcomes[i])) this.#drop(file);
      try {
        if (this.#syncs) await this.#syncChanged(cache, this.#home.staging);
        return outcomes;
      } catch (thrown) {
        // Names that may not last are taken back: whoever hears that the commit failed must not find the files.
        for (const [i, { spec }] of files.entries()) takeBack(cache, spec, outcomes[i]);
        return files.map(() => asHawserError(thrown));
      }
    } finally {
      cache.close();
    }
  }

  #publish(cache: DirectoryCache, { spec }: StagedFile): StagedOutcome {
    const part = this.#pathOf(spec);
    for (let nth = 0; ; nth++) {
      const name = nth === 0 ? spec.name : nextName(spec.name, nth);
      const [path, last] = splitName(name);
      const final = cache.make(path).entry(last);
      cache.noteChange(path);
      if (spec.clobber === "replace") {
        const replaced = lstatSync(final, { throwIfNoEntry: false }) !== undefined;
        renameSync(part, final);
        return replaced ? { replaced } : {};
      }
      try {
        linkSync(part, final);
        return nth === 0 ? {} : { name };
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
        if (holdsSame(part, final)) return "unchanged";
        if (spec.clobber !== "rename") return appeared(name);
      }
    }
  }
}

/** Whether it left staging for its name, and did not only get another. */
function wasMoved({ spec }: StagedFile, outcome: StagedOutcome | undefined): boolean {
  return spec.clobber === "replace" && !(outcome instanceof HawserError);
}

function takeBack(cache: DirectoryCache, { name }: PartSpec, outcome: StagedOutcome | undefined): void {
  if (outcome === undefined || outcome === "unchanged" || outcome instanceof HawserError || outcome.replaced) return;
  const [path, last] = splitName(outcome.name ?? name);
  tryTo(() => {
    const directory = cache.find(path);
    if (directory !== undefined) unlinkSync(directory.entry(last));
  });
}

/** A part that its own mode may keep us from opening. */
function openToSync(path: string, mode: number): number {
  const flags = constants.O_RDONLY | O_NOFOLLOW;
  try {
    return openSync(path, flags);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EACCES") throw thrown;
  }
  chmodSync(path, 0o600);
  const fd = openSync(path, flags);
  fchmodSync(fd, mode);
  return fd;
}

/** Whether both are regular files with the same content. Small ones: they are read at once. */
function holdsSame(part: string, final: Buffer): boolean {
  const [ours, theirs] = [lstatSync(part), lstatSync(final, { throwIfNoEntry: false })];
  if (!theirs?.isFile() || theirs.size !== ours.size) return false;
  try {
    return Buffer.compare(readFileSync(part), readFileSync(final)) === 0;
  } catch {
    // What can't be read can't be said to be the same.
    return false;
  }
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // Not there, or not to be had: either way there is nothing more to be done.
  }
}
