import { mock } from "node:test";
import t, { type Test } from "tap";
import type { Terms } from "../../src/net/transfer-end.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import type { Message } from "../../src/protocol/messages.ts";
import type { LiveSession } from "../../src/server/live-session.ts";
import { Sessions } from "../../src/server/sessions.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import type { SinkCapabilities } from "../../src/sink/sink.ts";
import { hexOf } from "../../src/sink/unfinished.ts";
import { asked, liveSession } from "../helpers/live-session.ts";
import { keyOf } from "../helpers/received.ts";
import { hello, soon } from "../helpers/wire-end.ts";

const PEER = "192.0.2.1";
const KEYS = { keys: [keyOf("a")] };
const CHUNK = 65_536;

function setUp(t: Test, capabilities: Partial<SinkCapabilities> = {}) {
  const store = new MemorySessionStore();
  const made: Terms[] = [];
  let refuses = false;
  const sessions = new Sessions({
    store,
    capabilities: { randomAccess: true, blockBytes: 1, fileBytesMax: 2 ** 40, durability: "commit", ...capabilities },
    make: (peer, terms) => {
      if (refuses) throw new HawserError("E_BUSY", "too many");
      made.push(terms);
      // As a sink does when it is disposed: what has files stays, and is closed.
      return liveSession(t, {
        peer,
        terms,
        dispose: () => store.close(hexOf(terms.session)),
        onEnded: (session) => sessions.remove(session),
      }).live;
    },
  });
  const admit = (rest: Partial<Message<"HELLO">> = {}, peer = PEER) => sessions.admit(peer, hello(rest));
  /** What is offered is in the store, so that it is found by its key. */
  const offered = ({ terms }: LiveSession, key = keyOf("a")) =>
    store.addFiles(hexOf(terms.session), [
      { key: hexOf(key), name: Buffer.from("a"), size: 10, mtime: [0, 0], mode: 0, partId: `${Math.random()}` },
    ]);
  /** A session that a run left. */
  const left = async (rest: Partial<Message<"HELLO">> = {}): Promise<Terms> => {
    const session = await admit(rest);
    await offered(session);
    await session.end();
    return session.terms;
  };
  const refuse = (value: boolean) => {
    refuses = value;
  };
  return { store, sessions, made, admit, offered, left, refuse };
}
const own = ({ session, generation }: Terms) => ({ session, generation });

t.test("what waits in memory for its turn is bounded by the chunk size, whatever was asked for", async (t) => {
  const MIB = 1024 * 1024;
  const { admit } = setUp(t, { inOrder: true });
  const most = await admit({ streams: 64, chunkBytes: 16 * MIB });
  // Four chunks in the window of each stream, and the one that is coming.
  t.ok(5 * 64 * most.terms.chunkBytes <= 256 * MIB);
  t.equal(most.terms.chunkBytes, 204 * 4096);
  t.equal((await admit({ streams: 4, chunkBytes: MIB })).terms.chunkBytes, MIB);
  t.equal((await admit({ streams: 64, chunkBytes: 16 * MIB, purpose: "discard" })).terms.chunkBytes, 16 * MIB);
  const { admit: other } = setUp(t);
  t.equal((await other({ streams: 64, chunkBytes: 16 * MIB })).terms.chunkBytes, 16 * MIB);
});

t.test("a new session has an id and a transfer of its own, and is stored", async (t) => {
  const { store, sessions, admit } = setUp(t);
  const [one, two] = [await admit(KEYS), await admit(KEYS)];
  t.notSame(one.terms.session, two.terms.session);
  t.not(one.terms.transfer, two.terms.transfer);
  t.match(one.terms, { generation: 1, chunkBytes: CHUNK, streams: 2, durability: "commit" });
  t.match(await store.load(hexOf(one.terms.session)), {
    record: { peer: PEER, transferId: one.terms.transfer, chunkBytes: CHUNK, generation: 1, live: true },
  });
  t.equal(sessions.find(PEER, one.terms.session, 1), one);
  t.equal(sessions.all.length, 2);
});

t.test("what keeps nothing is not stored: a measurement, and a session in which the server sends", async (t) => {
  const { store, admit } = setUp(t);
  t.equal((await admit({ purpose: "discard", ...KEYS })).terms.durability, "none");
  await admit({ role: "sink", ...KEYS });
  t.strictSame(await store.list(), []);
});

