import t from "tap";
import { DistantLimit, type LimitRequest } from "../../src/net/distant-limit.ts";

function limit() {
  const asked: LimitRequest[] = [];
  return { asked, limit: new DistantLimit((request) => asked.push(request)) };
}

t.test("without a limit nothing is asked, and whoever wants a turn has it", async (t) => {
  const { asked, limit: distant } = limit();
  let turns = 0;
  t.equal(distant.isOff, true);
  distant.turn(() => {
    turns++;
    distant.take(1_000_000);
  });
  distant.take(100);
  t.equal(turns, 1);
  t.same(asked, []);
  t.equal(distant.sliceBytes(10), Number.POSITIVE_INFINITY);
});

t.test("each turn is asked for with its slice, and what is used more or less of it is said", async (t) => {
  const { asked, limit: distant } = limit();
  distant.set(1_000_000);
  const order: string[] = [];
  const taker = (name: string, bytes: number) => () => {
    order.push(name);
    distant.take(bytes);
  };
  distant.turn(taker("a", 10_000));
  distant.turn(taker("b", 10_032));
  distant.turn(taker("c", 4_000));
  const turn = { type: "turn", bytes: 10_000 };
  t.same(asked.splice(0), [turn, turn, turn]);
  t.same(order, [], "nobody goes before the owner says so");
  distant.granted(10_000);
  t.same(asked, [], "exactly what was granted");
  distant.granted(10_000);
  distant.granted(10_000);
  t.same(order, ["a", "b", "c"]);
  t.same(asked.splice(0), [
    { type: "took", bytes: 32 },
    { type: "took", bytes: -6_000 },
  ]);
  distant.take(40);
  t.same(asked, [{ type: "took", bytes: 40 }], "messages count, and wait for nothing");
});

t.test("a turn that nobody waits for any more is given back", async (t) => {
  const { asked, limit: distant } = limit();
  distant.set(1_000_000);
  const gone = () => t.fail("it is gone");
  distant.turn(gone);
  distant.forget(gone);
  asked.length = 0;
  distant.granted(10_000);
  t.same(asked, [{ type: "took", bytes: -10_000 }]);
});

t.test("when the limit ends nobody waits any more", async (t) => {
  const { limit: distant } = limit();
  distant.set(1_000);
  let turns = 0;
  distant.turn(() => turns++);
  distant.turn(() => turns++);
  distant.set(500);
  t.equal(turns, 0);
  distant.set(null);
  t.equal(turns, 2);
});
