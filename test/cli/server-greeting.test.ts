import t from "tap";
import { greeting } from "../../src/cli/server-greeting.ts";

const PIN = new Uint8Array(32).fill(7);
const PIN_TEXT = "sha256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const ALL = { type: "listening", host: "::", port: 23300, dir: "/srv/in\u001b[2J" } as const;
const OWN = { type: "listening", host: "127.0.0.1", port: 4000, dir: null } as const;
const USUAL = { insecure: false, quiet: false, bwlimit: null, cert: undefined, clientCa: undefined };

t.test("encrypted: where, for whom, and how to pair", async (t) => {
  t.equal(
    greeting(ALL, USUAL, PIN),
    [
      "hawser: receiving into /srv/in\\u{1b}[2J on port 23300 of all addresses",
      `hawser: encrypted, for who has a ticket; the key is ${PIN_TEXT}`,
      "  To let a client in: hawser ticket --name NAME here, then hawser pair there.",
      "",
    ].join("\n"),
  );
});

t.test("what is not as usual is in the command that lets a client in", async (t) => {
  const own = { ...USUAL, cert: "my nas.pem", clientCa: "ca.pem", bwlimit: 10_000_000 };
  t.equal(
    greeting(OWN, own, PIN),
    [
      "hawser: receiving into standard output on 127.0.0.1:4000",
      `hawser: encrypted, for who has a ticket or a certificate that --client-ca is good for; the key is ${PIN_TEXT}`,
      "  To let a client in: hawser ticket --name NAME --host HOST:4000 --cert 'my nas.pem' here, then hawser pair there.",
      "hawser: each client may send 9.54 MiB/s (80.0 Mbit/s)",
      "",
    ].join("\n"),
  );
});

t.test("a plain server says so, whatever else is not said", async (t) => {
  const warning = "hawser: plain TCP without token: whoever reaches this address can send files, and read along\n";
  t.equal(greeting(OWN, { ...USUAL, insecure: true, quiet: true }, undefined), warning);
  t.equal(
    greeting(OWN, { ...USUAL, insecure: true }, undefined),
    `hawser: receiving into standard output on 127.0.0.1:4000\n${warning}`,
  );
  t.equal(greeting(ALL, { ...USUAL, quiet: true }, PIN), "");
});
