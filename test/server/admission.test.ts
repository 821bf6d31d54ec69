import t from "tap";
import { Admission } from "../../src/server/admission.ts";

t.test("connections: no more than there are places", async (t) => {
  const admission = new Admission({ maxConnections: 3, maxSessionsPerPeer: 1 });
  t.strictSame(
    [1, 2, 3, 4].map(() => admission.connect()),
    [true, true, true, false],
  );
  t.equal(admission.connections, 3);
  admission.disconnect();
  t.ok(admission.connect());
});

t.test("a quarter of them, and at least one, may have said nothing yet", async (t) => {
  for (const [maxConnections, most] of [
    [1, 1],
    [7, 1],
    [8, 2],
    [1024, 256],
  ] as const) {
    t.equal(new Admission({ maxConnections, maxSessionsPerPeer: 1 }).undecidedMax, most);
  }
});

t.test("sessions are counted for each peer by itself", async (t) => {
  const admission = new Admission({ maxConnections: 8, maxSessionsPerPeer: 2 });
  t.equal(admission.openSession("a"), undefined);
  t.equal(admission.openSession("a"), undefined);
  t.match(admission.openSession("a"), { code: "E_BUSY" });
  t.equal(admission.openSession("b"), undefined);
  admission.closeSession("a");
  t.equal(admission.openSession("a"), undefined);
  t.match(admission.openSession("a"), { code: "E_BUSY" });
  for (let i = 0; i < 5; i++) admission.closeSession("c");
  t.equal(admission.openSession("c"), undefined);
});
