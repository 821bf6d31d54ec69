/** Either end dies in the middle, or is stopped: the other one waits for it until its deadline, and what came is kept. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readHistory, readSessions, type ServerEvent, type TransferEvent } from "../../src/index.ts";
import { assertFailure, assertOk, EventLog, sendAll, startChild, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { CHUNK, halfWay, recorded } from "../helpers/unfinished.ts";

const BYTES = 24 * MIB;

t.test("the server is killed in the middle", async (t) => {
  const { from, to: dir } = directories(t);
  const child = startChild<ServerEvent>(t, "server-child.ts", { dir, port: 0 });
  const to = await child.log.until("listening");
  const proxy = await startProxy(t, to);
  const path = makeFile(join(from, "file"), BYTES);
  const sending = sendAll({ paths: [path], to: proxy.address, chunkBytes: 64 * KIB, timeoutMs: 3000 });
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 20);
  proxy.hold("stream");
  await recorded(dir, 1);
  child.process.kill("SIGKILL");
  await child.exited;
  proxy.release("stream");
  const { result } = await sending;
  assertFailure(t, result, "E_TIMEOUT", /could not be reached again for 3 s/);
  t.ok(result.retries > 0, "it was dialled again until the deadline");
  t.same(namesIn(dir), [], "nothing is visible of it");
  await t.test("the directory is free at once, and the part is kept for the next run", async (t) => {
    const { to: again, server } = await startServer(t, dir);
    t.equal(partsIn(dir).length, 1);
    assertOk(t, await sendAll({ paths: [path], to: again }));
    assertContent(t, join(dir, "file"), contentOf(BYTES));
    await server.close();
    t.same(partsIn(dir), []);
  });
});

t.test("the server is killed and another one has its place: the transfer goes on there", async (t) => {
  const { from, to: dir } = directories(t);
  const child = startChild<ServerEvent>(t, "server-child.ts", { dir, port: 0 });
  const to = await child.log.until("listening");
  const proxy = await startProxy(t, to);
  const sending = sendAll({
    paths: [makeFile(join(from, "file"), BYTES)],
    to: proxy.address,
    chunkBytes: 64 * KIB,
    timeoutMs: 20_000,
  });
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 20);
  proxy.hold("stream");
  proxy.hold("control");
  child.process.kill("SIGKILL");
  await child.exited;
  const { server, log } = await startServer(t, dir, { port: to.port });
  proxy.release("control");
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.files.length, 1, "the file is told once");
  t.equal(log.of("session").length, 1, "in one session");
  assertContent(t, join(dir, "file"), contentOf(BYTES));
  await server.close();
  t.same(partsIn(dir), []);
});

t.test("the client is killed in the middle", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir, { sessionTtlMs: 400 });
  const proxy = await startProxy(t, to);
  const options = { paths: [makeFile(join(from, "file"), BYTES)], to: proxy.address, chunkBytes: 64 * KIB };
  const child = startChild<TransferEvent>(t, "client-child.ts", options);
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 20);
  proxy.hold("stream");
  await log.until("session");
  child.process.kill("SIGKILL");
  await child.exited;
  t.equal(log.of("ended").length, 0, "the session waits for it");
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "other"), 1000)], to }));
  const ended = await log.until("ended");
  t.equal(ended.code, "E_LOST");
  t.equal(ended.transferId, log.of("session")[0]?.transferId);
  const expired = await log.until("expired");
  t.equal(expired.transferId, ended.transferId, "what it left expires when nobody comes back for it");
  t.same(partsIn(dir), [], "its parts are gone");
  t.same(readSessions(dir), []);
  t.same(namesIn(dir), ["other"], "nothing is visible of it, and others were served");
  t.equal(log.of("session").length, 2);
  t.equal([...readHistory(dir)].length, 1, "history has what was committed");
});

t.test("close drains: what is under way is finished, and nothing new is taken", async (t) => {
  const { from, to: dir } = directories(t);
  const { server, to, log } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  const path = makeFile(join(from, "file"), BYTES);
  const sending = sendAll({ paths: [path], to: proxy.address, chunkBytes: 64 * KIB });
  await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 20);
  const closing = server.close({ drainMs: 20_000 });
  const late = await sendAll({ paths: [makeFile(join(from, "late"), 10)], to, timeoutMs: 2000 });
  assertFailure(t, late.result, "E_SHUTTING_DOWN");
  t.equal(late.result.exitCode, 69);
  assertOk(t, await sending);
  await closing;
  assertContent(t, join(dir, "file"), contentOf(BYTES));
  t.equal(log.of("transfer").length, 1);
});

t.test("close ends what does not come to an end, when its time is over", async (t) => {
  const { from, to: dir } = directories(t);
  const { server, to, log } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES);
  const { sending } = await halfWay(t, to, 5, { paths: [path], timeoutMs: 1500 });
  await server.close({ drainMs: 200 });
  const { result } = await sending;
  assertFailure(t, result, "E_TIMEOUT");
  t.equal(log.of("ended")[0]?.code, "E_SHUTTING_DOWN");
  t.equal(partsIn(dir).length, 1, "what has come is kept");
  t.equal(readSessions(dir)[0]?.bytesPresent, 5 * CHUNK, "and recorded");
  t.same(namesIn(dir), []);
});

t.test("a directory whose server was killed is free for the next one", async (t) => {
  const { to: dir } = directories(t);
  const child = startChild<ServerEvent>(t, "server-child.ts", { dir, port: 0 });
  await child.log.until("listening");
  await t.rejects(startServer(t, dir), {
    code: "E_DIRECTORY_IN_USE",
    message: new RegExp(`process ${child.process.pid}`),
  });
  child.process.kill("SIGKILL");
  await child.exited;
  const { server } = await startServer(t, dir);
  await server.close();
});

t.test("the server keeps no descriptor of transfers that ended", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir, { sessionTtlMs: 100 });
  const open = () => readdirSync("/proc/self/fd").length;
  const path = makeFile(join(from, "warm"), 100_000);
  assertOk(t, await sendAll({ paths: [path], to }));
  const before = open();
  for (let i = 0; i < 5; i++) {
    assertOk(t, await sendAll({ paths: [path], to, name: `n${i}` }));
    const proxy = await startProxy(t, to);
    const sending = sendAll({ paths: [path], to: proxy.address, name: `stopped${i}`, retries: 0 }, new EventLog());
    proxy.hold("stream");
    await proxy.until(() => proxy.framesOf("down", "PLAN") === 1);
    proxy.harmAll("control", "reset");
    proxy.harmAll("stream", "reset");
    await proxy.close();
    t.equal((await sending).result.ok, false);
  }
  await log.untilCount("ended", 5);
  t.ok(open() <= before + 3, `${open()} descriptors, and ${before} before`);
});
