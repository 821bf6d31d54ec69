/** Chunks that go over the wire compressed, or without their zeros: what arrives is what was sent, byte by byte. */
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import t from "tap";
import { bundleTableBytes } from "../../src/protocol/bundle.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { encodeHeader } from "../../src/protocol/header.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, partsIn } from "../helpers/files.ts";
import { type Rule, startProxy } from "../helpers/proxy.ts";
import { offered, openSession, openStream } from "../helpers/raw-client.ts";
import { abandoned, CHUNK, partOf } from "../helpers/unfinished.ts";

/** Lines that repeat, and never quite. */
function textOf(bytes: number): Buffer {
  let text = "";
  for (let i = 0; text.length < bytes; i++) text += `line ${i} of a file that can be compressed: ${i * 7919}\n`;
  return Buffer.from(text.slice(0, bytes));
}

/** Text, noise, zeros, and zeros with something in between, by turns; the last chunk is short. */
function mixedOf(): Buffer {
  const kinds = [textOf(3 * CHUNK), contentOf(3 * CHUNK), Buffer.alloc(3 * CHUNK), Buffer.alloc(3 * CHUNK)];
  (kinds[3] as Buffer).write("in the middle of zeros", CHUNK + 5000);
  return Buffer.concat([...kinds, ...kinds]).subarray(0, 23 * CHUNK + 777);
}

const usedBytes = (path: string) => statSync(path).blocks * 512;

for (const compress of ["auto", "zstd", "none"] as const) {
  t.test(`--compress ${compress}: whatever the data`, async (t) => {
    const { from, to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    const contents = {
      text: textOf(20 * CHUNK + 5),
      noise: contentOf(20 * CHUNK),
      mixed: mixedOf(),
      small: textOf(100),
    };
    const paths = Object.entries(contents).map(([name, content]) => {
      writeFileSync(join(from, name), content);
      return join(from, name);
    });
    const sent = await sendAll({ paths, to, compress, chunkBytes: CHUNK, streams: 2 });
    assertOk(t, sent);
    for (const [name, content] of Object.entries(contents)) assertContent(t, join(dir, name), content);
    const { bytesOnWire, bytesSaved, bytes, chunks } = sent.result;
    // A bundle has a table besides.
    const tableBytes = bundleTableBytes(1);
    t.equal(bytesOnWire + bytesSaved, bytes + tableBytes, "what is saved and what is not are all there is");
    t.ok(chunks.sparse > 0, "zeros are left out in any mode");
    if (compress === "zstd") t.ok(chunks.zstd >= 20 && chunks.raw >= 20, "noise gets no shorter", { chunks });
    if (compress === "none") t.equal(chunks.zstd, 0);
    t.same(partsIn(dir), []);
  });
}

t.test("a file of holes costs nothing on the wire, and has holes at the other end", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = join(from, "disk.img");
  const fd = openSync(path, "w");
  ftruncateSync(fd, 256 * MIB);
  const islands = [0, 3 * MIB + 8192, 100 * MIB + 4096, 177 * MIB];
  for (const [i, at] of islands.entries()) writeSync(fd, contentOf(8192, i), 0, 8192, at);
  closeSync(fd);
  for (const compress of ["none", "zstd", "auto"] as const) {
    const sent = await sendAll({ paths: [path], to, name: compress, compress });
    assertOk(t, sent);
    t.ok(readFileSync(join(dir, compress)).equals(readFileSync(path)), "it is the same byte by byte");
    t.ok(sent.result.bytesOnWire < 64 * KIB, `${sent.result.bytesOnWire} bytes went over the wire`);
    t.ok(usedBytes(join(dir, compress)) < MIB, `${usedBytes(join(dir, compress))} bytes are used on the disk`);
    t.equal(statSync(join(dir, compress)).size, 256 * MIB);
  }
});

t.test("strict reads holes back as well, and a file may end in one", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir, { durability: "strict" });
  const path = join(from, "file");
  writeFileSync(path, Buffer.concat([contentOf(CHUNK), Buffer.alloc(5 * MIB)]));
  assertOk(t, await sendAll({ paths: [path], to }));
  assertContent(t, join(dir, "file"), readFileSync(path));
});

