/** A served directory: its lock, and what is found in it when a server starts. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t, { type Test } from "tap";
import { send } from "../../src/client/send.ts";
import { readHistory } from "../../src/server/database-history.ts";
import { openDirectory } from "../../src/server/open-directory.ts";
import { serve } from "../../src/server/serve.ts";
import type { ServerEvent } from "../../src/server/types.ts";
import { DatabaseSessionStore } from "../../src/sink/database-session-store.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { canSyncFileSystems, isInMemory } from "../../src/sink/sync-file-system.ts";
import { leave, offerOf } from "../helpers/received.ts";

function directory(t: Test) {
  const dir = t.testdir({ served: { ".hawser": { parts: {} } }, a: "content" });
  return { served: join(dir, "served"), file: join(dir, "a"), staging: join(dir, "served/.hawser") };
}
const garbage = "not a database at all, ".repeat(400);

t.test("one server for one directory", async (t) => {
  const { served, file } = directory(t);
  const first = await serve({ dir: served, port: 0 });
  await t.rejects(serve({ dir: served, port: 0 }), {
    code: "E_DIRECTORY_IN_USE",
    message: new RegExp(`${process.pid}`),
  });
  t.match(await send({ paths: [file], to: first.address }), { ok: true });
  await first.close();
  const second = await serve({ dir: served, port: 0 });
  await second.close();
  t.equal([...readHistory(served)].length, 1, "history is kept");
});

t.test("what is no directory", async (t) => {
  const { served, file } = directory(t);
  await t.rejects(serve({ dir: file, port: 0 }), { code: "E_CONFIG" });
  await t.rejects(serve({ dir: join(served, "none"), port: 0 }), { code: "E_CONFIG" });
});

t.test("a port that is taken lets the directory go again", async (t) => {
  const { served } = directory(t);
  const other = t.testdir({ other: {}, served: {} });
  const first = await serve({ dir: join(other, "other"), port: 0 });
  t.teardown(() => first.close());
  mkdirSync(served, { recursive: true });
  await t.rejects(serve({ dir: served, port: first.address.port }), { code: "E_ADDRESS_IN_USE" });
  await (await serve({ dir: served, port: 0 })).close();
});

t.test("parts that no session knows of are gone after the start", async (t) => {
  const { served, staging } = directory(t);
  writeFileSync(join(staging, "parts/x.part"), "left");
  const server = await serve({ dir: served, port: 0 });
  t.teardown(() => server.close());
  t.strictSame(readdirSync(join(staging, "parts")), []);
});

/** A session with a part, as a server leaves it that was killed. */
async function unfinished(served: string, id = "a"): Promise<void> {
  const sink = new DiskSink(served);
  const store = DatabaseSessionStore.open(join(served, ".hawser/sessions.db"));
  await leave(sink, store, id, offerOf(`file of ${id}`, 200_000));
  await store.open(id);
  await store.release();
  await sink.close();
}

t.test("parts of a session are kept over a restart, and nobody has it open; one without files goes", async (t) => {
  const { served, staging } = directory(t);
  await unfinished(served);
  const before = DatabaseSessionStore.open(join(staging, "sessions.db"));
  await before.create({ id: "empty", transferId: "t", peer: "192.0.2.1", createdMs: Date.now(), chunkBytes: 65_536 });
  await before.release();
  writeFileSync(join(staging, "parts/orphan.part"), "left");
  const server = await serve({ dir: served, port: 0 });
  t.teardown(() => server.close());
  t.strictSame(readdirSync(join(staging, "parts")), ["a-file of a.part"]);
  const store = DatabaseSessionStore.read(join(staging, "sessions.db"));
  t.match(await store.list(), [{ id: "a", live: false }]);
  t.equal((await store.list()).length, 1);
  await store.release();
});

t.test("files go below the directory, and nowhere else", async (t) => {
  const { served, file } = directory(t);
  const server = await serve({ dir: served, port: 0 });
  t.teardown(() => server.close());
  t.match(await send({ paths: [file], to: server.address, into: "x/y" }), { ok: true });
  t.equal(readFileSync(join(served, "x/y/a"), "utf8"), "content");
  for (const into of ["..", "x/../..", "/tmp", ".hawser"]) {
    t.match(await send({ paths: [file], to: server.address, into }), { ok: false, error: { code: "E_NAME" } }, into);
  }
  t.notOk(existsSync(join(served, ".hawser/a")));
});

