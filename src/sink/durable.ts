/** Syncing: what fsync(2) has returned for outlives a power cut, and only that. In the thread pool: it takes its time. */
import { close, constants, fdatasync, fsync, open } from "node:fs";
import { promisify } from "node:util";
import { HawserError } from "../protocol/errors.ts";
import { ioError } from "./io-error.ts";
import { O_DIRECTORY, SYNCS_DIRECTORIES } from "./platform.ts";

const fsyncAsync = promisify(fsync);
const fdatasyncAsync = promisify(fdatasync);
const openAsync = promisify(open);
const closeAsync = promisify(close);

/**
 * A sync failed, and what it covered is lost for good: the kernel may have dropped the dirty pages, so that neither
 * another sync nor reading back says anything of the disk (fsync(2); Rebello et al., Can Applications Recover from fsync
 * Failures?, 2020).
 */
export class SyncError extends HawserError {}

/** What the disk holds is not what was synced to it: nothing that it has of the file is worth anything. */
export class ReadBackError extends SyncError {}

/** Syncs a file's data and what its inode says. Throws SyncError. */
export function syncFile(fd: number): Promise<void> {
  return syncing("syncing a file", () => fsyncAsync(fd));
}

/** Syncs a file's data, and of its inode only what is needed to read it again. Throws SyncError. */
export function syncData(fd: number): Promise<void> {
  return syncing("syncing a part", () => fdatasyncAsync(fd));
}

/** Syncs the file at a path. Throws SyncError; E_IO where it can't be opened, and nothing was tried. */
export function syncPath(path: string): Promise<void> {
  return syncOpened("syncing the journal", path, constants.O_RDONLY);
}

/**
 * Syncs a directory's entries: without it a new name may be gone after a power cut, though the file was synced. Throws as
 * `syncPath` does.
 */
export function syncDirectory(path: Buffer): Promise<void> {
  if (!SYNCS_DIRECTORIES) return Promise.resolve();
  return syncOpened("syncing a directory", path, constants.O_RDONLY | O_DIRECTORY);
}

async function syncOpened(doing: string, path: string | Buffer, flags: number): Promise<void> {
  const fd = await openAsync(path, flags).catch((thrown) => {
    throw ioError(doing, thrown);
  });
  try {
    await syncing(doing, () => fsyncAsync(fd));
  } finally {
    await closeAsync(fd);
  }
}

async function syncing(doing: string, sync: () => Promise<void>): Promise<void> {
  try {
    await sync();
  } catch (thrown) {
    const { code, message } = ioError(doing, thrown);
    throw new SyncError(code, message, { cause: thrown });
  }
}
