import { statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ticketKeyOf } from "../../src/net/proof.ts";
import { isGood, Tickets } from "../../src/server/tickets.ts";

const NOW_MS = 1_800_000_000_000;

t.test("a ticket is found by its id, with the key of its token", async (t) => {
  const path = join(t.testdir({}), "tickets.db");
  const tickets = Tickets.open(path);
  t.teardown(() => tickets.close());
  t.equal(statSync(path).mode & 0o777, 0o600);
  const { id, token, name } = tickets.add("laptop", NOW_MS, NOW_MS + 1000);
  t.equal(name, "laptop");
  const found = tickets.find(id);
  t.same(found?.key, ticketKeyOf(token));
  t.match(found, { name: "laptop", createdMs: NOW_MS, expiresMs: NOW_MS + 1000, revokedMs: null });
  t.equal(tickets.find(new Uint8Array(8)), undefined);
});

t.test("one good ticket for each name; a name is free again when it is revoked or has expired", async (t) => {
  const tickets = Tickets.open(join(t.testdir({}), "tickets.db"));
  t.teardown(() => tickets.close());
  const first = tickets.add("laptop", NOW_MS, NOW_MS + 1000);
  t.throws(() => tickets.add("laptop", NOW_MS), { code: "E_USAGE" });
  tickets.add("laptop", NOW_MS + 1000);
  t.equal(tickets.revoke("laptop", NOW_MS + 2000), true);
  t.equal(tickets.revoke("laptop", NOW_MS + 2000), false, "there is nothing left to revoke");
  t.match(tickets.find(first.id), { revokedMs: NOW_MS + 2000 });
  tickets.add("laptop", NOW_MS + 3000);
  t.same(
    tickets.list().map((ticket) => isGood(ticket, NOW_MS + 3000)),
    [false, false, true],
  );
  t.equal(tickets.add(undefined, NOW_MS).name, "client-1");
  t.equal(tickets.add(undefined, NOW_MS).name, "client-2");
});

t.test("a name can't be taken for an address, for this machine, or for anything else", async (t) => {
  const tickets = Tickets.open(join(t.testdir({}), "tickets.db"));
  t.teardown(() => tickets.close());
  for (const name of ["", "10.0.0.1", "::1", "local", "a b", "cert:x", "-x", "x".repeat(65), "a\u001b[0m"]) {
    t.throws(() => tickets.add(name, NOW_MS), { code: "E_USAGE" }, name);
  }
  t.same(tickets.list(), []);
});

t.test("what another handle writes counts at once", async (t) => {
  const path = join(t.testdir({}), "tickets.db");
  const [server, command] = [Tickets.open(path), Tickets.open(path)];
  t.teardown(() => server.close());
  t.teardown(() => command.close());
  const { id } = command.add("laptop", NOW_MS);
  t.equal(server.find(id)?.revokedMs, null);
  command.revoke("laptop", NOW_MS);
  t.equal(server.find(id)?.revokedMs, NOW_MS);
});

t.test("this machine's own ticket is renewed, not listed, and not revoked by its name", async (t) => {
  const tickets = Tickets.open(join(t.testdir({}), "tickets.db"));
  t.teardown(() => tickets.close());
  const first = tickets.atOnce(() => tickets.renewLocal(NOW_MS));
  const second = tickets.atOnce(() => tickets.renewLocal(NOW_MS));
  t.equal(tickets.find(first.id), undefined);
  t.equal(tickets.find(second.id)?.name, "local");
  t.same(tickets.list(), []);
  t.equal(tickets.revoke("local", NOW_MS), false);
});
