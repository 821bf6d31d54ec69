/** What lies at a name on the disk already, and its digest. */
import { constants, lstatSync, readlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { Blake3Hasher } from "@napi-rs/blake-hash";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { type HeldDirectory, inDirectoryOf } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import { O_NOFOLLOW } from "./platform.ts";
import type { ExistingFile } from "./sink.ts";

const READ_BYTES = 1024 * 1024;

export function findOnDisk(root: HeldDirectory, name: Uint8Array): Promise<ExistingFile | undefined> {
  return inDirectoryOf(root, name, "no", (directory, last) => existingIn(root, directory, name, last));
}

/** What lies in a held directory as `last`, which is the end of `name`. Throws E_IO. */
export function existingIn(
  root: HeldDirectory,
  directory: HeldDirectory,
  name: Uint8Array,
  last: Uint8Array,
): ExistingFile | undefined {
  try {
    const found = lstatSync(directory.entry(last), { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    return {
      size: found.isFile() ? found.size : null,
      isDirectory: found.isDirectory(),
      target: found.isSymbolicLink() ? readlinkSync(directory.entry(last), "buffer") : undefined,
      mtimeMs: found.mtimeMs,
      digest: (signal) => digestOnDisk(root, name, signal),
    };
  } catch (thrown) {
    throw ioError(`looking at '${displayName(name)}'`, thrown);
  }
}

async function digestOnDisk(root: HeldDirectory, name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const digest = await inDirectoryOf(root, name, "no", (directory, last) => digestOf(directory, last, signal));
  if (digest === undefined) throw new HawserError("E_IO", `'${displayName(name)}' was taken away`);
  return digest;
}

async function digestOf(directory: HeldDirectory, name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const shown = displayName(name);
  try {
    // O_NONBLOCK: a FIFO that has taken the file's place must not make us wait.
    const file = await open(directory.entry(name), constants.O_RDONLY | O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const hasher = new Blake3Hasher();
      const room = Buffer.allocUnsafeSlow(READ_BYTES);
      for (let at = 0; ; ) {
        signal.throwIfAborted();
        const { bytesRead } = await file.read(room, 0, room.length, at);
        if (bytesRead === 0) return hasher.digestBuffer();
        hasher.update(room.subarray(0, bytesRead));
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  } catch (thrown) {
    throw ioError(`reading '${shown}'`, thrown);
  }
}
