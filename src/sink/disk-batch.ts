/**
 * Small files on the disk that are committed together. Each goes the way of every part: written in staging, synced, and
 * given its name by a link, which never replaces what is there; or all of a new directory by giving that its name.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  futimesSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { appeared, nextName, oneName } from "./clobber.ts";
import { DirectoryCache } from "./directory-cache.ts";
import { modeOf, timeOf } from "./disk-attributes.ts";
import type { DiskTreeHome } from "./disk-tree.ts";
import { syncFile } from "./durable.ts";
import { FreshDirectories, type FreshDirectory } from "./fresh-directories.ts";
import { splitName } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import { O_NOFOLLOW } from "./platform.ts";
import type { Batch, PartSpec, StagedOutcome } from "./sink.ts";
import type { TreeSyncing } from "./tree-syncing.ts";

interface Staged {
  readonly spec: PartSpec;
  /** The new directory that its part lies in. */
  readonly fresh: FreshDirectory | undefined;
}

export class DiskBatch implements Batch {
  readonly #home: DiskTreeHome;
  readonly #syncing: TreeSyncing;
  readonly #assertSpace: (bytes: number) => void;
  readonly #fresh: FreshDirectories;
  readonly #files: Staged[] = [];

  constructor(home: DiskTreeHome, syncing: TreeSyncing, assertSpace: (bytes: number) => void) {
    this.#home = home;
    this.#syncing = syncing;
    this.#assertSpace = assertSpace;
    this.#fresh = new FreshDirectories(home.root, home.staging);
  }

