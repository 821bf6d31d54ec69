/** A temporary directory that is gone afterwards, however the process ends. Writes below the system's own. */
import { rmSync } from "node:fs";
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HawserError } from "../protocol/errors.ts";
import { formatBytes } from "./format.ts";

export interface Scratch {
  readonly dir: string;
  remove(): Promise<void>;
}

/** `atExit` runs first when the process ends before `remove`. Throws E_NO_SPACE, E_IO. */
export async function makeScratch(neededBytes: number, atExit: () => void): Promise<Scratch> {
  const parent = tmpdir();
  let dir: string;
  try {
    const { bavail, bsize } = await statfs(parent);
    if (bavail * bsize < neededBytes) {
      const free = formatBytes(bavail * bsize);
      throw new HawserError("E_NO_SPACE", `${parent} has ${free} free, and ${formatBytes(neededBytes)} are needed`);
    }
    dir = await mkdtemp(join(parent, "hawser-"));
  } catch (cause) {
    if (cause instanceof HawserError) throw cause;
    throw new HawserError("E_IO", `no temporary directory in ${parent}: ${(cause as Error).message}`, { cause });
  }
  const onExit = () => {
    atExit();
    // A child that was killed a moment ago may still be writing.
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  };
  process.once("exit", onExit);
  return {
    dir,
    async remove() {
      await rm(dir, { recursive: true, force: true, maxRetries: 10 });
      process.off("exit", onExit);
    },
  };
}
