import { platform } from "node:os";
import t from "tap";
import { parseSegments, readSegments, segmentsBetween, segmentsNow } from "../../src/client/segments.ts";

const SNMP = `Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm MaxConn InSegs OutSegs RetransSegs InErrs
Tcp: 1 -1 158000 9007199 42 0
Udp: InDatagrams
Udp: 7
`;

t.test("counters are found by their names", async (t) => {
  t.same(parseSegments(SNMP), { sent: 9_007_199, retransmitted: 42 });
  t.equal(parseSegments(""), null);
  t.equal(parseSegments("Tcp: OutSegs\nTcp: 5\n"), null, "one of them is missing");
  t.equal(parseSegments("Tcp: OutSegs RetransSegs\n"), null, "only names");
});

t.test("what came in between", async (t) => {
  const before = { sent: 100, retransmitted: 5 };
  t.same(segmentsBetween(before, { sent: 150, retransmitted: 7 }), { sent: 50, retransmitted: 2 });
  t.equal(segmentsBetween(before, null), null);
  t.equal(segmentsBetween(null, before), null);
  t.equal(segmentsBetween(before, { sent: 3, retransmitted: 0 }), null, "the counters began anew");
});

t.test("this system's", async (t) => {
  t.equal(readSegments("/nowhere"), null);
  if (platform() !== "linux") return;
  t.ok((segmentsNow()?.sent ?? 0) >= 0);
});
