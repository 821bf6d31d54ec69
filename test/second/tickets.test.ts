/** The second implementation at a server with keys: what PROTOCOL.md says of TLS and tickets is enough to come in, and to be kept out. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startServer } from "../helpers/e2e.ts";
import { testKeys } from "../helpers/keys.ts";
import type { Connection, Secret } from "./connection.ts";
import { Connection as Plain } from "./connection.ts";
import { contentOf } from "./random.ts";
import { CHUNK, HELLO } from "./raw-session.ts";
import { sendAll } from "./source.ts";
import { dialTls, dialWith, exporterOf, keyOf, proofOf, readTicket, secretOf } from "./tickets.ts";

const TEXT =
  "hawser1.AQABAgMEBQYHICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj-AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en1sEbmFzLmV4YW1wbGXDf-fE";

async function keyed(t: Test) {
  const dir = t.testdir();
  const { keys, ticket, tickets } = await testKeys(t);
  const { to, log } = await startServer(t, dir, { secure: keys });
  const own = readTicket(ticket("second"));
  return { dir, to, log, tickets, own, dial: () => dialWith(to, own) };
}

/** How the server answers HELLO with what `secret` makes of it. */
async function answerTo(connection: Connection, secret?: Secret): Promise<string> {
  connection.secret = secret;
  const code = await connection.send("HELLO", HELLO).ending();
  connection.close();
  return code;
}

t.test("the ticket of the document", async (t) => {
  const { id, pin, token, host, port } = readTicket(TEXT);
  t.equal(id.toString("hex"), "0001020304050607");
  t.equal(pin.toString("hex"), Buffer.from(Array.from({ length: 32 }, (_, i) => 0x20 + i)).toString("hex"));
  t.match({ host, port }, { host: "nas.example", port: 23_300 });
  t.equal(keyOf(token).toString("hex"), "1cf0bdd902e8cd7fa0280d1e4a56b3c32246fbdaef3869dc3afe87e4961ff972");
  const exporter = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  const hello = "9e3289cf5f488b15d035287f3ff37959613224bbc550b72c98b9622f0d51dd93";
  t.equal(proofOf("HELLO", keyOf(token), exporter).toString("hex"), hello);
});

t.test("small files and a large one arrive, and the ticket's name is who sent them", async (t) => {
  const { dir, to, log, dial } = await keyed(t);
  const entries = [
    { name: "large", content: contentOf(40 * CHUNK + 17) },
    { name: "small", content: contentOf(99), whole: true },
    { name: "empty", content: Buffer.alloc(0), whole: true },
  ];
  const { receipt } = await sendAll(to, entries, { streams: 3, dial });
  t.match(receipt, { files: 3, failed: 0, bytes: 40 * CHUNK + 116 });
  for (const { name, content } of entries) t.ok(readFileSync(join(dir, name)).equals(content), name);
  t.equal((await log.until("transfer")).record.peer, "second");
});

t.test("a transfer that another run goes on with: its session is the ticket's", async (t) => {
  const { dir, to, dial } = await keyed(t);
  const key = contentOf(16, 99);
  const entries = [{ name: "long", content: contentOf(40 * CHUNK + 5), key }];
  const hello = { keys: [key] };
  const first = await sendAll(to, entries, { streams: 2, hello, dial, goneAfter: 11 });
  const sent = await sendAll(to, entries, { streams: 2, hello, dial });
  t.same([sent.welcome["session"], sent.welcome["generation"]], [first.welcome["session"], 2]);
  t.ok(sent.chunksHad >= 11, `${sent.chunksHad} chunks were there`);
  t.ok(readFileSync(join(dir, "long")).equals(entries[0]?.content as Buffer));
});

t.test("what proves nothing lets nobody in, and all of it is answered alike", async (t) => {
  const { to, own } = await keyed(t);
  const seen = await dialTls(to, own);
  const earlier = secretOf(own, exporterOf(seen));
  const wrong = (change: (secret: Secret) => Partial<ReturnType<Secret["prove"]>>) => async () => {
    const connection = await dialWith(to, own);
    const right = connection.secret as Secret;
    return answerTo(connection, { prove: () => change(right) as ReturnType<Secret["prove"]>, isProven: () => true });
  };
  const rows: [string, () => Promise<string>][] = [
    ["another token", wrong((right) => ({ ...right.prove("HELLO"), proof: Buffer.alloc(32) }))],
    ["a proof that was good on another connection", wrong(() => earlier.prove("HELLO"))],
    ["the proof of another message", wrong((right) => right.prove("ATTACH"))],
    ["a ticket that does not exist", wrong((right) => ({ ...right.prove("HELLO"), ticket: Buffer.alloc(8) }))],
    ["a ticket without a proof", wrong((right) => ({ ticket: right.prove("HELLO")["ticket"] as Buffer }))],
    ["no ticket", wrong(() => ({}))],
  ];
  for (const [what, answer] of rows) t.equal(await answer(), "E_TOKEN", what);
  t.equal(await answerTo(await dialWith(to, own), undefined), "E_TOKEN", "nothing at all");
  t.equal(await answerTo(Plain.dial(to)), "E_NEEDS_TLS", "and in plain");
  seen.destroy();
});

t.test("a proof that was used is good once", async (t) => {
  const { to, own, dial } = await keyed(t);
  const first = await dial();
  const used = (first.secret as Secret).prove("HELLO");
  await first.send("HELLO", HELLO).until("WELCOME");
  const second = await dial();
  const { isProven } = second.secret as Secret;
  t.equal(await answerTo(second, { prove: () => used, isProven }), "E_TOKEN");
  first.close();
  t.ok(await (await dialWith(to, own)).send("HELLO", HELLO).until("WELCOME"), "a new one is");
});

t.test("who has proved a token hears what is wrong with its ticket, and others don't", async (t) => {
  const { own, tickets, dial } = await keyed(t);
  tickets.revoke("second", Date.now());
  const connection = await dial();
  t.equal(await answerTo(connection, connection.secret), "E_REVOKED");
  const other = await dial();
  const secret = secretOf({ ...own, token: Buffer.alloc(32) }, Buffer.alloc(32));
  t.equal(await answerTo(other, secret), "E_TOKEN");
});
