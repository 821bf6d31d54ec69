import t from "tap";
import { NameLocks } from "../../src/sink/name-locks.ts";
import { nameOf } from "../helpers/bytes.ts";

t.test("one at a time for a name, in the order they came; others don't wait", async (t) => {
  const locks = new NameLocks();
  const log: string[] = [];
  const hold = (name: string, label: string) =>
    locks.hold(nameOf(name), async () => {
      log.push(`+${label}`);
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`-${label}`);
    });
  await Promise.all([hold("a", "1"), hold("a", "2"), hold("b", "3"), hold("a", "4")]);
  const ofA = log.filter((entry) => !entry.endsWith("3"));
  t.strictSame(ofA, ["+1", "-1", "+2", "-2", "+4", "-4"]);
  t.ok(log.indexOf("+3") < log.indexOf("-1"));
});

t.test("a failure is the holder's, and the next goes on", async (t) => {
  const locks = new NameLocks();
  const bad = locks.hold(nameOf("a"), async () => {
    throw new Error("bad");
  });
  const good = locks.hold(nameOf("a"), async () => "good");
  await t.rejects(bad, { message: "bad" });
  t.equal(await good, "good");
  t.equal(await locks.hold(nameOf("a"), async () => 1), 1);
});

t.test("names are told apart byte by byte", async (t) => {
  const locks = new NameLocks();
  await locks.hold(Uint8Array.of(0xff), () => locks.hold(Uint8Array.of(0xfe), async () => {}));
  t.pass("neither waits for the other");
});
