import t from "tap";
import { sourceBlocks } from "../../src/source/blocks.ts";

const MIB = 1024 * 1024;

t.test("what one stream gave back another reads into, and none is kept when all are gone", async (t) => {
  sourceBlocks.opened();
  sourceBlocks.opened();
  const block = sourceBlocks.take(MIB);
  sourceBlocks.give(block);
  sourceBlocks.closed();
  t.equal(sourceBlocks.take(MIB), block, "of another transfer, perhaps");
  sourceBlocks.closed();
  // The system may have it for longer than the stream was there.
  sourceBlocks.give(block);
  sourceBlocks.opened();
  const other = sourceBlocks.take(MIB);
  t.not(other, block);
  sourceBlocks.give(other);
  sourceBlocks.closed();
});

t.test("it is crowded while much is in use", async (t) => {
  sourceBlocks.opened();
  const blocks = Array.from({ length: 64 }, () => sourceBlocks.take(MIB));
  t.ok(sourceBlocks.isCrowded);
  for (const block of blocks) sourceBlocks.give(block);
  t.notOk(sourceBlocks.isCrowded);
  sourceBlocks.closed();
});