  stage(spec: PartSpec, content: Uint8Array): void {
    const { fileBytesMax } = this.#home;
    if (content.length > fileBytesMax) {
      throw new HawserError("E_TOO_LARGE", `the server takes files of ${fileBytesMax} bytes at most`);
    }
    this.#assertSpace(content.length);
    const [directory, last] = splitName(spec.name);
    const fresh = this.#fresh.at(directory, spec.id);
    if (fresh !== undefined && write(this.#fresh.entry(fresh, last), spec, content)) {
      this.#files.push({ spec, fresh });
      return;
    }
    // Or it is the second of one name in a new directory.
    const file = { spec, fresh: undefined };
    if (!write(this.#pathOf(file), spec, content)) {
      throw new HawserError("E_IO", "a part is there that has the id of another");
    }
    this.#files.push(file);
  }

  async commit(): Promise<StagedOutcome[]> {
    const failed = await this.#syncStaged();
    for (const file of failed.keys()) this.#drop(file);
    const files = failed.size === 0 ? this.#files : this.#files.filter((file) => !failed.has(file));
    const published = await this.#publishAll(files);
    let next = 0;
    return this.#files.map((file) => failed.get(file) ?? (published[next++] as StagedOutcome));
  }

  /** Returns those that could not be synced. */
  async #syncStaged(): Promise<Map<Staged, HawserError>> {
    const failed = new Map<Staged, HawserError>();
    if (!this.#syncing.isOn) return failed;
    try {
      if (await this.#syncing.syncAllFor(this.#files.length)) return failed;
    } catch (thrown) {
      // Nobody can say of which file that is true.
      return new Map(this.#files.map((file) => [file, asHawserError(thrown)]));
    }
    for (const file of this.#files) {
      try {
        await syncOne(this.#pathOf(file), file.spec);
      } catch (thrown) {
        failed.set(file, ioError(`syncing '${displayName(file.spec.name)}'`, thrown));
      }
    }
    return failed;
  }

  async #publishAll(files: readonly Staged[]): Promise<StagedOutcome[]> {
    const cache = new DirectoryCache(this.#home.root);
    try {
      const filled = new Set(files.flatMap(({ fresh }) => fresh ?? []));
      const moved = this.#fresh.move(filled, cache);
      const isThere = ({ fresh }: Staged) => fresh !== undefined && moved.has(fresh);
      const outcomes = files.map((file) => {
        try {
          return isThere(file) ? COMMITTED : publish(cache, file.spec, this.#pathOf(file));
        } catch (thrown) {
          return ioError(`committing '${displayName(file.spec.name)}'`, thrown);
        }
      });
      // Before the names are synced: one in staging that came back after a power cut would only be one too many.
      for (const [i, file] of files.entries()) if (!isThere(file) && !wasRenamed(file, outcomes[i])) this.#drop(file);
      this.#fresh.close(moved);
      try {
        if (this.#syncing.isOn) await this.#syncing.syncChanged(cache, this.#home.staging);
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

  /** Where a part lies. Throws E_IO. */
  #pathOf({ spec, fresh }: Staged): string | Buffer {
    return fresh === undefined
      ? this.#home.stagingPrefix + this.#home.stagingNameOf(spec.id)
      : this.#fresh.entry(fresh, splitName(spec.name)[1]);
  }

  #drop(file: Staged): void {
    tryTo(() => unlinkSync(this.#pathOf(file)));
  }
}

/** Under its own name, where nothing was. */
const COMMITTED: StagedOutcome = {};

/** Writes a part, closed and with its time. Returns false, with nothing done, where something has that path. Throws E_IO. */
function write(path: string | Buffer, spec: PartSpec, content: Uint8Array): boolean {
  const mode = modeOf(spec);
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW, mode);
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at, content.length - at, at);
    if (spec.exactMode === true) fchmodSync(fd, mode);
    const time = timeOf(spec.mtime);
    futimesSync(fd, time, time);
    return true;
  } catch (thrown) {
    if (fd === undefined && (thrown as NodeJS.ErrnoException).code === "EEXIST") return false;
    if (fd !== undefined) tryTo(() => unlinkSync(path));
    throw ioError(`writing '${displayName(spec.name)}'`, thrown);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

async function syncOne(path: string | Buffer, spec: PartSpec): Promise<void> {
  const fd = openToSync(path, modeOf(spec));
  try {
    await syncFile(fd);
  } finally {
    closeSync(fd);
  }
}

/** Gives a part its name. Throws what the system says. */
function publish(cache: DirectoryCache, spec: PartSpec, part: string | Buffer): StagedOutcome {
  for (let nth = 0; ; nth++) {
    const name = nth === 0 ? spec.name : nextName(spec.name, nth);
    const [path, last] = splitName(name);
    const directory = cache.make(path);
    const final = directory.entry(last);
    cache.noteChange(path);
    if (spec.clobber === "replace") {
      const replaced = lstatSync(final, { throwIfNoEntry: false }) !== undefined;
      const own = replaced ? directory.ownNameOf(last) : undefined;
      if (own !== undefined) return oneName(name, own);
      renameSync(part, final);
      return replaced ? { replaced } : {};
    }
    try {
      linkSync(part, final);
      return nth === 0 ? {} : { name };
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
      const own = directory.ownNameOf(last);
      // Whether one beside it is the same was found out before it was sent, as far as that goes.
      if (nth === 0 && own === undefined && holdsSame(part, final)) return "unchanged";
      if (spec.clobber !== "rename") return own === undefined ? appeared(name) : oneName(name, own);
    }
  }
}

/** Whether its part was given its name, and not another one besides. */
function wasRenamed({ spec }: Staged, outcome: StagedOutcome | undefined): boolean {
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
function openToSync(path: string | Buffer, mode: number): number {
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
function holdsSame(part: string | Buffer, final: Buffer): boolean {
  try {
    const ours = contentOf(part, Number.POSITIVE_INFINITY);
    const theirs = ours && contentOf(final, ours.length);
    return ours !== undefined && theirs !== undefined && Buffer.compare(ours, theirs) === 0;
  } catch {
    // What can't be read can't be said to be the same.
    return false;
  }
}

/** O_NONBLOCK: a FIFO that has taken the file's place must not make us wait. */
const READ_ONLY = constants.O_RDONLY | O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * What a regular file holds; undefined for anything else, and for one of another size where that is given. Looked at when
 * it is open: under its name something else may lie by then.
 */
function contentOf(path: string | Buffer, size: number): Buffer | undefined {
  const fd = openSync(path, READ_ONLY);
  try {
    const found = fstatSync(fd);
    if (!found.isFile() || (size !== Number.POSITIVE_INFINITY && found.size !== size)) return undefined;
    const content = Buffer.allocUnsafe(found.size);
    let count = 0;
    while (count < content.length) {
      const read = readSync(fd, content, count, content.length - count, count);
      if (read === 0) break;
      count += read;
    }
    return content.subarray(0, count);
  } finally {
    closeSync(fd);
  }
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // Not there, or not to be had: either way there is nothing more to be done.
  }
}
