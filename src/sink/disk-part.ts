/**
 * A file that isn't whole yet, in staging, and the steps that make it one. Their order survived power cuts: the data is
 * synced, then linked to its name, then the directory is synced, then the name in staging goes.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  futimesSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { syncFile } from "./durable.ts";
import { type HeldDirectory, inDirectoryOf } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import type { NameLocks } from "./name-locks.ts";
import { O_NOFOLLOW } from "./platform.ts";
import type { Part, PartSpec, WriterDescriptor } from "./sink.ts";
import { writeAll } from "./writer.ts";

interface DiskPartHome {
  readonly root: HeldDirectory;
  readonly staging: HeldDirectory;
  /** Where there are no hard links. */
  readonly locks: NameLocks | undefined;
  /** Takes back what was promised of the free space. */
  release(bytes: number): void;
  /** Throws E_NO_SPACE where less is free than has to stay free. */
  assertSpace(): void;
}

const SPACE_CHECK_BYTES = 64 * 1024 * 1024;

const PERMISSION_BITS = 0o777;
const UMASK = process.umask();

export class DiskPart implements Part {
  readonly #spec: PartSpec;
  readonly #stagingName: Buffer;
  readonly #home: DiskPartHome;
  #fd: number | undefined;
  #ended = false;
  /** Of the free space that was promised, what is not used yet. */
  #promisedBytes: number;
  #unpromisedBytes = 0;

  constructor(spec: PartSpec, stagingName: Buffer, home: DiskPartHome) {
    this.#spec = spec;
    this.#stagingName = stagingName;
    this.#home = home;
    this.#promisedBytes = spec.size ?? 0;
  }

  open(): WriterDescriptor {
    return { kind: "file", fd: this.#opened(), shownName: displayName(this.#spec.name) };
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
    if (this.#unpromisedBytes < SPACE_CHECK_BYTES) return;
    this.#unpromisedBytes = 0;
    this.#home.assertSpace();
  }

  async commit(size: number): Promise<void> {
    const { name, mode, mtime } = this.#spec;
    const shown = displayName(name);
    try {
      const fd = this.#opened();
      ftruncateSync(fd, size);
      fchmodSync(fd, mode & PERMISSION_BITS & ~UMASK);
      const time = timeOf(mtime);
      futimesSync(fd, time, time);
      await syncFile(fd);
      await inDirectoryOf(this.#home.root, name, true, (directory, last) => this.#publish(directory, last));
    } catch (thrown) {
      throw ioError(`committing '${shown}'`, thrown);
    } finally {
      await this.abort();
    }
    await this.#home.staging.sync();
  }

  abort(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#ended = true;
    this.#home.release(this.#promisedBytes);
    this.#promisedBytes = 0;
    if (this.#fd !== undefined) {
      closeSync(this.#fd);
      // The system gives the number to the next file that is opened.
      this.#fd = undefined;
      try {
        unlinkSync(this.#home.staging.entry(this.#stagingName));
      } catch {
        // Renamed into place, or taken away by somebody else: either way it is not there.
      }
    }
    return Promise.resolve();
  }

  #opened(): number {
    if (this.#ended) throw new HawserError("E_IO", "the part was dropped");
    if (this.#fd !== undefined) return this.#fd;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW;
    try {
      this.#fd = openSync(this.#home.staging.entry(this.#stagingName), flags, 0o600);
    } catch (thrown) {
      throw ioError(`making a part for '${displayName(this.#spec.name)}'`, thrown);
    }
    return this.#fd;
  }

  /** Gives the part its name, unless something has it. */
  async #publish(directory: HeldDirectory, last: Uint8Array): Promise<void> {
    const part = this.#home.staging.entry(this.#stagingName);
    const final = directory.entry(last);
    const { locks } = this.#home;
    if (locks === undefined) {
      linkNew(part, final, this.#spec.name);
      await directory.sync();
      return;
    }
    await locks.hold(this.#spec.name, async () => {
      if (isThere(final)) throw exists(this.#spec.name);
      renameSync(part, final);
      await directory.sync();
    });
  }
}

/** Seconds, as exactly as a double holds them. Node takes negative ones for 'now', and a Date for what it says. */
function timeOf([seconds, nanoseconds]: PartSpec["mtime"]): number | Date {
  const time = seconds + nanoseconds / 1e9;
  return time >= 0 ? time : new Date(time * 1000);
}

function linkNew(part: Buffer, final: Buffer, name: Uint8Array): void {
  try {
    linkSync(part, final);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "EEXIST") throw exists(name);
    throw thrown;
  }
}

function isThere(path: Buffer): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw thrown;
  }
}

function exists(name: Uint8Array): HawserError {
  return new HawserError("E_EXISTS", `'${displayName(name)}' appeared on the server meanwhile, and was left as it is`);
}
