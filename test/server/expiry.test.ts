import { performance } from "node:perf_hooks";
import t, { type Test } from "tap";
import { Expiry } from "../../src/server/expiry.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import { Unfinished } from "../../src/sink/unfinished.ts";
import { leave, offerOf } from "../helpers/received.ts";

const TTL_MS = 3_600_000;
const DAY_MS = 24 * 3_600_000;

/** Both clocks, in a test's hands. */
function clocks(t: Test) {
  const real = { now: Date.now, monotonic: performance.now };
  const clock = { wallMs: 1_700_000_000_000, monotonicMs: 5_000_000 };
  Date.now = () => clock.wallMs;
  performance.now = () => clock.monotonicMs;
  t.teardown(() => {
    Date.now = real.now;
    performance.now = real.monotonic;
  });
  const pass = (ms: number) => {
    clock.wallMs += ms;
    clock.monotonicMs += ms;
  };
  return { clock, pass };
}

function setUp(t: Test, ttlMs = TTL_MS) {
  const time = clocks(t);
  const sink = new MemorySink();
  const store = new MemorySessionStore();
  const expired: string[] = [];
  /** A server that starts over what there is. */
  const start = () =>
    new Expiry({
      store,
      unfinished: new Unfinished(sink, store),
      ttlMs,
      onExpired: ({ transferId, peer }) => void expired.push(`${transferId} ${peer}`),
    });
  const abandoned = (id: string) => leave(sink, store, id, offerOf(`file of ${id}`, 10));
  return { ...time, sink, store, expired, start, abandoned };
}

t.test("what nobody comes back for goes when its time is over, with its parts, and it is told", async (t) => {
  const { pass, sink, store, expired, start, abandoned } = setUp(t);
  const expiry = start();
  await expiry.sweep();
  await abandoned("a");
  await expiry.sweep();
  pass(TTL_MS / 2);
  await abandoned("b");
  await expiry.sweep();
  pass(TTL_MS / 2 - 1);
  await expiry.sweep();
  t.strictSame(expired, []);
  pass(1);
  await expiry.sweep();
  t.strictSame(expired, ["t-a 192.0.2.1"]);
  t.strictSame(
    (await store.list()).map(({ id }) => id),
    ["b"],
  );
  t.equal(sink.partsKept, 1);
  pass(TTL_MS / 2);
  await expiry.sweep();
  t.strictSame(expired, ["t-a 192.0.2.1", "t-b 192.0.2.1"]);
  t.equal(sink.partsKept, 0);
  await expiry.sweep();
  t.equal(expired.length, 2, "once");
});

t.test("a session that lives never goes, however old it is", async (t) => {
  const { pass, store, expired, start, abandoned } = setUp(t);
  const expiry = start();
  await abandoned("a");
  await expiry.sweep();
  await store.open("a");
  pass(100 * TTL_MS);
  await expiry.sweep();
  t.strictSame(expired, []);
  await store.close("a");
  await expiry.sweep();
  pass(TTL_MS - 1);
  await expiry.sweep();
  t.strictSame(expired, [], "its time begins when it is let go of");
  pass(1);
  await expiry.sweep();
  t.equal(expired.length, 1);
});

t.test("one that is opened while it is looked for what has expired stays", async (t) => {
  const { pass, store, expired, start, abandoned } = setUp(t);
  const expiry = start();
  await abandoned("a");
  await expiry.sweep();
  pass(TTL_MS);
  const list = store.list.bind(store);
  store.list = async () => {
    const found = await list();
    await store.open("a");
    return found;
  };
  await expiry.sweep();
  t.strictSame(expired, []);
});

for (const jumpMs of [DAY_MS, -DAY_MS]) {
  const which = jumpMs > 0 ? "forward" : "back";
  t.test(`a wall clock that jumps ${which} by a day changes nobody's time`, async (t) => {
    const { clock, pass, expired, start, abandoned } = setUp(t);
    const expiry = start();
    await expiry.sweep();
    await abandoned("known");
    await expiry.sweep();
    await abandoned("just left");
    clock.wallMs += jumpMs;
    await expiry.sweep();
    t.strictSame(expired, []);
    pass(TTL_MS - 1);
    await expiry.sweep();
    t.strictSame(expired, []);
    pass(1);
    await expiry.sweep();
    t.equal(expired.length, 2);
  });
}

t.test("over a restart the wall clock counts", async (t) => {
  const { clock, pass, expired, start, abandoned } = setUp(t);
  await abandoned("a");
  pass(TTL_MS - 1000);
  // Another process, and another monotonic clock.
  clock.monotonicMs = 10;
  const second = start();
  await second.sweep();
  t.strictSame(expired, []);
  pass(999);
  await second.sweep();
  t.strictSame(expired, []);
  pass(1);
  await second.sweep();
  t.equal(expired.length, 1);
});

t.test("a clock that went back over a restart is as if nothing had been waited, and no more", async (t) => {
  const { clock, pass, expired, start, abandoned } = setUp(t);
  await abandoned("a");
  clock.wallMs -= DAY_MS;
  const second = start();
  await second.sweep();
  pass(TTL_MS - 1);
  await second.sweep();
  t.strictSame(expired, []);
  pass(1);
  await second.sweep();
  t.equal(expired.length, 1, "not a day later");
});

t.test("what waited longer than its time while no server ran goes with the first look", async (t) => {
  const { pass, expired, start, abandoned } = setUp(t);
  await abandoned("a");
  pass(100 * DAY_MS);
  await start().sweep();
  t.equal(expired.length, 1);
});

t.test("a store that can't be read costs a sweep, and not the server", async (t) => {
  const { pass, store, expired, start, abandoned } = setUp(t);
  const expiry = start();
  await abandoned("a");
  await expiry.sweep();
  pass(TTL_MS);
  const list = store.list.bind(store);
  store.list = () => Promise.reject(new Error("the disk is full"));
  await t.resolves(expiry.sweep());
  store.list = list;
  await Promise.all([expiry.sweep(), expiry.sweep()]);
  t.equal(expired.length, 1, "one sweep at a time");
});
