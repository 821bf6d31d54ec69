/** The memory that a client can make a server hold for chunks: bounded, and no other client waits for it. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { assertOk, sendAll, startServer, startServerChild } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile } from "../helpers/files.ts";
import { testKeys } from "../helpers/keys.ts";
import { bundleOf, chunkHeader, HELLO, offered, openStream, RawClient } from "../helpers/raw-client.ts";

const HOSTILE = "127.0.0.2";

/** A session from another address, with one file offered and all its streams. */
async function hostile(to: { host: string; port: number }, streams: number, chunkBytes: number) {
  const control = await RawClient.connect(to, HOSTILE);
  control.greet().say("HELLO", { ...HELLO, streams, chunkBytes });
  const { session } = await control.next("WELCOME");
  control.say("OFFER", { settledBelow: 0, files: [offered(0, `of-${session[0]}`, streams * chunkBytes)] });
  await control.next("PLAN");
  const opened = Array.from({ length: streams }, (_, i) => openStream(to, session, i, HOSTILE));
  return { control, streams: await Promise.all(opened) };
}

const residentBytes = (pid: number) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

t.test(
  "chunks that were begun and not finished: bounded memory, and an honest client as if they were not there",
  async (t) => {
    const { from, to: dir } = directories(t);
    const server = await startServerChild(t, dir, { chunkMemoryBytes: 16 * MIB });
    const { to, process: child } = server;
    const path = makeFile(join(from, "honest"), 24 * MIB, 3);
    assertOk(t, await sendAll({ paths: [path], to, name: "before" }));
    const before = residentBytes(Number(child.pid));
    const chunkBytes = 4 * MIB;
    const payload = contentOf(chunkBytes, 1);
    const { streams } = await hostile(to, 64, chunkBytes);
    // The longest that a chunk can be begun without being there. What the server does not read stays in the sockets.
    for (const [i, stream] of streams.entries()) {
      stream.write(chunkHeader(0, i * chunkBytes, payload), payload.subarray(0, chunkBytes - 1));
    }
    const sent = await sendAll({ paths: [path], to, streams: 8 });
    assertOk(t, sent);
    assertContent(t, join(dir, "honest"), contentOf(24 * MIB, 3));
    t.equal(sent.result.retries, 0);
    if (process.platform === "linux") {
      const grown = residentBytes(Number(child.pid)) - before;
      t.ok(grown < 128 * MIB, `${Math.round(grown / MIB)} MiB more, of 256 that were sent`);
    }
    for (const stream of streams) stream.end();
  },
);

t.test("what ends a session gives its memory back, whatever it ends of", async (t) => {
  const { from, to: dir } = directories(t);
  const chunkBytes = 64 * KIB;
  const { to } = await startServer(t, dir, { chunkMemoryBytes: 8 * chunkBytes });
  const [payload, other] = [contentOf(chunkBytes, 1), contentOf(chunkBytes, 2)];
  const crimes: readonly (readonly [string, (stream: RawClient) => RawClient])[] = [
    ["E_ILLEGAL", (stream) => stream.chunk(0, 0, payload).chunk(0, 0, other)],
    ["E_OUT_OF_RANGE", (stream) => stream.chunk(0, 64 * chunkBytes, payload)],
    ["E_FOREIGN_CHUNK", (stream) => stream.chunk(3, 0, payload)],
    ["E_FOREIGN_CHUNK", (stream) => stream.bundle(bundleOf([{ file: 5, content: payload.subarray(0, 100) }]))],
    ["E_FRAME_TOO_LARGE", (stream) => stream.write(chunkHeader(0, 0, payload, 2 * chunkBytes))],
  ];
  for (const [code, commit] of crimes) {
    for (let i = 0; i < 10; i++) {
      const { control, streams } = await hostile(to, 1, chunkBytes);
      t.equal(await commit(streams[0] as RawClient).error(), code);
      control.end();
      streams[0]?.end();
    }
  }
  for (let i = 0; i < 20; i++) {
    const { control, streams } = await hostile(to, 1, chunkBytes);
    streams[0]?.write(chunkHeader(0, 0, payload), payload.subarray(0, 1000));
    streams[0]?.end();
    control.end();
  }
  const path = makeFile(join(from, "honest"), 2 * MIB, 3);
  assertOk(t, await sendAll({ paths: [path], to, streams: 4, chunkBytes, timeoutMs: 10_000 }));
});

t.test("transfers in memory that is as tight as can be", async (t) => {
  const { from, to: dir } = directories(t);
  const { keys, ticket } = await testKeys(t);
  const tight = { chunkMemoryBytes: 3 * MIB };
  const plain = await startServer(t, join(dir), tight);
  const large = makeFile(join(from, "large"), 20 * MIB + 5, 3);
  const zeros = Buffer.concat([Buffer.alloc(6 * MIB), randomBytes(MIB), Buffer.alloc(5 * MIB, "text that repeats ")]);
  const sent = await Promise.all([
    sendAll({ paths: [large], to: plain.to, name: "a", streams: 8 }),
    sendAll({ paths: [large], to: plain.to, name: "b", streams: 3, compress: "zstd" }),
  ]);
  for (const one of sent) assertOk(t, one);
  for (const name of ["a", "b"]) assertContent(t, join(dir, name), contentOf(20 * MIB + 5, 3));
  await plain.server.close();
  const secure = await startServer(t, dir, { ...tight, secure: keys });
  const { writeFileSync, mkdirSync } = await import("node:fs");
  writeFileSync(join(from, "zeros"), zeros);
  const tree = join(from, "tree");
  mkdirSync(tree);
  for (let i = 0; i < 300; i++) writeFileSync(join(tree, `f${i}`), contentOf(10_000 + i, i));
  const overTls = await Promise.all(
    [large, join(from, "zeros"), tree].map((path, i) =>
      sendAll({
        paths: [path],
        to: secure.to,
        into: `over-${i}`,
        streams: 8,
        compress: "zstd",
        secure: { ticket: ticket(`t${i}`) },
      }),
    ),
  );
  for (const one of overTls) assertOk(t, one);
  assertContent(t, join(dir, "over-0", "large"), contentOf(20 * MIB + 5, 3));
  t.equal(crc32(readFileSync(join(dir, "over-1", "zeros"))), crc32(zeros));
  assertContent(t, join(dir, "over-2", "tree", "f299"), contentOf(10_299, 299));
});
