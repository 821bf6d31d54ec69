/** How many streams `auto` takes on paths that are made up, and what comes of it there, beside fixed numbers. */
import t from "tap";
import { StreamControl, type StreamCounter } from "../../src/client/stream-control.ts";
import { type SimulatedStreams, simulateStreams } from "../helpers/simulated-streams.ts";

const MBIT = 125;
const MIB = 1024 * 1024;
const BOUNDS = { start: 4, most: 64 };
const FIXED = [4, 8, 16, 32, 64];
const SEEDS = [1, 2, 3, 4, 5];

const fixed = (wanted: number): StreamCounter => ({
  wanted,
  held: wanted,
  knowsMost: false,
  everyMs: 100,
  roundTrip: () => {},
  refused: () => {},
  sample: () => wanted,
});

const auto = (path: SimulatedStreams) => simulateStreams(new StreamControl(BOUNDS), path);
const bestOf = (path: SimulatedStreams) => Math.max(...FIXED.map((n) => simulateStreams(fixed(n), path).bytes));
const text = (changes: readonly (readonly [number, number])[]) =>
  changes.map(([ms, n]) => `${(ms / 1000).toFixed(1)} s: ${n}`).join(", ");

/** Where each stream carries its share, and more carry more: the paths of the benchmark, and a window. */
for (const [what, path, part] of [
  ["500 Mbit/s, 50 ms, 0.05% lost", { roundTripMs: 50, rate: () => 500 * MBIT, loss: () => 0.0005 }, 0.85],
  ["500 Mbit/s, 100 ms, 0.1% lost", { roundTripMs: 100, rate: () => 500 * MBIT, loss: () => 0.001 }, 0.7],
  ["200 Mbit/s, 200 ms, clean", { roundTripMs: 200, rate: () => 200 * MBIT }, 0.9],
  ["a Gbit/s, 100 ms, a window of 1 MiB", { roundTripMs: 100, rate: () => 1000 * MBIT, windowBytes: MIB }, 0.85],
] as const) {
  t.test(`${what}: most of the link, and about what the best fixed number carries`, async (t) => {
    const runs = SEEDS.map((seed) => {
      const whole = { ...path, forMs: 20_000, seed };
      const { bytes, changes } = auto(whole);
      return { ofLink: bytes / path.rate() / whole.forMs, ofBest: bytes / bestOf(whole), changes };
    });
    const mean = (of: "ofLink" | "ofBest") => runs.reduce((sum, run) => sum + run[of], 0) / runs.length;
    const how = runs.map(({ changes }) => text(changes)).join("; ");
    t.ok(mean("ofLink") >= part, `${mean("ofLink").toFixed(2)} of the link: ${how}`);
    t.ok(mean("ofBest") >= 0.9, `${mean("ofBest").toFixed(2)} of the best: ${how}`);
  });
}

t.test("a long path is climbed within seconds", async (t) => {
  for (const seed of SEEDS) {
    const { changes } = auto({ roundTripMs: 50, rate: () => 500 * MBIT, loss: () => 0.001, forMs: 6_000, seed });
    t.ok(
      changes.some(([ms, streams]) => ms < 5_000 && streams >= 32),
      text(changes),
    );
  }
});

for (const [what, path] of Object.entries<Omit<SimulatedStreams, "forMs">>({
  "loopback, where each stream costs": { roundTripMs: 0.1, rate: () => 1e6, cost: (n) => 1 - n / 400 },
  "a cap that all share": { roundTripMs: 20, rate: () => 100 * MBIT },
  "a clean long path": { roundTripMs: 200, rate: () => 200 * MBIT },
})) {
  t.test(`${what}: more are tried, bring nothing, and are given back`, async (t) => {
    const { changes, bytes, ms } = auto({ ...path, forMs: 60_000 });
    const timeWithMore = changes.reduce(
      (sum, [at, n], i) => sum + (n > BOUNDS.start ? (changes[i + 1]?.[0] ?? ms) - at : 0),
      0,
    );
    t.ok(timeWithMore > 0 && timeWithMore < 0.6 * ms, text(changes));
    const isBack = ([at, n]: readonly [number, number]) => at > 0 && at < 16_000 && n === BOUNDS.start;
    t.ok(changes.some(isBack), text(changes));
    t.ok(
      changes.filter(([, n], i) => n > (changes[i - 1]?.[1] ?? n)).length <= 4,
      `ever more seldom: ${text(changes)}`,
    );
    t.ok(bytes >= 0.95 * bestOf({ ...path, forMs: 60_000 }));
  });
}

t.test("what ends soon is not worth a trial", async (t) => {
  const { changes } = auto({ roundTripMs: 0.1, rate: () => 1e6, bytes: 1024 * MIB, forMs: 10_000 });
  t.strictSame(changes, [[0, 4]]);
});

t.test("under a rate limit no more are tried than it takes", async (t) => {
  const near = { roundTripMs: 1, rate: () => 1e6, limitBytesPerSecond: 10e6, forMs: 30_000 };
  t.strictSame(auto(near).changes, [[0, 4]], "four do");
  // On a lossy path four carry less than the limit, and some more reach it.
  const far = { roundTripMs: 50, rate: () => 500 * MBIT, loss: () => 0.001, limitBytesPerSecond: 20e6 };
  for (const seed of SEEDS) {
    const { changes, most, bytesPerMs } = auto({ ...far, forMs: 30_000, seed });
    t.ok(most >= 8, text(changes));
    t.ok(bytesPerMs(10_000, 30_000) > 0.85 * 20_000, `${bytesPerMs(10_000, 30_000)} bytes a millisecond`);
  }
});

