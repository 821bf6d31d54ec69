/**
 * Everything that differs between platforms for what writes files, with its fallbacks. Tested on Linux; macOS, other
 * Unixes and Windows take the fallbacks and nobody has tested them.
 */
import { constants, readFileSync, readlinkSync } from "node:fs";
import type { Platform } from "../protocol/names.ts";

export const PLATFORM: Platform = process.platform === "win32" ? "windows" : "posix";

/**
 * Linux lets a program work in a directory that it holds open, as /proc/PID/fd/N/name, so that a directory swapped for
 * a link behind its back leads nowhere else (openat(2) in all but name, which Node doesn't have).
 */
export const HOLDS_DIRECTORIES = process.platform === "linux";

const PROC = "/proc";

/** This process in /proc, by its number as that mount has it (pid_namespaces(7)): its link `self` takes half as long again to follow. */
const ownProcess = once((): string => {
  try {
    return `${PROC}/${readlinkSync(`${PROC}/self`)}`;
  } catch {
    return `${PROC}/self`;
  }
});

/** A path that leads to what this process has open as `fd`, wherever that lies by now (proc(5)). Linux only. */
export function descriptorPath(fd: number): string {
  return `${ownProcess()}/fd/${fd}`;
}

/** Elsewhere these flags don't exist, and a check before the opening stands in for them. */
export const O_DIRECTORY = constants.O_DIRECTORY ?? 0;
export const O_NOFOLLOW = constants.O_NOFOLLOW ?? 0;

/** Directories can't be opened, and so not be synced, on Windows: NTFS journals their changes by itself. */
export const SYNCS_DIRECTORIES = process.platform !== "win32";

/** What link(2) says where the file system has no hard links (FAT, exFAT, some FUSE and SMB), or not here. */
export const NO_HARD_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"]);

const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";

/**
 * Tells a program that ended (what it wrote is still there, if only in the kernel's memory) from a machine that did: the
 * boot under way. null where the platform has no word for it: then nothing counts that was not synced.
 */
export const bootId = once((): string | null => {
  try {
    return readFileSync(BOOT_ID_PATH, "utf8").trim();
  } catch {
    return null;
  }
});

const LIMITS_PATH = "/proc/self/limits";

/** Descriptors that this process may have open; infinite where nothing says so. (Node raises the soft limit to the hard one.) */
export function descriptorsMax(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync(LIMITS_PATH, "utf8")) ?? [];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
