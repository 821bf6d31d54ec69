/**
 * A file system that keeps names as they are given and takes those for one that differ in case or in normal form, as APFS,
 * NTFS and ext4 with `casefold` do: the calls that take a path are led to the entry that is there. To be called before
 * what uses `node:fs` is loaded. (Few kernels have such a file system built in.)
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const fold = (name: Buffer) => {
  const text = name.toString("utf8");
  // What is not UTF-8 is compared as it is, as ext4 does without `strict`.
  return Buffer.from(text).equals(name) ? text.normalize("NFD").toUpperCase().toLowerCase() : name.toString("hex");
};

const { readdirSync, realpathSync } = fs;

/** The path with the name that the entry has which is meant. */
function led(path: unknown, below: () => string | undefined): unknown {
  const top = below();
  if (top === undefined || !(typeof path === "string" || Buffer.isBuffer(path))) return path;
  const bytes = Buffer.from(path as string);
  const slash = bytes.lastIndexOf(0x2f);
  const name = bytes.subarray(slash + 1);
  const directory = bytes.subarray(0, Math.max(slash, 1));
  if (name.length === 0 || name.equals(Buffer.from("."))) return path;
  try {
    const real = realpathSync(directory, "utf8");
    if (!`${real}/`.startsWith(`${top}/`)) return path;
    const entries = readdirSync(directory, { encoding: "buffer" });
    if (entries.some((entry) => entry.equals(name))) return path;
    const entry = entries.find((one) => fold(one) === fold(name));
    return entry === undefined ? path : Buffer.concat([bytes.subarray(0, slash + 1), entry]);
  } catch {
    return path;
  }
}

const ONE_PATH = ["openSync", "lstatSync", "statSync", "mkdirSync", "unlinkSync", "readlinkSync", "chmodSync"] as const;
const SECOND_PATH = ["linkSync", "renameSync", "symlinkSync"] as const;

/** From now on file systems fold below the directory that `below` names, where it names one. */
export function foldNames(below: () => string | undefined): void {
  const calls = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const call of ONE_PATH) {
    const real = calls[call] as (...args: unknown[]) => unknown;
    calls[call] = (path, ...rest) => real(led(path, below), ...rest);
  }
  for (const call of SECOND_PATH) {
    const real = calls[call] as (...args: unknown[]) => unknown;
    calls[call] = (first, second, ...rest) => real(first, led(second, below), ...rest);
  }
  syncBuiltinESMExports();
}
