/** Faults of what is around a transfer: space, the source, the journal, the history, the wall clock, and time that passes. */
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { readHistory, readSessions, type SendOptions, type TransferResult } from "../../src/index.ts";
import { WINDOW_BYTES } from "../../src/protocol/limits.ts";
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
import { assertContent, contentOf, directories, KIB, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { smallFileSystem } from "../helpers/mounts.ts";
import { startProxy } from "../helpers/proxy.ts";
import { attachStrace, skipsWithoutStrace } from "../helpers/strace.ts";
import { abandoned, CHUNK, halfWay, holdAtChunk, recorded } from "../helpers/unfinished.ts";

const CHUNKS = 64;
const BYTES = CHUNKS * CHUNK - 77;
const HERE = 40;

// --- space ----------------------------------------------------------------------------------------------------------

const DISK_BYTES = 4 * MIB;

t.test("disk full", async (t) => {
  await t.test("disk full: refused up front, from the free space less what is promised to others", async (t) => {
    const { from } = directories(t);
    const dir = smallFileSystem(t, DISK_BYTES);
    if (dir === undefined) return;
    const { to, log } = await startServer(t, dir);
    const proxy = await startProxy(t, to);
    const huge = await sendAll({ paths: [makeFile(join(from, "huge"), 8 * MIB)], to: proxy.address });
    assertFailure(t, huge.result, "E_NO_SPACE", /needs 8388608 bytes, and \d+ are free/);
    t.equal(huge.result.exitCode, 74);
    t.equal(proxy.chunks.size, 0, "nothing of it was sent");
    t.match((await log.until("file")).file, { name: "huge", status: "failed", error: /are free/ });

    const half = 2 * MIB + 100 * KIB;
    const { sending, proxy: held } = await halfWay(t, to, 2, { paths: [makeFile(join(from, "first"), half, 1)] });
    const second = makeFile(join(from, "second"), half, 2);
    const refused = await sendAll({ paths: [second], to });
    assertFailure(t, refused.result, "E_NO_SPACE");
    held.release("stream");
    assertOk(t, await sending);
    assertContent(t, join(dir, "first"), contentOf(half, 1));
    rmSync(join(dir, "first"));
    assertOk(t, await sendAll({ paths: [second], to }));
    assertContent(t, join(dir, "second"), contentOf(half, 2));
  });

  await t.test("disk full: somebody else filled it; the part is kept, and goes on when there is space", async (t) => {
    const { from } = directories(t);
    const dir = smallFileSystem(t, DISK_BYTES);
    if (dir === undefined) return;
    const { to, log } = await startServer(t, dir);
    const bytes = 40 * CHUNK;
    const path = makeFile(join(from, "file"), bytes, 4);
    const { sending, proxy } = await halfWay(t, to, 20, { paths: [path] });
    await recorded(dir, 20 * CHUNK);
    fill(join(dir, "filler"));
    proxy.release("stream");
    const { result } = await sending;
    assertFailure(t, result, "E_NO_SPACE", /ENOSPC/);
    t.equal(result.exitCode, 74);
    t.match((await log.until("file")).file, { status: "failed", error: /ENOSPC/ }, "the server says so too");
    t.notOk(namesIn(dir).includes("file"));
    t.equal(partsIn(dir).length, 1, "the part is kept");
    const still = await sendAll({ paths: [path], to });
    t.equal(still.result.exitCode, 74);
    t.equal(still.result.error?.code, "E_NO_SPACE", "said as what it is");
    t.equal(partsIn(dir).length, 1, "also when it is tried too early");

    rmSync(join(dir, "filler"));
    const again = await startProxy(t, to);
    const sent = await sendAll({ paths: [path], to: again.address, chunkBytes: CHUNK });
    assertOk(t, sent);
    assertContent(t, join(dir, "file"), contentOf(bytes, 4));
    t.ok(sent.result.bytesResumed >= 20 * CHUNK, `what was recorded is not sent again: ${sent.result.bytesResumed}`);
    t.equal(again.chunks.size, 40 - sent.result.bytesResumed / CHUNK);
    t.same(partsIn(dir), []);
  });

  await t.test("disk full: every write fails, of the part and of the databases", async (t) => {
    if (skipsWithoutStrace(t)) return;
    const { from, to: dir } = directories(t);
    const server = await startServerChild(t, dir);
    const path = makeFile(join(from, "file"), BYTES, 5);
    const { sending, proxy } = await halfWay(t, server.to, HERE, { paths: [path] });
    await recorded(dir, HERE * CHUNK);
    const inject = "pwrite64:error=ENOSPC:when=1+";
    const full = await attachStrace(t, Number(server.process.pid), "main", { calls: ["pwrite64"], inject });
    proxy.release("stream");
    const { result } = await sending;
    assertFailure(t, result, "E_NO_SPACE", /ENOSPC/);
    t.equal(result.exitCode, 74);
    const failed = await server.log.until("file");
    t.match(failed.file, { name: "file", status: "failed", error: /ENOSPC/ });
    t.equal(partsIn(dir).length, 1, "the part is kept");
    await full.stop();

    const again = await startProxy(t, server.to);
    const sent = await sendAll({ paths: [path], to: again.address, chunkBytes: CHUNK });
    assertOk(t, sent);
    assertContent(t, join(dir, "file"), contentOf(BYTES, 5));
    t.equal(sent.result.bytesResumed, HERE * CHUNK);
    t.equal(again.chunks.size, CHUNKS - HERE);
    t.same(partsIn(dir), []);
  });
});

/** Until nothing more fits. */
function fill(path: string): void {
  const fd = openSync(path, "wx");
  try {
    for (let bytes = 64 * KIB; bytes >= 1; ) {
      try {
        if (writeSync(fd, Buffer.alloc(bytes, 1)) < bytes) bytes = Math.floor(bytes / 2);
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== "ENOSPC") throw thrown;
        bytes = Math.floor(bytes / 2);
      }
    }
  } finally {
    closeSync(fd);
  }
}

