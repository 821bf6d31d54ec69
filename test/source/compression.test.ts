/** What `auto` decides on paths and data that are made up, and what comes of it there. */
import t from "tap";
import { Compression } from "../../src/source/compression.ts";
import { type SimulatedPath, simulate } from "../helpers/simulated-path.ts";

const MBIT = 125;
const GBIT = 1000 * MBIT;
const TEXT = () => 0.2;
const RANDOM = () => 1;

const inMode = (mode: "auto" | "zstd" | "none", path: SimulatedPath) =>
  simulate(new Compression(mode, path.workers ?? 2), path);

/** All three modes on one path. */
const compared = (path: SimulatedPath) => ({
  auto: inMode("auto", path),
  zstd: inMode("zstd", path),
  none: inMode("none", path),
});

t.test("none never compresses and takes no sample, zstd always compresses", async (t) => {
  const { zstd, none } = compared({ chunks: 100, pathRate: () => GBIT, ratio: TEXT });
  t.match(none, { compressed: 0, samples: 0 });
  t.match(zstd, { compressed: 100, samples: 0 });
});

t.test("a few bytes are not worth a thread", async (t) => {
  t.equal(new Compression("auto", 2).attempt(4095, 0), "no");
  t.equal(new Compression("zstd", 2).attempt(4095, 0), "no");
});

for (const [what, pathRate, latencyMs] of [
  ["100 Mbit", 100 * MBIT, 1],
  ["100 Mbit, far away", 100 * MBIT, 100],
  ["20 Mbit", 20 * MBIT, 20],
  ["1 Gbit", GBIT, 1],
] as const) {
  t.test(`compressible data over ${what}: much faster`, async (t) => {
    const { auto, zstd, none } = compared({ chunks: 500, pathRate: () => pathRate, latencyMs, ratio: TEXT });
    t.ok(auto.ms < 0.5 * none.ms, `${auto.ms} of ${none.ms} ms`);
    t.ok(auto.ms < 1.4 * zstd.ms, `nearly what zstd does: ${zstd.ms} ms`);
  });
}

for (const [what, path] of Object.entries<Partial<SimulatedPath>>({
  "10 Gbit": { pathRate: () => 10 * GBIT },
  "loopback, 2 cores": { pathRate: () => 1e8, endsRate: 1.2e6 },
  "loopback, 4 cores": { pathRate: () => 1e8, endsRate: 1.2e6, workers: 4 },
  "loopback, 4 slow cores": { pathRate: () => 1e8, endsRate: 5e5, workers: 4, workerRate: 1e5 },
})) {
  t.test(`${what}: as fast as without`, async (t) => {
    for (const ratio of [TEXT, RANDOM]) {
      const { auto, none } = compared({ chunks: 4000, pathRate: () => 1e8, ratio, ...path });
      t.ok(auto.ms < 1.01 * none.ms, `${auto.ms} of ${none.ms} ms, ${auto.compressed} chunks compressed`);
    }
  });
}

t.test("data that can't be compressed costs a small sample now and then, on any path", async (t) => {
  const slow = inMode("auto", { chunks: 500, pathRate: () => 100 * MBIT, ratio: RANDOM });
  t.equal(slow.compressed, 0);
  t.ok(slow.samples > 20 && slow.samples < 60, `${slow.samples} samples in ${slow.ms} ms`);
  const fast = inMode("auto", { chunks: 3200, pathRate: () => 1e8, ratio: RANDOM });
  t.equal(fast.compressed, 0);
  t.ok(fast.samples <= 110, `${fast.samples} samples of 3,200 chunks`);
});

t.test("what compresses by less than a tenth is sent as it is", async (t) => {
  t.equal(inMode("auto", { chunks: 300, pathRate: () => 100 * MBIT, ratio: () => 0.95 }).compressed, 0);
});

t.test("when the data changes it stops soon, and starts again soon", async (t) => {
  const ratio = (chunk: number) => (Math.floor(chunk / 200) % 2 === 0 ? 0.2 : 1);
  const { how } = inMode("auto", { chunks: 800, pathRate: () => 100 * MBIT, ratio });
  const share = (from: number, to: number) => how.slice(from, to).filter(Boolean).length / (to - from);
  t.ok(share(50, 200) > 0.95, "text is compressed");
  t.ok(share(230, 400) < 0.05, "what is no text is not");
  t.ok(share(450, 600) > 0.95, "text is again");
  t.ok(share(630, 800) < 0.05, "and so on");
});

t.test("threads slower than the path are found out, and then seldom tried", async (t) => {
  // A sample promises more than comes of it: the threads of this machine are not what one alone is.
  let busy = 0;
  const compression = new Compression("auto", 4);
  const attempts: string[] = [];
  for (let ms = 0; ms < 120_000; ms += 5) {
    const attempt = compression.attempt(1 << 20, ms);
    attempts.push(attempt);
    if (attempt === "sample") compression.sampled({ bytes: 1 << 17, compressedBytes: 1 << 15, ms: 0.3 });
    if (attempt === "yes") {
      compression.compressed({ bytes: 1 << 20, compressedBytes: 1 << 18, ms: 40 }, ms);
      // Half of what the path carried before.
      if (busy++ % 2 === 0) compression.acknowledged(1 << 20, 1 << 18, ms);
    } else compression.acknowledged(1 << 20, 1 << 20, ms);
  }
  const share = (from: number, to: number) => attempts.slice(from, to).filter((a) => a === "yes").length / (to - from);
  t.ok(share(0, 4000) > 0, "it is tried");
  t.ok(share(0, 24_000) < 0.1, `and given up: ${share(0, 24_000)}`);
  t.ok(share(12_000, 24_000) < 0.05, "less and less often");
});

t.test("a path that becomes fast: compressing that has become the limit gives way", async (t) => {
  const path: SimulatedPath = {
    chunks: 20_000,
    pathRate: (ms) => (ms < 5000 ? 100 * MBIT : 1e8),
    endsRate: 2e6,
    ratio: TEXT,
  };
  const { auto, none } = compared(path);
  t.ok(auto.how.slice(100, 200).every(Boolean), "while it is slow, chunks are compressed");
  t.ok(auto.how.slice(-2000).filter(Boolean).length < 200, "when it is fast they are not");
  t.ok(auto.ms < 1.5 * none.ms, `${auto.ms} of ${none.ms} ms`);
});

t.test("a path that becomes slow: chunks are compressed then", async (t) => {
  const path: SimulatedPath = { chunks: 4000, pathRate: (ms) => (ms < 2000 ? 1e8 : 100 * MBIT), ratio: TEXT };
  const { auto, none } = compared(path);
  t.ok(auto.how.slice(0, 1500).every((compressed) => !compressed));
  t.ok(auto.how.slice(-1000).every(Boolean));
  t.ok(auto.ms < 0.4 * none.ms, `${auto.ms} of ${none.ms} ms`);
});
