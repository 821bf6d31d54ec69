/** What lies at a name on the disk already, and its digest. */
import { constants, lstatSync, readlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { digestOf } from "./content-digest.ts";
import { type HeldDirectory, inDirectoryOf } from "./held-directory.ts";
import { ioError } from "./io-error.ts";
import { descriptorPath, HOLDS_DIRECTORIES, O_NOFOLLOW } from "./platform.ts";
import { readFully } from "./read-fully.ts";
import type { ExistingFile, HeldFile } from "./sink.ts";

/** O_NONBLOCK: a FIFO that has taken the file's place must not make us wait. */
const READ_ONLY = constants.O_RDONLY | O_NOFOLLOW | constants.O_NONBLOCK;

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
      ownName: directory.ownNameOf(last),
      mtimeMs: found.mtimeMs,
      digest: (signal) => digestOnDisk(root, name, signal),
      hold: () => holdOnDisk(root, name),
    };
  } catch (thrown) {
    throw ioError(`looking at '${displayName(name)}'`, thrown);
  }
}

async function holdOnDisk(root: HeldDirectory, name: Uint8Array): Promise<HeldFile> {
  const held = await inDirectoryOf(root, name, "no", (directory, last) => holdIn(directory, last));
  if (held === undefined) throw new HawserError("E_IO", `'${displayName(name)}' was taken away`);
  return held;
}

async function holdIn(directory: HeldDirectory, name: Uint8Array): Promise<HeldFile> {
  try {
    const file = await open(directory.entry(name), READ_ONLY);
    const found = await file.stat().catch(() => undefined);
    if (!found?.isFile()) {
      await file.close();
      throw new HawserError("E_IO", `'${displayName(name)}' is no file any more`);
    }
    return {
      size: found.size,
      // By its descriptor: a name could be led elsewhere meanwhile.
      path: HOLDS_DIRECTORIES ? descriptorPath(file.fd) : undefined,
      read: (offset, room) => readFully(file.fd, offset, room, `'${displayName(name)}'`),
      close: () => file.close(),
    };
  } catch (thrown) {
    throw ioError(`opening '${displayName(name)}'`, thrown);
  }
}

/** To its end, wherever that is by then. */
async function digestOnDisk(root: HeldDirectory, name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const held = await holdOnDisk(root, name);
  try {
    return await digestOf(held, Number.POSITIVE_INFINITY, signal);
  } finally {
    await held.close();
  }
}