// --- the source -----------------------------------------------------------------------------------------------------

/** What may happen to a source. Where it was sent already, so that nothing but its key can tell. */
const CHANGES: readonly (readonly [string, (path: string) => void])[] = [
  ["it grows", (path) => appendFileSync(path, contentOf(3 * CHUNK, 9))],
  ["it shrinks", (path) => truncateSync(path, statSync(path).size - CHUNK - 5)],
  ["its time is another", (path) => utimesSync(path, 1_000_000_000, 1_000_000_000)],
  ["its content is another, of the same size", (path) => overwrite(path, 5 * CHUNK, contentOf(CHUNK, 10))],
  [
    "its content is another, of the same size, and its time set back",
    (path) => {
      const { atime, mtime } = statSync(path);
      overwrite(path, 5 * CHUNK, contentOf(CHUNK, 10));
      utimesSync(path, atime, mtime);
    },
  ],
  [
    "it is replaced by another inode with the same content and time",
    (path) => {
      const { atime, mtime } = statSync(path);
      copyFileSync(path, `${path}.new`);
      utimesSync(`${path}.new`, atime, mtime);
      renameSync(`${path}.new`, path);
    },
  ],
];

/** A file whose time a program can set to the very same again: whole seconds. */
function sourceIn(from: string, bytes: number): string {
  const path = makeFile(join(from, "file"), bytes, 3);
  utimesSync(path, 1_700_000_000, 1_700_000_000);
  return path;
}

t.test("the source changes while it is sent", async (t) => {
  for (const [what, change] of CHANGES) {
    await t.test(`the source changes while it is sent: ${what}`, async (t) => {
      const { from, to: dir } = directories(t);
      const { to, log } = await startServer(t, dir);
      // More than may be on its way: it can't all be read when the first chunks have arrived.
      const path = sourceIn(from, WINDOW_BYTES + 2 * BYTES);
      const { sending, proxy } = await halfWay(t, to, HERE, { paths: [path] });
      change(path);
      proxy.release("stream");
      const { result } = await sending;
      assertFailure(t, result, "E_SOURCE_CHANGED", /changed while it was being sent/);
      t.equal(result.exitCode, 65);
      t.match((await log.until("file")).file, { status: "failed" });
      t.same(namesIn(dir), [], "nothing is committed");
      t.same(partsIn(dir), [], "what was there of it is of no use");
      const again = await sendAll({ paths: [path], to });
      assertOk(t, again);
      t.equal(again.result.bytesResumed, 0);
      assertContent(t, join(dir, "file"), readFileSync(path));
    });
  }
});

