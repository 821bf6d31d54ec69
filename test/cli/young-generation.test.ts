import { execFileSync } from "node:child_process";
import t from "tap";

const YOUNG_BYTES_MAX = 8 * 1024 * 1024;
const MODULE = new URL("../../src/cli/young-generation.ts", import.meta.url).href;

/** Makes objects of which some survive for a while, a few at a time until it is bounded, and many afterwards. */
const PROGRAM = `
  import { boundYoungGeneration, youngBytes } from ${JSON.stringify(MODULE)};
  const kept = [];
  const churn = (objects) => {
    for (let i = 0; i < objects; i++) kept[i % 60_000] = { i, text: String(i) };
    return new Promise(setImmediate);
  };
  let isBounded = process.argv[2] !== "bounded";
  if (!isBounded) void boundYoungGeneration(${YOUNG_BYTES_MAX}).then(() => (isBounded = true));
  while (!isBounded) await churn(youngBytes() < ${2 * YOUNG_BYTES_MAX} ? 5_000 : 1);
  const before = youngBytes();
  for (let round = 0; round < 200; round++) await churn(60_000);
  console.log(JSON.stringify({ before, after: youngBytes() }));`;

function run(mode: string): { before: number; after: number } {
  return JSON.parse(
    execFileSync(process.execPath, ["--input-type=module", "-e", PROGRAM, "--", "x", mode], { encoding: "utf8" }),
  );
}

t.test("the room for young objects stops growing", async (t) => {
  const free = run("free");
  t.ok(free.after > 4 * YOUNG_BYTES_MAX, `by itself it comes to ${free.after}`);
  const bounded = run("bounded");
  t.ok(bounded.before >= YOUNG_BYTES_MAX);
  t.equal(bounded.after, bounded.before, "and it stays at what it had");
});
