/** More than there is room for: connections that say nothing, and no descriptors left. Honest clients are served. */
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { assertOk, sendAll, startServerChild } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";

const CHUNK = 64 * KIB;

/** Connections that say nothing, until the test ends; as many as the other end lets in. */
async function idlers(t: Test, to: { host: string; port: number }, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect({ ...to }));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.on("error", () => resolve());
          socket.on("close", () => resolve());
          socket.once("connect", () => resolve());
        }),
    ),
  );
  return sockets;
}

t.test("out of descriptors", async (t) => {
  const { from, to: dir } = directories(t);
  const server = await startServerChild(t, dir, {}, { shell: "ulimit -n 64" });
  const proxy = await startProxy(t, server.to, {
    rules: [{ kind: "stream", ordinal: 0, direction: "up", frame: "CHUNK", part: "type", nth: 4, action: "hold" }],
  });
  const bytes = 2 * MIB;
  const path = makeFile(join(from, "runs"), bytes, 1);
  const sending = sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK });
  await proxy.until(() => proxy.harm.length === 1);
  const open = () => readdirSync(`/proc/${server.process.pid}/fd`).length;
  t.comment(`${open()} descriptors with one transfer under way`);
  const crowd = await idlers(t, server.to, 200);
  t.comment(`${open()} descriptors with the crowd`);
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.result.retries, 0, "what runs is kept");
  assertContent(t, join(dir, "runs"), contentOf(bytes, 1));
  for (const socket of crowd) socket.destroy();
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "after"), 10)], to: server.to }));
});

t.test("idle connections before authentication, thousands of them", async (t) => {
  const { from, to: dir } = directories(t);
  const server = await startServerChild(t, dir);
  await idlers(t, server.to, 2000);
  const sent = await sendAll({ paths: [makeFile(join(from, "honest"), 3 * MIB)], to: server.to });
  assertOk(t, sent);
});
