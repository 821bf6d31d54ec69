import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { BlockPool } from "../../src/net/blocks.ts";
import { SLACK_BYTES } from "../../src/protocol/decoder.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

t.test("a block that was given back is used again, for all that it has room for", async (t) => {
  const pool = new BlockPool();
  const block = pool.take(100_000);
  t.ok(block.length >= 100_000);
  const other = pool.take(100_000);
  t.not(block, other);
  pool.give(block);
  t.not(pool.take(200_000), block);
  t.equal(pool.take(99_000), block);
  t.not(pool.take(100_000), block, "only once");
});

t.test("a chunk of a power of two and its slack waste nothing", async (t) => {
  for (const bytes of [65_536, 1_048_576, 16_777_216]) {
    t.equal(new BlockPool().take(bytes + SLACK_BYTES).length, bytes + SLACK_BYTES);
  }
});

t.test("small ones are not kept", async (t) => {
  const pool = new BlockPool();
  const block = pool.take(1000);
  pool.give(block);
  t.not(pool.take(1000), block);
});

t.test("sizes that nobody asks for any more make room", async (t) => {
  const pool = new BlockPool();
  for (const old of Array.from({ length: 200 }, () => pool.take(2 ** 19))) pool.give(old);
  const block = pool.take(2 ** 20);
  pool.give(block);
  t.equal(pool.take(2 ** 20), block);
});

t.test("what is kept is bounded, whatever is given back", async (t) => {
  const pool = new BlockPool();
  const blocks = new Set(Array.from({ length: 100 }, () => pool.take(2 ** 20)));
  for (const block of blocks) pool.give(block);
  const again = Array.from({ length: 100 }, () => pool.take(2 ** 20)).filter((block) => blocks.has(block));
  t.ok(again.length > 50 && again.length <= 64, `${again.length} MiB of them`);
});

t.test("what is kept does not grow with the number of sizes", async (t) => {
  const pool = new BlockPool();
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 1000; i++) pool.give(pool.take(500_000 + i));
  collect();
  const kept = process.memoryUsage().arrayBuffers - before;
  t.ok(kept < 100_000_000, `${Math.round(kept / 1e6)} MB are kept`);
  t.equal(pool.take(1).length, 1);
});
