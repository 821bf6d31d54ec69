import t from "tap";
import { type WorkerCircumstances, workersFor } from "../../src/client/worker-count.ts";

const GIB = 1024 ** 3;
const most: WorkerCircumstances = { cores: 16, isEncrypted: true, isPiped: false, bytes: GIB, streams: 64 };
const auto = (rest: Partial<WorkerCircumstances>) => workersFor("auto", { ...most, ...rest });

t.test("as many as are asked for, and no more than there are streams", async (t) => {
  for (const [wanted, count] of [
    [0, 0],
    [1, 1],
    [16, 16],
  ] as const) {
    t.equal(workersFor(wanted, { ...most, cores: 1, isEncrypted: false, bytes: 1 }), count);
  }
  t.equal(workersFor(8, { ...most, streams: 3 }), 3);
  t.equal(workersFor(8, { ...most, isPiped: true }), 0);
});

t.test("auto: none where they cost more than they bring", async (t) => {
  for (const cores of [1, 2, 3]) t.equal(auto({ cores }), 0, `${cores} cores`);
  t.equal(auto({ cores: 4 }), 2);
  t.equal(auto({}), 2);
  t.equal(auto({ isEncrypted: false }), 0);
  t.equal(auto({ isPiped: true }), 0);
  t.equal(auto({ bytes: 100 * 1024 ** 2 }), 0);
  t.equal(auto({ bytes: null }), 2, "what is found on the way may be much");
  t.equal(auto({ streams: 1 }), 0, "one that has the one stream is no faster");
});