for (const [what, compress, content] of [
  ["zstd", "zstd", textOf(40 * CHUNK)],
  [
    "sparse",
    "none",
    Buffer.concat(
      Array.from({ length: 40 }, (_, i) => Buffer.concat([contentOf(4096, i), Buffer.alloc(CHUNK - 4096)])),
    ),
  ],
] as const) {
  t.test(`corruption on the path: payloads that are ${what} are sent again`, async (t) => {
    const { from, to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    // Each draws a byte of its own in the payload.
    const rules: Rule[] = [0, 2, 5, 6, 9, 17, 30].map((nth) => ({
      kind: "stream",
      direction: "up",
      part: "payload",
      frame: "CHUNK",
      nth,
      action: "flip",
    }));
    for (const seed of [1, 2, 3]) {
      const proxy = await startProxy(t, to, { rules, seed });
      const path = join(from, `file${seed}`);
      writeFileSync(path, content);
      const sent = await sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK, compress });
      assertOk(t, sent);
      t.equal(sent.result.chunks[what], 47);
      t.equal(proxy.harm.length, rules.length, `seed ${seed}: ${proxy.harm.join("; ")}`);
      t.equal(sent.result.retries, rules.length, "each is sent again, and nothing else");
      t.same(proxy.connections, { control: 1, stream: 1 }, "no connection was dialled again");
      assertContent(t, join(dir, `file${seed}`), content);
    }
  });
}

t.test("resumed over a part whose bytes are spoilt where zeros belong", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServer(t, dir);
  const path = join(from, "file");
  // Data in the first half, zeros in the other, data at the end.
  const content = Buffer.concat([contentOf(20 * CHUNK), Buffer.alloc(19 * CHUNK), contentOf(CHUNK, 2)]);
  writeFileSync(path, content);
  t.equal((await abandoned(t, first.to, 33, { paths: [path] })).result.ok, false);
  await first.server.close();
  const part = partOf(dir);
  t.ok(usedBytes(part) < 21 * CHUNK, "the part has holes");
  // What was recorded as zeros is not: chunk 25, and, where nothing was recorded, chunk 36.
  const fd = openSync(part, "r+");
  for (const chunk of [25, 36]) writeSync(fd, contentOf(CHUNK, 9), 0, CHUNK, chunk * CHUNK);
  closeSync(fd);
  const second = await startServer(t, dir);
  const sent = await sendAll({ paths: [path], to: second.to, streams: 1, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.ok(sent.result.bytesResumed > 0, "it went on");
  assertContent(t, join(dir, "file"), content);
});

t.test("a part that ends in a hole is gone on with: its zeros are not sent again", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServer(t, dir);
  const path = join(from, "file");
  const content = Buffer.concat([contentOf(4 * CHUNK), Buffer.alloc(36 * CHUNK)]);
  writeFileSync(path, content);
  t.equal((await abandoned(t, first.to, 30, { paths: [path] })).result.ok, false);
  await first.server.close();
  const second = await startServer(t, dir);
  const sent = await sendAll({ paths: [path], to: second.to, streams: 1, chunkBytes: CHUNK });
  assertOk(t, sent);
  t.equal(sent.result.bytesResumed, 30 * CHUNK, "all that came before the cut");
  t.equal(sent.result.retries, 0, "and nothing of it was spoilt");
  assertContent(t, join(dir, "file"), content);
  t.ok(usedBytes(join(dir, "file")) < 6 * CHUNK, `${usedBytes(join(dir, "file"))} bytes are used`);
});

t.test("a chunk that would be longer than it says is asked for again, and nothing is kept of it", async (t) => {
  const { to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const { control, terms } = await openSession(to, { chunkBytes: CHUNK });
  const stream = await openStream(to, terms.session);
  control.say("OFFER", { settledBelow: 0, files: [offered(0, "a", CHUNK)] });
  await control.next("PLAN");
  const bomb = zstdCompressSync(Buffer.alloc(64 * MIB));
  const good = zstdCompressSync(Buffer.alloc(CHUNK, 1));
  const table = Buffer.from([0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 2, 1, 1]);
  const rest = {
    name: "CHUNK",
    file: 0,
    offset: 0,
    decodedBytes: CHUNK,
    payloadCrc32: crc32(Buffer.alloc(CHUNK, 1)),
  } as const;
  const chunk = (encoding: "zstd" | "sparse", payload: Uint8Array) =>
    stream.write(encodeHeader({ ...rest, encoding, payloadBytes: payload.length }), payload);
  chunk("zstd", bomb);
  t.same(await stream.next("RESEND"), { chunks: [[0, 0, CHUNK]] }, "a bomb");
  chunk("sparse", table);
  t.same(await stream.next("RESEND"), { chunks: [[0, 0, CHUNK]] }, "a table beyond the end");
  chunk("zstd", Buffer.from("no frame"));
  t.same(await stream.next("RESEND"), { chunks: [[0, 0, CHUNK]] }, "no frame at all");
  t.same(partsIn(dir), [], "nothing was written");
  chunk("zstd", good);
  t.same(await stream.next("ACK"), { chunks: [[0, 0, CHUNK]] }, "the connection goes on");
  control.end();
  stream.end();
});
