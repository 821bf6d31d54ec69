/** Directories of the benchmark's own, gone when it ends, however it ends. */
import { randomFillSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const MIB = 1024 * 1024;

const scratches = new Set<string>();

process.once("exit", () => {
  for (const directory of scratches) removeScratch(directory);
});
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  // What is left to do is done on 'exit'.
  process.once(signal, () => process.exit(code));
}

export function makeScratch(parent: string): string {
  const directory = mkdtempSync(join(parent, "hawser-bench-"));
  scratches.add(directory);
  return directory;
}

export function removeScratch(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  scratches.delete(directory);
}

/** Random bytes: no disk, no compressor and no hole makes anything of them. */
export function writeRandomFile(path: string, bytes: number): void {
  const block = Buffer.allocUnsafeSlow(MIB);
  const fd = openSync(path, "wx");
  for (let at = 0; at < bytes; at += MIB) {
    randomFillSync(block);
    writeSync(fd, block, 0, Math.min(MIB, bytes - at));
  }
  closeSync(fd);
}

/**
 * Writes a file of so many bytes and removes it again: what is written next gets memory that is in use already. Where a
 * host takes free memory back from its guests, whoever came first would pay for all of it.
 */
export function touchMemory(directory: string, bytes: number): void {
  const block = Buffer.alloc(MIB);
  const path = join(directory, "touched");
  const fd = openSync(path, "wx");
  for (let at = 0; at < bytes; at += MIB) writeSync(fd, block);
  closeSync(fd);
  rmSync(path);
}

/** Reads it through, so that it lies in the page cache. */
export function warm(path: string): void {
  const block = Buffer.allocUnsafeSlow(MIB);
  const fd = openSync(path, "r");
  while (readSync(fd, block) > 0);
  closeSync(fd);
}
