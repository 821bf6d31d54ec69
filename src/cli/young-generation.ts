/**
 * V8 doubles the room for young objects whenever enough of them survive, up to two times 64 MiB, and never gives it back: a
 * client took 35 MiB more for 20 GiB than for one.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/** It doubles within seconds, if at all. */
const LOOK_MS = 500;

/** Has the young generation of this thread's heap stay as it is when both its halves have come to `bytesMax`; resolves then. */
export function boundYoungGeneration(bytesMax: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (youngBytes() < bytesMax) return;
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