t.test("a source that is slow needs no more, and what it does not need it gives back", async (t) => {
  const slow = { roundTripMs: 50, rate: () => 500 * MBIT, loss: () => 0.0005, sourceRate: 1000, forMs: 20_000 };
  t.strictSame(auto(slow).changes, [[0, 4]]);
  const control = new StreamControl(BOUNDS);
  simulateStreams(control, { roundTripMs: 50, rate: () => 500 * MBIT, loss: () => 0.001, forMs: 10_000 });
  t.ok(control.wanted >= 32, "while it was fast");
  let nowMs = 10_000;
  for (; nowMs < 30_000; nowMs += 500) {
    const streams = control.wanted;
    const rest = { isStarved: true, remainingBytes: Number.POSITIVE_INFINITY, limitBytesPerSecond: null };
    control.sample({ nowMs, bytes: 1e9 + nowMs, streams, ...rest });
  }
  t.equal(control.wanted, BOUNDS.start);
});

t.test("a server that takes no more is not asked for more again and again", async (t) => {
  const path = { roundTripMs: 50, rate: () => 500 * MBIT, loss: () => 0.001, streamsMax: 10, forMs: 120_000 };
  const { most, refusals, changes, bytes } = auto(path);
  t.equal(most, 10);
  t.ok(refusals <= 4, `${refusals} refusals in two minutes`);
  t.ok(bytes >= 0.9 * simulateStreams(fixed(10), path).bytes, text(changes));
});

t.test("nor where it takes no more than there are from the start, for as long as that lasts", async (t) => {
  const control = new StreamControl(BOUNDS);
  const path = { roundTripMs: 20, rate: () => 100 * MBIT, streamsMax: 4, forMs: 20 * 60_000 };
  const { refusals } = simulateStreams(control, path);
  t.ok(refusals >= 2 && refusals <= 8, `${refusals} refusals in twenty minutes`);
  t.equal(control.wanted, 4);
  t.equal(control.knowsMost, true);
});

t.test("a source that gives nothing is no reason to ask the server all the time", async (t) => {
  const control = new StreamControl(BOUNDS);
  const rest = { streams: 4, remainingBytes: Number.POSITIVE_INFINITY, limitBytesPerSecond: null };
  control.sample({ ...rest, nowMs: 0, bytes: MIB, isStarved: false });
  t.ok(control.everyMs <= 100);
  control.sample({ ...rest, nowMs: 100, bytes: MIB, isStarved: true });
  t.ok(control.everyMs >= 1000);
  control.sample({ ...rest, nowMs: 1100, bytes: 2 * MIB, isStarved: false });
  t.ok(control.everyMs <= 100);
});

t.test("what is held is what carries, and not what is tried", async (t) => {
  const control = new StreamControl(BOUNDS);
  t.same([control.held, control.knowsMost], [4, false]);
  const { streamsAt } = simulateStreams(control, { roundTripMs: 0.1, rate: () => 100 * MBIT, forMs: 10_000 });
  t.equal(control.knowsMost, true, "eight were tried, and brought nothing");
  t.ok(control.held <= streamsAt(10_000), `${control.held}`);
});

t.test("a path that becomes lossy gets more, and one that recovers gets fewer", async (t) => {
  for (const seed of SEEDS) {
    const { streamsAt, changes, bytesPerMs } = auto({
      roundTripMs: 50,
      rate: () => 500 * MBIT,
      loss: (ms) => (ms < 20_000 || ms > 60_000 ? 0 : 0.001),
      forMs: 140_000,
      seed,
    });
    t.ok(streamsAt(15_000) <= 16, text(changes));
    t.ok(Math.max(streamsAt(35_000), streamsAt(45_000), streamsAt(49_000)) >= 32, text(changes));
    t.ok(bytesPerMs(50_000, 60_000) > 0.8 * 500 * MBIT, `${bytesPerMs(50_000, 60_000)} bytes a millisecond`);
    t.ok(streamsAt(139_000) <= 48, `given back: ${text(changes)}`);
  }
});

t.test("a server that has not got anything yet is waited for, however long it takes", async (t) => {
  const control = new StreamControl(BOUNDS);
  control.roundTrip(100);
  const nothing = { bytes: 0, streams: 4, isStarved: false, remainingBytes: 1e12, limitBytesPerSecond: null };
  for (let nowMs = 0; nowMs < 60_000; nowMs += 100) t.equal(control.sample({ nowMs, ...nothing }), 4);
});

t.test("fewer than were to begin with are never wanted, and no more than there may be", async (t) => {
  for (const bounds of [
    { start: 1, most: 64 },
    { start: 4, most: 6 },
    { start: 2, most: 2 },
  ]) {
    const control = new StreamControl(bounds);
    const path = { roundTripMs: 80, rate: () => 500 * MBIT, loss: () => 0.001, forMs: 30_000 };
    const { changes } = simulateStreams(control, path);
    t.ok(
      changes.every(([, n]) => n >= bounds.start && n <= bounds.most),
      text(changes),
    );
    t.ok(bounds.most <= bounds.start || control.wanted > bounds.start);
  }
});
