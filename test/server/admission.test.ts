import t from "tap";
import { Admission, type AdmissionLimits } from "../../src/server/admission.ts";

const admissionOf = (limits: Partial<AdmissionLimits>) =>
  new Admission({ maxConnections: 8, maxConnectionsPerPeer: 8, maxSessions: 8, maxSessionsPerPeer: 8, ...limits });

t.test("connections: no more than there are places, in all and for each address", async (t) => {
  const admission = admissionOf({ maxConnections: 3, maxConnectionsPerPeer: 2 });
  t.equal(admission.connect("a"), undefined);
  t.equal(admission.connect("a"), undefined);
  t.match(admission.connect("a"), { code: "E_BUSY", message: /from this address/ });
  t.equal(admission.connect("b"), undefined);
  t.match(admission.connect("c"), { code: "E_BUSY", message: /as many connections as it allows/ });
  t.equal(admission.connections, 3);
  admission.disconnect("a");
  t.equal(admission.connect("c"), undefined);
});

t.test("a quarter of the places is kept from connections that their transfers can do without", async (t) => {
  const all = admissionOf({ maxConnections: 8 });
  for (let i = 0; i < 6; i++) t.equal(all.connect("a", true), undefined);
  t.match(all.connect("b", true), { code: "E_BUSY" });
  t.equal(all.connect("b"), undefined);
  t.equal(all.connect("c"), undefined);
  const own = admissionOf({ maxConnectionsPerPeer: 4 });
  for (let i = 0; i < 3; i++) t.equal(own.connect("a", true), undefined);
  t.match(own.connect("a", true), { code: "E_BUSY", message: /from this address/ });
  t.equal(own.connect("b", true), undefined, "what one address has is not another's matter");
  t.equal(own.connect("a"), undefined);
});

t.test("a quarter as many, and at least one, may have said nothing yet", async (t) => {
  for (const [max, most] of [
    [1, 1],
    [7, 1],
    [8, 2],
    [1024, 256],
  ] as const) {
    t.equal(admissionOf({ maxConnections: max }).undecidedMax, most);
    t.equal(admissionOf({ maxConnectionsPerPeer: max }).undecidedMaxPerPeer, most);
  }
});

t.test("sessions are counted for each address by itself", async (t) => {
  const admission = admissionOf({ maxSessionsPerPeer: 2 });
  t.equal(admission.openSession("a"), undefined);
  t.equal(admission.openSession("a"), undefined);
  t.ok(admission.hasAllItsSessions("a"));
  t.match(admission.openSession("a"), { code: "E_BUSY" });
  t.equal(admission.openSession("b"), undefined);
  admission.closeSession("a");
  t.equal(admission.openSession("a"), undefined);
  t.match(admission.openSession("a"), { code: "E_BUSY" });
  for (let i = 0; i < 5; i++) admission.closeSession("c");
  t.equal(admission.openSession("c"), undefined);
});

t.test("and all together", async (t) => {
  const admission = admissionOf({ maxSessions: 2 });
  t.equal(admission.openSession("a"), undefined);
  t.equal(admission.openSession("b"), undefined);
  t.match(admission.openSession("c"), { code: "E_BUSY", message: /as many transfers under way as it allows/ });
  t.notOk(admission.hasAllItsSessions("c"));
  admission.closeSession("a");
  t.equal(admission.openSession("c"), undefined);
});