const spoilt: [string, string, (path: string) => void][] = [
  ["history.db", "no database", (path) => writeFileSync(path, garbage)],
  ["sessions.db", "no database", (path) => writeFileSync(path, garbage)],
  ["sessions.db", "cut off", (path) => truncateSync(path, 10_000)],
  ["sessions.db", "of a later version", (path) => setVersion(path, 99)],
  ["sessions.db", "of an earlier version", (path) => setVersion(path, 1)],
];
function setVersion(path: string, version: number): void {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA user_version = ${version}`);
  database.close();
}

for (const [name, what, spoil] of spoilt) {
  t.test(`${name} that is ${what} is set aside, said, and costs nothing else`, async (t) => {
    const { served, staging, file } = directory(t);
    await unfinished(served);
    spoil(join(staging, name));
    const before = existsSync(join(staging, name)) ? readFileSync(join(staging, name)) : undefined;
    const events: ServerEvent[] = [];
    const server = await serve({ dir: served, port: 0, onEvent: (event) => void events.push(event) });
    t.teardown(() => server.close());
    t.match(await send({ paths: [file], to: server.address }), { ok: true });
    const [warning, ...more] = events.filter(({ type }) => type === "warning");
    t.match(warning, { message: new RegExp(`set aside as '.*${name}.spoilt-`) });
    t.equal(more.length, 0);
    const aside = readdirSync(staging).filter((entry) => entry.startsWith(`${name}.spoilt-`));
    t.equal(aside.length, 1);
    t.ok(before?.equals(readFileSync(join(staging, aside[0] ?? ""))), "as it was found");
    const parts = readdirSync(join(staging, "parts"));
    t.strictSame(parts, name === "sessions.db" ? [] : ["a-file of a.part"], "parts that nobody knows any more go");
  });
}

t.test("a second fault does not overwrite what was set aside of the first", async (t) => {
  const { served, staging } = directory(t);
  for (const round of [1, 2]) {
    writeFileSync(join(staging, "sessions.db"), `${garbage} ${round}`);
    await (await serve({ dir: served, port: 0 })).close();
  }
  t.equal(readdirSync(staging).filter((entry) => entry.startsWith("sessions.db.spoilt-")).length, 2);
});

/** What passes is no reason to throw away what clients have sent. */
t.test("a database that is whole is not set aside because it is held for a moment", async (t) => {
  const { served, staging } = directory(t);
  await unfinished(served);
  const holder = new DatabaseSync(join(staging, "sessions.db"));
  holder.exec("BEGIN IMMEDIATE");
  const outcome = await openDirectory({ dir: served }).then(
    (backend) => backend.release(),
    (error) => error,
  );
  holder.exec("ROLLBACK");
  holder.close();
  t.match(outcome, { code: "E_IO" }, "whoever starts it hears of it");
  t.notOk(readdirSync(staging).some((entry) => entry.includes("spoilt")));
  t.strictSame(readdirSync(join(staging, "parts")), ["a-file of a.part"]);
});

t.test("nor because the disk is full", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "hawser-test-"));
  try {
    if (process.platform !== "linux" || process.getuid?.() !== 0) throw new Error("only root on Linux may mount one");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "hawser-test", dir], { stdio: "pipe" });
  } catch (error) {
    rmSync(dir, { recursive: true });
    return t.comment(`skipped: a small file system can't be mounted: ${(error as Error).message}`);
  }
  t.teardown(() => {
    execFileSync("umount", ["-l", dir]);
    rmSync(dir, { recursive: true });
  });
  await unfinished(dir);
  const staging = join(dir, ".hawser");
  await (await openDirectory({ dir })).release();
  t.throws(() => writeFileSync(join(dir, "eater"), new Uint8Array(4e6)), { code: "ENOSPC" });
  const outcome = await openDirectory({ dir }).then(
    (backend) => backend.release(),
    (error) => error,
  );
  t.comment(`a start on a full disk: ${outcome?.message ?? "goes well"}`);
  t.notOk(readdirSync(staging).some((entry) => entry.includes("spoilt")));
  t.strictSame(readdirSync(join(staging, "parts")), ["a-file of a.part"]);
});

