/**
 * A file that isn't whole yet, in staging, and the steps that make it one. Their order survived power cuts: the data is
 * synced, then linked to its name, then the directory is synced, then the name in staging goes.
 */
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  copyFile,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { promisify } from "node:util";
import { crc32 as crc32Of } from "../protocol/crc32.ts";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { appeared, nextName, oneName } from "./clobber.ts";
import { DirectReader } from "./direct-reader.ts";
import { modeOf, timeOf } from "./disk-attributes.ts";
import { ReadBackError, syncData, syncFile } from "./durable.ts";
import { type HeldDirectory, inDirectoryOf, splitName } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import type { NameLocks } from "./name-locks.ts";
import { O_NOFOLLOW } from "./platform.ts";
import { readFully } from "./read-fully.ts";
import type { Committed, Durability, HeldFile, Part, PartSpec, WriterDescriptor } from "./sink.ts";
import { writeAll } from "./writer.ts";

interface DiskPartHome {
  readonly durability: Durability;
  /** Whether anything is to be synced. */
  readonly syncs: boolean;
  readonly root: HeldDirectory;
  readonly staging: HeldDirectory;
  /** Where there are no hard links. */
  readonly locks: NameLocks | undefined;
  /** Whether files can be cloned here, as far as is known: one word for all parts. */
  readonly clones: { work: boolean };
  /** Takes back what was promised of the free space. */
  release(bytes: number): void;
  /** Throws E_NO_SPACE where less is free than this and what has to stay free. */
  assertSpace(bytes: number): void;
}

const SPACE_CHECK_BYTES = 64 * 1024 * 1024;
/** What st_blocks counts (stat(2)). */
const STAT_BLOCK_BYTES = 512;
const READ_BACK_BYTES = 1024 * 1024;

const copyFileAsync = promisify(copyFile);

/** What FICLONE says where blocks can't be shared (ioctl_ficlonerange(2)). */
const NO_CLONES = new Set(["ENOTSUP", "EOPNOTSUPP", "ENOTTY", "ENOSYS", "EINVAL", "EXDEV"]);

/** What a file keeps when it gets its name: its inode, and when that was made; inodes are used again. */
export const fingerprintOf = ({ dev, ino, birthtimeNs }: BigIntStats) => `${dev}:${ino}:${birthtimeNs}`;

export class DiskPart implements Part {
  readonly #spec: PartSpec;
  readonly #stagingName: Buffer;
  readonly #home: DiskPartHome;
  #fd: number | undefined;
  /** Closed, committed or dropped. */
  #ended = false;
  /** Whether its name in staging outlives a power cut. */
  #nameSynced = false;
  /** Of the free space that was promised, what is not used yet. */
  #promisedBytes: number;
  #unpromisedBytes = 0;
  /** How many of these there may be until it is looked again. */
  #checkSpaceAt = SPACE_CHECK_BYTES;
  /** Reads and syncs under way: the descriptor must not be closed under them. */
  readonly #using = new Set<Promise<unknown>>();

  constructor(spec: PartSpec, promisedBytes: number, stagingName: Buffer, home: DiskPartHome) {
    this.#spec = spec;
    this.#stagingName = stagingName;
    this.#home = home;
    this.#promisedBytes = promisedBytes;
  }

