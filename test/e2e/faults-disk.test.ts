/** Disks that are full, that fail to sync, and a program that has no descriptors left. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { readSessions } from "../../src/index.ts";
import { assertFailure, assertOk, sendAll, startServerChild } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { type Rule, startProxy } from "../helpers/proxy.ts";
import { attachStrace, ONE_WORKER, skipsWithoutStrace } from "../helpers/strace.ts";
import { CHUNK, holdAtChunk, recorded } from "../helpers/unfinished.ts";

const CHUNKS = 64;
const BYTES = CHUNKS * CHUNK;

const SEAL: Rule = { kind: "control", direction: "up", frame: "SEAL", part: "type", action: "hold" };

/** A server whose thread for syncing is there. */
async function warmServer(t: Test, dir: string, from: string, durability: "commit" | "checkpoint" | "strict") {
  const server = await startServerChild(t, dir, { durability }, { env: ONE_WORKER });
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "warm"), 10)], to: server.to }));
  return server;
}

t.test("fsync fails", async (t) => {
  if (skipsWithoutStrace(t)) return;
  for (const [what, durability, when, survives] of [
    ["of the data, in the commit", "commit", 1, 0],
    ["of the directory, in the commit", "commit", 2, 0],
    ["of the data, in the commit, and checkpoints were synced before", "checkpoint", 1, 1],
  ] as const) {
    await t.test(`fsync fails: ${what}`, async (t) => {
      const { from, to: dir } = directories(t);
      const server = await warmServer(t, dir, from, durability);
      const proxy = await startProxy(t, server.to, { rules: [holdAtChunk(CHUNKS / 2), SEAL] });
      const path = makeFile(join(from, "file"), BYTES, 5);
      const sending = sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK });
      await recorded(dir, BYTES / 2);
      proxy.release("stream");
      await proxy.until(() => proxy.harm.length === 2);
      const inject = `fsync:error=EIO:when=${when}`;
      const syncs = await attachStrace(t, Number(server.process.pid), "worker", {
        calls: ["fsync", "fdatasync"],
        inject,
      });
      proxy.release("control");
      const { result } = await sending;
      assertFailure(t, result, "E_IO", /EIO/);
      t.equal(result.exitCode, 74);
      await syncs.stop();
      const ofPart = syncs.calls().filter((call) => /parts\/.*\.part>/.test(call));
      t.equal(ofPart.length, 1, `the part was synced once, and not again: ${syncs.calls().join("; ")}`);
      t.notOk(namesIn(dir).includes("file"), "nothing has its name");
      const failed = await server.log.until("file", ({ file }) => file.name === "file");
      t.match(failed.file, { status: "failed", error: /EIO/ }, "the server's log says why");

      const again = await startProxy(t, server.to);
      const sent = await sendAll({ paths: [path], to: again.address, chunkBytes: CHUNK });
      assertOk(t, sent);
      assertContent(t, join(dir, "file"), contentOf(BYTES, 5));
      t.equal(sent.result.bytesResumed, survives * (BYTES / 2), "only what a checkpoint had synced counts");
      t.equal(again.chunks.size, CHUNKS - (survives * CHUNKS) / 2, "the rest was sent again");
      t.same(partsIn(dir), []);
    });
  }

  await t.test("fsync fails: of staging, when the file has its name already", async (t) => {
    const { from, to: dir } = directories(t);
    const server = await warmServer(t, dir, from, "commit");
    const proxy = await startProxy(t, server.to, { rules: [SEAL] });
    const path = makeFile(join(from, "file"), BYTES, 5);
    const sending = sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK });
    await proxy.until(() => proxy.harm.length === 1);
    const inject = "fsync:error=EIO:when=3";
    await attachStrace(t, Number(server.process.pid), "worker", { calls: ["fsync"], inject });
    proxy.release("control");
    const { result } = await sending;
    // Whichever end it comes to, both ends and the disk must agree on it.
    t.equal(result.ok, namesIn(dir).includes("file"), `${result.error?.code}: a file whose commit failed has no name`);
  });

  await t.test("fsync fails: under a checkpoint", async (t) => {
    const { from, to: dir } = directories(t);
    const server = await warmServer(t, dir, from, "checkpoint");
    const third = Math.floor(CHUNKS / 3);
    const proxy = await startProxy(t, server.to, { rules: [holdAtChunk(third), holdAtChunk(2 * third)] });
    const path = makeFile(join(from, "file"), BYTES, 6);
    const sending = sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK });
    await recorded(dir, third * CHUNK);
    const inject = "fdatasync:error=EIO:when=1";
    const syncs = await attachStrace(t, Number(server.process.pid), "worker", {
      calls: ["fsync", "fdatasync"],
      inject,
    });
    proxy.release("stream");
    const failed = await server.log.until("file", ({ file }) => file.name === "file");
    t.match(failed.file, { status: "failed", error: /EIO/ });
    await syncs.stop();
    t.equal(syncs.calls().filter((call) => call.startsWith("fdatasync(")).length, 1, syncs.calls().join("; "));
    const { result } = await sending;
    assertFailure(t, result, "E_IO", /EIO/);
    t.equal(result.exitCode, 74);
    t.equal(readSessions(dir)[0]?.bytesPresent, third * CHUNK, "what came since the last checkpoint does not count");

    const again = await startProxy(t, server.to);
    const sent = await sendAll({ paths: [path], to: again.address, chunkBytes: CHUNK });
    assertOk(t, sent);
    assertContent(t, join(dir, "file"), contentOf(BYTES, 6));
    t.equal(sent.result.bytesResumed, third * CHUNK);
    t.equal(again.chunks.size, CHUNKS - third);
  });
});
