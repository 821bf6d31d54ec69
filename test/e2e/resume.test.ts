/** What an interrupted transfer left is gone on with: checked, and never trusted further than it can be proven. */
import { appendFileSync, closeSync, openSync, rmSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { dropSession, readSessions, type TransferEvent } from "../../src/index.ts";
import { OPEN_FILES_MAX, RESUME_KEYS_MAX, WINDOW_BYTES } from "../../src/protocol/limits.ts";
import { run, start } from "../commands/program.ts";
import {
  assertFailure,
  assertOk,
  type ClientEvent,
  type EventLog,
  sendAll,
  startChild,
  startServer,
  startServerChild,
} from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, hexCrc32, makeFile, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { abandoned, CHUNK, halfWay, holdAtChunk, partOf, recorded, tamperWithRecords } from "../helpers/unfinished.ts";

const CHUNKS = 64;
const BYTES = CHUNKS * CHUNK - 77;
const HERE = 40;

// Some of them wait for a deadline.
t.jobs = 3;

const offsetOf = (chunk: string) => Number(chunk.split(":")[1]);

t.test("what was brought is not sent again", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, server } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const first = await abandoned(t, to, HERE, { paths: [path] });
  t.equal(first.result.ok, false);
  const proxy = await startProxy(t, to);
  const sent = await sendAll({ paths: [path], to: proxy.address, streams: 3, chunkBytes: 256 * 1024 });
  assertOk(t, sent);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  t.match(sent.files, [{ status: "resumed", bytes: BYTES, crc32: hexCrc32(contentOf(BYTES, 3)) }]);
  t.equal(sent.result.bytesResumed, HERE * CHUNK);
  t.equal(sent.result.bytesTrusted, 0);
  t.same(
    [...proxy.chunks].sort(([a], [b]) => offsetOf(a) - offsetOf(b)),
    Array.from({ length: CHUNKS - HERE }, (_, i) => [`0:${(HERE + i) * CHUNK}`, 1]),
    "exactly the chunks that are missing are sent, each once",
  );
  t.ok(proxy.bytes.up < BYTES - HERE * CHUNK + CHUNK, "and next to nothing beside them");
  t.equal(sent.log.of("connected")[0]?.chunkBytes, CHUNK, "another chunk size: the session's wins");
  await server.close();
  t.same(partsIn(dir), []);
  t.same(readSessions(dir), []);
});

const TAMPERINGS: readonly (readonly [string, number, (dir: string) => void])[] = [
  ["a byte of it was flipped", 1, (dir) => overwrite(partOf(dir), 5 * CHUNK + 100, Buffer.from([0]))],
  ["it was cut off", 20, (dir) => truncateSync(partOf(dir), 20 * CHUNK)],
  ["it was cut off in a chunk", 20, (dir) => truncateSync(partOf(dir), 20 * CHUNK + 1)],
  ["something was added to it", 0, (dir) => appendFileSync(partOf(dir), Buffer.alloc(2 * BYTES, 7))],
  ["it is zeros", HERE, (dir) => overwrite(partOf(dir), 0, Buffer.alloc(HERE * CHUNK))],
  ["it is empty", HERE, (dir) => truncateSync(partOf(dir), 0)],
  ["it is gone", HERE, (dir) => rmSync(partOf(dir))],
  [
    "a recorded CRC is wrong",
    1,
    (dir) => void tamperWithRecords(dir, `UPDATE chunk SET crc32 = crc32 + 1 WHERE offset = ${3 * CHUNK}`),
  ],
  [
    "all recorded CRCs are wrong",
    HERE,
    (dir) => void tamperWithRecords(dir, "UPDATE chunk SET crc32 = 4294967295 - crc32"),
  ],
  [
    "a recorded offset is none of a chunk",
    1,
    (dir) => void tamperWithRecords(dir, `UPDATE chunk SET offset = 5 WHERE offset = ${3 * CHUNK}`),
  ],
  [
    "a recorded offset is behind the end",
    1,
    (dir) => void tamperWithRecords(dir, `UPDATE chunk SET offset = ${1000 * CHUNK} WHERE offset = ${3 * CHUNK}`),
  ],
  [
    "a recorded offset is negative",
    1,
    (dir) => void tamperWithRecords(dir, `UPDATE chunk SET offset = -${CHUNK} WHERE offset = ${3 * CHUNK}`),
  ],
  [
    "a record is of a chunk that is not there",
    0,
    (dir) =>
      void tamperWithRecords(dir, `INSERT INTO chunk SELECT file, ${50 * CHUNK}, crc32, 0 FROM chunk WHERE offset = 0`),
  ],
  [
    "a part byte and its recorded CRC",
    2,
    (dir) => {
      overwrite(partOf(dir), 5 * CHUNK + 100, Buffer.from([0]));
      tamperWithRecords(dir, `UPDATE chunk SET crc32 = 1 WHERE offset = ${9 * CHUNK}`);
    },
  ],
  [
    "a chunk and its record, so that they agree",
    1,
    (dir) => {
      overwrite(partOf(dir), 5 * CHUNK, Buffer.alloc(CHUNK, 9));
      tamperWithRecords(
        dir,
        `UPDATE chunk SET crc32 = ${Number(`0x${hexCrc32(Buffer.alloc(CHUNK, 9))}`)} WHERE offset = ${5 * CHUNK}`,
      );
    },
  ],
  ["the records are gone", HERE, (dir) => void tamperWithRecords(dir, "DELETE FROM chunk")],
  ["the size is another", HERE, (dir) => void tamperWithRecords(dir, "UPDATE file SET size = size + 1")],
  ["the name is another", HERE, (dir) => void tamperWithRecords(dir, "UPDATE file SET name = CAST('other' AS BLOB)")],
  [
    "it claims to be committed, and nothing has its name",
    0,
    (dir) =>
      void tamperWithRecords(
        dir,
        "UPDATE file SET state = 'committed', commit_size = size, commit_crc32 = 1, fingerprint = '1:1'",
      ),
  ],
];

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

