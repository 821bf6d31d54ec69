/** The system calls that walking a tree takes, so that a test can stand in for the disk. Paths are bytes, as names are. */
import { type Dir, lstatSync, opendirSync, readlinkSync, type Stats, statSync } from "node:fs";

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
  openDirectory(path: Buffer): OpenDirectory;
  lstat(path: Buffer): Stats;
  /** What a link leads to. */
  stat(path: Buffer): Stats;
  readlink(path: Buffer): Buffer;
  /** The same for the same directory only, over whatever path; inode numbers may not fit a double. */
  identity(path: Buffer): string;
}

/** Entries that Node reads at a time: more is slower, since it takes them off the front of an array. */
const ENTRIES_AT_ONCE = 256;

export const TREE_SYSTEM: TreeSystem = {
  openDirectory(path) {
    // Its types know names as text only.
    const options = { encoding: "buffer" as BufferEncoding, bufferSize: ENTRIES_AT_ONCE };
    const directory: Dir = opendirSync(path as unknown as string, options);
    return directory as unknown as OpenDirectory;
  },
  lstat: (path) => lstatSync(path),
  stat: (path) => statSync(path),
  readlink: (path) => readlinkSync(path, { encoding: "buffer" }),
  identity(path) {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  },
};
