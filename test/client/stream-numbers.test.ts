import t from "tap";
import { StreamNumbers } from "../../src/client/stream-numbers.ts";

t.test("the lowest that are free come first, the highest go first", async (t) => {
  const numbers = new StreamNumbers(8);
  t.strictSame(numbers.resize(3), { open: [0, 1, 2], close: [] });
  t.strictSame(numbers.resize(6), { open: [3, 4, 5], close: [] });
  t.strictSame(numbers.resize(4), { open: [], close: [5, 4] });
  t.strictSame(numbers.all, [0, 1, 2, 3]);
  t.equal(numbers.count, 4);
});

t.test("a number is in use until its stream is gone", async (t) => {
  const numbers = new StreamNumbers(4);
  numbers.resize(4);
  numbers.resize(2);
  t.strictSame(numbers.resize(4), { open: [], close: [] }, "both are still leaving");
  t.notOk(numbers.has(3));
  numbers.gone(3);
  t.strictSame(numbers.resize(4), { open: [3], close: [] });
  numbers.gone(2);
  t.strictSame(numbers.resize(4), { open: [2], close: [] });
});

t.test("what can't be had leaves a hole, which is filled first", async (t) => {
  const numbers = new StreamNumbers(8);
  numbers.resize(6);
  numbers.giveUp(1);
  t.equal(numbers.count, 5);
  t.strictSame(numbers.resize(7), { open: [1, 6], close: [] });
});
