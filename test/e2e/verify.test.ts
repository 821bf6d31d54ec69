/** --verify full: after the last byte both ends read the whole file back, and what they compare is what b3sum prints. */
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { blake3 } from "@napi-rs/blake-hash";
import t, { type Test } from "tap";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import type { Part, PartSpec } from "../../src/sink/sink.ts";
import { FileItem } from "../../src/source/item.ts";
import { testServer } from "../helpers/backend.ts";
import { assertFailure, assertOk, sendAll, startServer, startServerChild, type TestServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { ObjectStoreSink } from "../helpers/object-store-sink.ts";
import { startProxy } from "../helpers/proxy.ts";
import { abandoned, CHUNK, halfWay } from "../helpers/unfinished.ts";

const full = { verify: "full", chunkBytes: CHUNK } as const;
const b3sum = (bytes: Buffer) => Buffer.from(blake3(bytes)).toString("hex");

/** github.com/BLAKE3-team/BLAKE3, test_vectors.json: inputs of the bytes 0 to 250, again and again, by their length. */
const OFFICIAL: readonly (readonly [number, string])[] = [
  [0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"],
  [1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"],
  [1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"],
  [102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"],
];

t.test("the digest is the one that the world's test vectors have", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  for (const [bytes, digest] of OFFICIAL) {
    const path = join(from, `${bytes}`);
    writeFileSync(
      path,
      Uint8Array.from(Array(bytes).keys(), (i) => i % 251),
    );
    const sent = await sendAll({ paths: [path], to, ...full });
    assertOk(t, sent);
    t.match(sent.files, [{ status: "sent", blake3: digest }], `${bytes} bytes`);
  }
});

t.test("sizes around chunks, and none of it without --verify full", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 40 * CHUNK + 7];
  const paths = sizes.map((bytes, i) => makeFile(join(from, `f${bytes}`), bytes, i + 1));
  const sent = await sendAll({ paths, to, streams: 3, ...full });
  assertOk(t, sent);
  for (const [i, bytes] of sizes.entries()) {
    const content = contentOf(bytes, i + 1);
    t.equal(sent.files.find(({ name }) => name === `f${bytes}`)?.blake3, b3sum(content), `${bytes} bytes`);
    assertContent(t, join(dir, `f${bytes}`), content);
  }
  const plain = await sendAll({ paths: [makeFile(join(from, "plain"), 100)], to });
  assertOk(t, plain);
  t.notOk("blake3" in (plain.files[0] ?? {}));
});

t.test("a tree of many files: none of them comes in a bundle", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  for (let i = 0; i < 600; i++) makeFile(join(from, "tree", `d${i % 7}`, `f${i}`), i * 11, i);
  const proxy = await startProxy(t, to);
  const sent = await sendAll({ paths: [join(from, "tree")], to: proxy.address, ...full });
  assertOk(t, sent);
  t.equal(proxy.framesOf("up", "BUNDLE"), 0);
  t.equal(sent.files.length, 600);
  for (const { name, blake3: digest } of sent.files) {
    if (digest !== b3sum(readFileSync(join(dir, name)))) t.fail(`${name} has its digest`);
  }
  const again = await sendAll({ paths: [join(from, "tree")], to, ...full });
  assertOk(t, again);
  t.equal(again.result.filesUnchanged, 600);
  t.ok(
    again.files.every(({ blake3: digest }) => digest?.length === 64),
    "what is there was compared by its digest, whatever its size and time",
  );
});

/** A disk whose parts are changed behind the server's back, between the last chunk and the commit. */
class SpoilingSink extends DiskSink {
  spoils = true;

  override async reserve(spec: PartSpec): Promise<Part> {
    const part = await super.reserve(spec);
    const read = part.read.bind(part);
    part.read = (offset, room) => {
      const writer = part.open();
      if (this.spoils && writer.kind === "file") writeSync(writer.fd, Buffer.from("spoilt"), 0, 6, CHUNK + 5);
      return read(offset, room);
    };
    return part;
  }
}

t.test("a part that was changed on the disk is not committed, and thrown away", async (t) => {
  const { from, to: dir } = directories(t);
  const sink = new SpoilingSink(dir);
  const { address: to } = await testServer(t, { sink, release: () => sink.close() });
  const path = makeFile(join(from, "file"), 5 * CHUNK, 9);
  const sent = await sendAll({ paths: [path], to, ...full });
  assertFailure(t, sent.result, "E_CONTENT", /BLAKE3/);
  t.match(sent.files, [{ status: "failed", crc32: null, error: { code: "E_CONTENT" } }]);
  t.same(namesIn(dir), []);
  t.same(partsIn(dir), []);
  sink.spoils = false;
  const again = await sendAll({ paths: [path], to, ...full });
  assertOk(t, again);
  t.equal(again.result.bytesResumed, 0, "nothing of the spoilt part was gone on with");
  assertContent(t, join(dir, "file"), contentOf(5 * CHUNK, 9));
});

/** Does something to the file when all of it was sent, and it is about to be read once more. */
function beforeDigests(t: Test, change: () => void): void {
  const { digest } = FileItem.prototype;
  FileItem.prototype.digest = function (signal) {
    change();
    return digest.call(this, signal);
  };
  t.teardown(() => {
    FileItem.prototype.digest = digest;
  });
}

t.test("a source that changed after its last byte was sent", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 5 * CHUNK, 9);
  let changes = 0;
  beforeDigests(t, () => {
    changes++;
    appendFileSync(path, "x");
  });
  const sent = await sendAll({ paths: [path], to, ...full });
  t.equal(changes, 1);
  assertFailure(t, sent.result, "E_SOURCE_CHANGED", /changed while it was being sent/);
  t.same(namesIn(dir), []);
  t.same(partsIn(dir), []);
});

