/** A client that is gone before it is welcomed: nothing is kept for it, though its streams were to be sealed. */
import { once } from "node:events";
import { join } from "node:path";
import * as tls from "node:tls";
import t from "tap";
import { channelOf } from "../../src/net/channel.ts";
import { proofOf, ticketKeyOf } from "../../src/net/proof.ts";
import { parseTicket } from "../../src/protocol/ticket.ts";
import { StreamSecrets } from "../../src/server/stream-secrets.ts";
import { startServer } from "../helpers/e2e.ts";
import { testKeys } from "../helpers/keys.ts";
import { HELLO, RawClient } from "../helpers/raw-client.ts";

async function over(to: { host: string; port: number }) {
  const socket = tls.connect({ ...to, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  return { socket, channel: channelOf(socket, false) };
}

t.test("who goes while another run of it is asked whether it is there leaves no session behind", async (t) => {
  const dir = join(t.testdir({ served: {} }), "served");
  const { keys, ticket } = await testKeys(t);
  const { to, log } = await startServer(t, dir, { secure: keys, sessionTtlMs: 100 });
  const { id, token } = parseTicket(ticket("laptop"));
  const key = Buffer.alloc(16, 7);
  const asking = async () => {
    const { socket, channel } = await over(to);
    const client = RawClient.over(socket).greet();
    const proof = proofOf("HELLO", ticketKeyOf(token), channel.exporter);
    return client.say("HELLO", { ...HELLO, ticket: id, proof, seal: ["aes-128-gcm"], keys: [key] });
  };
  const silent = await asking();
  await silent.next("WELCOME");
  const file = { file: 0, name: Buffer.from("a"), size: 100_000, mtime: [1, 0] as [number, number], mode: 0o644, key };
  silent.say("OFFER", { settledBelow: 0, files: [file] });
  await silent.next("PLAN");
  const late = await asking();
  // The server asks the one that was there first, which says nothing.
  await silent.next("PING");
  late.socket.destroy();
  await log.untilCount("session", 2);
  await log.untilCount("ended", 2);
  t.same(log.of("refused"), [], "and nothing went wrong");
});

t.test("no secret is kept for a control connection that is gone", async (t) => {
  const { keys } = await testKeys(t, "secrets");
  const server = tls.createServer({ cert: keys.cert, key: keys.key, minVersion: "TLSv1.3" }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "secureConnection");
  const { socket } = await over(server.address() as unknown as { host: string; port: number });
  const [there] = (await accepted) as [tls.TLSSocket];
  t.teardown(() => {
    socket.destroy();
    server.close();
  });
  const secrets = new StreamSecrets();
  const grant = { peer: "laptop", session: new Uint8Array(16) };
  const control = {};
  const channel = channelOf(there, false);
  t.equal(secrets.grant(control, channel, grant, ["aes-128-gcm"]), "aes-128-gcm", "while it is there");
  secrets.forget(control);
  there.destroy();
  t.equal(secrets.grant(control, channel, grant, ["aes-128-gcm"]), undefined, "and when it is gone");
});
