import t from "tap";
import { StreamShares } from "../../src/source/stream-shares.ts";

const MIB = 1024 * 1024;

/** A stream that brings a chunk every so often, for some seconds. */
function after(roundTripMs: number, chunkMs: number, chunks = 40): number {
  const shares = new StreamShares(MIB);
  shares.roundTrip(roundTripMs);
  shares.opened(0, 0);
  for (let i = 1; i <= chunks; i++) shares.acknowledged(0, MIB, i * chunkMs);
  return shares.chunksMax(0);
}

t.test("what a stream brings in four round trips, and one chunk more", async (t) => {
  t.equal(after(100, 100), 5, "10 MiB a second, 400 ms");
  t.equal(after(500, 100), 21);
  t.equal(after(50, 550), 2, "a share of a lossy path");
  t.equal(after(0.1, 5000), 2, "never less than two");
  // 250 MiB a second: more than its window has room for.
  t.ok(after(0.1, 4, 2000) > 16);
});

t.test("what is not known limits nothing", async (t) => {
  const shares = new StreamShares(MIB);
  shares.opened(0, 0);
  for (let i = 1; i <= 40; i++) shares.acknowledged(0, MIB, i * 100);
  t.equal(shares.chunksMax(0), Number.POSITIVE_INFINITY, "no round trip");
  shares.roundTrip(100);
  t.equal(shares.chunksMax(0), 5);
  shares.opened(1, 4000);
  shares.acknowledged(1, MIB, 4100);
  t.equal(shares.chunksMax(1), Number.POSITIVE_INFINITY, "no rate yet");
  t.equal(shares.chunksMax(7), Number.POSITIVE_INFINITY, "no such stream");
  shares.closed(0);
  t.equal(shares.chunksMax(0), Number.POSITIVE_INFINITY);
});

t.test("the shortest round trip counts, and a stream that becomes slow gets less", async (t) => {
  const shares = new StreamShares(MIB);
  shares.roundTrip(800);
  shares.roundTrip(100);
  shares.roundTrip(300);
  shares.opened(0, 0);
  let nowMs = 0;
  const bring = (chunks: number, everyMs: number) => {
    for (let i = 0; i < chunks; i++) {
      nowMs += everyMs;
      shares.acknowledged(0, MIB, nowMs);
    }
  };
  bring(40, 50);
  t.equal(shares.chunksMax(0), 9);
  bring(4, 1000);
  t.equal(shares.chunksMax(0), 2);
  bring(100, 20);
  t.equal(shares.chunksMax(0), 21);
});
