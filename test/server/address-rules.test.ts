import t from "tap";
import { parseNetwork } from "../../src/net/network.ts";
import { AddressRules } from "../../src/server/address-rules.ts";

t.test("all may come where nothing is said; else those that are allowed, less those that are denied", async (t) => {
  t.ok(new AddressRules().admits("192.0.2.1"));
  t.ok(new AddressRules([], ["10.0.0.0/8"]).admits("::1"));
  const rules = new AddressRules(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"], ["10.1.0.0/16", "2001:db8:5::/48"]);
  const cases: [string, boolean][] = [
    ["10.0.0.1", true],
    ["10.1.255.255", false],
    ["10.2.0.0", true],
    ["11.0.0.0", false],
    ["192.0.2.7", true],
    ["192.0.2.8", false],
    ["2001:db8::1", true],
    ["2001:db8:5::1", false],
    ["2001:db9::1", false],
    ["::1", false],
    ["127.0.0.1", false],
  ];
  for (const [address, admitted] of cases) t.equal(rules.admits(address), admitted, address);
});

t.test("networks are read, and what is none is refused", async (t) => {
  t.same(parseNetwork(" 10.0.0.0/8 "), { address: "10.0.0.0", bits: 8, family: "ipv4" });
  t.same(parseNetwork("::1"), { address: "::1", bits: 128, family: "ipv6" });
  t.same(parseNetwork("0.0.0.0/0")?.bits, 0);
  for (const text of [
    "",
    "10.0.0.0/33",
    "::/129",
    "10.0.0/8",
    "host",
    "10.0.0.0/",
    "fe80::1%eth0",
    "1.2.3.4/-1",
    "/8",
  ]) {
    t.equal(parseNetwork(text), undefined, text);
  }
  t.throws(() => new AddressRules(["nas"]), { code: "E_CONFIG", message: /'nas'/ });
});