t.test("the source changes between two runs", async (t) => {
  for (const [what, change] of CHANGES) {
    await t.test(`the source changes between two runs: ${what}`, async (t) => {
      const { from, to: dir } = directories(t);
      const { to } = await startServer(t, dir);
      const path = sourceIn(from, BYTES);
      await abandoned(t, to, HERE, { paths: [path] });
      change(path);
      const content = readFileSync(path);
      const proxy = await startProxy(t, to);
      const sent = await sendAll({ paths: [path], to: proxy.address, chunkBytes: CHUNK, trustMtime: true });
      assertOk(t, sent);
      assertContent(t, join(dir, "file"), content);
      t.match(sent.files, [{ status: "sent", bytes: content.length }], "not gone on with");
      t.equal(sent.result.bytesResumed, 0);
      t.equal(proxy.chunks.size, Math.ceil(content.length / CHUNK), "all of it was sent");
    });
  }
});

// --- the journal ----------------------------------------------------------------------------------------------------

function sql(path: string, ...statements: readonly string[]): void {
  const database = new DatabaseSync(path);
  try {
    for (const statement of statements) database.exec(statement);
  } finally {
    database.close();
  }
}

const SPOILINGS: readonly (readonly [string, (path: string) => void])[] = [
  ["truncated, to half", (path) => truncateSync(path, Math.floor(statSync(path).size / 2))],
  ["truncated, in a page", (path) => truncateSync(path, statSync(path).size - 1000)],
  ["truncated, to a few bytes", (path) => truncateSync(path, 50)],
  ["garbage", (path) => writeFileSync(path, contentOf(statSync(path).size, 99))],
  ["garbage behind a good header", (path) => overwrite(path, 100, contentOf(statSync(path).size - 100, 98))],
  ["older", (path) => sql(path, "PRAGMA user_version = 1")],
  ["newer", (path) => sql(path, "PRAGMA user_version = 99", "ALTER TABLE file ADD COLUMN novelty TEXT")],
  ["of another program", (path) => sql(path, "PRAGMA user_version = 0", "DROP TABLE chunk", "DROP TABLE file")],
];

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

t.test("resume journal", async (t) => {
  for (const [what, spoil] of SPOILINGS) {
    await t.test(`resume journal ${what}`, async (t) => {
      const { from, to: dir } = directories(t);
      const first = await startServer(t, dir);
      const path = makeFile(join(from, "file"), BYTES, 3);
      await abandoned(t, first.to, HERE, { paths: [path] });
      await first.server.close();
      t.equal(readSessions(dir)[0]?.bytesPresent, HERE * CHUNK);
      const journal = join(dir, ".hawser", "sessions.db");
      spoil(journal);
      const spoilt = readFileSync(journal);

      const second = await startServer(t, dir);
      const aside = readdirSync(join(dir, ".hawser")).filter((name) => name.startsWith("sessions.db.spoilt-"));
      t.equal(aside.length, 1, "it is set aside");
      t.ok(readFileSync(join(dir, ".hawser", aside[0] ?? "")).equals(spoilt), "as it was");
      const [warning, ...others] = second.log.of("warning");
      t.match(warning?.message, /it was set aside as '.*sessions\.db\.spoilt-\d+'/, "and said");
      t.same(others, []);
      const proxy = await startProxy(t, second.to);
      const sent = await sendAll({ paths: [path], to: proxy.address, chunkBytes: CHUNK });
      assertOk(t, sent);
      assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
      t.equal(sent.result.bytesResumed, 0);
      t.equal(proxy.chunks.size, CHUNKS, "what can't be proven is sent again");
      await second.server.close();
      t.same(partsIn(dir), [], "and the part that nobody knows is gone");
      t.same(readSessions(dir), []);

      const third = await startServer(t, dir);
      t.same(third.log.of("warning"), [], "it is said once");
    });
  }
});

// --- history --------------------------------------------------------------------------------------------------------

