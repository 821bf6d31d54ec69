import t from "tap";
import { peerOf } from "../../src/server/peer.ts";

t.test("one peer has one name, however its address is written", async (t) => {
  const cases: [string, string][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:192.0.2.1", "192.0.2.1"],
    ["::1", "::1"],
    ["2001:DB8::A", "2001:db8::a"],
    ["fe80::1%eth0", "fe80::1"],
    ["FE80::1%ETH0", "fe80::1"],
    ["::ffff:192.0.2.1%eth0", "192.0.2.1"],
    ["2001:db8::ffff:192", "2001:db8::ffff:192"],
  ];
  for (const [address, peer] of cases) t.equal(peerOf(address), peer, address);
});
