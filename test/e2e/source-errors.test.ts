/** What goes wrong at the source: each with its code, its exit code and its next step, and nothing committed. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type ErrorCode, RateLimit, type TransferResult } from "../../src/index.ts";
import { assertFailure, assertOk, sendAll, startChild, startServer } from "../helpers/e2e.ts";
import { directories, KIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";

async function refusedAlone(t: Test, path: string, code: ErrorCode): Promise<void> {
  // Found out before anything is dialled: nothing listens there.
  const sent = await sendAll({ paths: [path], to: { host: "127.0.0.1", port: 1 } });
  assertFailure(t, sent.result, code);
  t.match(sent.files, [{ status: "failed", error: { code } }]);
  t.equal(sent.result.transferId, null, "no session was opened");
  t.ok(sent.result.error?.message.includes(path), "the message names it");
}

t.test("a file that is missing", async (t) => {
  const { from } = directories(t);
  await refusedAlone(t, join(from, "missing"), "E_SOURCE_MISSING");
  makeFile(join(from, "file"), 1);
  await refusedAlone(t, join(from, "file", "below"), "E_SOURCE_MISSING");
});

t.test("a FIFO, a socket, a device", async (t) => {
  const { from } = directories(t);
  const fifo = join(from, "fifo");
  execFileSync("mkfifo", [fifo]);
  await refusedAlone(t, fifo, "E_SOURCE_SPECIAL");
  const short = mkdtempSync(join(tmpdir(), "hawser-"));
  t.teardown(() => rmSync(short, { recursive: true, force: true }));
  const socket = join(short, "socket");
  const server = createServer().listen(socket);
  await new Promise((resolve) => server.once("listening", resolve));
  t.teardown(() => server.close());
  await refusedAlone(t, socket, "E_SOURCE_SPECIAL");
  await refusedAlone(t, "/dev/zero", "E_SOURCE_SPECIAL");
});

t.test("a file that may not be read", async (t) => {
  const { to: dir } = directories(t);
  const open = mkdtempSync(join(tmpdir(), "hawser-"));
  t.teardown(() => rmSync(open, { recursive: true, force: true }));
  chmodSync(open, 0o755);
  const path = makeFile(join(open, "secret"), 100_000);
  chmodSync(path, 0o000);
  const { to } = await startServer(t, dir);
  let result: TransferResult;
  if (process.getuid?.() === 0) {
    // Root reads everything: a child without its rights tries.
    const nobody = { uid: 65534, gid: 65534 };
    const child = startChild<{ type: "result"; result: TransferResult }>(
      t,
      "client-child.ts",
      { paths: [path], to },
      nobody,
    );
    await child.exited;
    const last = child.log.of("result")[0];
    if (last === undefined) {
      t.pass(`skipped: another user can't run the tests here: ${child.stderr().split("\n")[0]}`);
      return;
    }
    result = last.result;
  } else ({ result } = await sendAll({ paths: [path], to }));
  assertFailure(t, result, "E_SOURCE_UNREADABLE");
  t.same(namesIn(dir), []);
});

/** More than what is read ahead. */
const BYTES = 400 * 64 * KIB;

const CHANGES: readonly (readonly [string, (path: string) => void])[] = [
  ["it grew", (path) => appendFileSync(path, "more")],
  ["it shrank", (path) => truncateSync(path, 64 * KIB)],
  ["it became empty", (path) => truncateSync(path, 0)],
  ["it was written again, with the same size", (path) => writeFileSync(path, Buffer.alloc(BYTES, 1))],
  [
    "another took its place, with the same size",
    (path) => {
      writeFileSync(`${path}.new`, Buffer.alloc(BYTES, 2));
      renameSync(`${path}.new`, path);
    },
  ],
];

