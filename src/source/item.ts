/**
 * A file that a transfer offers. It is opened when its first chunk is asked for and closed when it is settled, and it
 * must be the same file all the while.
 */

import { type BigIntStats, closeSync, constants, fstatSync, openSync, read, statSync } from "node:fs";
import { promisify } from "node:util";
import { blake3, blake3Hasher } from "../protocol/blake3.ts";
import { bytesOf } from "../protocol/byte-text.ts";
import { crc32 } from "../protocol/crc32.ts";
import { HawserError } from "../protocol/errors.ts";
import { RESUME_KEY_BYTES } from "../protocol/limits.ts";
import { displayName } from "../protocol/names.ts";
import type { SmallItem } from "./entry.ts";
import type { Feed } from "./feed.ts";
import type { ReaderDescriptor } from "./reader.ts";
import { sourceError } from "./source-error.ts";

export interface SourceItem {
  /** Of what is sent in chunks; other entries name theirs (entry.ts). */
  readonly kind?: undefined;
  /** At the destination: bytes, components separated by '/'. */
  readonly name: Uint8Array;
  /** In bytes; null while it isn't known. */
  readonly size: number | null;
  /** Seconds since 1970 and nanoseconds. */
  readonly mtime: [number, number];
  /** Permission bits. */
  readonly mode: number;
  /** What another run knows it again by, as long as it is the same; undefined for what can't be read twice. */
  readonly key: Uint8Array | undefined;
  /** What is there with the same size and time counts as the same (false). */
  readonly quick?: boolean;
  /** Of what can be read only once, and in order: its chunks as they come. Nothing else of it is read. */
  readonly feed?: Feed;
  /** Throws a HawserError; so does everything below. */
  open(): ReaderDescriptor;
  /** Another thread reads what was opened until then, and `close` waits for it. */
  keepOpen?(until: Promise<void>): void;
  /** Throws E_SOURCE_CHANGED where it is not what `open` found. */
  assertUnchanged(): void;
  /** All of it was read, and has this CRC-32. Throws E_CONTENT where another was expected. */
  assertExpected?(crc32: number): void;
  /** The bytes at `offset`, put into `room`: how many, fewer than fit where it ends. Without holding anything up. */
  read(offset: number, room: Uint8Array): Promise<number>;
  /** Reads the whole. */
  digest(signal: AbortSignal): Promise<ItemDigest>;
  close(): void;
}

export interface ItemDigest {
  readonly blake3: Uint8Array;
  readonly crc32: number;
}

const NS_PER_S = 1_000_000_000n;
const readAsync = promisify(read);

const DIGEST_READ_BYTES = 1024 * 1024;

/** A regular file on this machine. */
export class FileItem implements SourceItem {
  readonly name: Uint8Array;
  readonly size: number;
  readonly mtime: [number, number];
  readonly mode: number;
  readonly key: Uint8Array;
  readonly quick: boolean;
  readonly #path: Buffer;
  readonly #found: BigIntStats;
  #fd: number | undefined;
  /** Whoever reads it besides this thread: reads that are under way, and other threads. */
  readonly #readers = new Set<Promise<void>>();

