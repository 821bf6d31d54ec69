import fc from "fast-check";
import t from "tap";
import { CATCH_UP_MS, Pace, READ_SLICE_MS, sliceBytesOf, WRITE_SLICE_MS } from "../../src/net/pace.ts";
import { STREAMS_MAX } from "../../src/protocol/limits.ts";

const MIB = 1024 * 1024;
const WINDOW_MS = 5000;

t.test("a debt has to be paid, in time", async (t) => {
  const pace = new Pace(1000, 0);
  t.equal(pace.delayMs(0), 0);
  t.equal(pace.take(500, 0), 500);
  t.equal(pace.delayMs(200), 300);
  t.equal(pace.take(100, 500), 100, "what was paid is paid");
  t.equal(pace.msFor(2000), 2000);
  t.equal(pace.delayMs(100), 100, "a clock that goes back pays for nothing");
});

t.test("what nobody took is soon forgotten", async (t) => {
  const pace = new Pace(1000, 0);
  t.equal(pace.take(CATCH_UP_MS, 60_000), 0);
  t.equal(pace.take(1, 60_000), 1);
  t.equal(pace.take(-1, 60_000), 0, "taken and not used");
  t.equal(pace.take(-1000, 60_000), 0);
  t.equal(pace.take(CATCH_UP_MS + 1, 60_000), 1, "that is no way to save up either");
});

t.test("without a limit nothing waits, and nothing is owed afterwards", async (t) => {
  const pace = new Pace(null, 0);
  t.equal(sliceBytesOf(null, WRITE_SLICE_MS), Number.POSITIVE_INFINITY);
  t.equal(pace.take(1e12, 0), 0);
  t.equal(pace.msFor(1e12), 0);
  pace.set(1000, 10);
  t.equal(pace.delayMs(10), 0);
  t.equal(pace.take(1, 10), 1);
});

t.test("a debt of another rate is paid soon", async (t) => {
  const pace = new Pace(100 * MIB, 0);
  pace.take(MIB, 0);
  pace.set(1024, 0);
  t.equal(pace.delayMs(0), CATCH_UP_MS);
  pace.set(null, 0);
  t.equal(pace.delayMs(0), 0);
});

t.test("a slice is a fraction of a second", async (t) => {
  t.ok(sliceBytesOf(1024, WRITE_SLICE_MS) <= 256);
  t.equal(sliceBytesOf(10 * MIB, WRITE_SLICE_MS), Math.floor((10 * MIB) / 100));
  t.ok(
    CATCH_UP_MS + READ_SLICE_MS * (STREAMS_MAX + 1) < WINDOW_MS / 20,
    "what idle connections hold is paid within 5%",
  );
});

interface Phase {
  readonly rate: number;
  readonly workMs: number;
  readonly idleMs: number;
  /** How late the timers are, at most. */
  readonly lateMs: number;
  readonly takers: number;
}

interface Taken {
  readonly atMs: number;
  readonly bytes: number;
}

/** Takers that want all they can get, one phase after the other, each with a rate of its own and a pause in the middle. */
function simulate(phases: readonly Phase[], random: () => number) {
  const taken: Taken[] = [];
  const rates: { readonly fromMs: number; readonly toMs: number; readonly rate: number }[] = [];
  const pace = new Pace(null, 0);
  let nowMs = 0;
  for (const { rate, workMs, idleMs, lateMs, takers } of phases) {
    const fromMs = nowMs;
    pace.set(rate, nowMs);
    for (const pauseMs of [0, idleMs]) {
      nowMs += pauseMs;
      const endMs = nowMs + workMs;
      while (nowMs < endMs) {
        const delayMs = pace.delayMs(nowMs);
        if (delayMs > 0) nowMs += Math.ceil(delayMs) + Math.floor(random() * (lateMs + 1));
        // Whoever waits has its turn, one after the other, as long as nothing is owed.
        for (let i = 0; i < takers && pace.delayMs(nowMs) === 0; i++) {
          const bytes = Math.ceil(sliceBytesOf(rate, WRITE_SLICE_MS) * (1 - random() / 2));
          pace.take(bytes, nowMs);
          taken.push({ atMs: nowMs, bytes });
        }
      }
    }
    rates.push({ fromMs, toMs: nowMs, rate });
  }
  return { taken, rates };
}

const phase: fc.Arbitrary<Phase> = fc.record({
  rate: fc.double({ min: 64 * 1024, max: 100 * MIB, noNaN: true }),
  workMs: fc.integer({ min: 100, max: 9000 }),
  idleMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 20_000 })),
  lateMs: fc.integer({ min: 0, max: 80 }),
  takers: fc.integer({ min: 1, max: 64 }),
});
const chances = fc.infiniteStream(fc.double({ noNaN: true, min: 0, max: 1 }));

t.test("over any five seconds it is no more than 5% above the limit, whatever changes meanwhile", async (t) => {
  fc.assert(
    fc.property(fc.array(phase, { minLength: 1, maxLength: 4 }), chances, (phases, chance) => {
      const { taken, rates } = simulate(phases, () => chance.next().value as number);
      let first = 0;
      let sum = 0;
      for (const { atMs, bytes } of taken) {
        sum += bytes;
        while (taken[first]!.atMs <= atMs - WINDOW_MS) sum -= taken[first++]!.bytes;
        const most = rates.reduce((total, { fromMs, toMs, rate }) => {
          const ms = Math.min(atMs, toMs) - Math.max(atMs - WINDOW_MS, fromMs);
          // Each rate that holds for a part of the window brings its own catch-up, and so its own 5%.
          return ms < 0 ? total : total + (rate / 1000) * (ms + 0.05 * WINDOW_MS);
        }, 0);
        if (sum > most) return false;
      }
      return taken.length > 0;
    }),
    { numRuns: 100 },
  );
  t.pass();
});

t.test("who wants all gets all: over five seconds it is no more than 5% below", async (t) => {
  fc.assert(
    fc.property(phase, chances, ({ rate, lateMs, takers }, chance) => {
      const { taken } = simulate(
        [{ rate, lateMs, takers, workMs: 12_000, idleMs: 0 }],
        () => chance.next().value as number,
      );
      for (let fromMs = 0; fromMs + WINDOW_MS <= 12_000; fromMs += 500) {
        const inWindow = taken.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + WINDOW_MS);
        const sum = inWindow.reduce((total, { bytes }) => total + bytes, 0);
        if (sum < 0.95 * (rate / 1000) * WINDOW_MS) return false;
      }
      return true;
    }),
    { numRuns: 50 },
  );
  t.pass();
});
