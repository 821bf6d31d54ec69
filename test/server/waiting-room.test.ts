import fc from "fast-check";
import t from "tap";
import { WaitingRoom } from "../../src/server/waiting-room.ts";

t.test("who came first of the address that has most goes for who comes", async (t) => {
  const room = new WaitingRoom<string>({ max: 4, maxPerNetwork: 4 });
  t.equal(room.enter("honest", "h"), undefined);
  for (const one of ["a1", "a2", "a3"]) t.equal(room.enter("a", one), undefined);
  t.equal(room.enter("b", "b1"), "a1");
  t.equal(room.enter("a", "a4"), "a2");
  room.leave("honest", "h");
  room.leave("honest", "h");
  t.equal(room.count, 3);
  t.equal(room.enter("c", "c1"), undefined);
});

t.test("no address has more than its share, however much room there is", async (t) => {
  const room = new WaitingRoom<number>({ max: 100, maxPerNetwork: 2 });
  t.same(
    [1, 2, 3, 4].map((one) => room.enter("a", one)),
    [undefined, undefined, 1, 2],
  );
  t.equal(room.enter("b", 5), undefined);
});

t.test("never more than there are places, and nobody goes twice", async () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.boolean()), { maxLength: 200 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 8 }), (moves, max, maxPerNetwork) => {
      const room = new WaitingRoom<number>({ max, maxPerNetwork });
      const here = new Map<number, string>();
      for (const [i, [from, comes]] of moves.entries()) {
        if (comes) {
          here.set(i, `${from}`);
          const gone = room.enter(`${from}`, i);
          if (gone !== undefined && !here.delete(gone)) return false;
        } else {
          const [first] = here;
          if (first === undefined) continue;
          here.delete(first[0]);
          room.leave(first[1], first[0]);
        }
        if (room.count !== here.size || room.count > max) return false;
      }
      return true;
    }),
  );
});