/** Two transfers, of one file and of several, arrive; `spoilt` says so. */
async function assertServes(t: Test, dir: string, from: string, to: { host: string; port: number }): Promise<void> {
  const path = makeFile(join(from, "one"), BYTES, 1);
  const many = [2, 3, 4].map((seed) => makeFile(join(from, `many-${seed}`), 10 * KIB, seed));
  assertOk(t, await sendAll({ paths: [path], to }));
  assertOk(t, await sendAll({ paths: many, to, into: "into" }));
  assertContent(t, join(dir, "one"), contentOf(BYTES, 1));
  for (const seed of [2, 3, 4]) assertContent(t, join(dir, "into", `many-${seed}`), contentOf(10 * KIB, seed));
}

t.test("history database", async (t) => {
  await t.test("history database locked", async (t) => {
    const { from, to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    const locker = new DatabaseSync(join(dir, ".hawser", "history.db"));
    t.teardown(() => locker.close());
    locker.exec("BEGIN IMMEDIATE");
    await assertServes(t, dir, from, to);
    t.match(log.of("warning")[0]?.message, /history.*locked.*goes on without a record/);
    locker.exec("ROLLBACK");
    const before = log.of("warning").length;
    assertOk(t, await sendAll({ paths: [makeFile(join(from, "later"), 10)], to }));
    t.equal(log.of("warning").length, before, "and it is written again when it can be");
    t.match([...readHistory(dir)][0]?.names, ["later"]);
  });

  await t.test("history database locked before the start", async (t) => {
    const { from, to: dir } = directories(t);
    const first = await startServer(t, dir);
    assertOk(t, await sendAll({ paths: [makeFile(join(from, "earlier"), 10)], to: first.to }));
    await first.server.close();
    const locker = new DatabaseSync(join(dir, ".hawser", "history.db"));
    t.teardown(() => locker.isOpen && locker.close());
    locker.exec("BEGIN IMMEDIATE");
    const { to, log } = await startServer(t, dir);
    await assertServes(t, dir, from, to);
    t.match(log.of("warning")[0]?.message, /history.*locked/);
    locker.close();
    t.match(
      [...readHistory(dir)].map(({ names }) => names),
      [["earlier"]],
      "what it held before is still what is shown",
    );
  });

  for (const [what, spoil] of [
    ["garbage", (path: string) => writeFileSync(path, contentOf(64 * KIB, 97))],
    ["cut off", (path: string) => truncateSync(path, Math.floor(statSync(path).size / 2))],
    ["of a schema that is not ours", (path: string) => sql(path, "DROP TABLE transfer", "CREATE TABLE transfer (id)")],
  ] as const) {
    await t.test(`history database corrupt: ${what}`, async (t) => {
      const { from, to: dir } = directories(t);
      const first = await startServer(t, dir);
      assertOk(t, await sendAll({ paths: [makeFile(join(from, "earlier"), 10)], to: first.to }));
      await first.server.close();
      spoil(join(dir, ".hawser", "history.db"));
      const { to, log } = await startServer(t, dir);
      await assertServes(t, dir, from, to);
      t.match(log.of("warning")[0]?.message, /history/, "with a warning");
    });
  }

  await t.test("history database corrupt: spoilt while the server runs", async (t) => {
    const { from, to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    assertOk(t, await sendAll({ paths: [makeFile(join(from, "earlier"), 10)], to }));
    for (const suffix of ["", "-wal", "-shm"]) {
      const path = join(dir, ".hawser", `history.db${suffix}`);
      overwrite(path, 0, contentOf(statSync(path).size, 96));
    }
    await assertServes(t, dir, from, to);
    t.match(log.of("warning")[0]?.message, /history.*goes on without a record/);
  });

  await t.test("history database full", async (t) => {
    const { from, to: dir } = directories(t);
    const place = smallFileSystem(t, DISK_BYTES);
    if (place === undefined) return;
    const made = await startServer(t, dir);
    await made.server.close();
    // On a disk of its own, which is full.
    const history = join(dir, ".hawser", "history.db");
    copyFileSync(history, join(place, "history.db"));
    rmSync(history);
    symlinkSync(join(place, "history.db"), history);
    const { to, log } = await startServer(t, dir);
    assertOk(t, await sendAll({ paths: [makeFile(join(from, "earlier"), 10)], to }));
    t.same(log.of("warning"), []);
    fill(join(place, "filler"));
    await assertServes(t, dir, from, to);
    const [warning] = log.of("warning");
    t.match(warning?.message, /history.*goes on without a record/);
    t.match(warning?.message, /full/, "and why");
    rmSync(join(place, "filler"));
    const before = log.of("warning").length;
    assertOk(t, await sendAll({ paths: [makeFile(join(from, "later"), 10)], to }));
    t.equal(log.of("warning").length, before, "and it is written again when there is room");
  });
});

// --- the wall clock -------------------------------------------------------------------------------------------------

const DAY_MS = 24 * 3600 * 1000;
const CLOCK = fileURLToPath(new URL("../helpers/jumping-clock.ts", import.meta.url));
const TTL_MS = 1500;
const TIMEOUT_MS = 2500;

type Clocked<E> = E | { readonly type: "jumped"; readonly nowMs: number };

const withClock = (jumpMs: number, offsetMs = 0) => ({
  nodeArgs: ["--import", CLOCK],
  env: { CLOCK_JUMP_MS: String(jumpMs), CLOCK_OFFSET_MS: String(offsetMs) },
});

/** Resolves when its clock has jumped. */
async function jump<E extends { readonly type: string }>(
  child: { readonly process: { kill(signal: NodeJS.Signals): boolean }; readonly log: EventLog<E> },
  jumpMs: number,
): Promise<number> {
  child.process.kill("SIGUSR2");
  const log = child.log as unknown as EventLog<{ readonly type: "jumped"; readonly nowMs: number }>;
  const { nowMs } = await log.until("jumped");
  return Math.round((nowMs - Date.now() - jumpMs) / DAY_MS);
}

/** What it ended with; throws what it said when it crashed. */
async function resultOf(client: ReturnType<typeof startClient>): Promise<TransferResult> {
  const { code, signal } = await client.exited;
  const last = client.log.of("result")[0];
  if (last === undefined) throw new Error(`the client ended with ${code ?? signal}: ${client.stderr()}`);
  return last.result;
}

const startClient = (t: Test, jumpMs: number, options: SendOptions, offsetMs = 0) =>
  startChild<Clocked<ClientEvent>>(
    t,
    "client-child.ts",
    { chunkBytes: CHUNK, streams: 1, ...options },
    withClock(jumpMs, offsetMs),
  );

t.test("wall clock jumps by a day", (t) => {
  // They wait for time to pass.
  t.jobs = 4;
  for (const [way, jumpMs] of [
    ["forwards", DAY_MS],
    ["backwards", -DAY_MS],
  ] as const) {
    t.test(
      `wall clock jumps by a day ${way}, at both ends, in the middle of a transfer`,
      { buffered: true },
      async (t) => {
        const { from, to: dir } = directories(t);
        const server = await startServerChild(t, dir, { sessionTtlMs: DAY_MS / 2 }, withClock(jumpMs));
        const path = makeFile(join(from, "file"), BYTES, 3);
        const proxy = await startProxy(t, server.to, { rules: [holdAtChunk(HERE)] });
        const client = startClient(t, jumpMs, { paths: [path], to: proxy.address });
        await client.log.until("progress", ({ bytesDone }) => bytesDone >= HERE * CHUNK);
        t.equal(await jump(server, jumpMs), 0, "the server's clock has jumped");
        t.equal(await jump(client, jumpMs), 0, "and the client's");
        proxy.release("stream");
        const result = await resultOf(client);
        t.match(result, { ok: true, exitCode: 0, retries: 0, bytesResumed: 0 });
        t.same(client.log.of("warning"), []);
        t.ok(result.durationMs >= 0 && result.durationMs < DAY_MS / 2, `it took ${result.durationMs} ms`);
        t.same(server.log.of("expired"), []);
        assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
        const { record } = await server.log.until("transfer");
        t.ok(record.durationMs >= 0 && record.durationMs < DAY_MS / 2);
      },
    );

    t.test(`wall clock jumps by a day ${way}: deadlines stay where they are`, { buffered: true }, async (t) => {
      const { from, to: dir } = directories(t);
      const server = await startServerChild(t, dir, { sessionTtlMs: TTL_MS }, withClock(jumpMs));
      const path = makeFile(join(from, "file"), BYTES, 3);
      const proxy = await startProxy(t, server.to, {
        rules: [holdAtChunk(HERE)],
        // What is dialled again gets nothing through.
        shape: ({ kind, ordinal }) => (kind === "stream" && ordinal > 0 ? { stalled: true } : {}),
      });
      const client = startClient(t, jumpMs, { paths: [path], to: proxy.address, timeoutMs: TIMEOUT_MS });
      await client.log.until("progress", ({ bytesDone }) => bytesDone >= HERE * CHUNK);
      const stalledMs = performance.now();
      t.equal(await jump(client, jumpMs), 0);
      const ended = server.log.until("ended").then(() => performance.now());
      const result = await resultOf(client);
      assertFailure(t, result, "E_TIMEOUT");
      // What was acknowledged last is what the client's time runs from, and we heard of it later.
      t.ok(performance.now() - stalledMs > TIMEOUT_MS / 2, "the client did not give up before its time");
      const endedMs = await ended;
      t.equal(await jump(server, jumpMs), 0);
      await server.log.until("expired");
      // Its time ran from a little before we heard of it.
      t.ok(performance.now() - endedMs > TTL_MS / 2, "nor the server");
      t.same(partsIn(dir), []);
    });

    t.test(`wall clock jumps by a day ${way}, between two runs`, { buffered: true }, async (t) => {
      const { from, to: dir } = directories(t);
      const first = await startServerChild(t, dir);
      const path = makeFile(join(from, "file"), BYTES, 3);
      await abandoned(t, first.to, HERE, { paths: [path] });
      first.process.kill("SIGTERM");
      await first.exited;
      const second = await startServerChild(t, dir, {}, withClock(0, jumpMs));
      const result = await resultOf(startClient(t, 0, { paths: [path], to: second.to }, jumpMs));
      t.match(result, { ok: true, bytesResumed: HERE * CHUNK });
      t.same(second.log.of("expired"), []);
      t.match(second.log.of("session"), [{ resumed: true }]);
      assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
    });
  }
  t.end();
});

// --- time that passes -----------------------------------------------------------------------------------------------

t.test("abandoned parts", async (t) => {
  const { from, to: dir } = directories(t);
  const ttlMs = 1500;
  const { to, log } = await startServer(t, dir, { sessionTtlMs: ttlMs });
  const used = makeFile(join(from, "used"), BYTES, 1);
  const { sending, proxy } = await halfWay(t, to, HERE, { paths: [used] });
  const left = makeFile(join(from, "left"), BYTES, 2);
  const { result } = await abandoned(t, to, HERE, { paths: [left] });
  const ended = await log.until("ended");
  t.equal(ended.transferId, result.transferId);
  const shown = () =>
    readSessions(dir).map(({ transferId, state, files }) => ({ transferId, state, file: files[0]?.name }));
  const abandonedOne = readSessions(dir).find(({ transferId }) => transferId === result.transferId);
  t.match(abandonedOne, { state: "waiting", bytesPresent: HERE * CHUNK, files: [{ name: "left" }] }, "it is listed");
  t.equal(Number(abandonedOne?.expiresMs) - Number(abandonedOne?.seenMs), ttlMs, "with when it expires");
  t.equal(partsIn(dir).length, 2);

  const expired = await log.until("expired");
  t.same(expired, { type: "expired", transferId: result.transferId, peer: "127.0.0.1" });
  // The other was silent for longer than that, and its client is still there.
  t.match(shown(), [{ state: "active", file: "used" }]);
  t.equal(readSessions(dir)[0]?.expiresMs, null);
  t.equal(partsIn(dir).length, 1, "the part of the one is gone, and not that of the other");
  t.equal(log.of("expired").length, 1);
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.result.retries, 0);
  assertContent(t, join(dir, "used"), contentOf(BYTES, 1));
  const anew = await sendAll({ paths: [left], to });
  assertOk(t, anew);
  t.equal(anew.result.bytesResumed, 0);
  assertContent(t, join(dir, "left"), contentOf(BYTES, 2));
  t.same(partsIn(dir), []);
});