t.test("tampered with behind the server's back", async (t) => {
  for (const [what, bad, tamper] of TAMPERINGS) {
    await t.test(what, async (t) => {
      const { from, to: dir } = directories(t);
      const first = await startServer(t, dir);
      const path = makeFile(join(from, "file"), BYTES, 3);
      await abandoned(t, first.to, HERE, { paths: [path] });
      await first.server.close();
      tamper(dir);
      const second = await startServer(t, dir);
      const proxy = await startProxy(t, second.to);
      const sent = await sendAll({ paths: [path], to: proxy.address, chunkBytes: CHUNK, timeoutMs: 10_000 });
      assertOk(t, sent);
      assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
      t.equal(proxy.chunks.size, CHUNKS - HERE + bad, "only what is bad was sent again");
      t.equal(sent.files[0]?.crc32, hexCrc32(contentOf(BYTES, 3)));
      t.equal(sent.result.bytesResumed, (HERE - bad) * CHUNK);
      await second.server.close();
      t.same(partsIn(dir), []);
      t.same(readSessions(dir), []);
    });
  }
});

t.test("two destinations of one file are two sessions", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  await abandoned(t, to, HERE, { paths: [path], into: "a" });
  const b = await sendAll({ paths: [path], to, into: "b" });
  assertOk(t, b);
  t.match(b.files, [{ name: "b/file", status: "sent" }]);
  t.equal(b.result.bytesResumed, 0);
  const a = await sendAll({ paths: [path], to, into: "a" });
  assertOk(t, a);
  t.equal(a.result.bytesResumed, HERE * CHUNK);
  t.same(
    log.of("session").map(({ resumed }) => resumed),
    [false, false, true],
  );
  for (const into of ["a", "b"]) assertContent(t, join(dir, into, "file"), contentOf(BYTES, 3));
});

t.test("a transfer that is alive is not taken from its client", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const { sending, proxy } = await halfWay(t, to, HERE, { paths: [path] });
  for (let i = 0; i < 3; i++) {
    const twin = await sendAll({ paths: [path], to });
    assertFailure(t, twin.result, "E_BUSY", /sends the same/);
    t.equal(twin.result.exitCode, 69);
    t.match(twin.result.error?.hint, /let that finish or stop it/, "with what to do");
  }
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.result.retries, 0, "the one that lives was not disturbed");
  t.equal(sent.result.bytesResumed, 0);
  t.equal(proxy.chunks.size, CHUNKS);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  t.equal(log.of("refused").length, 3, "the log has it");
});