for (const [what, change] of CHANGES) {
  t.test(`a file that changes while it is sent: ${what}`, async (t) => {
    const { from, to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    // The path is held up after the first chunks, until the change is made.
    const proxy = await startProxy(t, to);
    const path = makeFile(join(from, "file"), BYTES);
    const other = makeFile(join(from, "other"), 1000, 2);
    const sending = sendAll({ paths: [path, other], to: proxy.address, streams: 1, chunkBytes: 64 * KIB });
    await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 2);
    proxy.hold("stream");
    change(path);
    proxy.release("stream");
    const sent = await sending;
    t.equal(sent.result.exitCode, 23, "the other file arrived");
    const failed = sent.files.find(({ name }) => name === "file");
    assertFailure(t, { error: failed?.error ?? null }, "E_SOURCE_CHANGED");
    t.same(namesIn(dir), ["other"], "nothing of the changed file is committed");
    t.same(partsIn(dir), [], "and nothing stays in staging");
  });
}

/** When nine of its chunks are begun all twelve are read: four streams have two blocks each. */
const READ_AHEAD_BYTES = 12 * 128 * KIB;

const LATE_CHANGES: readonly (readonly [string, (path: string) => void])[] = [
  ["it grew", (path) => appendFileSync(path, "more")],
  ["it shrank", (path) => truncateSync(path, KIB)],
  ["it was written again, with the same size", (path) => writeFileSync(path, Buffer.alloc(READ_AHEAD_BYTES, 1))],
  ["it was removed", (path) => rmSync(path)],
];

t.test("a file that changes when all of it is read, and not all of it sent", { jobs: 8 }, async (t) => {
  for (const verify of [undefined, "full"] as const) {
    for (const [what, change] of LATE_CHANGES) {
      t.test(`${what}, ${verify === undefined ? "as it comes" : "--verify full"}`, async (t) => {
        const { from, to: dir } = directories(t);
        const { to } = await startServer(t, dir);
        const proxy = await startProxy(t, to);
        const path = makeFile(join(from, "file"), READ_AHEAD_BYTES);
        const bwlimit = new RateLimit(READ_AHEAD_BYTES);
        const options = { to: proxy.address, streams: 4, chunkBytes: 128 * KIB, bwlimit, ...(verify && { verify }) };
        const sending = sendAll({ ...options, paths: [path] });
        await proxy.until(() => proxy.framesOf("up", "CHUNK") >= 9);
        change(path);
        const { result } = await sending;
        assertFailure(t, result, "E_SOURCE_CHANGED", what === "it was removed" ? /it was removed/ : /it was/);
        t.same(namesIn(dir), []);
      });
    }
  }
});

t.test("a file that changes alone: the transfer's code is its own", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  proxy.hold("stream");
  const path = makeFile(join(from, "file"), BYTES);
  const sending = sendAll({ paths: [path], to: proxy.address, streams: 2, chunkBytes: 64 * KIB });
  await proxy.until(() => proxy.framesOf("down", "PLAN") === 1);
  appendFileSync(path, "more");
  proxy.release("stream");
  const { result } = await sending;
  assertFailure(t, result, "E_SOURCE_CHANGED");
  t.same(namesIn(dir), []);
});

t.test("an empty file that grew before it was its turn", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  proxy.hold("control");
  const path = makeFile(join(from, "file"), 0);
  const sending = sendAll({ paths: [path], to: proxy.address, streams: 1 });
  await proxy.until(() => proxy.framesOf("up", "HELLO") === 1);
  appendFileSync(path, "more");
  proxy.release("control");
  const { result } = await sending;
  assertFailure(t, result, "E_SOURCE_CHANGED");
  t.same(namesIn(dir), []);
});

t.test("what makes no sense is refused before anything is looked at", async (t) => {
  const { from } = directories(t);
  const to = { host: "127.0.0.1", port: 1 };
  mkdirSync(join(from, "d"));
  const [a, b] = [makeFile(join(from, "a"), 1), makeFile(join(from, "d/a"), 1)];
  for (const options of [{ paths: [] }, { paths: [a, b] }, { paths: [a, makeFile(join(from, "c"), 1)], name: "x" }]) {
    const { result } = await sendAll({ ...options, to });
    assertFailure(t, result, "E_USAGE");
  }
});

t.test("a source that is a link to a file is sent as the file", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  makeFile(join(from, "file"), 10);
  execFileSync("ln", ["-s", "file", join(from, "link")]);
  assertOk(t, await sendAll({ paths: [join(from, "link")], to }));
  t.same(namesIn(dir), ["link"]);
});
