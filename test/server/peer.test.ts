import t from "tap";
import { networkOf, peerOf } from "../../src/server/peer.ts";

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

t.test("what is counted together: an IPv4 address, a /64 of IPv6, a name", async (t) => {
  const cases: [string, string][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:1::", "2001:db8:1:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["fe80::1", "fe80:0:0:0::/64"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0::/64"],
    ["laptop", "laptop"],
    ["cert:alice", "cert:alice"],
    ["cert:a::b", "cert:a::b"],
  ];
  for (const [peer, network] of cases) t.equal(networkOf(peer), network, peer);
  t.not(networkOf("2001:db8:1:2::1"), networkOf("2001:db8:1:3::1"));
});
