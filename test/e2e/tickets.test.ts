/** A client is its ticket, whatever address it comes from: its rate, its share, and what it left. */
import { connect, createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { readSessions, type ServeOptions } from "../../src/index.ts";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { assertFailure, assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile } from "../helpers/files.ts";
import { testKeys } from "../helpers/keys.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { recorded } from "../helpers/unfinished.ts";

/** Who dials this comes to the server from another address. */
async function from(t: Test, localAddress: string, to: { host: string; port: number }) {
  const server = createServer((near) => {
    const far = connect({ ...to, localAddress });
    for (const socket of [near, far]) socket.on("error", () => {});
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  t.teardown(() => server.close());
  return listenAnywhere(server);
}

async function secured(t: Test, options: Partial<ServeOptions> = {}) {
  const { from: source, to: dir } = directories(t);
  const { keys, ticket } = await testKeys(t);
  const start = () => startServer(t, dir, { secure: keys, ...options });
  return { source, dir, ticket, start };
}

t.test(
  "a rate for each client: two tickets behind one address have one each, one ticket at two addresses has one",
  async (t) => {
    const { source, ticket, start } = await secured(t, { bytesPerSecondPerPeer: 512 * KIB });
    const { to } = await start();
    const path = makeFile(join(source, "file"), MIB, 1);
    const [laptop, phone] = [{ ticket: ticket("laptop") }, { ticket: ticket("phone") }];
    const other = await from(t, "127.0.0.2", to);
    const timed = async (name: string, secure: { ticket: string }, at = to) => {
      const beganMs = performance.now();
      assertOk(t, await sendAll({ paths: [path], to: at, name, secure, streams: 2, compress: "none" }));
      return performance.now() - beganMs;
    };
    // What one client alone needs is what the others are measured by: at this rate it is far more than all else.
    const alone = await timed("alone", laptop);
    const both = await Promise.all([timed("both-1", laptop), timed("both-2", phone)]);
    t.ok(Math.max(...both) < 1.6 * alone, `${both.map(Math.round)} ms, ${Math.round(alone)} alone`);
    const shared = await Promise.all([timed("shared-1", laptop), timed("shared-2", laptop, other)]);
    t.ok(Math.max(...shared) > 1.6 * alone, `${shared.map(Math.round)} ms, ${Math.round(alone)} alone`);
  },
);

for (const restarts of [false, true]) {
  const between = restarts ? "with a restart of the server in between" : "while the server goes on";
  t.test(`a ticket that comes from another address goes on with what it left, ${between}`, async (t) => {
    const { source, dir, ticket, start } = await secured(t);
    const secure = { ticket: ticket("laptop") };
    const bytes = 6 * MIB - 77;
    const path = makeFile(join(source, "file"), bytes, 3);
    const before = await start();
    const stop = new AbortController();
    const limit = new RateLimit(2 * MIB);
    const chunkBytes = 64 * KIB;
    const first = sendAll({ paths: [path], to: before.to, secure, chunkBytes, bwlimit: limit, signal: stop.signal });
    await recorded(dir, MIB);
    stop.abort();
    assertFailure(t, (await first).result, "E_INTERRUPTED");
    const [left] = readSessions(dir);
    t.match(left, { peer: "laptop" });
    if (restarts) await before.server.close();
    const after = restarts ? await start() : before;
    const stranger = await sendAll({
      paths: [path],
      to: after.to,
      name: "stranger",
      secure: { ticket: ticket("phone") },
      chunkBytes,
    });
    assertOk(t, stranger);
    t.equal(stranger.result.bytesResumed, 0, "another ticket finds nothing");
    const sent = await sendAll({ paths: [path], to: await from(t, "127.0.0.2", after.to), secure, chunkBytes });
    assertOk(t, sent);
    t.ok(sent.result.bytesResumed >= MIB, `${sent.result.bytesResumed} bytes were there`);
    assertContent(t, join(dir, "file"), contentOf(bytes, 3));
    t.equal((await after.log.until("transfer", ({ record }) => record.bytesResumed > 0)).record.peer, "laptop");
  });
}

t.test("transfers at once are counted by ticket: others of its address may still come", async (t) => {
  const { source, ticket, start } = await secured(t, { maxSessionsPerPeer: 1 });
  const { to, log } = await start();
  const path = makeFile(join(source, "file"), 2 * MIB, 1);
  const [laptop, phone] = [{ ticket: ticket("laptop") }, { ticket: ticket("phone") }];
  const limit = new RateLimit(64 * KIB);
  const first = sendAll({ paths: [path], to, name: "first", secure: laptop, bwlimit: limit, compress: "none" });
  await log.until("session");
  const moved = await from(t, "127.0.0.2", to);
  const more = () => sendAll({ paths: [path], to: moved, name: "more", secure: laptop, retries: 0 });
  assertFailure(t, (await more()).result, "E_BUSY");
  assertOk(t, await sendAll({ paths: [path], to, name: "other", secure: phone }));
  limit.set(null);
  assertOk(t, await first);
  assertOk(t, await more());
});
