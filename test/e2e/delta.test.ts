/** --delta: of a file that gives way to another only the chunks that differ travel, and it stays whole until the commit. */
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { blake3 } from "@napi-rs/blake-hash";
import t, { type Test } from "tap";
import type { SendOptions } from "../../src/index.ts";
import { run } from "../commands/program.ts";
import {
  assertFailure,
  assertOk,
  type Sent,
  sendAll,
  startChild,
  startServer,
  startServerChild,
} from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { forgeCrc32 } from "../helpers/forged.ts";
import { smallFileSystem } from "../helpers/mounts.ts";
import { type Rule, startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { CHUNK, halfWay, recorded } from "../helpers/unfinished.ts";

const CHUNKS = 40;
/** The last chunk is a short one. */
const BYTES = CHUNKS * CHUNK - 1000;
const OLD = contentOf(BYTES, 1);
const delta = { delta: true, chunkBytes: CHUNK } as const;

/** The old content with a byte changed in each of these chunks. */
function edited(...chunks: number[]): Buffer {
  const content = Buffer.from(OLD);
  for (const chunk of chunks) {
    const at = Math.min(chunk * CHUNK + 17, content.length - 1);
    content.writeUInt8((content.readUInt8(at) ^ 0x5a) & 0xff, at);
  }
  return content;
}

interface Case {
  readonly dir: string;
  readonly path: string;
  readonly old: string;
}

/** A file to send, and one of its name that is there. */
function place(t: Test, content: Buffer, old: Buffer = OLD): Case {
  const { from, to: dir } = directories(t);
  const path = join(from, "file");
  writeFileSync(path, content);
  writeFileSync(join(dir, "file"), old);
  utimesSync(join(dir, "file"), 1_000_000, 1_000_000);
  return { dir, path, old: join(dir, "file") };
}

interface Through extends Sent {
  readonly proxy: TcpProxy;
  /** Numbers of the chunks that went over the wire, in order. */
  readonly chunks: number[];
}

async function sendThrough(
  t: Test,
  { dir, path }: Case,
  options: Partial<SendOptions> = {},
  rules: readonly Rule[] = [],
): Promise<Through> {
  const { to, server } = await startServer(t, dir);
  const proxy = await startProxy(t, to, { rules });
  const sent = await sendAll({ paths: [path], to: proxy.address, ...delta, ...options });
  await server.close();
  return { ...sent, proxy, chunks: chunksOf(proxy) };
}

const chunksOf = (proxy: TcpProxy) =>
  [...proxy.chunks.keys()].map((key) => Number(key.split(":")[1]) / CHUNK).sort((a, b) => a - b);

t.test("only chunks that differ travel", async (t) => {
  const content = edited(3, 4, 17, CHUNKS - 1);
  const here = place(t, content);
  const sent = await sendThrough(t, here);
  assertOk(t, sent);
  t.same(sent.chunks, [3, 4, 17, CHUNKS - 1]);
  const bytes = 3 * CHUNK + (BYTES % CHUNK);
  t.equal(sent.result.bytesMatched, BYTES - bytes);
  t.equal(sent.result.bytesSent, bytes);
  t.equal(sent.result.bytesResumed, 0);
  t.equal(sent.result.retries, 0, "a chunk that differs is none that was damaged");
  t.ok(sent.proxy.bytes.up < bytes + 4000, `${sent.proxy.bytes.up} bytes went up`);
  t.match(sent.files, [{ status: "sent", replaced: true, bytes: BYTES }]);
  assertContent(t, here.old, content);
  t.same(partsIn(here.dir), []);
  t.equal(Math.round(statSync(here.old).mtimeMs), Math.round(statSync(here.path).mtimeMs));
});

t.test("it grew, and it was cut", async (t) => {
  const tail = contentOf(3 * CHUNK, 5);
  const cases: [string, Buffer, Buffer, number[]][] = [
    ["grown by some bytes", Buffer.concat([OLD, tail.subarray(0, 10)]), OLD, [CHUNKS - 1]],
    ["grown by chunks", Buffer.concat([OLD, tail]), OLD, [CHUNKS - 1, CHUNKS, CHUNKS + 1, CHUNKS + 2]],
    ["cut in a chunk", OLD.subarray(0, 10 * CHUNK + 5), OLD, []],
    ["cut between chunks", OLD.subarray(0, 10 * CHUNK), OLD, []],
    ["cut and changed", edited(2).subarray(0, 10 * CHUNK + 5), OLD, [2]],
    ["grown from a chunk", OLD, OLD.subarray(0, CHUNK), Array.from({ length: CHUNKS - 1 }, (_, i) => i + 1)],
    ["grown from less than a chunk", OLD, OLD.subarray(0, 100), Array.from({ length: CHUNKS }, (_, i) => i)],
    ["grown from nothing", OLD.subarray(0, CHUNK), OLD.subarray(0, 0), [0]],
  ];
  for (const [what, content, old, chunks] of cases) {
    const here = place(t, content, old);
    const sent = await sendThrough(t, here);
    assertOk(t, sent);
    t.same(sent.chunks, chunks, what);
    assertContent(t, here.old, content, what);
    t.equal(sent.result.bytesMatched + sent.result.bytesSent, content.length);
    t.match(sent.files, [{ status: "sent", replaced: true }]);
  }
});

t.test("the same content with another time", async (t) => {
  const here = place(t, OLD);
  const { ino, mtimeMs } = statSync(here.old);
  const sent = await sendThrough(t, here);
  assertOk(t, sent);
  t.same(sent.chunks, []);
  t.match(sent.files, [{ status: "unchanged", bytes: BYTES, crc32: crc32(OLD).toString(16).padStart(8, "0") }]);
  t.equal(sent.result.filesUnchanged, 1);
  t.same([statSync(here.old).ino, statSync(here.old).mtimeMs], [ino, mtimeMs], "it stays as it was");
  t.same(partsIn(here.dir), []);
  const always = await sendThrough(t, here, { overwrite: "always" });
  assertOk(t, always);
  t.same(always.chunks, []);
  t.match(always.files, [{ status: "sent", replaced: true }]);
  t.equal(always.result.bytesMatched, BYTES);
  t.not(statSync(here.old).ino, ino, "a new file, with the time of what was sent");
  t.equal(Math.round(statSync(here.old).mtimeMs), Math.round(statSync(here.path).mtimeMs));
});

t.test("another content altogether, and nothing there", async (t) => {
  const content = contentOf(BYTES, 2);
  const here = place(t, content);
  const sent = await sendThrough(t, here);
  assertOk(t, sent);
  t.equal(sent.chunks.length, CHUNKS);
  t.equal(sent.result.bytesMatched, 0);
  assertContent(t, here.old, content);
  const { from, to: dir } = directories(t);
  const fresh = await sendThrough(t, { dir, path: makeFile(join(from, "new"), BYTES, 3), old: "" });
  assertOk(t, fresh);
  t.equal(fresh.chunks.length, CHUNKS);
  assertContent(t, join(dir, "new"), contentOf(BYTES, 3));
});

t.test("a chunk of the same CRC-32 and other content travels", async (t) => {
  const slice = OLD.subarray(7 * CHUNK, 8 * CHUNK);
  const forged = forgeCrc32(contentOf(CHUNK, 77), crc32(slice));
  t.equal(crc32(forged), crc32(slice));
  t.notOk(forged.equals(slice));
  const content = Buffer.from(OLD);
  forged.copy(content, 7 * CHUNK);
  t.equal(crc32(content), crc32(OLD), "the CRC-32 of the whole is the same, too");
  const here = place(t, content);
  const sent = await sendThrough(t, here);
  assertOk(t, sent);
  t.same(sent.chunks, [7]);
  assertContent(t, here.old, content);
  const trusting = place(t, content);
  assertOk(t, await sendThrough(t, trusting, { trustMtime: true, verify: "full" }));
  assertContent(t, trusting.old, content);
});

t.test("the old file is whole until the commit", async (t) => {
  const content = edited(1, 5, 9, 12);
  const here = place(t, content);
  const { to } = await startServer(t, here.dir);
  const { sending, proxy } = await halfWay(t, to, 2, { paths: [here.path], ...delta });
  t.equal(partsIn(here.dir).length, 1, "there is a part beside it");
  assertContent(t, here.old, OLD);
  proxy.release("stream");
  assertOk(t, await sending);
  assertContent(t, here.old, content);
});

t.test("the old file changes, and goes, while it gives way", async (t) => {
  const spoil: [string, (old: string) => void][] = [
    ["written to", (old) => writeFileSync(old, contentOf(BYTES, 99), { flag: "r+" })],
    ["cut", (old) => truncateSync(old, 5)],
    [
      "replaced",
      (old) => {
        writeFileSync(`${old}.new`, contentOf(50, 98));
        renameSync(`${old}.new`, old);
      },
    ],
    ["moved away", (old) => renameSync(old, `${old}.gone`)],
  ];
  for (const [what, change] of spoil) {
    const content = edited(1, 5, 9, 12);
    const here = place(t, content);
    const { to } = await startServer(t, here.dir);
    const { sending, proxy } = await halfWay(t, to, 2, { paths: [here.path], ...delta });
    change(here.old);
    proxy.release("stream");
    const sent = await sending;
    assertOk(t, sent);
    assertContent(t, here.old, content, what);
  }
});

t.test("identical to what was there, and that changed meanwhile: it is committed after all", async (t) => {
  const here = place(t, OLD);
  const { to } = await startServer(t, here.dir);
  const rule = { kind: "control", direction: "up", frame: "SEAL", part: "type", action: "hold" } as const;
  const proxy = await startProxy(t, to, { rules: [rule] });
  const sending = sendAll({ paths: [here.path], to: proxy.address, ...delta });
  await proxy.until(() => proxy.harm.length > 0);
  writeFileSync(here.old, "somebody else's");
  proxy.release("control");
  const sent = await sending;
  assertOk(t, sent);
  t.match(sent.files, [{ status: "sent", replaced: true }]);
  assertContent(t, here.old, OLD);
});

t.test("the server is killed in the middle", async (t) => {
  const content = edited(...Array.from({ length: 20 }, (_, i) => 2 * i));
  const here = place(t, content);
  const first = await startServerChild(t, here.dir);
  const { sending, proxy } = await halfWay(t, first.to, 6, { paths: [here.path], ...delta });
  await recorded(here.dir, 4 * CHUNK);
  await first.kill();
  assertContent(t, here.old, OLD, "the old file");
  const second = await startServerChild(t, here.dir);
  proxy.retarget(second.to);
  proxy.release("stream");
  const sent = await sending;
  assertOk(t, sent);
  assertContent(t, here.old, content);
  t.ok([...proxy.chunks.keys()].every((key) => Number(key.split(":")[1]) % (2 * CHUNK) === 0));
  t.equal(sent.result.bytesMatched, 20 * CHUNK - 1000);
  second.process.kill("SIGTERM");
  await second.exited;
  t.same(partsIn(here.dir), []);
  t.same(namesIn(here.dir), ["file"]);
});

t.test("the client is killed in the middle, and run again: with --delta, and without", async (t) => {
  for (const again of [delta, { overwrite: "if-different" }] as const) {
    const content = edited(...Array.from({ length: 20 }, (_, i) => 2 * i));
    const here = place(t, content);
    const { to, server } = await startServer(t, here.dir);
    const proxy = await startProxy(t, to, {
      rules: [{ kind: "stream", direction: "up", frame: "CHUNK", part: "type", nth: 6, action: "hold", ordinal: 0 }],
    });
    const child = startChild(t, "client-child.ts", { paths: [here.path], to: proxy.address, ...delta, streams: 1 });
    await recorded(here.dir, 6 * CHUNK);
    child.process.kill("SIGKILL");
    await child.exited;
    assertContent(t, here.old, OLD, "the old file");
    proxy.beginEra();
    const sent = await sendAll({ paths: [here.path], to: proxy.address, streams: 2, ...again });
    assertOk(t, sent);
    assertContent(t, here.old, content);
    if (again === delta) t.equal(proxy.chunksOfEra, 14, "what was brought is not sent again, nor what is the same");
    t.equal(sent.result.bytesResumed, 6 * CHUNK);
    await server.close();
    t.same(partsIn(here.dir), []);
  }
});

t.test("the control connection breaks while chunks are told", async (t) => {
  for (const frame of ["HAVE", "PLAN"] as const) {
    for (const part of ["type", "payload"] as const) {
      const content = edited(3, 17);
      const here = place(t, content);
      const rule = { kind: "control", direction: "down", frame, part, action: "reset" } as const;
      const sent = await sendThrough(t, here, {}, [rule]);
      assertOk(t, sent);
      t.equal(sent.proxy.harm.length, 1, `${frame} ${part}`);
      assertContent(t, here.old, content);
      t.same(sent.chunks, [3, 17]);
    }
  }
});

t.test("more chunks than one HAVE holds, and than are told at once", async (t) => {
  const old = contentOf(160 * MIB, 8);
  const content = Buffer.from(old);
  for (const at of [0, 40 * MIB, 100 * MIB + 5, 160 * MIB - 1]) content.writeUInt8(content.readUInt8(at) ^ 1, at);
  const here = place(t, content, old);
  const sent = await sendThrough(t, here, { streams: 2 });
  assertOk(t, sent);
  t.same(sent.chunks, [0, 640, 1600, 2559]);
  t.ok(sent.proxy.framesOf("down", "HAVE") >= 10, "both ends were at it at once");
  assertContent(t, here.old, content);
});

t.test("what stays gives nothing, and what nobody said is implied", async (t) => {
  for (const overwrite of ["never", "rename"] as const) {
    const here = place(t, edited(3));
    const sent = await sendThrough(t, here, { overwrite });
    assertFailure(t, sent.result, "E_USAGE", new RegExp(`--overwrite ${overwrite}`));
    assertContent(t, here.old, OLD);
  }
  const here = place(t, edited(3));
  const { to } = await startServer(t, here.dir);
  const address = `${to.host}:${to.port}`;
  const refused = await run(["send", here.path, "--to", address, "--insecure", "--delta", "--overwrite", "never"]);
  t.equal(refused.code, 2, refused.err);
  const sent = await run([
    "send",
    here.path,
    "--to",
    address,
    "--insecure",
    "--delta",
    "--chunk-size",
    "64k",
    "--verify",
    "full",
  ]);
  t.equal(sent.code, 0, sent.err);
  t.match(sent.out, /^matched +2\.44 MiB$/m);
  t.match(sent.out, new RegExp(`^${Buffer.from(blake3(edited(3))).toString("hex")}  file$`, "m"));
  assertContent(t, here.old, edited(3));
});

t.test("a dry run copies nothing", async (t) => {
  const here = place(t, edited(3));
  const sent = await sendThrough(t, here, { dryRun: true });
  assertOk(t, sent);
  t.same(sent.chunks, []);
  t.equal(sent.proxy.framesOf("down", "HAVE"), 0);
  t.match(sent.files, [{ status: "sent", replaced: true }]);
  t.same(partsIn(here.dir), []);
  assertContent(t, here.old, OLD);
  const same = await sendThrough(t, place(t, OLD), { dryRun: true });
  t.match(same.files, [{ status: "unchanged" }]);
});

t.test("a tree: large files by their chunks, small ones whole", async (t) => {
  const { from, to: dir } = directories(t);
  for (let i = 0; i < 12; i++) {
    makeFile(join(from, "tree", `large${i}`), 9 * CHUNK, i);
    makeFile(join(from, "tree", `small${i}`), 300 + i, 100 + i);
  }
  const { to } = await startServer(t, dir);
  assertOk(t, await sendAll({ paths: [join(from, "tree")], to, chunkBytes: CHUNK }));
  for (let i = 0; i < 12; i += 2) {
    const large = join(from, "tree", `large${i}`);
    const content = readFileSync(large);
    content.writeUInt8(content.readUInt8(200) ^ 1, 200);
    writeFileSync(large, content);
    appendFileSync(join(from, "tree", `small${i}`), "more");
  }
  const proxy = await startProxy(t, to);
  const sent = await sendAll({ paths: [join(from, "tree")], to: proxy.address, ...delta });
  assertOk(t, sent);
  t.equal(proxy.framesOf("up", "CHUNK"), 6);
  t.equal(sent.result.bytesMatched, 6 * 8 * CHUNK);
  t.equal(sent.result.filesUnchanged, 12);
  for (const { name } of sent.files) assertContent(t, join(dir, name), readFileSync(join(from, name)), name);
});

t.test("holes stay holes, and become data and holes again", async (t) => {
  const old = Buffer.alloc(64 * CHUNK);
  contentOf(CHUNK, 4).copy(old, 10 * CHUNK);
  contentOf(CHUNK, 5).copy(old, 30 * CHUNK + 4096);
  const content = Buffer.from(old);
  content.fill(0, 10 * CHUNK, 11 * CHUNK);
  contentOf(CHUNK, 6).copy(content, 50 * CHUNK);
  const here = place(t, content, Buffer.alloc(0));
  truncateSync(here.old, old.length);
  const fd = openSync(here.old, "r+");
  writeSync(fd, old, 10 * CHUNK, CHUNK, 10 * CHUNK);
  writeSync(fd, old, 30 * CHUNK + 4096, CHUNK, 30 * CHUNK + 4096);
  closeSync(fd);
  const sent = await sendThrough(t, here);
  assertOk(t, sent);
  t.same(sent.chunks, [10, 50]);
  assertContent(t, here.old, content);
  t.ok(statSync(here.old).blocks * 512 < 8 * CHUNK, "what was not data takes no room");
});

t.test("there is no room for a second copy", async (t) => {
  const place = smallFileSystem(t, 10 * MIB);
  if (place === undefined) return;
  const { from } = directories(t);
  writeFileSync(join(place, "file"), contentOf(6 * MIB, 1));
  const content = contentOf(6 * MIB, 1);
  content.writeUInt8(content.readUInt8(9) ^ 1, 9);
  writeFileSync(join(from, "file"), content);
  const { to, server } = await startServer(t, place);
  const sent = await sendAll({ paths: [join(from, "file")], to, ...delta });
  assertFailure(t, sent.result, "E_NO_SPACE", /needs 6291456 bytes/);
  assertContent(t, join(place, "file"), contentOf(6 * MIB, 1));
  t.same(partsIn(place), []);
  await server.close();
});