t.test("a source that reads differently the second time, though nobody is known to have written to it", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 5 * CHUNK, 9);
  const { read } = FileItem.prototype;
  t.teardown(() => {
    FileItem.prototype.read = read;
  });
  FileItem.prototype.read = async function (offset, room) {
    const count = await read.call(this, offset, room);
    room[0] = (room[0] ?? 0) ^ 1;
    return count;
  };
  const sent = await sendAll({ paths: [path], to, ...full });
  assertFailure(t, sent.result, "E_SOURCE_CHANGED", /read differently the second time/);
  t.same(namesIn(dir), []);
});

t.test("a resumed file is read back whole, whatever --trust-mtime says", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 30 * CHUNK, 4);
  await abandoned(t, to, 20, { paths: [path] });
  const sent = await sendAll({ paths: [path], to, ...full, trustMtime: true });
  assertOk(t, sent);
  t.match(sent.files, [{ status: "resumed", blake3: b3sum(contentOf(30 * CHUNK, 4)) }]);
  t.equal(sent.result.bytesResumed, 20 * CHUNK);
  t.equal(sent.result.bytesTrusted, 0, "nothing is trusted");
});

/** A transfer of two files that ends when the first is committed: the paths to give again. */
async function firstCommitted(t: Test, from: string, { to, log }: TestServer): Promise<string[]> {
  const paths = [makeFile(join(from, "file"), 9 * CHUNK, 5), makeFile(join(from, "other"), 20 * CHUNK, 6)];
  const { sending, proxy } = await halfWay(t, to, 15, { paths, ...full, retries: 0 });
  await log.until("file");
  proxy.harmAll("stream", "reset");
  proxy.harmAll("control", "reset");
  t.equal((await sending).result.ok, false);
  return paths;
}

t.test("what an earlier run committed is read back by both ends", async (t) => {
  const { from, to: dir } = directories(t);
  const server = await startServer(t, dir);
  const paths = await firstCommitted(t, from, server);
  const sent = await sendAll({ paths, to: server.to, ...full });
  assertOk(t, sent);
  t.match(
    sent.files.toSorted((a, b) => a.name.localeCompare(b.name)),
    [
      { status: "resumed", blake3: b3sum(contentOf(9 * CHUNK, 5)) },
      { status: "resumed", blake3: b3sum(contentOf(20 * CHUNK, 6)) },
    ],
  );
});