t.test("an open session is found by its peer, its id and its generation", async (t) => {
  const { sessions, admit } = setUp(t);
  const { session } = (await admit()).terms;
  t.ok(sessions.find(PEER, session, 1));
  t.equal(sessions.find("192.0.2.2", session, 1), undefined);
  t.equal(sessions.find(PEER, session, 2), undefined);
  t.equal(sessions.find(PEER, new Uint8Array(16), 1), undefined);
});

t.test("a client that names its session gets it again", async (t) => {
  const { admit } = setUp(t);
  const first = await admit();
  t.equal(await admit(own(first.terms)), first);
  t.equal(await admit({ session: first.terms.session }), first, "a client that knows no generation");
});

t.test("after a restart it is another generation, and the one before is known no more", async (t) => {
  const { admit, left, made } = setUp(t);
  const before = await left();
  const again = await admit(own(before));
  t.match(again.terms, { transfer: before.transfer, generation: 2 });
  t.same(again.terms.session, before.session);
  await t.rejects(admit(own(before)), { code: "E_UNKNOWN_SESSION" });
  t.equal(await admit(own(again.terms)), again);
  t.equal(made.length, 2);
});

t.test("a session of another, one that never was and one that is no more are refused alike", async (t) => {
  const { store, admit, left } = setUp(t);
  const open = (await admit()).terms;
  const stored = await left();
  const dropped = await left();
  await store.drop(hexOf(dropped.session));
  const tries: [string, Partial<Message<"HELLO">>, string][] = [
    ["another's, open", own(open), "192.0.2.2"],
    ["another's, stored", own(stored), "192.0.2.2"],
    ["none", { session: new Uint8Array(16).fill(7), generation: 1 }, PEER],
    ["dropped", own(dropped), PEER],
    ["an open one, another generation", { ...own(open), generation: 9 }, PEER],
    ["a stored one, another generation", { ...own(stored), generation: 9 }, PEER],
    ["a stored one, no generation", { session: stored.session }, PEER],
  ];
  const messages = new Set<string>();
  for (const [what, rest, peer] of tries) {
    await t.rejects(
      admit(rest, peer).catch((error) => {
        messages.add(error.message);
        throw error;
      }),
      { code: "E_UNKNOWN_SESSION" },
      what,
    );
  }
  t.equal(messages.size, 1);
  t.match(await store.load(hexOf(stored.session)), { record: { generation: 1, live: false } }, "nothing was taken up");
});

t.test("the next run of the same command finds what the last one left, by its keys", async (t) => {
  const { store, admit, left } = setUp(t);
  const before = await left();
  const again = await admit({ keys: [keyOf("other"), keyOf("a")], chunkBytes: 4 * CHUNK, streams: 5 });
  t.match(again.terms, { transfer: before.transfer, generation: 2, chunkBytes: CHUNK, streams: 5 });
  t.same(again.terms.session, before.session);
  t.match((await store.list())[0], { live: true, generation: 2 });
});

t.test("but not another peer's, nor without keys, nor for a measurement", async (t) => {
  const { admit, left } = setUp(t);
  const before = await left();
  const others: [Partial<Message<"HELLO">>, string][] = [
    [KEYS, "192.0.2.2"],
    [{}, PEER],
    [{ keys: [] }, PEER],
    [{ ...KEYS, purpose: "discard" }, PEER],
  ];
  for (const [rest, peer] of others) {
    t.notSame((await admit(rest, peer)).terms.session, before.session);
  }
});

t.test("a session whose client answers is not taken up by another", async (t) => {
  const { admit, offered } = setUp(t);
  const holder = await admit(KEYS);
  await offered(holder);
  const { client, server } = await asked(t);
  holder.open(server.connection);
  await client.heard.message("WELCOME");
  await t.rejects(admit(KEYS), { code: "E_BUSY", message: new RegExp(holder.terms.transfer) });
  client.connection.send("PING", { id: 1 });
  await client.heard.message("PONG");
  t.ok(server.connection.isOpen, "and is left in peace");
});

