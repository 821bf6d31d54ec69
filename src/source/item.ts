/**
 * A file that a transfer offers. It is opened when its first chunk is asked for and closed when it is settled, and it
 * must be the same file all the while.
 */

import { type BigIntStats, closeSync, constants, fstatSync, openSync, read, statSync } from "node:fs";
import { promisify } from "node:util";
import { Blake3Hasher } from "@napi-rs/blake-hash";
import { crc32 } from "../protocol/crc32.ts";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import type { ReaderDescriptor } from "./reader.ts";

export interface SourceItem {
  /** At the destination: bytes, components separated by '/'. */
  readonly name: Uint8Array;
  /** In bytes; null while it isn't known. */
  readonly size: number | null;
  /** Seconds since 1970 and nanoseconds. */
  readonly mtime: [number, number];
  /** Permission bits. */
  readonly mode: number;
  /** Throws a HawserError; so does everything below. */
  open(): ReaderDescriptor;
  /** Throws E_SOURCE_CHANGED where it is not what `open` found. */
  assertUnchanged(): void;
  /** Reads the whole. */
  digest(signal: AbortSignal): Promise<ItemDigest>;
  close(): void;
}

export interface ItemDigest {
  readonly blake3: Uint8Array;
  readonly crc32: number;
}

const NS_PER_S = 1_000_000_000n;
const DIGEST_READ_BYTES = 1024 * 1024;

/** A regular file on this machine. */
export class FileItem implements SourceItem {
  readonly name: Uint8Array;
  readonly size: number;
  readonly mtime: [number, number];
  readonly mode: number;
  readonly path: string;
  readonly #found: BigIntStats;
  #fd: number | undefined;

  /** Looks at the file, without opening it. Throws E_SOURCE_MISSING and its kind. */
  constructor(path: string, name: Uint8Array) {
    this.path = path;
    this.name = name;
    this.#found = look(path);
    this.size = Number(this.#found.size);
    const seconds = this.#found.mtimeNs / NS_PER_S - (this.#found.mtimeNs % NS_PER_S < 0n ? 1n : 0n);
    this.mtime = [Number(seconds), Number(this.#found.mtimeNs - seconds * NS_PER_S)];
    this.mode = Number(this.#found.mode & 0o7777n);
  }

  open(): ReaderDescriptor {
    this.#fd ??= this.#open();
    return { kind: "file", fd: this.#fd, shownName: this.#shown };
  }

  assertUnchanged(): void {
    // An empty file has no chunk to be opened for.
    if (this.#fd === undefined) this.#fd = this.#open();
    else this.#assertSame(fstatSync(this.#fd, { bigint: true }));
  }

  async digest(signal: AbortSignal): Promise<ItemDigest> {
    this.#fd ??= this.#open();
    const hasher = new Blake3Hasher();
    const room = Buffer.allocUnsafeSlow(DIGEST_READ_BYTES);
    let crc = 0;
    for (let at = 0; at < this.size; ) {
      signal.throwIfAborted();
      const { bytesRead } = await promisify(read)(this.#fd, room, 0, room.length, at).catch((cause: Error) => {
        throw new HawserError("E_SOURCE_IO", `reading '${this.#shown}' failed: ${cause.message}`, { cause });
      });
      if (bytesRead === 0) break;
      const bytes = room.subarray(0, bytesRead);
      hasher.update(bytes);
      crc = crc32(bytes, crc);
      at += bytesRead;
    }
    this.assertUnchanged();
    return { blake3: hasher.digestBuffer(), crc32: crc };
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  get #shown(): string {
    return displayName(Buffer.from(this.path));
  }

  #open(): number {
    let fd: number;
    try {
      fd = openSync(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      throw sourceError(this.path, cause as NodeJS.ErrnoException);
    }
    try {
      this.#assertSame(fstatSync(fd, { bigint: true }));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return fd;
  }

  /** The same inode with the same size and times: ctime too, which a program can't set back. */
  #assertSame(now: BigIntStats): void {
    const then = this.#found;
    const changed = (["ino", "dev", "size", "mtimeNs", "ctimeNs"] as const).find((field) => now[field] !== then[field]);
    if (changed === undefined) return;
    const what = changed === "size" ? `was ${then.size} bytes and is ${now.size}` : "was written to or replaced";
    throw new HawserError("E_SOURCE_CHANGED", `'${this.#shown}' changed while it was being sent: it ${what}`);
  }
}

/** Bytes without end, for measuring. */
export class PatternItem implements SourceItem {
  readonly name = Buffer.from("bench");
  readonly size = null;
  readonly mtime: [number, number] = [0, 0];
  readonly mode = 0o600;

  open(): ReaderDescriptor {
    return { kind: "pattern" };
  }
  assertUnchanged(): void {}
  digest(): Promise<ItemDigest> {
    return Promise.reject(new HawserError("E_ILLEGAL", "what has no end has no digest"));
  }
  close(): void {}
}

function look(path: string): BigIntStats {
  let found: BigIntStats;
  try {
    found = statSync(path, { bigint: true });
  } catch (cause) {
    throw sourceError(path, cause as NodeJS.ErrnoException);
  }
  const shown = displayName(Buffer.from(path));
  if (found.isDirectory()) throw new HawserError("E_SOURCE_DIRECTORY", `'${shown}' is a directory`);
  if (!found.isFile()) throw new HawserError("E_SOURCE_SPECIAL", `'${shown}' is not a regular file`);
  return found;
}

function sourceError(path: string, cause: NodeJS.ErrnoException): HawserError {
  const shown = displayName(Buffer.from(path));
  if (cause.code === "ENOENT" || cause.code === "ENOTDIR") {
    return new HawserError("E_SOURCE_MISSING", `'${shown}' does not exist`, { cause });
  }
  if (cause.code === "EACCES" || cause.code === "EPERM") {
    return new HawserError("E_SOURCE_UNREADABLE", `'${shown}' may not be read by you`, { cause });
  }
  return new HawserError("E_SOURCE_IO", `'${shown}': ${cause.message}`, { cause });
}
