/**
 * V8 doubles the room for young objects whenever enough of them survive, up to two times 32 MiB, and never gives it back: a
 * transfer of 20 GiB would take 40 MiB more than one of 1 GiB. Small files gain from the first doublings, and nothing from the last.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/** Both halves. */
export const YOUNG_BYTES_MAX = 8 * 1024 * 1024;
/** It doubles within seconds, if at all. */
const LOOK_MS = 500;

/** Has the young generation of this thread's heap stay as it is when it has come to `YOUNG_BYTES_MAX`; resolves then. */
export function boundYoungGeneration(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (youngBytes() < YOUNG_BYTES_MAX) return;
      // Read each time that V8 thinks of it; by less than two it doesn't grow.
      setFlagsFromString("--semi-space-growth-factor=1");
      clearInterval(timer);
      resolve();
    }, LOOK_MS);
    timer.unref();
  });
}

export function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === "new_space")?.space_size ?? 0;
}