t.test("one whose client is silent, or gone, is", async (t) => {
  for (const how of ["silent", "gone"]) {
    const { admit, offered, sessions } = setUp(t);
    const holder = await admit(KEYS);
    await offered(holder);
    const { client, server } = await asked(t);
    holder.open(server.connection);
    await client.heard.message("WELCOME");
    if (how === "silent") {
      client.connection.pause();
      mock.timers.enable({ apis: ["setTimeout"] });
    } else client.connection.destroy();
    let isTaken = false;
    const taking = admit(KEYS).finally(() => {
      isTaken = true;
    });
    // By and by: the probe's timer has to be there before it can be made to fire.
    for (let i = 0; !isTaken && i < 1000; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (how === "silent") mock.timers.tick(10);
    }
    mock.timers.reset();
    const taker = await soon(taking, "the answer");
    t.equal(taker.terms.generation, 2, how);
    t.same(taker.terms.session, holder.terms.session);
    t.strictSame(sessions.all, [taker]);
    t.equal(sessions.find(PEER, holder.terms.session, 1), undefined, "the generation before means nothing any more");
  }
});

t.test("of two that take a session up at once, one gets it, and keeps it", async (t) => {
  const { admit, left, sessions } = setUp(t);
  await left();
  const opened: LiveSession[] = [];
  const clients = await Promise.all([1, 2, 3].map(() => asked(t, KEYS)));
  const ends = await Promise.allSettled(
    clients.map(async ({ client, server }) => {
      const session = await admit(KEYS);
      session.open(server.connection);
      await client.heard.message("WELCOME");
      opened.push(session);
    }),
  );
  t.equal(opened.length, 1);
  for (const end of ends) if (end.status === "rejected") t.match(end.reason, { code: "E_BUSY" });
  t.strictSame(sessions.all, opened);
  t.ok(await opened[0]?.probe(5000));
});

t.test("a session that came to its end meanwhile is begun anew", async (t) => {
  const { store, admit, left } = setUp(t);
  const before = await left();
  const open = store.open.bind(store);
  store.open = async (id) => {
    await store.drop(id);
    return open(id);
  };
  const again = await admit(KEYS);
  t.notSame(again.terms.session, before.session);
  t.equal(again.terms.generation, 1);
});

t.test("where there may not be one more, nothing is left open", async (t) => {
  const { store, admit, left, refuse, sessions } = setUp(t);
  const before = await left();
  refuse(true);
  await t.rejects(admit(), { code: "E_BUSY" });
  await t.rejects(admit(KEYS), { code: "E_BUSY" });
  t.match(await store.list(), [{ id: hexOf(before.session), live: false }]);
  t.equal((await store.list()).length, 1);
  t.strictSame(sessions.all, []);
  refuse(false);
  t.same((await admit(KEYS)).terms.session, before.session, "it waits for its turn");
});

t.test("a session whose client is gone is ended when another needs a file of it, and no other", async (t) => {
  const { sessions, admit } = setUp(t);
  const [gone, there] = [await admit(), await admit()];
  for (const session of [gone, there]) {
    const { client, server } = await asked(t);
    session.open(server.connection);
    await client.heard.message("WELCOME");
    if (session === gone) client.connection.destroy();
  }
  for (const { terms } of [gone, there]) await sessions.evict(hexOf(terms.session));
  await sessions.evict("none");
  t.strictSame(sessions.all, [there]);
});

t.test("chunks fit the blocks of a sink that takes whole ones only", async (t) => {
  const { admit } = setUp(t, { randomAccess: false, blockBytes: 5 * CHUNK });
  t.match((await admit({ chunkBytes: 5 * CHUNK })).terms, { chunkBytes: 5 * CHUNK, splitBytes: 5 * CHUNK });
  t.match((await admit({ chunkBytes: 2 * CHUNK })).terms, { chunkBytes: CHUNK, splitBytes: 5 * CHUNK });
});

t.test("a window has room for some chunks, and streams are no more than there may be", async (t) => {
  const { admit } = setUp(t);
  const { terms } = await admit({ chunkBytes: 16 * 1024 * 1024, streams: 64 });
  t.equal(terms.windowBytes, 64 * 1024 * 1024);
  t.equal(terms.splitBytes, terms.chunkBytes);
  t.equal(terms.streams, 64);
});
