import t from "tap";
import { DiskWork, type Load, threadLoad, WorkSampler, withThreads } from "../../src/net/load.ts";

t.test("what was not measured is taken for like what was", async (t) => {
  const disk = new DiskWork();
  t.equal(disk.waitedMicros, 0);
  disk.add(1000, undefined);
  t.equal(disk.waitedMicros, 0, "nothing is known yet");
  disk.add(1000, { wallMicros: 500, cpuMicros: 100 });
  disk.add(2000, { wallMicros: 300, cpuMicros: 100 });
  t.equal(disk.bytes, 4000);
  t.equal(disk.waitedMicros, 800, "600 for 3,000 bytes");
  disk.add(4000, { wallMicros: 100, cpuMicros: 900 });
  t.equal(disk.waitedMicros, 0, "a processor's ticks are counted in steps");
});

t.test("the first pieces of work are measured, and one in seven after them", async (t) => {
  const sampler = new WorkSampler();
  const measured = Array.from({ length: 43 }, () => sampler.start() !== undefined);
  t.ok(measured.slice(0, 8).every(Boolean));
  t.equal(measured.slice(8).filter(Boolean).length, 5);
});

t.test("a piece of work", async (t) => {
  const done = new WorkSampler().start();
  const untilMs = performance.now() + 30;
  while (performance.now() < untilMs);
  const spent = done?.();
  t.ok((spent?.wallMicros ?? 0) >= 30_000, `${spent?.wallMicros}`);
  t.ok((spent?.cpuMicros ?? -1) >= 0);
});

t.test("of several threads the busiest is told", async (t) => {
  const load: Load = {
    clockMicros: 100,
    cpuMicros: 90,
    threadMicros: 20,
    busyMicros: 30,
    diskMicros: 50,
    heldMicros: 0,
    diskBytes: 1,
    cores: 4,
  };
  t.same(withThreads(load, []), load);
  const [a, b] = [
    { threadMicros: 40, busyMicros: 50 },
    { threadMicros: 39, busyMicros: 60 },
  ];
  t.same(withThreads(load, [a, b]), { ...load, threadMicros: 39, busyMicros: 60, diskMicros: 25 });
  const idle = { threadMicros: 90, busyMicros: 10 };
  t.same(withThreads(load, [idle]), load, "which may be this one");
  const own = threadLoad();
  t.ok(own.threadMicros > 0 && own.busyMicros >= 0);
});
