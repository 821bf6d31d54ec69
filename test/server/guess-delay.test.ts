import t from "tap";
import { GuessDelay } from "../../src/server/guess-delay.ts";

t.test("each wrong proof from an address waits twice as long as the one before, up to a bound", async (t) => {
  const delay = new GuessDelay({ firstMs: 100, mostMs: 1000 });
  t.same(
    [1, 2, 3, 4, 5, 6].map((nowMs) => delay.wrong("a", nowMs)),
    [100, 200, 400, 800, 1000, 1000],
  );
  t.equal(delay.wrong("b", 7), 100, "others have their own");
  for (let i = 0; i < 1000; i++) delay.wrong("a", 8);
  t.equal(delay.wrong("a", 9), 1000);
});

t.test("it is forgotten when nothing wrong came for long", async (t) => {
  const delay = new GuessDelay({ firstMs: 100, forgetMs: 1000 });
  delay.wrong("a", 0);
  t.equal(delay.wrong("a", 999), 200);
  t.equal(delay.wrong("a", 1998), 400, "counted from the last");
  t.equal(delay.wrong("a", 2998), 100);
});

t.test("what is remembered is bounded, and who guessed last is remembered", async (t) => {
  const delay = new GuessDelay({ firstMs: 100, addressesMax: 3 });
  for (const address of ["a", "b", "c", "a", "d"]) delay.wrong(address, 1);
  t.equal(delay.addresses, 3);
  t.equal(delay.wrong("a", 2), 400);
  t.equal(delay.wrong("b", 2), 100, "forgotten");
});
