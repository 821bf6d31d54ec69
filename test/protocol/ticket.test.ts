import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import {
  formatPin,
  formatTicket,
  hasTicket,
  parseTicket,
  redactTickets,
  type Ticket,
} from "../../src/protocol/ticket.ts";

const TICKET: Ticket = {
  id: Uint8Array.from({ length: 8 }, (_, i) => i),
  pin: Uint8Array.from({ length: 32 }, (_, i) => 0x20 + i),
  token: Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i),
  host: "nas.example",
  port: 23300,
};

/** Made by the table in PROTOCOL.md, with Python's base64 and zlib. */
const TEXT =
  "hawser1.AQABAgMEBQYHICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj-AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en1sEbmFzLmV4YW1wbGXDf-fE";

t.test("the golden ticket, both ways", async (t) => {
  t.equal(formatTicket(TICKET), TEXT);
  t.same(parseTicket(TEXT), TICKET);
});

t.test("any ticket comes back as it was", async () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const host = fc.stringMatching(/^[a-z0-9.:%-]{1,253}$/);
  const tickets = fc.record({
    id: bytes(8),
    pin: bytes(32),
    token: bytes(32),
    host,
    port: fc.integer({ min: 1, max: 65535 }),
  });
  fc.assert(fc.property(tickets, (ticket) => isDeepStrictEqual(parseTicket(formatTicket(ticket)), { ...ticket })));
});

t.test("space around it, and a line that was broken on the way, are no part of it", async (t) => {
  t.same(parseTicket(`  ${TEXT.slice(0, 60)}\r\n${TEXT.slice(60)}\n`), TICKET);
});

t.test("what is no ticket is refused with a reason, which never shows it", async (t) => {
  const rows: [string, RegExp][] = [
    ["", /it is empty/],
    [" \n", /it is empty/],
    ["nas:23300", /begin with 'hawser1\.'/],
    ["hawser2.AQAB", /a version that/],
    ["hawser1.", /too short/],
    [TEXT.slice(0, 40), /too short/],
    [TEXT.slice(0, -1), /checksum/],
    [TEXT.replace("EB", "EC").replace("AQAB", "AQAC"), /checksum/],
    [`${TEXT}!`, /characters/],
    [`hawser1.${"A".repeat(800)}`, /too long/],
    [`hawser1.${"A".repeat(100_000)}`, /too long/],
  ];
  for (const [text, why] of rows) {
    try {
      parseTicket(text);
      t.fail(`${text.slice(0, 20)} was taken`);
    } catch (error) {
      t.match(error, { code: "E_TICKET", exitCode: 77 });
      t.match((error as Error).message, why, text.slice(0, 20));
      if (text.length > 30) t.notMatch((error as Error).message, text.slice(8, 30), "and does not show it");
    }
  }
});

t.test("every single changed character is seen", async (t) => {
  for (let at = 8; at < TEXT.length; at++) {
    const changed = TEXT.slice(0, at) + (TEXT[at] === "A" ? "B" : "A") + TEXT.slice(at + 1);
    t.throws(() => parseTicket(changed), { code: "E_TICKET" });
  }
});

t.test("a ticket in other text is found, and taken out", async (t) => {
  t.ok(hasTicket(`--ticket=${TEXT}`));
  t.notOk(hasTicket("hawser1.0 is out"));
  t.equal(redactTickets(`bad '${TEXT}' and ${TEXT.slice(0, 50)}`), "bad 'hawser1....' and hawser1....");
});

t.test("a pin as it is shown", async (t) => {
  t.equal(formatPin(new Uint8Array(32)), `sha256:${"A".repeat(43)}`);
});
