import { PassThrough } from "node:stream";
import t from "tap";
import type { HawserError } from "../../src/protocol/errors.ts";
import { chunksKept, Feed } from "../../src/source/feed.ts";
import { openInput } from "../../src/source/input.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";

const CHUNK = 1000;
const KEPT = 3;

function started(expectedBytes?: number) {
  const stream = new PassThrough({ highWaterMark: 1 });
  const feed = new Feed(openInput(stream), "it", expectedBytes);
  const log: (number | string)[] = [];
  feed.start(
    { chunkBytes: CHUNK, chunksKept: KEPT },
    {
      onReady: (end) => log.push(end),
      onEnded: (size) => log.push(`ended ${size}`),
      onFailed: ({ code }: HawserError) => log.push(code),
    },
  );
  return { stream, feed, log };
}

const turns = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

t.test("a chunk is ready when it is whole, and kept until it is let go; then the pipe is read on", async (t) => {
  const { stream, feed, log } = started();
  const content = randomBytesOf(6 * CHUNK + 7);
  stream.write(content.subarray(0, CHUNK - 1));
  await turns();
  t.same([log, feed.isWaiting], [[], true]);
  stream.end(content.subarray(CHUNK - 1));
  await turns();
  t.same([log, feed.isWaiting], [[1000, 2000, 3000], false], "no more than may be kept");
  t.ok(same(feed.chunk(CHUNK), content.subarray(CHUNK, 2 * CHUNK)));
  feed.release(CHUNK);
  feed.release(CHUNK);
  await turns();
  t.same(log, [1000, 2000, 3000, 4000]);
  t.equal(feed.chunk(CHUNK), undefined);
  t.ok(same(feed.chunk(0), content.subarray(0, CHUNK)), "its buffer was used again, and no other");
  t.ok(same(feed.chunk(3 * CHUNK), content.subarray(3 * CHUNK, 4 * CHUNK)));
  for (const at of [0, 2, 3]) feed.release(at * CHUNK);
  await turns();
  feed.release(4 * CHUNK);
  await turns();
  t.equal(log.at(-1), "ended 6007");
  t.ok(same(feed.chunk(6 * CHUNK), content.subarray(6 * CHUNK)), "the last is short");
});

t.test("what is not as long as expected fails, too long at once", async (t) => {
  const long = started(10);
  long.stream.write(randomBytesOf(11));
  await turns();
  t.same(long.log, ["E_CONTENT"]);
  t.ok(long.stream.destroyed);
  const short = started(10);
  short.stream.end(randomBytesOf(9));
  await turns();
  t.same(short.log, ["E_CONTENT"]);
  const exact = started(10);
  exact.stream.end(randomBytesOf(10));
  await turns();
  t.same(exact.log, ["ended 10"]);
});

t.test("after it was stopped no end counts, and what was read is there", async (t) => {
  const { stream, feed, log } = started();
  stream.write(randomBytesOf(CHUNK + 1));
  await turns();
  feed.stop();
  stream.end();
  await turns();
  t.same([log, feed.isWaiting], [[1000], false]);
  t.ok(feed.chunk(0));
  feed.close();
  t.notOk(feed.chunk(0));
});

t.test("several chunks are kept for each stream where that is little, and never fewer than keep it busy", (t) => {
  const MIB = 1024 * 1024;
  t.equal(chunksKept(MIB / 16, 1), 8 + 2, "eight for a stream, and two ahead");
  t.equal(chunksKept(MIB, 16), 64 + 2, "64 MiB are the bound");
  t.equal(chunksKept(8 * MIB, 8), 2 * 8 + 2, "but two for a stream are kept in any case");
  t.end();
});
