import t from "tap";
import { Admission } from "../../src/server/admission.ts";

t.test("connections: no more than there are places, and a quarter for those that have said nothing", async (t) => {
  const admission = new Admission({ maxConnections: 8, maxSessionsPerPeer: 1 });
  t.strictSame(
    [1, 2, 3].map(() => admission.connect()),
    [true, true, false],
  );
  admission.decided();
  t.ok(admission.connect());
  t.notOk(admission.connect());
  for (let i = 0; i < 5; i++) {
    admission.decided();
    t.ok(admission.connect());
  }
  t.equal(admission.connections, 8);
  admission.decided();
  t.notOk(admission.connect(), "all places are taken");
  admission.disconnect();
  t.ok(admission.connect());
});

t.test("at least one connection may be about to say what it wants", async (t) => {
  const admission = new Admission({ maxConnections: 1, maxSessionsPerPeer: 1 });
  t.ok(admission.connect());
  t.notOk(admission.connect());
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
