/** What the destination refuses: names, names that are taken, and what there is no room for. The server goes on. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { ServerEvent } from "../../src/index.ts";
import { assertFailure, assertOk, sendAll, startChild, startServer } from "../helpers/e2e.ts";
import {
  assertContent,
  contentOf,
  directories,
  hexCrc32,
  KIB,
  MIB,
  makeFile,
  namesIn,
  partsIn,
} from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";

t.test("names that are refused", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 100);
  for (const options of [
    { name: ".." },
    { name: "." },
    { into: "a/../b" },
    { into: "../out" },
    { into: "/absolute" },
    { into: "a//b" },
    { into: "a", name: "b/" },
    { name: "nul\0byte" },
    { name: "a".repeat(256) },
    { name: "é".repeat(128) },
    { into: ".hawser", name: "x" },
    { into: ".hawser/parts" },
    { name: ".HAWSER" },
    { into: Array(2044).fill("a").join("/"), name: "12345678" },
  ]) {
    const sent = await sendAll({ paths: [path], to, ...options });
    assertFailure(t, sent.result, "E_NAME");
    t.match(sent.files, [{ status: "failed", error: { code: "E_NAME" } }], JSON.stringify(options).slice(0, 60));
  }
  t.same(namesIn(dir), [], "nothing was made");
  t.same(namesIn(join(dir, "..")), ["from", "to"], "inside or outside");
  assertOk(t, await sendAll({ paths: [path], to, name: "a".repeat(255) }));
  const control = await sendAll({ paths: [path], to, name: "\u001b[31m/..", into: "a" });
  t.notOk(control.result.error?.message.includes("\u001b"), "names are shown escaped");
});

t.test("a name longer than any that can be offered", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const path = makeFile(join(from, "file"), 100);
  const { result } = await sendAll({ paths: [path], to, into: Array(2500).fill("a").join("/") });
  assertFailure(t, result, "E_NAME");
});

t.test("a name that is taken", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  for (const [what, bytes] of [
    ["the same size", 3 * MIB],
    ["another size", 3 * MIB + 1],
    ["no byte", 0],
  ] as const) {
    await t.test(`other content of ${what}`, async (t) => {
      makeFile(join(dir, what), bytes, 1);
      const path = makeFile(join(from, what), 3 * MIB, 2);
      const sent = await sendAll({ paths: [path], to: proxy.address });
      assertFailure(t, sent.result, "E_EXISTS", new RegExp(what));
      assertContent(t, join(dir, what), contentOf(bytes, 1), "the old file");
      t.equal(proxy.framesOf("up", "CHUNK"), 0, "no chunk was sent");
    });
  }
  for (const bytes of [3 * MIB + 5, 0]) {
    await t.test(`the same content, ${bytes} bytes`, async (t) => {
      const content = contentOf(bytes, 3);
      const inode = statSync(makeFile(join(dir, `same-${bytes}`), bytes, 3)).ino;
      const path = makeFile(join(from, `same-${bytes}`), bytes, 3);
      const before = proxy.bytes.up;
      const sent = await sendAll({ paths: [path], to: proxy.address });
      assertOk(t, sent);
      t.match(sent.files, [{ status: "unchanged", bytes, crc32: hexCrc32(content) }]);
      t.equal(proxy.framesOf("up", "CHUNK"), 0, "no chunk was sent");
      t.ok(proxy.bytes.up - before < 2000, `a few hundred bytes were: ${proxy.bytes.up - before}`);
      t.equal(statSync(join(dir, `same-${bytes}`)).ino, inode, "the file is the old one");
    });
  }
  t.same(partsIn(dir), []);
});

t.test("something else than a file has the name", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const outside = makeFile(join(from, "outside"), 10, 8);
  mkdirSync(join(dir, "directory"));
  symlinkSync(outside, join(dir, "link"));
  symlinkSync(join(from, "nowhere"), join(dir, "dangling"));
  execFileSync("mkfifo", [join(dir, "fifo")]);
  for (const name of ["directory", "link", "dangling", "fifo"]) {
    const sent = await sendAll({ paths: [makeFile(join(from, name), 10, 7)], to });
    assertFailure(t, sent.result, "E_EXISTS", new RegExp(name));
  }
  assertContent(t, outside, contentOf(10, 8), "what the link points to");
  symlinkSync(from, join(dir, "way-out"));
  makeFile(join(dir, "a-file"), 1);
  for (const into of ["way-out", "way-out/deeper", "link", "a-file", "a-file/deeper"]) {
    const sent = await sendAll({ paths: [makeFile(join(from, "new"), 10, 7)], to, into, name: "smuggled" });
    assertFailure(t, sent.result, "E_NOT_DIRECTORY");
  }
  t.notOk(namesIn(from).includes("smuggled"), "nothing was written outside");
  t.same(partsIn(dir), []);
});

t.test("a file that is larger than the server takes", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir, { maxFileBytes: 1000 });
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "fits"), 1000)], to }));
  assertFailure(t, (await sendAll({ paths: [makeFile(join(from, "large"), 1001)], to })).result, "E_TOO_LARGE");
});

/** A file system of this size in memory, until the test ends; undefined where this user can't. */
function tmpfs(t: Test, bytes: number): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), "hawser-tmpfs-"));
  const removed = () => rmSync(dir, { recursive: true, force: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", dir], { stdio: "pipe" });
  } catch (error) {
    removed();
    t.pass(`skipped: no file system can be mounted here: ${String((error as { stderr?: Buffer }).stderr).trim()}`);
    return undefined;
  }
  t.teardown(() => {
    execFileSync("umount", ["-l", dir]);
    removed();
  });
  return dir;
}

