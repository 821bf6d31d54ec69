import t from "tap";
import { LeastProgress } from "../../src/server/least-progress.ts";

const all = () => true;
/** 1,000 bytes in 10 s are enough. */
const progress = () => new LeastProgress<string>({ bytesPerSecond: 100, overMs: 10_000 });

t.test("who moved too little for long enough, for longest", async (t) => {
  const slow = progress();
  slow.note("still", 0, 0);
  slow.note("busy", 0, 0);
  slow.note("young", 0, 5000);
  slow.note("busy", 1000, 9000);
  t.equal(slow.slowest(9_999, all), undefined, "nobody before their time");
  t.equal(slow.slowest(10_000, all), "still");
  t.equal(
    slow.slowest(30_000, (one) => one !== "still"),
    "young",
  );
  slow.forget("still");
  slow.note("young", 1000, 14_000);
  t.equal(slow.slowest(18_000, all), undefined);
});

t.test("trickling is not enough: what was moved counts, not that something was", async (t) => {
  const slow = progress();
  for (let s = 0; s <= 10; s++) slow.note("trickles", s * 99, s * 1000);
  t.equal(slow.slowest(10_000, all), "trickles");
  const enough = progress();
  for (let s = 0; s <= 100; s++) enough.note("goes", s * 100, s * 1000);
  t.equal(enough.slowest(100_000, all), undefined);
});

t.test("who waits for this end is excused, and nobody is slow where nothing is asked", async (t) => {
  const slow = progress();
  slow.note("waits", 0, 0);
  slow.excuse("waits", 0, 9_000);
  t.equal(slow.slowest(18_000, all), undefined);
  t.equal(slow.slowest(19_000, all), "waits");
  const none = new LeastProgress<string>({ bytesPerSecond: null, overMs: 10 });
  none.note("still", 0, 0);
  t.equal(none.slowest(1e9, all), undefined);
});
