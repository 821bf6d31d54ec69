/** Whole trees there and back: whatever a file system can hold arrives as it was, or it is said why not. */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import type { TransferEvent } from "../../src/index.ts";
import { run, startServe } from "../commands/program.ts";
import { assertOk, EventLog, sendAll, startServer, startServerChild } from "../helpers/e2e.ts";
import { contentOf, directories, MIB, makeFile, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { assertSameTree, type Plant, plant, readTree } from "../helpers/trees.ts";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url));
const isRoot = process.getuid?.() === 0;

/** Says what rsync finds to do, where it is installed: the copy must leave it nothing. */
function assertNothingForRsync(t: Test, from: string, to: string, ...flags: readonly string[]): void {
  const args = ["-naHi", "--no-H", "--checksum", "--delete", "--exclude=/.hawser", "--no-o", "--no-g", ...flags];
  const { error, status, stdout, stderr } = spawnSync("rsync", [...args, `${from}/`, `${to}/`], { encoding: "latin1" });
  if (error !== undefined) {
    t.pass(`skipped: rsync can't be used here: ${error.message}`);
    return;
  }
  // The top itself is nobody's: what is in it was sent.
  const lines = stdout.split("\n").filter((line) => line !== "" && !/^\.d\S* \.\/$/.test(line));
  t.equal(status, 0, `rsync ran: ${stderr}`);
  t.same(lines.slice(0, 20), [], "rsync would change nothing");
}