t.test("a client that is stopped is taken over, and its late bytes count for nothing", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const proxy = await startProxy(t, to, { rules: [holdAtChunk(HERE)] });
  const stopped = startChild<TransferEvent>(t, "client-child.ts", {
    paths: [path],
    to: proxy.address,
    streams: 1,
    chunkBytes: CHUNK,
    timeoutMs: 15_000,
  });
  await stopped.log.until("progress", ({ bytesDone }) => bytesDone >= HERE * CHUNK);
  stopped.process.kill("SIGSTOP");
  const { result, files } = await sendAll({ paths: [path], to });
  t.equal(result.ok, true);
  t.match(files, [{ status: "resumed" }]);
  t.equal(result.bytesResumed, HERE * CHUNK);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  const inode = statSync(join(dir, "file")).ino;
  proxy.release("stream");
  stopped.process.kill("SIGCONT");
  await stopped.exited;
  const last = (stopped.log as unknown as EventLog<ClientEvent>).of("result")[0];
  t.match(last?.result, { ok: true, filesUnchanged: 1 }, "it finds that all is there");
  t.equal(statSync(join(dir, "file")).ino, inode);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  t.equal(log.of("session").length, 3);
});

t.test("a server that is gone for a while is waited for", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServerChild(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const { sending, proxy, log } = await halfWay(t, first.to, HERE, { paths: [path], timeoutMs: 20_000 });
  await recorded(dir, HERE * CHUNK);
  await first.kill();
  await log.until("warning", ({ message }) => /dialled again/.test(message));
  const second = await startServer(t, dir);
  proxy.retarget(second.to);
  const sent = await sending;
  assertOk(t, sent);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  t.equal(sent.files.length, 1);
  t.equal(sent.result.bytesResumed, 0, "this run brought all of it");
  const again = [...proxy.chunks].filter(([chunk, count]) => offsetOf(chunk) < HERE * CHUNK && count > 1);
  t.same(again, [], "what was recorded is not sent again");
  t.match(second.log.of("session"), [{ resumed: true }]);
});

t.test("a server that is gone for too long, and is back for the next run", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServerChild(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const { sending } = await halfWay(t, first.to, HERE, { paths: [path], timeoutMs: 1500 });
  await recorded(dir, HERE * CHUNK);
  await first.kill();
  const { result } = await sending;
  assertFailure(t, result, "E_TIMEOUT", /could not be reached again/);
  t.equal(result.exitCode, 75);
  const { to } = await startServer(t, dir);
  const sent = await sendAll({ paths: [path], to });
  assertOk(t, sent);
  t.equal(sent.result.bytesResumed, HERE * CHUNK);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
});

t.test("a server that has lost its memory gets all of it again", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServerChild(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const { sending, proxy } = await halfWay(t, first.to, HERE, { paths: [path], timeoutMs: 20_000 });
  await recorded(dir, HERE * CHUNK);
  await first.kill();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(dir, ".hawser", `sessions.db${suffix}`), { force: true });
  const second = await startServer(t, dir);
  proxy.retarget(second.to);
  const sent = await sending;
  assertOk(t, sent);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  // A stream that is dialled once more than it has to be sends some of them a third time.
  const again = [...proxy.chunks].filter(([chunk, count]) => offsetOf(chunk) < HERE * CHUNK && count > 1);
  t.equal(again.length, HERE, "all that had arrived went again");
  t.match(second.log.of("session"), [{ resumed: false }]);
  await second.server.close();
  t.same(partsIn(dir), [], "the part that nobody knows is gone");
});

t.test("another run with --no-resume sends all again, and leaves no old part", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, server } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  await abandoned(t, to, HERE, { paths: [path] });
  const old = partOf(dir);
  const { sending, proxy } = await halfWay(t, to, 2, { paths: [path], resume: false });
  t.not(partOf(dir), old, "the old part is gone as soon as the new one is begun");
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.match(sent.files, [{ status: "sent" }]);
  t.equal(sent.result.bytesResumed, 0);
  t.equal(proxy.chunks.size, CHUNKS);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  await server.close();
  t.same(partsIn(dir), []);
  t.same(readSessions(dir), []);
});

