/** Several transfers at once from one address: each has its session, and none disturbs another. */
import { join } from "node:path";
import t from "tap";
import { readHistory, serve } from "../../src/index.ts";
import { assertFailure, assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import {
  assertContent,
  contentOf,
  directories,
  hexCrc32,
  KIB,
  MIB,
  makeFile,
  namesIn,
  partsIn,
} from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";

t.test("ten clients at once", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  proxy.hold("stream");
  const sizes = Array.from({ length: 10 }, (_, i) => 2 * MIB + i * 100_001);
  const sending = sizes.map((bytes, i) =>
    sendAll({ paths: [makeFile(join(from, `f${i}`), bytes, i)], to: proxy.address, streams: 2, chunkBytes: 64 * KIB }),
  );
  await log.untilCount("session", 10);
  t.pass("ten sessions are open at once");
  proxy.release("stream");
  const all = await Promise.all(sending);
  for (const sent of all) assertOk(t, sent);
  sizes.forEach((bytes, i) => {
    assertContent(t, join(dir, `f${i}`), contentOf(bytes, i));
  });
  t.equal(new Set(all.map(({ result }) => result.transferId)).size, 10, "each has its own id");
  t.equal([...readHistory(dir)].length, 10, "and its place in history");
  t.same(partsIn(dir), []);
});

t.test("clients that race for one name with different content", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  for (const [round, count] of [2, 2, 2, 8].entries()) {
    const name = `contested-${round}`;
    proxy.hold("stream");
    const plans = proxy.framesOf("down", "PLAN");
    const sending = Array.from({ length: count }, (_, i) =>
      sendAll({
        paths: [makeFile(join(from, `racer-${i}`), 2 * MIB, 10 * round + i)],
        to: proxy.address,
        name,
        streams: 2,
      }),
    );
    // All are told to send before any can.
    await proxy.until(() => proxy.framesOf("down", "PLAN") === plans + count);
    proxy.release("stream");
    const sent = await Promise.all(sending);
    const winners = sent.flatMap(({ result }, i) => (result.ok ? [i] : []));
    t.equal(winners.length, 1, "exactly one committed");
    for (const { result } of sent) if (!result.ok) assertFailure(t, result, "E_EXISTS");
    const content = contentOf(2 * MIB, 10 * round + (winners[0] as number));
    assertContent(t, join(dir, name), content, "the file is the winner's");
    t.equal(sent[winners[0] as number]?.files[0]?.crc32, hexCrc32(content));
  }
  t.same(partsIn(dir), []);
});

t.test("more sessions than one address may have", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir, { maxSessionsPerPeer: 2 });
  const proxy = await startProxy(t, to);
  proxy.hold("stream");
  const held = ["first", "second"].map((name) =>
    sendAll({ paths: [makeFile(join(from, name), 1000)], to: proxy.address }),
  );
  await log.untilCount("session", 2);
  assertFailure(
    t,
    (await sendAll({ paths: [makeFile(join(from, "third"), 1000)], to })).result,
    "E_BUSY",
    /127\.0\.0\.1/,
  );
  t.equal(log.of("refused")[0]?.code, "E_BUSY", "it is logged");
  proxy.release("stream");
  for (const sent of await Promise.all(held)) assertOk(t, sent);
  t.same(namesIn(dir), ["first", "second"]);
});

t.test("two servers on one directory", async (t) => {
  const { to: dir } = directories(t);
  const first = await startServer(t, dir);
  for (let i = 0; i < 2; i++) {
    await t.rejects(serve({ dir, port: 0 }), { code: "E_DIRECTORY_IN_USE", exitCode: 78, message: /process \d+/ });
  }
  await first.server.close();
  const second = await serve({ dir, port: 0 });
  await second.close();
  t.pass("after the first is closed the next one works");
});
