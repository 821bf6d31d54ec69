/**
 * Reads small files, whole, into one block: the payload of a BUNDLE. Each is opened, read, looked at and closed, four
 * system calls without the thread pool; that it is looked at after it was read shows that it still is what was offered.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type BundledFile, bundleTableBytes, encodeBundleTable } from "../protocol/bundle.ts";
import { bytesOf } from "../protocol/byte-text.ts";
import { crc32 } from "../protocol/crc32.ts";
import type { Failure } from "../protocol/errors.ts";
import type { BundleMember } from "./dispatcher.ts";
import { changedWhileSent } from "./item.ts";
import { sourceError } from "./source-error.ts";
import { nativePath } from "./tree-system.ts";

export interface UnreadableFile {
  readonly file: number;
  readonly failure: Failure;
}

/** O_NONBLOCK: a FIFO that has taken the file's place must not make us wait. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Puts table and contents into `block`, which must have room for all of them. Files that can't be read, or are not what
 * was offered any more, are left out and named.
 */
export function readBundle(
  members: readonly BundleMember[],
  block: Uint8Array,
): { readonly payload: Uint8Array; readonly files: BundledFile[]; readonly unreadable: UnreadableFile[] } {
  const files: BundledFile[] = [];
  const unreadable: UnreadableFile[] = [];
  let end = bundleTableBytes(members.length);
  const start = end;
  for (const member of members) {
    const failure = readInto(member, block, end);
    if (failure !== undefined) {
      unreadable.push({ file: member.file, failure });
      continue;
    }
    const content = block.subarray(end, end + member.bytes);
    files.push({ file: member.file, bytes: member.bytes, crc32: crc32(content) });
    end += member.bytes;
  }
  // The table is shorter by what is missing: the contents follow it without a gap.
  const first = start - bundleTableBytes(files.length);
  const payload = block.subarray(first, end);
  if (files.length > 0) encodeBundleTable(files, payload);
  return { payload, files, unreadable };
}

function readInto({ path, bytes, mtimeMs, inode }: BundleMember, block: Uint8Array, at: number): Failure | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(nativePath(path), FLAGS);
    let count = 0;
    while (count < bytes) {
      const read = readSync(fd, block, at + count, bytes - count, null);
      if (read === 0) break;
      count += read;
    }
    const now = fstatSync(fd);
    const isSame = count === bytes && now.size === bytes && now.mtimeMs === mtimeMs && now.ino === inode;
    return isSame ? undefined : changedWhileSent(bytesOf(path), bytes, now.size).toFailure();
  } catch (thrown) {
    return sourceError(bytesOf(path), thrown as NodeJS.ErrnoException).toFailure();
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