  /** Looks at the file, without opening it. Throws E_SOURCE_MISSING and its kind. */
  constructor(path: string | Uint8Array, name: Uint8Array, quick = false) {
    this.quick = quick;
    this.#path = Buffer.from(path);
    this.name = name;
    this.#found = look(this.#path);
    this.size = Number(this.#found.size);
    const seconds = this.#found.mtimeNs / NS_PER_S - (this.#found.mtimeNs % NS_PER_S < 0n ? 1n : 0n);
    this.mtime = [Number(seconds), Number(this.#found.mtimeNs - seconds * NS_PER_S)];
    this.mode = Number(this.#found.mode & 0o7777n);
    this.key = keyOf(name, this.#found);
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

  async read(offset: number, room: Uint8Array): Promise<number> {
    this.#fd ??= this.#open();
    let count = 0;
    try {
      while (count < room.length) {
        const { bytesRead } = await this.#use(readAsync(this.#fd, room, count, room.length - count, offset + count));
        if (bytesRead === 0) break;
        count += bytesRead;
      }
    } catch (cause) {
      const message = `reading '${this.#shown}' failed: ${(cause as Error).message}`;
      throw new HawserError("E_SOURCE_IO", message, { cause });
    }
    return count;
  }

  async digest(signal: AbortSignal): Promise<ItemDigest> {
    const hasher = blake3Hasher();
    const room = Buffer.allocUnsafeSlow(Math.min(this.size, DIGEST_READ_BYTES));
    let crc = 0;
    for (let at = 0; at < this.size; ) {
      signal.throwIfAborted();
      const count = await this.read(at, room);
      if (count === 0) break;
      const bytes = room.subarray(0, count);
      hasher.update(bytes);
      crc = crc32(bytes, crc);
      at += count;
    }
    // What was closed meanwhile must not be opened again.
    signal.throwIfAborted();
    this.assertUnchanged();
    return { blake3: hasher.digestBuffer(), crc32: crc };
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd === undefined) return;
    // The system gives the number to the next file that is opened: not before the last read with it is over.
    if (this.#readers.size === 0) closeSync(fd);
    else void Promise.all(this.#readers).then(() => closeSync(fd));
  }

  keepOpen(until: Promise<void>): void {
    this.#readers.add(until);
    void until.then(() => this.#readers.delete(until));
  }

  #use<T>(reading: Promise<T>): Promise<T> {
    const nothing = () => {};
    this.keepOpen(reading.then(nothing, nothing));
    return reading;
  }

  get #shown(): string {
    return displayName(this.#path);
  }

  #open(): number {
    let fd: number;
    try {
      fd = openSync(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      throw sourceError(this.#path, cause as NodeJS.ErrnoException);
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
    throw changedWhileSent(this.#path, then.size, now.size, now.nlink === 0n);
  }
}

/** A small file as one that is sent in chunks, or compared first. Throws what looking at it throws. */
export function asFile({ path, name, quick }: SmallItem): FileItem {
  return new FileItem(bytesOf(path), bytesOf(name), quick);
}

/** Bytes without end, for measuring. */
export class PatternItem implements SourceItem {
  readonly name = Buffer.from("bench");
  readonly size = null;
  readonly mtime: [number, number] = [0, 0];
  readonly mode = 0o600;
  readonly key = undefined;
  readonly #file: FileItem | undefined;

  /** `file`: its bytes, again and again, in place of some that are made up. */
  constructor(file?: FileItem) {
    this.#file = file;
  }

  open(): ReaderDescriptor {
    const found = this.#file?.open();
    return found?.kind === "file" ? { ...found, kind: "loop", fileBytes: this.#file?.size ?? 0 } : { kind: "pattern" };
  }
  keepOpen(until: Promise<void>): void {
    this.#file?.keepOpen(until);
  }
  assertUnchanged(): void {}
  read(): Promise<number> {
    return Promise.reject(new HawserError("E_ILLEGAL", "what is made up is not read again"));
  }
  digest(): Promise<ItemDigest> {
    return Promise.reject(new HawserError("E_ILLEGAL", "what has no end has no digest"));
  }
  close(): void {
    this.#file?.close();
  }
}

/** Whether two runs offer the same file under the same name: where it is, and that nobody wrote to it in between. */
function keyOf(name: Uint8Array, { dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Uint8Array {
  const identity = Buffer.from([dev, ino, size, mtimeNs, ctimeNs, ""].join(" "));
  return blake3(Buffer.concat([identity, name])).subarray(0, RESUME_KEY_BYTES);
}

function look(path: Buffer): BigIntStats {
  let found: BigIntStats;
  try {
    found = statSync(path, { bigint: true });
  } catch (cause) {
    throw sourceError(path, cause as NodeJS.ErrnoException);
  }
  const shown = displayName(path);
  if (!found.isFile()) throw new HawserError("E_SOURCE_SPECIAL", `'${shown}' is not a regular file`);
  return found;
}

/** E_SOURCE_CHANGED, with what is seen of the change. */
export function changedWhileSent(
  path: Uint8Array,
  bytesThen: number | bigint,
  bytesNow: number | bigint,
  isGone = false,
): HawserError {
  const changed = bytesThen === bytesNow ? "was written to or replaced" : `was ${bytesThen} bytes and is ${bytesNow}`;
  const what = isGone ? "was removed or replaced" : changed;
  return new HawserError("E_SOURCE_CHANGED", `'${displayName(path)}' changed while it was being sent: it ${what}`);
}
