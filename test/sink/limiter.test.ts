import t from "tap";
import { Limiter } from "../../src/sink/limiter.ts";

/** Work that ends when it is told to. */
function works(count: number) {
  const log: string[] = [];
  let running = 0;
  let most = 0;
  const ends: (() => void)[] = [];
  const work = (i: number) => async () => {
    log.push(`+${i}`);
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => {
      ends[i] = resolve;
    });
    running--;
    log.push(`-${i}`);
  };
  return { log, ends, all: Array.from({ length: count }, (_, i) => work(i)), most: () => most };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test("at most so many at once, in the order they came", async (t) => {
  const limiter = new Limiter(2);
  const { log, ends, all, most } = works(5);
  const runs = all.map((work) => limiter.run(work));
  await turn();
  t.strictSame(log, ["+0", "+1"]);
  for (let i = 0; i < 5; i++) {
    ends[i]?.();
    await turn();
  }
  await Promise.all(runs);
  t.equal(most(), 2);
  t.strictSame(
    log.filter((entry) => entry.startsWith("+")),
    ["+0", "+1", "+2", "+3", "+4"],
  );
});

t.test("what work returns or throws is what the caller gets, and the next goes on", async (t) => {
  const limiter = new Limiter(1);
  const bad = limiter.run(async () => {
    throw new Error("bad");
  });
  const good = limiter.run(async () => 7);
  await t.rejects(bad, { message: "bad" });
  t.equal(await good, 7);
  await limiter.idle();
});

t.test("idle when nothing runs and nothing waits", async (t) => {
  const limiter = new Limiter(2);
  await limiter.idle();
  const { log, ends, all } = works(3);
  for (const work of all) void limiter.run(work);
  const idle = limiter.idle().then(() => log.push("idle"));
  for (let i = 0; i < 3; i++) {
    await turn();
    ends[i]?.();
  }
  await idle;
  t.strictSame(log, ["+0", "+1", "-0", "+2", "-1", "-2", "idle"]);
});

t.test("idle does not come early when all that runs ends at once", async (t) => {
  const limiter = new Limiter(2);
  const { log, ends, all } = works(3);
  for (const work of all) void limiter.run(work);
  const idle = limiter.idle().then(() => log.push("idle"));
  await turn();
  ends[0]?.();
  ends[1]?.();
  await turn();
  t.notOk(log.includes("idle"), "one has yet to run");
  ends[2]?.();
  await idle;
});

t.test("one that comes while another is woken does not make one too many", async (t) => {
  const limiter = new Limiter(1);
  let running = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++running);
    await turn();
    running--;
  };
  const first = limiter.run(work);
  const second = limiter.run(work);
  await Promise.all([first.then(() => limiter.run(work)), second]);
  const fourth = limiter.run(work);
  await fourth;
  t.equal(most, 1);
});
