import t from "tap";
import { ListDocument } from "../../src/cli/json.ts";
import { TICKETS_HEADER, ticketEntry, ticketRow } from "../../src/cli/tickets-view.ts";
import type { TicketRecord } from "../../src/server/tickets.ts";
import { nonconformity } from "./schema.ts";

const NOW_MS = new Date(2026, 10, 22, 6, 8, 1).getTime();
const HOUR_MS = 3600 * 1000;

const GOOD: TicketRecord = {
  id: "0bec354af9aa275d",
  name: "laptop",
  createdMs: NOW_MS - HOUR_MS,
  expiresMs: null,
  revokedMs: null,
};
const SHORT: TicketRecord = { ...GOOD, name: "backup", expiresMs: NOW_MS + 2 * HOUR_MS };
const EXPIRED: TicketRecord = { ...GOOD, name: "guest", expiresMs: NOW_MS };
const REVOKED: TicketRecord = { ...EXPIRED, name: "phone", revokedMs: NOW_MS - 1000 };
const ALL = [GOOD, SHORT, EXPIRED, REVOKED];

t.test("tickets: a table", async (t) => {
  t.equal(
    TICKETS_HEADER + ALL.map((ticket) => ticketRow(ticket, NOW_MS)).join(""),
    [
      "NAME                      MADE                 STATE",
      "laptop                    2026-11-22 05:08:01  good",
      "backup                    2026-11-22 05:08:01  good for 2 h 00 min",
      "guest                     2026-11-22 05:08:01  expired 2026-11-22 06:08:01",
      "phone                     2026-11-22 05:08:01  revoked 2026-11-22 06:08:00",
      "",
    ].join("\n"),
  );
});

t.test("ticket list --json conforms to its schema", async (t) => {
  let text = "";
  const document = new ListDocument("tickets", (more) => {
    text += more;
  });
  for (const ticket of ALL) document.add(ticketEntry(ticket, NOW_MS));
  document.finish({});
  const value = JSON.parse(text);
  t.equal(nonconformity("tickets", value), undefined);
  t.same(
    value.tickets.map(({ state }: { state: string }) => state),
    ["good", "good", "expired", "revoked"],
  );
  t.equal(nonconformity("tickets", { tickets: [] }), undefined);
  t.type(nonconformity("tickets", { tickets: [GOOD] }), "string", "the schema refuses what has no state");
  const { tickets } = value;
  t.type(nonconformity("tickets", { tickets: [{ ...tickets[0], token: "x" }] }), "string", "and anything more");
});
