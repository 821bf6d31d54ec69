import { execFileSync } from "node:child_process";
import t from "tap";
import { YOUNG_BYTES_MAX } from "../../src/cli/young-generation.ts";

const MODULE = new URL("../../src/cli/young-generation.ts", import.meta.url).href;

/** What the young generation comes to where a part of what is made survives for a while, in a process of its own. */
function youngBytesAfter(seconds: number, bounded: boolean): number {
  const program = `
    import { boundYoungGeneration, youngBytes } from ${JSON.stringify(MODULE)};
    if (${bounded}) boundYoungGeneration();
    const kept = [];
    for (const untilMs = performance.now() + ${seconds * 1000}; performance.now() < untilMs; ) {
      for (let i = 0; i < 20_000; i++) kept[i % 60_000] = { i, text: String(i) };
      kept.push(kept.shift());
      await new Promise(setImmediate);
    }
    console.log(youngBytes());`;
  return Number(execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" }));
}

t.test("the room for young objects stops growing", async (t) => {
  const free = youngBytesAfter(1.5, false);
  t.ok(free > 4 * YOUNG_BYTES_MAX, `it grows to ${free} by itself`);
  const bounded = youngBytesAfter(1.5, true);
  // It may have doubled once more before it was looked at.
  t.ok(bounded < free, `${bounded} of ${free}`);
});
