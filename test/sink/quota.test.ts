import fc from "fast-check";
import t from "tap";
import { Quota } from "../../src/sink/quota.ts";

t.test("what lies and what is under way count together, for each client by itself", async (t) => {
  const quota = new Quota(100);
  quota.lay("kept", "ann", 60);
  t.throws(() => quota.reserve("new", "ann", 41), {
    code: "E_QUOTA",
    message: /41 bytes, .* 100, of which 60 are taken/,
  });
  t.equal(quota.used("ann"), 60, "all is as it was");
  quota.reserve("new", "ann", 40);
  quota.reserve("other", "bob", 100);
  t.throws(() => quota.reserve("kept", "ann", 61), { code: "E_QUOTA" });
  quota.reserve("kept", "ann", 60);
  t.same(quota.lyingOf("ann"), []);
  quota.lay("new", "ann", 10);
  t.same([quota.used("ann"), quota.lyingOf("ann")], [70, ["new"]]);
  quota.release("new");
  quota.release("new");
  t.equal(quota.used("ann"), 60);
  quota.grow("gone", 1000);
  quota.grow("kept", 40);
  t.throws(() => quota.grow("kept", 1), { code: "E_QUOTA" });
});

t.test("who hears that there is no room hears what will be free again, and what will not", async (t) => {
  const quota = new Quota(100);
  quota.lay("left", "ann", 20);
  t.throws(() => quota.reserve("new", "ann", 90), { message: /of which 20 are taken$/ });
  quota.reserve("other", "ann", 30);
  quota.reserve("bobs", "bob", 30);
  t.throws(() => quota.reserve("new", "ann", 90), {
    message: /of which 50 are taken, 30 of them by what is under way: try again when that is done$/,
  });
  t.throws(() => quota.reserve("other", "ann", 90), { message: /of which 20 are taken$/ }, "not what asks");
});

t.test("the sums are those of the parts, whatever happens", async () => {
  const step = fc.record({
    what: fc.constantFrom("reserve", "lay", "grow", "release"),
    id: fc.integer({ min: 0, max: 5 }),
    bytes: fc.nat(50),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const quota = new Quota(1e9);
      const parts = new Map<string, number>();
      for (const { what, id, bytes } of steps) {
        const part = `${id}`;
        if (what === "reserve" || what === "lay") {
          quota[what](part, `${id % 2}`, bytes);
          parts.set(part, bytes);
        } else if (what === "grow") {
          quota.grow(part, bytes);
          if (parts.has(part)) parts.set(part, (parts.get(part) ?? 0) + bytes);
        } else {
          quota.release(part);
          parts.delete(part);
        }
        for (const account of [0, 1]) {
          const sum = [...parts].filter(([key]) => Number(key) % 2 === account).reduce((all, [, own]) => all + own, 0);
          if (quota.used(`${account}`) !== sum) return false;
        }
      }
      return true;
    }),
  );
});
