import t from "tap";
import { etaMs, RateMeter } from "../../src/client/rate.ts";

const near = (a: number, b: number, part = 0.02) => Math.abs(a - b) <= part * b;

t.test("a steady rate is what is shown, from the start", async (t) => {
  const meter = new RateMeter(1000);
  t.equal(meter.update(0, 1000), 0, "no time has passed");
  for (let ms = 100; ms <= 10_000; ms += 100) {
    t.ok(near(meter.update(ms * 500, 1000 + ms), 500_000), `after ${ms} ms`);
  }
});

t.test("it doesn't matter how often it is asked", async (t) => {
  const rateAfter = (stepMs: number) => {
    const meter = new RateMeter(0);
    let rate = 0;
    for (let ms = stepMs; ms <= 20_000; ms += stepMs) {
      rate = meter.update(ms <= 10_000 ? ms * 1000 : 10_000_000 + (ms - 10_000) * 100, ms);
    }
    return rate;
  };
  t.ok(near(rateAfter(10), rateAfter(500), 0.05), `${rateAfter(10)} and ${rateAfter(500)}`);
});

t.test("a stall shows, and so does its end", async (t) => {
  const meter = new RateMeter(0);
  for (let ms = 100; ms <= 5000; ms += 100) meter.update(ms * 1000, ms);
  let rate = 0;
  for (let ms = 5100; ms <= 20_000; ms += 100) rate = meter.update(5_000_000, ms);
  t.ok(rate < 10_000 && rate >= 0, `${rate}`);
  for (let ms = 20_100; ms <= 40_000; ms += 100) rate = meter.update(5_000_000 + (ms - 20_000) * 1000, ms);
  t.ok(near(rate, 1_000_000));
});

t.test("a clock that stands still or goes back changes nothing", async (t) => {
  const meter = new RateMeter(0);
  const rate = meter.update(1000, 500);
  t.equal(meter.update(9999, 500), rate);
  t.equal(meter.update(9999, 400), rate);
});

t.test("what one may expect", async (t) => {
  t.equal(etaMs(1000, 500), 2000);
  t.equal(etaMs(0, 500), 0);
  t.equal(etaMs(1000, 0), null);
});
