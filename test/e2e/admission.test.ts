/** Who may come, how many at once, and what each may take: refused with a reason, and without harm to others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { CrowdEvent } from "../helpers/crowd-child.ts";
import { assertFailure, assertOk, sendAll, startChild, startServer, startServerChild } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, namesIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { HELLO, offered, openSession, openStream, RawClient } from "../helpers/raw-client.ts";
import { soon } from "../helpers/wire-end.ts";

const CHUNK = 64 * KIB;

t.test("an address that may not come hears why, before a byte of it is read", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir, { allow: ["127.0.0.0/30"], deny: ["127.0.0.2"] });
  for (const [address, admitted] of [
    ["127.0.0.1", true],
    ["127.0.0.2", false],
    ["127.0.0.9", false],
  ] as const) {
    const raw = await RawClient.connect(to, address);
    if (admitted) raw.greet().say("HELLO", HELLO);
    // The others say nothing.
    if (admitted) await raw.next("WELCOME");
    else t.equal(await raw.error(), "E_ADDRESS_REFUSED", address);
    raw.end();
  }
  t.match(await log.until("refused"), { peer: "127.0.0.2", code: "E_ADDRESS_REFUSED" });
  const other = await startServer(t, join(dir, ".."), { allow: ["192.0.2.0/24"] });
  const sent = await sendAll({ paths: [makeFile(join(from, "a"), 10)], to: other.to });
  assertFailure(t, sent.result, "E_ADDRESS_REFUSED", /does not take transfers from your address/);
});

t.test("whoever is refused by the thousand does not fill the log", async (t) => {
  const { to: dir } = directories(t);
  const { to, log } = await startServer(t, dir, { deny: ["127.0.0.2"] });
  for (let i = 0; i < 100; i++) {
    const raw = await RawClient.connect(to, "127.0.0.2");
    await soon(raw.closed, "the refusal");
  }
  t.equal(log.of("refused").length, 30);
});

t.test("connections: one address has its share, and a transfer goes on with the streams that it gets", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir, { maxConnectionsPerPeer: 3 });
  const { control, terms } = await openSession(to);
  const streams = [await openStream(to, terms.session, 0), await openStream(to, terms.session, 1)];
  const third = await RawClient.connect(to);
  third.greet().say("ATTACH", { session: terms.session, generation: 1, stream: 2, attempt: 1 });
  t.match(await third.next("ERROR"), { code: 103, message: /from this address/ });
  const elsewhere = await RawClient.connect(to, "127.0.0.2");
  elsewhere.greet().say("HELLO", HELLO);
  await elsewhere.next("WELCOME");
  for (const raw of [control, ...streams, third, elsewhere]) raw.end();
  await Promise.all([control, ...streams].map((raw) => raw.closed));
  const sent = await sendAll({ paths: [makeFile(join(from, "a"), 3 * MIB)], to, streams: 8, timeoutMs: 30_000 });
  assertOk(t, sent);
});

t.test("transfers: so many of an address, so many in all; who is refused hears it and can come later", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir, { maxSessions: 2, maxSessionsPerPeer: 1 });
  const path = makeFile(join(from, "a"), 10);
  const { control } = await openSession(to);
  const own = await sendAll({ paths: [path], to });
  assertFailure(t, own.result, "E_BUSY", /1 transfers of this client are under way/);
  const other = await RawClient.connect(to, "127.0.0.2");
  other.greet().say("HELLO", HELLO);
  await other.next("WELCOME");
  const third = await RawClient.connect(to, "127.0.0.3");
  third.greet().say("HELLO", HELLO);
  t.match(await third.next("ERROR"), { code: 103, message: /as many transfers under way as it allows/ });
  control.say("ERROR", { code: 602, message: "stopped" });
  await log.until("ended");
  assertOk(t, await sendAll({ paths: [path], to }));
  for (const raw of [other, third]) raw.end();
});

t.test("who moves next to nothing gives way, when others want the place and not before", async (t) => {
  const { from, to: dir } = directories(t);
  const OVER_MS = 300;
  const { to, log } = await startServer(t, dir, { maxSessions: 1, minRateOverMs: OVER_MS });
  const proxy = await startProxy(t, to, {
    rules: [{ kind: "stream", ordinal: 0, direction: "up", frame: "CHUNK", part: "type", nth: 4, action: "hold" }],
  });
  const bytes = 2 * MIB;
  const paths = [makeFile(join(from, "slow"), bytes, 1)];
  const slow = sendAll({ paths, to: proxy.address, streams: 1, chunkBytes: CHUNK });
  await proxy.until(() => proxy.harm.length === 1);
  const path = makeFile(join(from, "quick"), 10);
  const early = await sendAll({ paths: [path], to });
  assertFailure(t, early.result, "E_BUSY");
  let quick = early;
  const began = performance.now();
  while (!quick.result.ok && performance.now() - began < 10_000) quick = await sendAll({ paths: [path], to });
  assertOk(t, quick);
  const { result } = await soon(slow, "the end of the slow one");
  assertFailure(t, result, "E_GAVE_WAY", /others wanted its place/);
  t.match(log.of("ended"), [{ code: "E_GAVE_WAY" }]);
  const again = await sendAll({ paths, to, streams: 1, chunkBytes: CHUNK });
  assertOk(t, again);
  t.ok(again.result.bytesResumed > 0, "it goes on where it stood");
  assertContent(t, join(dir, "slow"), contentOf(bytes, 1));
});

t.test(
  "a client's unfinished files take no more than the quota, over restarts too, until they are finished",
  async (t) => {
    const { from, to: dir } = directories(t);
    const quotaBytes = 3 * MIB;
    const first = await startServer(t, dir, { quotaBytes });
    const proxy = await startProxy(t, first.to, {
      rules: [{ kind: "stream", ordinal: 0, direction: "up", frame: "CHUNK", part: "type", nth: 33, action: "hold" }],
    });
    const big = [makeFile(join(from, "big"), 3 * MIB, 1)];
    const stop = new AbortController();
    const sending = sendAll({ paths: big, to: proxy.address, streams: 1, chunkBytes: CHUNK, signal: stop.signal });
    await proxy.until(() => proxy.harm.length === 1);
    stop.abort();
    t.notOk((await sending).result.ok);
    await first.server.close();

    const { to } = await startServer(t, dir, { quotaBytes });
    const other = [makeFile(join(from, "other"), 2 * MIB, 2)];
    const refused = await sendAll({ paths: other, to });
    assertFailure(t, { ...refused.files[0], error: refused.files[0]?.error ?? null } as never, "E_QUOTA", /are taken/);
    t.equal(refused.result.exitCode, 74);
    assertOk(t, await sendAll({ paths: big, to, chunkBytes: CHUNK }));
    assertOk(t, await sendAll({ paths: other, to }));
    const many = Array.from({ length: 12 }, (_, i) => makeFile(join(from, `many-${i}`), MIB, i));
    assertOk(t, await sendAll({ paths: many, to, streams: 1 }));
    const large = await sendAll({ paths: [makeFile(join(from, "large"), 4 * MIB)], to });
    t.match(large.files[0]?.error, { code: "E_QUOTA" });
    t.same(
      namesIn(dir).filter((name) => !name.startsWith("many")),
      ["big", "other"],
    );
  },
);

t.test("what waits for room under the quota survives a broken control connection", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir, { quotaBytes: 3 * MIB });
  const proxy = await startProxy(t, to, {
    rules: [2, 3, 4].map((nth, ordinal) => {
      return {
        kind: "control",
        ordinal,
        direction: "down",
        frame: "OUTCOME",
        part: "type",
        nth,
        action: "reset",
      } as const;
    }),
  });
  const paths = Array.from({ length: 20 }, (_, i) => makeFile(join(from, `many-${i}`), MIB, i));
  const sent = await sendAll({ paths, to: proxy.address, streams: 2, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.ok(proxy.harm.length > 0, `${proxy.harm.length} broke`);
  for (let i = 0; i < 20; i++) assertContent(t, join(dir, `many-${i}`), contentOf(MIB, i));
});

t.test("a name that is too deep fails by itself, and too many entries end the transfer", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir, { maxDepth: 3, maxEntries: 5 });
  const path = makeFile(join(from, "a"), 10);
  assertOk(t, await sendAll({ paths: [path], to, into: "x/y" }));
  const deep = await sendAll({ paths: [path], to, into: "x/y/z" });
  t.match(deep.files[0]?.error, { code: "E_NAME", message: /4 components, and the server takes 3 at most/ });
  const { control } = await openSession(to);
  control.say("OFFER", {
    settledBelow: 0,
    files: [{ ...offered(0, "p/q/r/large", 10 * MIB) }, { ...offered(1, "p/q/r/s", 5), whole: true }],
  });
  const outcomes = [await control.next("OUTCOME")];
  while (outcomes.flatMap(({ files }) => files).length < 2) outcomes.push(await control.next("OUTCOME"));
  t.ok(outcomes.flatMap(({ files }) => files).every(({ status, error }) => status === "failed" && error?.code === 302));
  control.end();
  const five = Array.from({ length: 5 }, (_, i) => makeFile(join(from, `n-${i}`), 10, i));
  assertOk(t, await sendAll({ paths: five, to }));
  const six = await sendAll({ paths: [...five, makeFile(join(from, "n-5"), 10, 5)], to });
  assertFailure(t, six.result, "E_TOO_MANY", /5 files, directories and links/);
});

t.test(
  "idle, trickling connections before authentication: an honest client starts within 2 s and is served",
  async (t) => {
    const { from, to: dir } = directories(t);
    const server = await startServerChild(t, dir, { maxConnections: 64, maxConnectionsPerPeer: 32 });
    const pid = server.process.pid as number;
    const descriptors = () => Number(/^FDSize:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    const crowd = startChild<CrowdEvent>(t, "crowd-child.ts", {
      ...server.to,
      count: 300,
      addresses: 40,
      redialMs: 200,
    });
    await soon(crowd.log.until("here"), "the crowd");
    for (let i = 0; i < 3; i++) {
      const beganMs = performance.now();
      let startedMs = 0;
      const sent = sendAll({ paths: [makeFile(join(from, `honest-${i}`), 3 * MIB, i)], to: server.to });
      await soon(server.log.untilCount("session", i + 1), "the start");
      startedMs = performance.now() - beganMs;
      assertOk(t, await sent);
      t.ok(startedMs < 2000, `it started after ${Math.round(startedMs)} ms`);
      assertContent(t, join(dir, `honest-${i}`), contentOf(3 * MIB, i));
    }
    // 64 places and 16 to wait, the files' and the program's own: the table is doubled as it fills.
    t.ok(descriptors() <= 256, `${descriptors()} descriptors at most`);
  },
);
