/**
 * Syncs a whole file system with one call, syncfs(2), which Node doesn't have: coreutils' `sync -f` makes it. For many
 * small files that is one wait for the disk instead of one for each.
 */
import { spawn } from "node:child_process";
import { statfsSync } from "node:fs";
import { release } from "node:os";
import { SyncError } from "./durable.ts";

/** From this version on Linux says when writing back has failed (syncfs(2), VERSIONS). */
const LINUX_MIN = [5, 8] as const;

/** What lies in memory only (statfs(2): TMPFS_MAGIC, RAMFS_MAGIC): there is nothing to be synced to. */
const IN_MEMORY = new Set([0x01021994, 0x858458f6]);

/** Whether a file system can be synced as a whole here, and its failures are told. */
export function canSyncFileSystems(): boolean {
  if (process.platform !== "linux") return false;
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > LINUX_MIN[0] || (major === LINUX_MIN[0] && minor >= LINUX_MIN[1]);
}

/** Whether what lies at `path` outlives nothing anyway. */
export function isInMemory(path: Buffer): boolean {
  return IN_MEMORY.has(statfsSync(path).type);
}

/** What the program says is for an error's text. */
const SAID_CHARS_MAX = 200;

/**
 * Syncs the file system that the open directory `fd` lies on. Returns false where there is no program for it, or it was
 * killed; then nothing was done. Throws SyncError.
 */
export function syncFileSystem(fd: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // The child opens it through this process: its own descriptors are others. In a process group of its own: a ^C is for
    // the server, which may be about to let its transfers end.
    const program = spawn("sync", ["-f", `/proc/${process.pid}/fd/${fd}/.`], {
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    program.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(0, SAID_CHARS_MAX);
    });
    program.on("error", () => resolve(false));
    program.on("close", (code) => {
      if (code === 0) resolve(true);
      else if (code === null) resolve(false);
      else {
        const why = said.trim() || `it ended with ${code}`;
        reject(new SyncError("E_IO", `syncing the file system failed on the destination: ${why}`));
      }
    });
  });
}