t.test("and so it is seen when that was changed since", async (t) => {
  const { from, to: dir } = directories(t);
  const server = await startServer(t, dir);
  const paths = await firstCommitted(t, from, server);
  const fd = openSync(join(dir, "file"), "r+");
  writeSync(fd, Buffer.from("spoilt"), 0, 6, CHUNK);
  closeSync(fd);
  const sent = await sendAll({ paths, to: server.to, ...full });
  assertFailure(t, sent.result, "E_PARTIAL", /'file' is not what the file is now/);
  t.equal(sent.files.find(({ name }) => name === "file")?.error?.code, "E_CONTENT");
});

t.test("a control connection that breaks, and a server that is killed, before the outcome", async (t) => {
  const { from, to: dir } = directories(t);
  const content = contentOf(30 * CHUNK, 6);
  const path = makeFile(join(from, "file"), content.length, 6);
  const first = await startServerChild(t, dir);
  const rule = { kind: "control", direction: "up", frame: "SEAL", part: "type", action: "reset" } as const;
  const { sending, proxy } = await halfWay(t, first.to, 12, { paths: [path], ...full }, [rule]);
  await first.kill();
  const second = await startServerChild(t, dir);
  proxy.retarget(second.to);
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  t.match(sent.files, [{ blake3: b3sum(content) }]);
  assertContent(t, join(dir, "file"), content);
  t.equal(proxy.harm.length > 0, true, "the seal's connection broke");
});

t.test("what was compared shows its digest", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 3 * CHUNK, 7);
  makeFile(join(dir, "file"), 3 * CHUNK, 7);
  utimesSync(path, 1, 1);
  const sent = await sendAll({ paths: [path], to, ...full });
  assertOk(t, sent);
  t.match(sent.files, [{ status: "unchanged", blake3: b3sum(contentOf(3 * CHUNK, 7)) }]);
  makeFile(join(from, "other"), 3 * CHUNK, 8);
  renameSync(join(from, "other"), path);
  const replaced = await sendAll({ paths: [path], to, ...full, overwrite: "if-different" });
  assertOk(t, replaced);
  t.match(replaced.files, [{ status: "sent", replaced: true, blake3: b3sum(contentOf(3 * CHUNK, 8)) }]);
});

t.test("a destination that can't read back says so before anything is sent", async (t) => {
  const { from } = directories(t);
  const sink = new ObjectStoreSink();
  const { address: to } = await testServer(t, { sink });
  const path = makeFile(join(from, "file"), 3 * CHUNK, 7);
  const sent = await sendAll({ paths: [path], to, ...full });
  assertFailure(t, sent.result, "E_USAGE", /can't read back/);
  t.same(sent.files, []);
  assertOk(t, await sendAll({ paths: [path], to, chunkBytes: CHUNK }));
});

t.test("what is read once can't be read again", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const fd = openSync(makeFile(join(from, "file"), 1000, 7), "r");
  const sent = await sendAll({ input: fd, name: "file", to, ...full });
  assertFailure(t, sent.result, "E_USAGE", /use --spool/);
  const spooled = await sendAll({ input: fd, spool: from, name: "file", to, ...full });
  assertOk(t, spooled);
  t.match(spooled.files, [{ blake3: b3sum(contentOf(1000, 7)) }]);
});

t.test("each durability", async (t) => {
  for (const durability of ["none", "checkpoint", "strict"] as const) {
    const { from, to: dir } = directories(t);
    const { to } = await startServer(t, dir, { durability });
    const path = makeFile(join(from, "file"), 200 * KIB, 2);
    const sent = await sendAll({ paths: [path], to, ...full });
    assertOk(t, sent);
    t.match(sent.files, [{ blake3: b3sum(contentOf(200 * KIB, 2)) }], durability);
  }
});
