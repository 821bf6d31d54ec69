/** Syncing: what fsync(2) has returned for outlives a power cut, and only that. In the thread pool: it takes its time. */
import { close, constants, fsync, open } from "node:fs";
import { promisify } from "node:util";
import { ioError } from "./io-error.ts";
import { O_DIRECTORY, SYNCS_DIRECTORIES } from "./platform.ts";

const fsyncAsync = promisify(fsync);
const openAsync = promisify(open);
const closeAsync = promisify(close);

/**
 * Syncs a file's data and what its inode says. A failure is final: the kernel may have dropped the dirty pages, and what
 * is read back then comes from its cache (fsync(2); Rebello et al., Can Applications Recover from fsync Failures?, 2020).
 */
export async function syncFile(fd: number): Promise<void> {
  try {
    await fsyncAsync(fd);
  } catch (thrown) {
    throw ioError("syncing a file", thrown);
  }
}

/** Syncs a directory's entries: without it a new name may be gone after a power cut, though the file was synced. */
export async function syncDirectory(path: Buffer): Promise<void> {
  if (!SYNCS_DIRECTORIES) return;
  try {
    const fd = await openAsync(path, constants.O_RDONLY | O_DIRECTORY);
    try {
      await fsyncAsync(fd);
    } finally {
      await closeAsync(fd);
    }
  } catch (thrown) {
    throw ioError("syncing a directory", thrown);
  }
}
