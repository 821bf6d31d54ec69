/** The system calls that walking a tree takes, so that a test can stand in for the disk. Paths are bytes, as names are. */
import { type Dir, lstatSync, opendirSync, readdirSync, readlinkSync, type Stats, statSync } from "node:fs";
import { type ByteText, bytesOf, isAscii } from "../protocol/byte-text.ts";

export interface DirectoryEntry {
  readonly name: Uint8Array;
  isDirectory(): boolean;
}

export interface OpenDirectory {
  /** null at the end. */
  readSync(): DirectoryEntry | null;
  closeSync(): void;
}

/** Everything throws what Node throws. */
export interface TreeSystem {
  openDirectory(path: ByteText): OpenDirectory;
  /** All names in a directory that can't be large; undefined where it may be, and is to be read bit by bit. */
  namesOf(path: ByteText, stats: Stats): ByteText[] | undefined;
  lstat(path: ByteText): Stats;
  /** What a link leads to. */
  stat(path: ByteText): Stats;
  readlink(path: ByteText): Buffer;
  /** The same for the same directory only, over whatever path; inode numbers may not fit a double. */
  identity(path: ByteText): string;
}

/** A path as Node takes it: text is UTF-8 to it. */
export function nativePath(path: ByteText): string | Buffer {
  return isAscii(path) ? path : bytesOf(path);
}

/** Entries that Node reads at a time: more is slower, since it takes them off the front of an array. */
const ENTRIES_AT_ONCE = 256;

/**
 * A directory of this size, in bytes as the system tells it, is read at once, which takes half the time of reading it bit by
 * bit: it has some thousand entries at most. File systems count 12 bytes and more for each; ZFS counts entries; and those
 * that say 0 say nothing.
 */
const SMALL_DIRECTORY_BYTES = 64 * 1024;

export const TREE_SYSTEM: TreeSystem = {
  openDirectory(path) {
    // Its types know names as text only.
    const options = { encoding: "buffer" as BufferEncoding, bufferSize: ENTRIES_AT_ONCE };
    const directory: Dir = opendirSync(nativePath(path) as string, options);
    return directory as unknown as OpenDirectory;
  },
  namesOf(path, { size }) {
    if (size === 0 || size > SMALL_DIRECTORY_BYTES) return undefined;
    return readdirSync(nativePath(path), "latin1");
  },
  lstat: (path) => lstatSync(nativePath(path)),
  stat: (path) => statSync(nativePath(path)),
  readlink: (path) => readlinkSync(nativePath(path), { encoding: "buffer" }),
  identity(path) {
    const { dev, ino } = statSync(nativePath(path), { bigint: true });
    return `${dev}:${ino}`;
  },
};
