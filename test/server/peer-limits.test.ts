import { mock } from "node:test";
import t from "tap";
import { PeerLimits } from "../../src/server/peer-limits.ts";

t.test("all connections of a peer share a limit, and other peers have their own", async (t) => {
  const limits = new PeerLimits(1000);
  const first = limits.enter("10.0.0.1");
  t.equal(limits.enter("10.0.0.1"), first);
  const other = limits.enter("10.0.0.2");
  t.not(other, first);
  t.equal(other.bytesPerSecond, 1000);
  limits.set(2000);
  t.same([first.bytesPerSecond, other.bytesPerSecond], [2000, 2000]);
  t.equal(limits.enter("10.0.0.3").bytesPerSecond, 2000);
  limits.set(null);
  t.ok(first.isOff);
});

t.test("who goes and comes back owes what it owed; then it is forgotten", async (t) => {
  let nowMs = 0;
  const { mock: clock } = mock.method(performance, "now", () => nowMs);
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => {
    mock.timers.reset();
    clock.restore();
  });
  const pass = (ms: number) => {
    nowMs += ms;
    mock.timers.tick(ms);
  };
  const limits = new PeerLimits(10_000);
  const first = limits.enter("::1");
  limits.enter("::1");
  first.take(1000);
  limits.leave("::1");
  limits.leave("::1");
  pass(99);
  t.equal(limits.enter("::1"), first, "it owes 100 ms");
  limits.leave("::1");
  pass(1);
  t.not(limits.enter("::1"), first);
  limits.leave("nobody");
});
