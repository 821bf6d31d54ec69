import t from "tap";
import { ownAddress } from "../../src/cli/own-address.ts";

const IPv4 = (address: string, internal = false) => ({ address, family: "IPv4" as const, internal });
const IPv6 = (address: string, internal = false) => ({ address, family: "IPv6" as const, internal });

t.test("the first address that others can reach, or the name", async (t) => {
  const lo = [IPv4("127.0.0.1", true), IPv6("::1", true)];
  t.equal(ownAddress({ lo, eth0: [IPv6("2001:db8::7"), IPv4("192.168.1.7")] }, "nas"), "192.168.1.7");
  t.equal(ownAddress({ lo, eth0: [IPv6("fe80::1"), IPv6("2001:db8::7")] }, "nas"), "2001:db8::7");
  t.equal(ownAddress({ lo, eth0: [IPv6("fe80::1"), IPv4("169.254.3.4")], off: undefined }, "nas"), "nas");
});