t.test("what was dropped by `hawser sessions --drop` is sent anew", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  const { result } = await abandoned(t, first.to, HERE, { paths: [path] });
  t.throws(() => dropSession(dir, String(result.transferId)), { code: "E_BUSY" }, "not while a server has it open");
  await first.server.close();
  const dropped = await run(["sessions", dir, "--drop", String(result.transferId).slice(0, 8)]);
  t.match(dropped, { code: 0, err: /is dropped/ });
  t.same(partsIn(dir), []);
  const second = await startServer(t, dir);
  const proxy = await startProxy(t, second.to);
  const sent = await sendAll({ paths: [path], to: proxy.address, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.match(sent.files, [{ status: "sent" }]);
  t.equal(sent.result.bytesResumed, 0);
  t.equal(proxy.chunks.size, CHUNKS);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
});

t.test("several files, some of them committed before the interruption", async (t) => {
  const { from, to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const small = [1, 2, 3].map((seed) => makeFile(join(from, `small-${seed}`), 2 * CHUNK, seed));
  const large = makeFile(join(from, "large"), BYTES, 4);
  const last = makeFile(join(from, "last"), 3 * CHUNK, 5);
  const paths = [...small, large, last];
  const { sending, proxy } = await halfWay(t, to, 6 + HERE, { paths, retries: 0 });
  await log.untilCount("file", 3);
  proxy.harmAll("stream", "reset");
  proxy.harmAll("control", "reset");
  t.equal((await sending).result.ok, false);
  const inodes = () => small.map((_, i) => statSync(join(dir, `small-${i + 1}`)).ino);
  const before = inodes();

  const again = await startProxy(t, to);
  const sent = await sendAll({ paths, to: again.address, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.same(inodes(), before, "what was committed is what is there");
  t.match(sent.files.find(({ name }) => name === "large")?.status, "resumed");
  t.match(sent.files.find(({ name }) => name === "last")?.status, "sent");
  for (const { name, status } of sent.files)
    if (name.startsWith("small")) t.match(status, /^(resumed|unchanged)$/, name);
  t.equal(again.chunks.size, CHUNKS - HERE + 3, "only what was missing was sent");
  for (const seed of [1, 2, 3]) assertContent(t, join(dir, `small-${seed}`), contentOf(2 * CHUNK, seed));
  assertContent(t, join(dir, "large"), contentOf(BYTES, 4));
  assertContent(t, join(dir, "last"), contentOf(3 * CHUNK, 5));
  t.same(partsIn(dir), []);
});

t.test(
  "more files than a client names at once, the first of them committed, killed and run again at once",
  async (t) => {
    const { from, to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    // So many that the server has forgotten the first ones, and the new run's HELLO names none that it knows.
    const paths = Array.from({ length: OPEN_FILES_MAX + RESUME_KEYS_MAX }, (_, i) =>
      makeFile(join(from, `f-${String(i).padStart(3, "0")}`), 1000, i),
    );
    const large = makeFile(join(from, "large"), BYTES, 4);
    paths.push(large);
    const proxy = await startProxy(t, to, { rules: [holdAtChunk(HERE)] });
    const killed = startChild<TransferEvent>(t, "client-child.ts", {
      paths,
      to: proxy.address,
      streams: 1,
      chunkBytes: CHUNK,
    });
    const brought = (paths.length - 1) * 1000 + HERE * CHUNK;
    await killed.log.until("progress", ({ bytesDone }) => bytesDone >= brought);
    await log.untilCount("file", paths.length - 1);
    killed.process.kill("SIGKILL");
    await killed.exited;

    const again = await startProxy(t, to);
    const sent = await sendAll({ paths, to: again.address, chunkBytes: CHUNK });
    assertOk(t, sent);
    t.same(
      sent.files.filter(({ error }) => error !== null),
      [],
      "none of them is busy",
    );
    t.equal(again.chunks.size, CHUNKS - HERE, "only what was missing was sent");
    t.equal(log.of("ended").length, 1, "the session that lingered was ended for it");
    assertContent(t, join(dir, "large"), contentOf(BYTES, 4));
    t.same(partsIn(dir), []);
  },
);

const GATE = fileURLToPath(new URL("../helpers/reading-gate.ts", import.meta.url));

t.test("the first chunks go out before what need not be sent is read again", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  await abandoned(t, to, HERE, { paths: [path] });
  const proxy = await startProxy(t, to);
  const client = startChild<ClientEvent>(
    t,
    "client-child.ts",
    { paths: [path], to: proxy.address, chunkBytes: CHUNK },
    { nodeArgs: ["--import", GATE] },
  );
  // Reading again waits until all that was missing has been sent.
  await proxy.until(() => proxy.chunks.size === CHUNKS - HERE);
  t.equal(proxy.framesOf("up", "SEAL"), 0, "without it the file is not vouched for");
  client.process.kill("SIGUSR2");
  const { result } = await client.log.until("result");
  t.match(result, { ok: true, bytesResumed: HERE * CHUNK, bytesTrusted: 0 });
  t.equal(proxy.chunks.size, CHUNKS - HERE);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
});

// --- the program ----------------------------------------------------------------------------------------------------

const sendArguments = (path: string, { host, port }: { host: string; port: number }, ...more: string[]) => [
  ...["send", path, "--to", `${host}:${port}`, "--insecure", "--chunk-size", "64KiB", "--streams", "1"],
  ...["--progress", "none", ...more],
];

/** The command that a run which can be gone on with says. */
function commandIn(t: Test, err: string): string[] {
  const [, command] = /The same command goes on where this one stopped:\n {2}hawser (.*)\n/.exec(err) ?? [];
  t.type(command, "string", `a command is said: ${err}`);
  // Nothing in these needs quotes.
  return (command ?? "").split(" ");
}

t.test("--trust-mtime reads nothing again, and the receipt says so", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  await abandoned(t, to, HERE, { paths: [path] });
  const proxy = await startProxy(t, to);
  // The gate is never opened: whoever read again would wait for ever.
  const env = { NODE_OPTIONS: `--import ${GATE}` };
  const { code, out } = await run(sendArguments(path, proxy.address, "--trust-mtime"), { env });
  t.equal(code, 0);
  t.match(out, /^resumed +2\.50 MiB, 2\.50 MiB of it trusted by size and time, not read again$/m);
  t.equal(proxy.chunks.size, CHUNKS - HERE);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));

  const other = makeFile(join(from, "other"), BYTES, 6);
  await abandoned(t, to, HERE, { paths: [other] });
  const trusting = await sendAll({ paths: [other], to, trustMtime: true });
  assertOk(t, trusting);
  t.equal(trusting.result.bytesTrusted, HERE * CHUNK);
  t.equal(trusting.files[0]?.crc32, hexCrc32(contentOf(BYTES, 6)));
});

t.test("^C: exit 130, and the command that goes on", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  // More than may be on its way, so that what is in flight at ^C is not the rest.
  const bytes = 2 * WINDOW_BYTES;
  const path = makeFile(join(from, "file"), bytes, 3);
  const proxy = await startProxy(t, to, { rules: [holdAtChunk(HERE)] });
  const first = start(sendArguments(path, proxy.address));
  await recorded(dir, HERE * CHUNK);
  first.child.kill("SIGINT");
  // What is in flight stays there, until the client has waited for it long enough.
  const stopped = await first.ended;
  t.equal(stopped.code, 130);
  const command = commandIn(t, stopped.err);
  t.same(command, sendArguments(path, proxy.address));
  const again = await run([...command, "--json"]);
  t.equal(again.code, 0, again.err);
  const document = JSON.parse(again.out);
  t.match(document.files, [{ status: "resumed", crc32: hexCrc32(contentOf(bytes, 3)) }]);
  t.equal(document.bytesResumed, HERE * CHUNK);
  assertContent(t, join(dir, "file"), contentOf(bytes, 3));
});

t.test("no progress for --timeout: exit 75, and the command that goes on", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), BYTES, 3);
  let stalled = true;
  const proxy = await startProxy(t, to, {
    rules: [holdAtChunk(HERE)],
    shape: ({ kind, ordinal }) => (stalled && kind === "stream" && ordinal > 0 ? { stalled } : {}),
  });
  const stopped = await run(sendArguments(path, proxy.address, "--timeout", "3s"));
  t.equal(stopped.code, 75, stopped.err);
  t.match(stopped.err, /E_TIMEOUT/);
  const command = commandIn(t, stopped.err);
  stalled = false;
  const again = await run([...command, "--json"]);
  t.equal(again.code, 0, again.err);
  const document = JSON.parse(again.out);
  t.match(document.files, [{ status: "resumed" }]);
  t.equal(document.bytesResumed, HERE * CHUNK);
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
});
