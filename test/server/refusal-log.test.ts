import t from "tap";
import { RefusalLog } from "../../src/server/refusal-log.ts";

const count = (log: RefusalLog, network: string, times: number, nowMs: number) =>
  Array.from({ length: times }, () => log.tells(network, nowMs)).filter(Boolean).length;

t.test("so many of each address and in all are told in a minute, and the rest is counted", async (t) => {
  const log = new RefusalLog();
  t.equal(count(log, "a", 1000, 0), 30);
  t.equal(count(log, "b", 30, 1), 30, "another address has its own");
  t.equal(log.takeUntold(59_999), 0, "not before the minute is over");
  t.equal(log.takeUntold(60_000), 970);
  t.equal(log.takeUntold(60_001), 0, "once");
  t.equal(count(log, "a", 40, 60_002), 30);
  let told = 0;
  for (let i = 0; i < 1000; i++) told += count(log, `n${i}`, 1, 200_000);
  t.equal(told, 300);
});
