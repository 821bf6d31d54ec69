import fc from "fast-check";
import t from "tap";
import { Quota } from "../../src/sink/quota.ts";

t.test("what lies counts against what is to come; what is under way gives its room back", async (t) => {
  const quota = new Quota(100);
  quota.set("kept", "ann", 60, false);
  t.throws(() => quota.assertFits("new", "ann", 41), {
    code: "E_QUOTA",
    message: /41 bytes, .* 100, of which 60 are taken/,
  });
  quota.assertFits("new", "ann", 40);
  quota.assertFits("new", "bob", 100);
  quota.assertFits("kept", "ann", 100);
  quota.set("new", "ann", 0, true);
  quota.grow("new", 40);
  t.throws(() => quota.grow("new", 1), { code: "E_QUOTA" });
  t.equal(quota.used("ann"), 101);
  quota.assertFits("third", "ann", 40);
  quota.keep("new");
  t.throws(() => quota.assertFits("third", "ann", 1), { code: "E_QUOTA" });
  t.same(quota.keptBy("ann"), ["kept", "new"]);
  quota.release("new");
  quota.release("new");
  t.equal(quota.used("ann"), 60);
  quota.grow("gone", 1000);
  quota.keep("gone");
});

t.test("the sums are those of the parts, whatever happens", async () => {
  const step = fc.record({
    what: fc.constantFrom("set", "grow", "keep", "release"),
    id: fc.integer({ min: 0, max: 5 }),
    bytes: fc.nat(50),
    isOpen: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const quota = new Quota(1e9);
      const parts = new Map<string, number>();
      for (const { what, id, bytes, isOpen } of steps) {
        const part = `${id}`;
        if (what === "set") {
          quota.set(part, `${id % 2}`, bytes, isOpen);
          parts.set(part, bytes);
        } else if (what === "grow") {
          quota.grow(part, bytes);
          if (parts.has(part)) parts.set(part, (parts.get(part) ?? 0) + bytes);
        } else if (what === "keep") quota.keep(part);
        else {
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