t.test("the project's own checkout and what it depends on", async (t) => {
  const { from, to: dir } = directories(t);
  // As it is on the disk now, and no longer: others work in it.
  for (const name of readdirSync(PROJECT)) {
    if (name === ".tap" || name === "coverage") continue;
    const path = join(PROJECT, name);
    if (name !== "node_modules")
      cpSync(path, join(from, name), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  }
  const modules = join(PROJECT, "node_modules");
  mkdirSync(join(from, "node_modules"), { recursive: true });
  for (const name of [".bin", "fast-check", "msgpackr", "valibot", "@oclif"]) {
    if (existsSync(join(modules, name)))
      cpSync(join(modules, name), join(from, "node_modules", name), {
        recursive: true,
        preserveTimestamps: true,
        verbatimSymlinks: true,
      });
  }
  const { to } = await startServer(t, dir);
  assertOk(t, await sendAll({ paths: [`${from}/`], to }));
  assertSameTree(t, from, dir);
  assertNothingForRsync(t, from, dir);
  const links = [...readTree(dir)].filter(([, { kind }]) => kind === "symlink").length;
  t.ok(links > 5, `with its links: ${links}`);
  t.same(partsIn(dir), []);

  const proxy = await startProxy(t, to);
  const again = await sendAll({ paths: [`${from}/`], to: proxy.address });
  assertOk(t, again);
  t.same([proxy.framesOf("up", "BUNDLE"), proxy.framesOf("up", "CHUNK")], [0, 0], "again nothing of it is sent");
  t.equal(again.result.filesUnchanged, again.result.filesCommitted);
  t.equal(again.result.bytesSent, 0);
});

const NAMES: readonly (string | Buffer)[] = [
  "a\nb",
  "a\tb",
  "'quoted' \"twice\"",
  "back\\slash",
  "\\n",
  "\\x41",
  "\\u{202e}",
  "%41",
  "$(id)",
  "`id`",
  "-rf",
  "--to",
  "~",
  "#",
  "*",
  "?",
  "[a-z]",
  "!x",
  " lead",
  "trail ",
  "trail.",
  "...",
  " ",
  "CON",
  "a:b",
  "naïve",
  "nai\u0308ve",
  "\u202etxt.exe",
  "e".repeat(255),
  Buffer.alloc(255, 0xff),
  Buffer.from([0xc3]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.concat([Buffer.from("half-"), Buffer.from("é").subarray(0, 1)]),
  ...Array.from({ length: 255 }, (_, i) => Buffer.from([0x62, i + 1])).filter(([, byte]) => byte !== 0x2f),
  Buffer.from(Array.from({ length: 255 }, (_, i) => i + 1).filter((byte) => byte !== 0x2f)),
];

t.test("every name that a file system takes, of files, directories and links", async (t) => {
  const { from, to: dir } = directories(t);
  const plants = new Map<string, Plant>();
  for (const [i, name] of NAMES.entries()) {
    const key = Buffer.from(name).toString("latin1");
    plants.set(`files/${key}`, { kind: "file", content: contentOf(i, i) });
    plants.set(`links/${key}`, { kind: "symlink", target: Buffer.from(name) });
    plants.set(`directories/${key}`, { kind: "directory" });
    plants.set(`directories/${key}/${key}`, { kind: "file", content: contentOf(i + 1, i) });
  }
  for (const name of ["files", "links", "directories"]) plants.set(name, { kind: "directory" });
  plant(from, plants);
  const { to } = await startServer(t, dir);
  const sent = await sendAll({ paths: [`${from}/`], to });
  assertOk(t, sent);
  assertSameTree(t, from, dir);
  assertNothingForRsync(t, from, dir);
  t.equal(sent.files.length, 3 * NAMES.length, "each file and link was told of");
  t.ok(
    sent.files.every(({ name }) => !/[\p{Cc}\u202e]/u.test(name)),
    "and shown so that nothing of it moves a terminal",
  );
});

/** One of everything that is special but can be kept. */
function makeOdd(from: string): void {
  const times = [-365 * 86_400 + 0.25, 4_102_444_800.123456, 1_700_000_000.9876542, 1, 0];
  const plants = new Map<string, Plant>([
    ["empty", { kind: "directory", mtime: -86_400.5 }],
    ["nested", { kind: "directory", mtime: 1e9 }],
    ["nested/empty", { kind: "directory", mtime: 1e9 + 1 }],
    ["nested/empty/too", { kind: "directory", mode: 0o555, mtime: 1e9 + 2 }],
    ["read-only", { kind: "directory", mode: 0o555, mtime: 1e9 + 3 }],
    ["read-only/below", { kind: "directory", mode: 0o555, mtime: 1e9 + 4 }],
    ["read-only/below/file", { kind: "file", mode: 0o444, content: contentOf(10) }],
    ["read-only/large", { kind: "file", mode: 0o444, content: contentOf(2 * MIB) }],
    ["open", { kind: "directory", mode: 0o777 }],
    ["open/to-all", { kind: "file", mode: 0o666, content: contentOf(10) }],
    ["program", { kind: "file", mode: 0o755, content: contentOf(10) }],
    ["setuid", { kind: "file", mode: 0o6755, content: contentOf(10) }],
    ["setuid-large", { kind: "file", mode: 0o6755, content: contentOf(2 * MIB) }],
    ["sticky", { kind: "directory", mode: 0o3755 }],
    ["sticky/file", { kind: "file", content: contentOf(3) }],
    ["dangling", { kind: "symlink", target: Buffer.from("no/such/place"), mtime: 1e9 + 5 }],
    ["absolute", { kind: "symlink", target: Buffer.from("/etc/passwd"), mtime: -5 }],
    ["out", { kind: "symlink", target: Buffer.from("../../../..") }],
    ["odd", { kind: "symlink", target: Buffer.from([0xff, 0x0a, 0x5c]) }],
    ["long", { kind: "symlink", target: Buffer.alloc(4095, "x") }],
    ["to-itself", { kind: "symlink", target: Buffer.from("to-itself") }],
    ...times.map((mtime, i): [string, Plant] => [`time-${i}`, { kind: "file", content: contentOf(i), mtime }]),
    ...times.map((mtime, i): [string, Plant] => [`late-${i}`, { kind: "directory", mtime }]),
    ["time-large", { kind: "file", content: contentOf(2 * MIB), mtime: times[0] as number }],
    ["locked", { kind: "file", mode: isRoot ? 0 : 0o400, content: contentOf(7) }],
    ["locked-large", { kind: "file", mode: isRoot ? 0 : 0o400, content: contentOf(2 * MIB) }],
    ["locked-directory", { kind: "directory", mode: isRoot ? 0 : 0o500 }],
    ["write-only", { kind: "file", mode: isRoot ? 0o200 : 0o600, content: contentOf(8) }],
  ]);
  plant(from, plants);
  const linked = makeFile(join(from, "hard-1"), 5000, 3);
  for (const name of ["hard-2", "nested/hard-3"]) linkSync(linked, join(from, name));
}

/** Hard links arrive as files of their own; the rest as it is. */
for (const preserveMode of [false, true]) {
  for (const umask of [0o022, 0o077]) {
    t.test(`modes, times, links: umask ${umask.toString(8)}, preserve ${preserveMode}`, async (t) => {
      const { from, to: dir } = directories(t);
      makeOdd(from);
      const server = await startServerChild(t, dir, {}, { shell: `umask ${umask.toString(8)}` });
      const sent = await sendAll({ paths: [`${from}/`], to: server.to, preserveMode });
      assertOk(t, sent);
      assertSameTree(t, from, dir, { mask: preserveMode ? 0 : umask });
      if (preserveMode) assertNothingForRsync(t, from, dir, "--chmod=a-s,-t");
      t.equal(lstatSync(join(dir, "setuid")).mode & 0o7000, 0, "nobody becomes somebody else");
      t.same(partsIn(dir), []);
    });
  }
}

t.test("a read-only directory of a server that is not root", { skip: isRoot ? false : "needs root" }, async (t) => {
  const { from, to: dir } = directories(t);
  makeOdd(from);
  for (let up = dir; up !== "/"; up = dirname(up)) chmodSync(up, lstatSync(up).mode | 0o755);
  chmodSync(dir, 0o777);
  const server = await startServerChild(t, dir, {}, { uid: 65534, gid: 65534 });
  const sent = await sendAll({ paths: [`${from}/`], to: server.to });
  assertOk(t, sent);
  assertSameTree(t, from, dir);
});

t.test("what is not sent: sockets and FIFOs are skipped, the server's own name is refused", async (t) => {
  const { from, to: dir } = directories(t);
  makeFile(join(from, "a"), 10);
  makeFile(join(from, ".hawser/parts/x"), 10);
  makeFile(join(from, "below/.hawser/y"), 10);
  makeFile(join(from, "below/z"), 10);
  if (spawnSync("mkfifo", [join(from, "fifo")]).status !== 0) return t.pass("skipped: there is no mkfifo");
  const socket = createServer();
  // A socket's path must be short.
  await new Promise<void>((resolve) => {
    const cwd = process.cwd();
    process.chdir(from);
    socket.listen("socket", () => {
      process.chdir(cwd);
      resolve();
    });
  });
  t.teardown(() => socket.close());
  const { to } = await startServer(t, dir);

  await t.test("what is skipped is no failure", async (t) => {
    const only = await sendAll({ paths: [`${from}/`], to, into: "only", filter: [{ exclude: ".hawser" }] });
    assertOk(t, only);
    t.equal(only.result.filesSkipped, 2);
    t.same(only.files.flatMap(({ name, status }) => (status === "skipped" ? [name] : [])).sort(), [
      "only/fifo",
      "only/socket",
    ]);
    t.ok(only.files.every(({ error }) => error === null));
  });

  const sent = await sendAll({ paths: [`${from}/`], to, into: "all" });
  t.equal(sent.result.exitCode, 23);
  t.match(sent.result, { filesSkipped: 2, error: { code: "E_PARTIAL" } });
  const refused = sent.files.filter(({ status }) => status === "failed");
  t.ok(refused.length > 0 && refused.every(({ error }) => error?.code === "E_NAME"), "refused by name");
  t.same(
    [...readTree(join(dir, "all"), { without: [] }).keys()].sort(),
    ["a", "below", "below/z"],
    "and everything else has arrived",
  );
});

t.test("as commands: a tree, its FIFO warned about, what is refused, and the exit codes", async (t) => {
  const { from, to: dir } = directories(t);
  makeOdd(from);
  if (spawnSync("mkfifo", [join(from, "fifo")]).status !== 0) return t.pass("skipped: there is no mkfifo");
  const served = await startServe(dir);
  const first = await run(["send", `${from}/`, "--to", served.address]);
  t.equal(first.code, 0, first.err);
  t.match(`${first.out}${first.err}`, /fifo/, "the FIFO is named");
  assertSameTree(t, from, dir, { ignore: (path) => path === "fifo" });
  makeFile(join(from, ".hawser"), 3);
  makeFile(join(from, "new"), 3);
  const second = await run(["send", `${from}/`, "--to", served.address, "--json"]);
  t.equal(second.code, 23, second.err);
  const document = JSON.parse(second.out);
  t.match(document, { ok: false, error: { code: "E_PARTIAL" } });
  assertSameTree(t, from, dir, { ignore: (path) => path === "fifo" });
  t.equal((await served.stop()).code, 0);
});

t.test("a bundle that is ready when every stream is idle is sent at once", async (t) => {
  const { from, to: dir } = directories(t);
  makeFile(join(from, "small"), 100);
  const { to } = await startServer(t, dir);
  const plan = { kind: "control", direction: "down", frame: "PLAN", part: "type", action: "hold" } as const;
  const proxy = await startProxy(t, to, { rules: [plan] });
  const sending = sendAll({ paths: [`${from}/`], to: proxy.address, streams: 2 });
  await proxy.until(() => proxy.framesOf("down", "ATTACHED") === 2 && proxy.harm.length === 1);
  proxy.release("control");
  assertOk(t, await sending);
  assertSameTree(t, from, dir);
});

t.test("thousands of things that are only skipped leave others their turn", async (t) => {
  const { from, to: dir } = directories(t);
  const made = spawnSync("sh", ["-c", `cd '${from}' && seq 3000 | xargs mkfifo`]);
  if (made.status !== 0) return t.pass("skipped: there is no mkfifo");
  const { to } = await startServer(t, dir);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const told = new Map<number, number>();
  const log = new EventLog<TransferEvent>();
  const { add } = log;
  Object.assign(log, {
    add: (event: TransferEvent) => {
      if (event.type === "file") told.set(turns, (told.get(turns) ?? 0) + 1);
      add(event);
    },
  });
  const sent = await sendAll({ paths: [`${from}/`], to }, log);
  clearInterval(timer);
  assertOk(t, sent);
  t.equal(sent.result.filesSkipped, 3000);
  t.ok(Math.max(...told.values()) < 3000, `${Math.max(...told.values())} in one turn`);
});
