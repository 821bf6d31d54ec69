import t from "tap";
import { isLoopback, parseEndpoint, parseHost } from "../../src/cli/endpoint.ts";
import { formatEndpoint } from "../../src/net/dial.ts";

t.test("HOST[:PORT]", async (t) => {
  const good: [string, string, number][] = [
    ["nas", "nas", 23300],
    ["nas:1", "nas", 1],
    ["nas.example.org.:65535", "nas.example.org.", 65535],
    ["my_host", "my_host", 23300],
    ["192.168.1.7:23300", "192.168.1.7", 23300],
    ["[::1]", "::1", 23300],
    ["[fe80::1%eth0]:5", "fe80::1%eth0", 5],
    [" nas:7 ", "nas", 7],
  ];
  for (const [text, host, port] of good) t.same(parseEndpoint(text), { host, port }, text);
  for (const text of [
    "",
    ":1",
    "nas:",
    "nas:0",
    "nas:65536",
    "nas:x",
    "nas:1:2",
    "::1",
    "fe80::1:23300",
    "[nas]",
    "[127.0.0.1]",
    "[::1",
    "[::1]x",
    "256.1.1.1",
    "1.2.3",
    "na s",
    "-nas",
    "nas/x",
    "http://nas",
    "user@nas",
    "n".repeat(254),
  ]) {
    t.equal(parseEndpoint(text), undefined, `'${text}' is refused`);
  }
});

t.test("what is shown is read back", async (t) => {
  for (const text of ["nas:1", "[::1]:23300", "10.0.0.1:9"]) {
    t.equal(formatEndpoint(parseEndpoint(text)!), text);
  }
});

t.test("addresses to listen on", async (t) => {
  t.equal(parseHost("::"), "::");
  t.equal(parseHost("[::]"), "::");
  t.equal(parseHost("0.0.0.0"), "0.0.0.0");
  t.equal(parseHost("localhost"), "localhost");
  for (const text of ["", "1.2.3.4:5", "[1.2.3.4]", "a b"]) t.equal(parseHost(text), undefined, `'${text}' is refused`);
});

t.test("only what certainly stays on this machine is loopback", async (t) => {
  for (const host of [
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
  ]) {
    t.ok(isLoopback(host), host);
  }
  for (const host of [
    "0.0.0.0",
    "::",
    "nas",
    "localhost.example.org",
    "127.example.org",
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "fe80::1%lo",
  ]) {
    t.notOk(isLoopback(host), host);
  }
});
