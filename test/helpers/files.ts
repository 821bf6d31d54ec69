/** Files to send and what arrived: contents made from a number, compared on the disk byte by byte. */
import { createCipheriv } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import type { Test } from "tap";

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Bytes that are the same for the same seed and look like nothing: AES in counter mode over zeros. */
export function contentOf(bytes: number, seed = 1): Buffer {
  const key = Buffer.alloc(16, "hawser");
  const start = Buffer.alloc(16);
  start.writeUInt32BE(seed >>> 0);
  return createCipheriv("aes-128-ctr", key, start).update(Buffer.alloc(bytes));
}

/** Writes a file of such bytes. Returns its path. */
export function makeFile(path: string, bytes: number, seed = 1): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, contentOf(bytes, seed));
  return path;
}

/** A source directory and a served one, both of this test alone. */
export function directories(t: Test): { readonly from: string; readonly to: string } {
  const root = t.testdir({ from: {}, to: {} });
  return { from: join(root, "from"), to: join(root, "to") };
}

export const hexCrc32 = (bytes: Uint8Array): string => crc32(bytes).toString(16).padStart(8, "0");

/** The file at `path` has exactly this content. Says where it differs rather than printing all of it. */
export function assertContent(t: Test, path: string, expected: Buffer, what = path.split("/").pop() ?? path): void {
  if (!existsSync(path)) {
    t.fail(`${what} is there`);
    return;
  }
  const found = readFileSync(path);
  t.equal(found.length, expected.length, `${what} has its size`);
  if (found.equals(expected)) {
    t.pass(`${what} is the same byte by byte`);
    return;
  }
  let at = 0;
  while (at < expected.length && found[at] === expected[at]) at++;
  t.fail(`${what} is the same byte by byte: it differs at ${at}`);
}

/** What lies in staging of files that are not whole. */
export function partsIn(dir: string): string[] {
  return readdirSync(join(dir, ".hawser", "parts"));
}

/** What a served directory shows, staging apart. */
export function namesIn(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => name !== ".hawser")
    .sort();
}
