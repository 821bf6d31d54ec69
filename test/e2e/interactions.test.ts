/** Features that meet: what each does alone is tried elsewhere. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readdirSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import t from "tap";
import { serve, type TransferEvent } from "../../src/index.ts";
import { assertOk, EventLog, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, makeFile, partsIn } from "../helpers/files.ts";
import { bundleOf, offered, openSession, openStream } from "../helpers/raw-client.ts";

t.test("small files full of zeros, compressed in their bundle, arrive at the first try", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const paths = [0, 1, 2].map((i) => join(from, `zeros-${i}`));
  for (const path of paths) writeFileSync(path, Buffer.alloc(40 * KIB));
  const sent = await sendAll({ paths, to, compress: "zstd", timeoutMs: 5000 });
  assertOk(t, sent);
  t.equal(sent.result.retries, 0, "nothing is sent twice");
  for (const [i] of paths.entries()) assertContent(t, join(dir, `zeros-${i}`), Buffer.alloc(40 * KIB));
});

t.test("what a bundle brought before it turned out to be wrong does not stay in staging", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const content = contentOf(1000);
  const { control, terms } = await openSession(to, {});
  const stream = await openStream(to, terms.session);
  control.say("OFFER", {
    settledBelow: 0,
    files: [0, 1].map((i) => ({ ...offered(i, `file-${i}`, 1000), whole: true })),
  });
  await control.next("PLAN");
  stream.bundle(
    bundleOf([
      { file: 0, content },
      { file: 1, content, crc32: 1 },
    ]),
  );
  await control.closed;
  const after = await sendAll({ paths: [makeFile(join(from, "other"), 10)], to });
  assertOk(t, after);
  t.same(partsIn(dir), []);
});

t.test("a failure behind a directory keeps its code in the server's log", async (t) => {
  const { to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  // Both in one page, and so in one batch of outcomes: a directory that is made, then one that can't be.
  writeFileSync(join(dir, "blocked"), "a file");
  const { control, terms } = await openSession(to, {});
  await openStream(to, terms.session);
  const directory = (file: number, name: string) => ({ ...offered(file, name, 0), kind: "directory" as const });
  control.say("OFFER", { settledBelow: 0, files: [directory(0, "made"), directory(1, "blocked")] });
  const event = await log.until("file");
  t.equal(event.file.name, "blocked");
  t.equal(event.code, "E_NOT_DIRECTORY");
});

t.test("a server that streams a small file into a program that reads nothing can be stopped", async (t) => {
  const asked = Promise.withResolvers<void>();
  const output = new Writable({ highWaterMark: 1, write: () => asked.resolve() });
  const server = await serve({ output, port: 0 });
  const path = makeFile(join(directories(t).from, "small"), 10 * KIB);
  const abort = new AbortController();
  const sending = sendAll({ paths: [path], to: server.address, signal: abort.signal });
  await asked.promise;
  await server.close();
  t.pass("it has ended");
  abort.abort();
  await sending;
});

t.test("a list of files that takes its time is waited for", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 100);
  const list = join(from, "list");
  execFileSync("mkfifo", [list]);
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ paths: [], filesFrom: list, to, timeoutMs: 1000 }, log);
  const fd = openSync(list, "r+");
  await Promise.race([sending, log.until("progress", ({ stall }) => stall?.waitingFor === "more input")]);
  writeSync(fd, `${path}\0`);
  closeSync(fd);
  assertOk(t, await sending);
});

t.test("small files that are written one by one take few descriptors", async (t) => {
  const { from, to: dir } = directories(t);
  const paths = Array.from({ length: 500 }, (_, i) => makeFile(join(from, `file-${i}`), 10, i));
  const opened = () => readdirSync("/proc/self/fd").length;
  const before = opened();
  let most = before;
  const look = setInterval(() => {
    most = Math.max(most, opened());
  }, 1);
  const { to } = await startServer(t, dir, { durability: "strict" });
  assertOk(t, await sendAll({ paths, to }));
  clearInterval(look);
  // Sockets, pipes to the disk's threads, and what is being committed.
  t.ok(most - before < 80, "and not one for each file", { before, most });
});