t.test("nor because something else lies among the parts", async (t) => {
  const { served, staging } = directory(t);
  await unfinished(served);
  mkdirSync(join(staging, "parts/directory"));
  const outcome = await openDirectory({ dir: served }).then(
    (backend) => backend.release(),
    (error) => error,
  );
  t.equal(outcome?.name ?? "HawserError", "HawserError", "whatever comes of it, an error of the table");
  t.notOk(readdirSync(staging).some((entry) => entry.includes("spoilt")));
  t.ok(existsSync(join(staging, "parts/a-file of a.part")));
});

t.test("a lock file that is spoilt is not blamed on another server", async (t) => {
  const { served, staging } = directory(t);
  writeFileSync(join(staging, "lock.db"), garbage);
  const outcome = await serve({ dir: served, port: 0 }).then(
    async (server) => {
      await server.close();
      return "served";
    },
    (error) => error.code,
  );
  t.not(outcome, "E_DIRECTORY_IN_USE");
});

t.test("files that a power cut has brought back without their parts are forgotten at the start", async (t) => {
  const { served, staging } = directory(t);
  const sink = new DiskSink(served);
  const path = join(staging, "sessions.db");
  const before = DatabaseSessionStore.open(path);
  const hollow = await leave(sink, before, "hollow", offerOf("a", 200_000));
  const half = [
    await leave(sink, before, "half", offerOf("b", 200_000)),
    await leave(sink, before, "half", offerOf("c", 200_000)),
  ] as const;
  const done = await leave(sink, before, "done", offerOf("d", 200_000));
  const pending = await leave(sink, before, "done", offerOf("e", 200_000));
  for (const { id } of [done, pending]) {
    await before.beginCommit(id, { size: 200_000, crc32: 1, fingerprint: "1:1" });
  }
  await before.endCommit(done.id, true);
  await before.release();
  for (const { partId } of [hollow, half[0], done, pending]) rmSync(join(staging, "parts", `${partId}.part`));
  await sink.close();

  const backend = await openDirectory({ dir: served });
  t.teardown(() => backend.release());
  const { store } = backend;
  t.equal(await store.load("hollow"), undefined);
  t.strictSame(await store.chunks(hollow.id), []);
  const filesOf = async (id: string) => (await store.load(id))?.files.map((file) => file.id);
  t.strictSame(await filesOf("half"), [half[1].id]);
  t.strictSame(await filesOf("done"), [done.id, pending.id], "a commit has its file elsewhere");
  t.strictSame(readdirSync(join(staging, "parts")), [`${half[1].partId}.part`]);
});

t.test("what a server that was killed may not have synced is synced when the next one starts", async (t) => {
  const dir = t.testdir({ bin: {} });
  const calls = join(dir, "calls");
  const script = `#!/bin/sh\necho "$@" >> '${calls}'\n`;
  writeFileSync(join(dir, "bin", "sync"), script, { mode: 0o755 });
  const path = process.env["PATH"];
  process.env["PATH"] = `${join(dir, "bin")}:${path}`;
  t.teardown(() => {
    process.env["PATH"] = path;
  });
  const served = mkdtempSync(join(tmpdir(), "hawser-"));
  t.teardown(() => rmSync(served, { recursive: true, force: true }));
  if (isInMemory(Buffer.from(served)) || !canSyncFileSystems()) {
    t.pass("nothing to be synced here: temporary files lie in memory, or this system can't sync a whole file system");
    return;
  }
  const begin = async () => {
    const backend = await openDirectory({ dir: served });
    return { backend, synced: existsSync(calls) ? readFileSync(calls, "utf8").split("\n").length - 1 : 0 };
  };
  const first = await begin();
  t.equal(first.synced, 0, "the first one has nothing before it");
  await first.backend.release();
  const second = await begin();
  t.equal(second.synced, 0, "the one before let go of it");
  await second.backend.release();
  // As a server leaves it that is killed.
  writeFileSync(join(served, ".hawser", "server.txt"), "process 1\n");
  const third = await begin();
  t.equal(third.synced, 1);
  await third.backend.release();
});
