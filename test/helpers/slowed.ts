/**
 * Loaded before a program (`--import`), slows one part of it, as SLOWED in the environment says: `thread` leaves a twentieth of
 * its thread's time to it; `reads` and `writes` make each of these calls wait as for a slow disk, without using the processor.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { fileURLToPath } from "node:url";
import type { ChildOptions } from "./e2e.ts";

type What = "thread" | "reads" | "writes";

const CALL_MS = 40;
const TURN_MS = 100;
const BUSY_MS = 95;

/** For `startChild` and what is like it. */
export const slowed = (what: What): Pick<ChildOptions, "nodeArgs" | "env"> => ({
  nodeArgs: ["--import", fileURLToPath(import.meta.url)],
  env: { SLOWED: what },
});

const asleep = new Int32Array(new SharedArrayBuffer(4));
const wait = () => Atomics.wait(asleep, 0, 0, CALL_MS);

switch (process.env["SLOWED"] as What | undefined) {
  case "thread":
    setInterval(() => {
      const untilMs = performance.now() + BUSY_MS;
      while (performance.now() < untilMs);
    }, TURN_MS).unref();
    break;
  case "reads": {
    const { readSync } = fs;
    fs.readSync = ((...args: Parameters<typeof readSync>) => {
      wait();
      return readSync(...args);
    }) as typeof readSync;
    syncBuiltinESMExports();
    break;
  }
  case "writes": {
    const { writeSync } = fs;
    fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
      wait();
      return writeSync(...args);
    }) as typeof writeSync;
    syncBuiltinESMExports();
    break;
  }
}
