import t from "tap";
import { Watch } from "../../src/client/watch.ts";

t.test("without progress for the timeout it is over; waiting for somebody does not count", async (t) => {
  const watch = new Watch(1000, 5000);
  t.notOk(watch.isTimedOut(6000));
  t.ok(watch.isTimedOut(6001));
  watch.progress(6000);
  t.notOk(watch.isTimedOut(7000));
  watch.waits(7500);
  t.notOk(watch.isTimedOut(8500));
  t.ok(watch.isTimedOut(8501));
  t.equal(watch.stillMs(8501), 2501, "but nothing has moved all the while");
});

t.test("bytes that come put the end off, ten timeouts at most", async (t) => {
  const watch = new Watch(1000, 0);
  watch.onReceived([0, 0], 500);
  t.equal(watch.stillMs(900), 900, "that none came yet is no news");
  for (let ms = 900; ms <= 10_000; ms += 900) {
    watch.onReceived([0, ms], ms);
    t.notOk(watch.isTimedOut(ms));
    t.equal(watch.stillMs(ms), 0);
  }
  t.equal(watch.movedMsOf(0), 0);
  t.equal(watch.movedMsOf(1), 9900);
  watch.onReceived([0, 20_000], 10_001);
  t.ok(watch.isTimedOut(10_001), "no chunk came whole");
  watch.progress(10_001);
  t.notOk(watch.isTimedOut(11_001));
  t.ok(watch.isTimedOut(11_002), "they stopped coming");
});

t.test("a server that counts anew has not got more", async (t) => {
  const watch = new Watch(1000, 0);
  watch.onReceived([500], 100);
  watch.onReceived([20], 900);
  t.equal(watch.stillMs(900), 800);
  watch.onReceived([21], 950);
  t.equal(watch.stillMs(950), 0);
});

t.test("time for which the program was stopped is nobody's", async (t) => {
  const watch = new Watch(1000, 0);
  t.equal(watch.awayMs(500, 500), 0);
  t.equal(watch.awayMs(1400, 500), 0, "late, as under load");
  t.equal(watch.awayMs(61_900, 500), 60_000);
  t.notOk(watch.isTimedOut(61_000));
  t.ok(watch.isTimedOut(61_002));
});

t.test("what a rate limit explains is not late", async (t) => {
  const pace = { turnMs: 300, roundMs: 5000 };
  const watch = new Watch(1000, 0);
  t.notOk(watch.isTimedOut(1300, pace));
  t.ok(watch.isTimedOut(1301, pace), "no slice came in its turn");
  for (let ms = 1000; ms <= 15_000; ms += 1000) watch.onReceived([ms], ms);
  t.notOk(watch.isTimedOut(15_000, pace));
  t.ok(watch.isTimedOut(15_001, pace), "no chunk came whole, though all of them had the time");
});