/** Leaves no space on a file system of this size. */
function fill(dir: string, bytes: number): void {
  try {
    writeFileSync(join(dir, "filler"), contentOf(bytes));
  } catch {
    // It is full, which was the aim.
  }
}

t.test("no space", async (t) => {
  const dir = tmpfs(t, 4 * MIB);
  if (dir === undefined) return;
  const { from } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  const large = makeFile(join(from, "large"), 5 * MIB);
  await t.test("is said up front", async (t) => {
    const { result } = await sendAll({ paths: [large], to: proxy.address });
    assertFailure(t, result, "E_NO_SPACE", new RegExp(String(5 * MIB)));
    t.equal(proxy.framesOf("up", "CHUNK"), 0, "no chunk was sent");
    t.same(partsIn(dir), []);
  });
  await t.test("what is promised to others is not there", async (t) => {
    const paths = [0, 1, 2].map((i) => makeFile(join(from, `third-${i}`), 1.5 * MIB, i));
    const sent = await sendAll({ paths, to });
    t.equal(sent.result.error?.code, "E_PARTIAL");
    t.same(sent.files.map(({ error }) => error?.code).filter(Boolean), ["E_NO_SPACE"]);
    for (const i of [0, 1, 2]) rmSync(join(dir, `third-${i}`), { force: true });
  });
  await t.test("the server goes on", async (t) => {
    assertOk(t, await sendAll({ paths: [makeFile(join(from, "small"), MIB)], to }));
    assertContent(t, join(dir, "small"), contentOf(MIB));
  });
  await t.test("runs out on the way", async (t) => {
    const held = await startProxy(t, to);
    held.hold("stream");
    const paths = [0, 1].map((i) => makeFile(join(from, `late-${i}`), MIB, i));
    const sending = sendAll({ paths, to: held.address, streams: 1, chunkBytes: 64 * KIB, timeoutMs: 5000 });
    await held.until(() => held.framesOf("down", "PLAN") > 0);
    fill(dir, 4 * MIB);
    held.release("stream");
    const { result, files } = await sending;
    assertFailure(t, result, "E_NO_SPACE");
    t.equal(files.length, 2);
    t.same(partsIn(dir), [], "the parts are gone");
    rmSync(join(dir, "filler"));
    assertOk(t, await sendAll({ paths, to }));
  });
});

t.test("no space for file after file, on one stream", async (t) => {
  const dir = tmpfs(t, 48 * MIB);
  if (dir === undefined) return;
  const { from } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to);
  proxy.hold("stream");
  // More than fit the window, were each failed chunk to stay in it.
  const paths = Array.from({ length: 40 }, (_, i) => makeFile(join(from, `f${i}`), MIB, i));
  const sending = sendAll({ paths, to: proxy.address, streams: 1, timeoutMs: 4000 });
  await proxy.until(() => proxy.framesOf("down", "PLAN") > 0);
  fill(dir, 48 * MIB);
  proxy.release("stream");
  const sent = await sending;
  assertFailure(t, sent.result, "E_NO_SPACE");
  t.equal(sent.files.length, 40, "each got its outcome");
  rmSync(join(dir, "filler"));
});

t.test("a session ends on a full disk, and its server goes on", async (t) => {
  const dir = tmpfs(t, 8 * MIB);
  if (dir === undefined) return;
  const { from } = directories(t);
  const child = startChild<ServerEvent>(t, "server-child.ts", { dir, port: 0, sessionTtlMs: 100 });
  const to = await child.log.until("listening");
  const proxy = await startProxy(t, to);
  proxy.hold("stream");
  const stopping = new AbortController();
  const paths = Array.from({ length: 200 }, (_, i) => makeFile(join(from, `f${i}`), 4 * KIB, i));
  const sending = sendAll({ paths, to: proxy.address, signal: stopping.signal });
  await proxy.until(() => proxy.framesOf("down", "PLAN") > 0);
  fill(dir, 8 * MIB);
  proxy.harmAll("control", "reset");
  stopping.abort();
  await proxy.close();
  await sending;
  const how = Promise.race([child.log.until("ended"), child.exited]);
  t.match(await how, { type: "ended" }, child.stderr());
  rmSync(join(dir, "filler"));
  assertOk(t, await sendAll({ paths: paths.slice(0, 1), to }));
  child.process.kill("SIGKILL");
  await child.exited;
});

t.test("a dry run says what a run would be refused for, and leaves nothing", async (t) => {
  const { from, to: dir } = directories(t);
  const path = makeFile(join(from, "file"), 3 * MIB);
  const cases = [
    [{ maxFileBytes: MIB }, "E_TOO_LARGE"],
    [{ minFreeBytes: 2 ** 52 }, "E_NO_SPACE"],
    [{ quotaBytes: MIB }, "E_QUOTA"],
  ] as const;
  for (const [limits, code] of cases) {
    const { to, server } = await startServer(t, dir, limits);
    for (const dryRun of [true, false]) {
      assertFailure(t, (await sendAll({ paths: [path], to, dryRun })).result, code);
    }
    await server.close();
  }
  const { to } = await startServer(t, dir, { quotaBytes: 4 * MIB });
  // What is asked for to find out is given back.
  for (let nth = 0; nth < 3; nth++) assertOk(t, await sendAll({ paths: [path], to, dryRun: true }));
  t.same(namesIn(dir), []);
  t.same(partsIn(dir), []);
  assertOk(t, await sendAll({ paths: [path], to }));
});
