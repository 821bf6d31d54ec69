/** Files for the demo: made of random bytes, and compared byte by byte. Touches the paths it is given, nothing else. */
import { randomFillSync } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { HawserError } from "../protocol/errors.ts";

const BLOCK_BYTES = 1024 * 1024;

/** Random, so that nothing on the way can compress it or guess it. */
export async function writeRandomFile(path: string, bytes: number, signal?: AbortSignal): Promise<void> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "wx", 0o600);
    const block = Buffer.alloc(BLOCK_BYTES);
    for (let at = 0; at < bytes; at += BLOCK_BYTES) {
      signal?.throwIfAborted();
      randomFillSync(block);
      await writeAll(file, block.subarray(0, Math.min(BLOCK_BYTES, bytes - at)));
    }
  } catch (cause) {
    throw asIo(cause, path);
  } finally {
    await file?.close();
  }
}

async function writeAll(file: FileHandle, block: Buffer): Promise<void> {
  for (let at = 0; at < block.length; ) at += (await file.write(block, at)).bytesWritten;
}

/** Where two files first differ; undefined when they are the same to the last byte. */
export async function firstDifference(a: string, b: string, signal?: AbortSignal): Promise<number | undefined> {
  const files: FileHandle[] = [];
  try {
    for (const path of [a, b]) files.push(await open(path, "r"));
    const [fileA, fileB] = files as [FileHandle, FileHandle];
    const [blockA, blockB] = [Buffer.alloc(BLOCK_BYTES), Buffer.alloc(BLOCK_BYTES)];
    for (let at = 0; ; at += BLOCK_BYTES) {
      signal?.throwIfAborted();
      const readA = await readFull(fileA, blockA, at);
      const readB = await readFull(fileB, blockB, at);
      if (!readA.equals(readB)) return at + firstUnequal(readA, readB);
      if (readA.length < BLOCK_BYTES) return undefined;
    }
  } catch (cause) {
    throw asIo(cause, b);
  } finally {
    for (const file of files) await file.close();
  }
}

/** Reads may be short in the middle of a file; only 0 is its end. */
async function readFull(file: FileHandle, block: Buffer, position: number): Promise<Buffer> {
  let filled = 0;
  while (filled < block.length) {
    const { bytesRead } = await file.read(block, filled, block.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return block.subarray(0, filled);
}

function firstUnequal(a: Buffer, b: Buffer): number {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) if (a[i] !== b[i]) return i;
  return common;
}

function asIo(cause: unknown, path: string): unknown {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (cause instanceof HawserError || code === undefined) return cause;
  return new HawserError(code === "ENOSPC" ? "E_NO_SPACE" : "E_IO", `${path}: ${message}`, { cause });
}