  open(): WriterDescriptor {
    return { kind: "file", fd: this.#opened(), shownName: displayName(this.#spec.name) };
  }

  /** Opens what an earlier run left. Returns whether there is something. Throws E_IO. */
  reopen(): boolean {
    try {
      const fd = this.#openLeft();
      this.#fd = fd;
      const found = fstatSync(fd);
      // One that has another name is somebody's file.
      return found.isFile() && found.nlink === 1;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw ioError(`opening the part of '${displayName(this.#spec.name)}'`, thrown);
    }
  }

  #openLeft(): number {
    const flags = O_NOFOLLOW | constants.O_NONBLOCK;
    try {
      return openSync(this.#path, constants.O_RDWR | flags);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EACCES") throw thrown;
    }
    // A commit that did not come about has given it the mode of a file that nobody may write.
    chmodSync(this.#path, 0o600);
    return openSync(this.#path, constants.O_RDWR | flags);
  }

  cloneFrom({ path }: HeldFile): Promise<boolean> {
    if (path === undefined || this.#ended || this.#fd !== undefined || !this.#home.clones.work) {
      return Promise.resolve(false);
    }
    return this.#use(this.#clone(path));
  }

  async #clone(from: string): Promise<boolean> {
    const path = this.#path;
    try {
      await copyFileAsync(from, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    } catch (thrown) {
      // No other file of this file system will be cloned either.
      if (NO_CLONES.has((thrown as NodeJS.ErrnoException).code ?? "")) this.#home.clones.work = false;
      return false;
    }
    try {
      if (this.#ended) unlinkSync(path);
      else {
        this.#fd = this.#openLeft();
        fchmodSync(this.#fd, 0o600);
      }
      return !this.#ended;
    } catch (thrown) {
      throw ioError(`cloning for '${displayName(this.#spec.name)}'`, thrown);
    }
  }

  write(offset: number, bytes: Uint8Array): void {
    writeAll(this.#opened(), offset, bytes, displayName(this.#spec.name));
    this.written(bytes.length);
  }

  written(bytes: number): void {
    const used = Math.min(bytes, this.#promisedBytes);
    this.#promisedBytes -= used;
    this.#home.release(used);
    // Of a file whose size isn't known nothing could be promised: now and then it is seen what is left.
    this.#unpromisedBytes += bytes - used;
    if (this.#unpromisedBytes < this.#checkSpaceAt) return;
    this.#checkSpaceAt = this.#unpromisedBytes + SPACE_CHECK_BYTES;
    this.#home.assertSpace(Math.max(0, this.#unpromisedBytes - this.#bytesOnDisk));
  }

  /** Holes need room like anything else, as they do in a file of known size: so what is known of chunks has an end as well. */
  get #bytesOnDisk(): number {
    return this.#fd === undefined ? 0 : fstatSync(this.#fd).blocks * STAT_BLOCK_BYTES;
  }

  async read(offset: number, room: Uint8Array): Promise<number> {
    const count = await this.#use(this.#read(this.#opened(), offset, room));
    // The commit gives the file its size: what was not written behind the last byte that was is a hole like others.
    const end = Math.max(count, Math.min(room.length, (this.#spec.size ?? 0) - offset));
    room.fill(0, count, end);
    return end;
  }

  async sync(): Promise<void> {
    if (this.#ended || this.#fd === undefined || !this.#syncs) return;
    await this.#use(syncData(this.#fd));
    if (this.#nameSynced) return;
    await this.#home.staging.sync();
    this.#nameSynced = true;
  }

  get fingerprint(): string {
    return fingerprintOf(fstatSync(this.#opened(), { bigint: true }));
  }

  async commit(size: number, crc32: number): Promise<Committed> {
    const { name, mtime } = this.#spec;
    let committed: Committed = {};
    try {
      const fd = this.#opened();
      ftruncateSync(fd, size);
      fchmodSync(fd, modeOf(this.#spec));
      const time = timeOf(mtime);
      futimesSync(fd, time, time);
      if (this.#syncs) await this.#use(syncFile(fd));
      if (this.#home.durability === "strict") await this.#use(this.#readBack(fd, size, crc32));
      await inDirectoryOf(this.#home.root, name, this.#syncs ? "durably" : "yes", async (directory, last) => {
        committed = await this.#publish(directory, last);
      });
    } catch (thrown) {
      throw ioError(`committing '${displayName(name)}'`, thrown);
    }
    await this.abort();
    // The file has its name for good: a name in staging that came back after a power cut would only be one too many.
    if (this.#syncs) await this.#home.staging.sync().catch(() => {});
    return committed;
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#home.release(this.#promisedBytes);
    this.#promisedBytes = 0;
    await Promise.allSettled(this.#using);
    if (this.#fd !== undefined) closeSync(this.#fd);
    // The system gives the number to the next file that is opened.
    this.#fd = undefined;
  }

  async abort(): Promise<void> {
    const wasThere = this.#fd !== undefined;
    await this.close();
    if (!wasThere) return;
    try {
      unlinkSync(this.#path);
    } catch {
      // Renamed into place, or taken away by somebody else: either way it is not there.
    }
  }

  get #syncs(): boolean {
    return this.#home.syncs;
  }
  get #path(): Buffer {
    return this.#home.staging.entry(this.#stagingName);
  }

  async #use<T>(work: Promise<T>): Promise<T> {
    this.#using.add(work);
    try {
      return await work;
    } finally {
      this.#using.delete(work);
    }
  }

  #opened(): number {
    if (this.#ended) throw new HawserError("E_IO", "the part was dropped");
    if (this.#fd !== undefined) return this.#fd;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW;
    try {
      this.#fd = openSync(this.#path, flags, 0o600);
    } catch (thrown) {
      throw ioError(`making a part for '${displayName(this.#spec.name)}'`, thrown);
    }
    return this.#fd;
  }

  #read(fd: number, offset: number, room: Uint8Array): Promise<number> {
    return readFully(fd, offset, room, `the part of '${displayName(this.#spec.name)}'`);
  }

  /** Reads what was synced, from the disk where the platform can, and compares. */
  async #readBack(fd: number, size: number, expected: number): Promise<void> {
    const direct = DirectReader.open(this.#path, READ_BACK_BYTES);
    const room = direct === undefined ? Buffer.allocUnsafeSlow(READ_BACK_BYTES) : undefined;
    let found = 0;
    try {
      for (let at = 0; at < size; ) {
        const bytes = room === undefined ? await direct?.read(at) : room.subarray(0, await this.#read(fd, at, room));
        if (bytes === undefined || bytes.length === 0) break;
        found = crc32Of(bytes, found);
        at += bytes.length;
      }
    } finally {
      await direct?.close();
    }
    if (found !== expected) {
      throw new ReadBackError(
        "E_IO",
        `what the disk holds of '${displayName(this.#spec.name)}' is not what was written`,
      );
    }
  }

  /** Gives the part its name, or one like it where something has that and both are to stay. */
  async #publish(directory: HeldDirectory, last: Uint8Array): Promise<Committed> {
    const { name, clobber = "never" } = this.#spec;
    const { locks } = this.#home;
    if (clobber === "replace") return this.#replace(directory, last);
    for (let nth = 0; ; nth++) {
      const chosen = nth === 0 ? name : nextName(name, nth);
      const final = directory.entry(nth === 0 ? last : splitName(chosen)[1]);
      const isOurs =
        locks === undefined ? this.#link(final) : await locks.hold(name, async () => this.#renameTo(final));
      if (isOurs) {
        await this.#makeNameDurable(directory, () =>
          locks === undefined ? unlinkSync(final) : renameSync(final, this.#path),
        );
        return nth === 0 ? {} : { name: chosen };
      }
      if (clobber === "never") {
        const own = directory.ownNameOf(last);
        throw own === undefined ? appeared(name) : oneName(name, own);
      }
    }
  }

  /** Returns whether the name was free. */
  #link(final: Buffer): boolean {
    try {
      linkSync(this.#path, final);
      return true;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw thrown;
    }
  }
  #renameTo(final: Buffer): boolean {
    if (isThere(final)) return false;
    renameSync(this.#path, final);
    return true;
  }

  /** What has the name gives way, in one step. After a failed sync there is no going back, and either may be there. */
  async #replace(directory: HeldDirectory, last: Uint8Array): Promise<Committed> {
    const final = directory.entry(last);
    const replaced = isThere(final);
    const own = replaced ? directory.ownNameOf(last) : undefined;
    if (own !== undefined) throw oneName(this.#spec.name, own);
    renameSync(this.#path, final);
    if (this.#syncs) await directory.sync();
    return replaced ? { replaced } : {};
  }

  /** A name that may not last is taken back: whoever hears that the commit failed must not find the file. */
  async #makeNameDurable(directory: HeldDirectory, takeBack: () => void): Promise<void> {
    if (!this.#syncs) return;
    try {
      await directory.sync();
    } catch (thrown) {
      takeBack();
      throw thrown;
    }
  }
}

function isThere(path: Buffer): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
