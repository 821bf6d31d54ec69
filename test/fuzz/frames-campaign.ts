/** Frames in process, case after case, with an eye on time and memory. */
import { setImmediate } from "node:timers/promises";
import { add, type Count, describe, FINDINGS_MAX, newCount, type Sitting } from "./campaign.ts";
import { FramesFuzzer } from "./frames.ts";
import { bytesInUse, Watchdog } from "./watchdog.ts";

const BATCH = 20_000;

/** What a batch may leave behind, at most: compiled code, caches, and nothing that grows with what came. */
const GROWTH_BYTES_MAX = 16 * 1024 * 1024;

/** A case is some hundred KiB at most, and takes a millisecond; what takes so long twice does more than look at each byte. */
const SLOW_MS = 1000;

export async function fuzzFrames({ seed, untilMs, frames, only, onFinding }: Sitting): Promise<Count> {
  const count = newCount();
  const fuzzer = new FramesFuzzer(seed);
  const report = (number: number, what: string) => {
    count.findings++;
    onFinding({ campaign: "frames", number, what });
  };
  /** What went wrong, if anything did, with its stack: making one for each refusal would cost more than all the rest. */
  const run = (number: number, withStack = false): string | undefined => {
    const { stackTraceLimit } = Error;
    if (!withStack) Error.stackTraceLimit = 0;
    const startMs = performance.now();
    try {
      fuzzer.run(number);
    } catch (thrown) {
      return withStack ? describe(thrown) : (run(number, true) ?? describe(thrown));
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
    const ms = performance.now() - startMs;
    if (ms < SLOW_MS) return undefined;
    return withStack ? `it takes ${ms} ms` : run(number, true);
  };
  const watchdog = new Watchdog(`frames, seed ${seed}, case frames`);
  let inUse: number | undefined;
  try {
    for (let number = only ?? 0; count.findings < FINDINGS_MAX; number++) {
      if (number % 100 === 0) watchdog.beat(number);
      const what = run(number);
      count.cases++;
      if (what !== undefined) report(number, what);
      if (only !== undefined || fuzzer.frames >= frames) break;
      if (number % 1000 === 0) {
        // What Node has put off gets its turn: it frees a decompressor no sooner.
        await setImmediate();
        if (performance.now() > untilMs) break;
      }
      if (number % BATCH !== BATCH - 1) continue;
      if (Object.keys(Object.prototype).length > 0) report(number, "the prototype of objects has new properties");
      // The first batch fills what stays filled.
      const now = bytesInUse();
      inUse ??= now;
      if (now - inUse > GROWTH_BYTES_MAX) report(number, `${now} bytes are in use, and ${inUse} were`);
    }
  } finally {
    await watchdog.stop();
  }
  count.frames = fuzzer.frames;
  add(count.more, "taken", fuzzer.taken);
  add(count.more, "changed", fuzzer.changed);
  for (const [code, times] of fuzzer.refused) add(count.more, code, times);
  return count;
}
