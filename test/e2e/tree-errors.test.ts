/** What goes wrong with one entry of a tree stays with that entry: all others arrive, and it is said what did not. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import type { SendOptions, TransferEvent } from "../../src/index.ts";
import { BIN, endWithTest } from "../commands/program.ts";
import {
  assertOk,
  type ClientEvent,
  EventLog,
  type Sent,
  sendAll,
  startChild,
  startServer,
  startServerChild,
} from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, partsIn } from "../helpers/files.ts";
import { smallFileSystem } from "../helpers/mounts.ts";
import { startProxy } from "../helpers/proxy.ts";
import { assertSameTree, readTree } from "../helpers/trees.ts";

const isRoot = process.getuid?.() === 0;

/** `name: status or code` of what did not simply arrive. */
const unusual = ({ files }: Pick<Sent, "files">) =>
  files.flatMap(({ name, status, error }) => (status === "sent" ? [] : [`${name}: ${error?.code ?? status}`])).sort();

/** Sends a directory's content, and does something between the offers and the plan: what is read then is another thing. */
async function meddling(
  t: Test,
  from: string,
  dir: string,
  meddle: () => void,
  options: Partial<SendOptions> = {},
): Promise<Sent> {
  const { to } = await startServer(t, dir);
  const hold = { kind: "control", direction: "down", frame: "PLAN", part: "type", action: "hold" } as const;
  const proxy = await startProxy(t, to, { rules: [hold] });
  const sending = sendAll({ paths: [`${from}/`], to: proxy.address, ...options });
  await proxy.until(() => proxy.harm.length === 1);
  meddle();
  proxy.release("control");
  return sending;
}

t.test("files that change between the walk and the read", async (t) => {
  const { from, to: dir } = directories(t);
  for (const name of ["a", "d/b", "gone", "grown", "shorter", "rewritten", "replaced", "linked", "directory", "fifo"]) {
    makeFile(join(from, name), 5000, 1);
  }
  const sent = await meddling(t, from, dir, () => {
    unlinkSync(join(from, "gone"));
    appendFileSync(join(from, "grown"), "more");
    truncateSync(join(from, "shorter"), 10);
    writeFileSync(join(from, "rewritten"), contentOf(5000, 2));
    unlinkSync(join(from, "replaced"));
    makeFile(join(from, "replaced"), 5000, 3);
    unlinkSync(join(from, "linked"));
    symlinkSync("/etc/passwd", join(from, "linked"));
    unlinkSync(join(from, "directory"));
    mkdirSync(join(from, "directory"));
  });
  t.equal(sent.result.exitCode, 23, `${sent.result.error?.message}`);
  t.same(
    unusual(sent).map((line) => line.replace(/E_SOURCE_(DIRECTORY|UNREADABLE|IO)/, "E_SOURCE_CHANGED")),
    [
      "directory: E_SOURCE_CHANGED",
      "gone: E_SOURCE_MISSING",
      "grown: E_SOURCE_CHANGED",
      "linked: E_SOURCE_CHANGED",
      "replaced: E_SOURCE_CHANGED",
      "rewritten: E_SOURCE_CHANGED",
      "shorter: E_SOURCE_CHANGED",
    ],
  );
  t.same([...readTree(dir).keys()].sort(), ["a", "d", "d/b", "fifo"]);
  for (const name of ["a", "d/b", "fifo"]) assertContent(t, join(dir, name), contentOf(5000, 1));
  t.same(partsIn(dir), []);
});

t.test("files of a tree that may not be read, and directories that may not be entered", async (t) => {
  const { from, to: dir } = directories(t);
  for (const name of ["a", "closed/b", "d/e"]) makeFile(join(from, name), 100);
  makeFile(join(from, "secret"), 100);
  makeFile(join(from, "secret-large"), 3 * MIB);
  if (!isRoot) {
    for (const name of ["secret", "secret-large", "closed"]) chmodSync(join(from, name), 0);
  }
  for (let up = from; up !== "/"; up = dirname(up)) chmodSync(up, lstatSync(up).mode | 0o755);
  for (const name of ["secret", "secret-large"]) chmodSync(join(from, name), 0o600);
  chmodSync(join(from, "closed"), 0o700);
  const { to } = await startServer(t, dir);
  const how = isRoot ? { uid: 65534, gid: 65534 } : {};
  const child = startChild<ClientEvent>(t, "client-child.ts", { paths: [`${from}/`], to }, how);
  await child.exited;
  const result = child.log.of("result")[0]?.result;
  t.equal(result?.exitCode, 23, `exit code 23 ${child.stderr()}`);
  const failed = child.log
    .of("file")
    .flatMap(({ file }) => (file.error === null ? [] : [`${file.name}: ${file.error.code}`]));
  t.same(failed.sort(), [
    "closed: E_SOURCE_UNREADABLE",
    "secret-large: E_SOURCE_UNREADABLE",
    "secret: E_SOURCE_UNREADABLE",
  ]);
  t.same([...readTree(dir).keys()].sort(), ["a", "d", "d/e"]);
});

t.test(
  "the destination has something else: directories for files, files for directories, links for either",
  async (t) => {
    const { from, to: dir } = directories(t);
    for (const name of ["file", "tree/a", "tree/b/c", "led/away", "deep/led/away", "ok", "large"])
      makeFile(join(from, name), 100);
    makeFile(join(from, "large"), 2 * MIB);
    makeFile(join(from, "led/large"), 2 * MIB);
    symlinkSync("x", join(from, "led", "link"));
    mkdirSync(join(from, "led", "empty"));
    symlinkSync("y", join(from, "link-for-directory"));
    for (const overwrite of ["never", "if-different", "always", "rename"] as const) {
      await t.test(overwrite, async (t) => {
        const there = join(dir, overwrite);
        const outside = join(dir, "..", `outside-${overwrite}`);
        for (const name of ["file", "large", "link-for-directory"]) mkdirSync(join(there, name), { recursive: true });
        makeFile(join(there, "file/kept"), 7);
        makeFile(join(there, "tree"), 100, 9);
        makeFile(join(outside, "kept"), 7);
        mkdirSync(join(there, "deep"));
        symlinkSync(outside, join(there, "led"));
        symlinkSync("../../../".concat(`outside-${overwrite}`), join(there, "deep/led"));
        const before = readTree(outside);
        const outsideTime = lstatSync(outside).mtimeMs;
        const { to } = await startServer(t, there);
        const sent = await sendAll({ paths: [`${from}/`], to, overwrite });
        t.equal(sent.result.exitCode, 23);
        t.same(readTree(outside), before, "nothing outside was touched");
        t.equal(lstatSync(outside).mtimeMs, outsideTime);
        t.equal(readlinkSync(join(there, "led")), outside, "and the link is still one");
        assertContent(t, join(there, "tree"), contentOf(100, 9));
        assertContent(t, join(there, "file/kept"), contentOf(7));
        assertContent(t, join(there, "ok"), contentOf(100));
        const blocked = [
          "deep/led/away",
          "deep/led",
          "led/away",
          "led/empty",
          "led/large",
          "led/link",
          "led",
          "tree/a",
          "tree/b",
          "tree/b/c",
          "tree",
        ];
        const taken = overwrite === "rename" ? [] : ["file", "large", "link-for-directory"];
        t.same(
          unusual(sent)
            .filter((line) => line.includes("E_"))
            .sort(),
          [...blocked.map((name) => `${name}: E_NOT_DIRECTORY`), ...taken.map((name) => `${name}: E_EXISTS`)].sort(),
        );
        if (overwrite === "rename") assertContent(t, join(there, "file (1)"), contentOf(100));
        t.same(partsIn(there), []);
      });
    }
  },
);

t.test("the disk is full in the middle of a tree", async (t) => {
  const place = smallFileSystem(t, 4 * MIB);
  if (place === undefined) return;
  const { from } = directories(t);
  for (let i = 0; i < 400; i++) makeFile(join(from, `d${i % 7}/f${i}`), 20 * KIB, i);
  const { to } = await startServer(t, place);
  const sent = await sendAll({ paths: [`${from}/`], to });
  t.ok([23, 74].includes(sent.result.exitCode), `exit code ${sent.result.exitCode}`);
  const there = [...readTree(place)].filter(([, { kind }]) => kind === "file");
  t.ok(there.length > 50 && there.length < 400, `${there.length} files are there`);
  t.equal(sent.files.filter(({ status }) => status === "sent").length, there.length, "those that were told of");
  for (const [path] of there.slice(0, 1000)) {
    const i = Number(path.split("f")[1]);
    if (!contentOf(20 * KIB, i).equals(Buffer.from(readFileSync(join(place, path))))) t.fail(path);
  }
  t.ok(
    sent.files.every(({ error }) => error === null || error.code === "E_NO_SPACE"),
    [...new Set(sent.files.map(({ error }) => error?.message.replace(/'.*'/, "")))].join(" | "),
  );
  t.same(partsIn(place), [], "staging is clean");

  rmSync(join(from, "d0"), { recursive: true });
  for (let i = 100; i < 400; i++) rmSync(join(from, `d${i % 7}/f${i}`), { force: true });
  for (const name of readdirSync(place)) if (name !== ".hawser") rmSync(join(place, name), { recursive: true });
  assertOk(t, await sendAll({ paths: [`${from}/`], to }));
  assertSameTree(t, from, place, {}, "with room again all arrives");
});

t.test("what is to stay free stays free of small files as well", async (t) => {
  const place = smallFileSystem(t, 8 * MIB);
  if (place === undefined) return;
  const { from } = directories(t);
  for (let i = 0; i < 300; i++) makeFile(join(from, `f${i}`), 20 * KIB, i);
  const { to } = await startServer(t, place, { minFreeBytes: 4 * MIB });
  const sent = await sendAll({ paths: [`${from}/`], to });
  t.equal(sent.result.exitCode, 23);
  t.ok(sent.files.every(({ error }) => error === null || error.code === "E_NO_SPACE"));
  const { bavail, bsize } = statfsSync(place);
  t.ok(bavail * bsize >= 4 * MIB - 256 * KIB, `${bavail * bsize} bytes are free`);
  t.same(partsIn(place), []);
});

t.test(
  "few descriptors, on either side: a wide and deep tree",
  { skip: process.platform === "win32" ? "ulimit is a Unix shell's" : false },
  async (t) => {
    const { from, to: dir } = directories(t);
    for (let i = 0; i < 120; i++) makeFile(join(from, `wide/d${i}/f`), 100, i);
    makeFile(join(from, "d/".repeat(90), "f"), 100, 5);
    makeFile(join(from, "d/".repeat(90), "large"), 3 * MIB, 5);
    await t.test("the server", async (t) => {
      const server = await startServerChild(t, join(dir), {}, { shell: "ulimit -n 64" });
      const sent = await sendAll({ paths: [`${from}/`], to: server.to, into: "a", timeoutMs: 10_000 });
      t.comment(JSON.stringify([sent.result.exitCode, unusual(sent).length, sent.result.error?.message]));
      t.ok([0, 23].includes(sent.result.exitCode), "it lives, and answers");
      const again = await sendAll({
        paths: [`${from}/`],
        to: server.to,
        into: "a",
        timeoutMs: 10_000,
        overwrite: "if-different",
      });
      t.ok([0, 23].includes(again.result.exitCode));
      assertSameTree(t, from, join(dir, "a"));
      await server.kill();
    });
    await t.test("the client", async (t) => {
      const { to } = await startServer(t, dir);
      const command = [
        process.execPath,
        BIN,
        "send",
        `${from}/`,
        "--into",
        "b",
        "--to",
        `127.0.0.1:${to.port}`,
        "--insecure",
        "--json",
      ];
      const limited = 'ulimit -n 64; exec "$0" "$@" --timeout 10';
      const child = endWithTest(spawn("/bin/sh", ["-c", limited, ...command], { stdio: ["ignore", "pipe", "ignore"] }));
      let out = "";
      child.stdout.on("data", (bytes) => {
        out += bytes;
      });
      const [code] = await once(child, "close");
      t.comment(code, out.slice(0, 300));
      t.not(JSON.parse(out).error?.code, "E_INTERNAL", "it says what failed");
      t.ok([0, 23, 66, 69, 75].includes(code), `and how: ${code}`);
    });
  },
);

t.test("files that are to be compared and vanish make no room for more than may be open", async (t) => {
  const { from, to: dir } = directories(t);
  for (let i = 0; i < 300; i++) {
    makeFile(join(from, `small/f${i}`), 10, i);
    makeFile(join(dir, `f${i}`), 10, i + 1);
  }
  for (let i = 0; i < 700; i++) makeFile(join(from, `large/l${i}`), 20 * KIB, i);
  const { to } = await startServer(t, dir);
  const hold = { kind: "control", direction: "down", frame: "PLAN", part: "type", action: "hold" } as const;
  const proxy = await startProxy(t, to, { rules: [hold] });
  const paths = [`${from}/small/`, `${from}/large/`];
  const sending = sendAll({ paths, to: proxy.address, checksum: true, chunkBytes: 64 * KIB });
  await proxy.until(() => proxy.harm.length === 1);
  rmSync(join(from, "small"), { recursive: true });
  proxy.release("control");
  const sent = await sending;
  t.equal(sent.result.exitCode, 23, `${sent.result.error?.message}`);
  t.same([...new Set(unusual(sent).map((line) => line.split(": ")[1]))], ["E_SOURCE_MISSING"]);
  t.equal(unusual(sent).length, 300);
  t.equal(sent.files.filter(({ status }) => status === "sent").length, 700);
});

t.test("more files are compared than may be open in chunks, and the server is another one", async (t) => {
  const { from, to: dir } = directories(t);
  for (let i = 0; i < 600; i++) {
    makeFile(join(from, `f${i}`), 10, i);
    makeFile(join(dir, `f${i}`), 10, i % 2 === 0 ? i : i + 1000);
  }
  const first = await startServerChild(t, dir);
  const hold = { kind: "control", direction: "up", frame: "DIGEST", part: "type", action: "hold" } as const;
  const proxy = await startProxy(t, first.to, { rules: [hold] });
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ paths: [`${from}/`], to: proxy.address, overwrite: "if-different", checksum: true }, log);
  await proxy.until(() => proxy.harm.length === 1);
  await first.kill();
  const second = await startServerChild(t, dir);
  proxy.retarget(second.to);
  proxy.harmAll("control", "reset");
  proxy.harmAll("stream", "reset");
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.files.length, 600);
  t.equal(sent.files.filter(({ status }) => status === "unchanged").length, 300);
  for (let i = 0; i < 600; i++) if (!contentOf(10, i).equals(readFileSync(join(dir, `f${i}`)))) t.fail(`f${i}`);
  t.same(partsIn(dir), []);
});

t.test("a transfer that ends in the middle of a walk leaves no directory open", async (t) => {
  const { from, to: dir } = directories(t);
  for (let i = 0; i < 3000; i++) makeFile(join(from, `a/b/c/d/f${i}`), 0);
  const { to } = await startServer(t, dir);
  const open = () =>
    readdirSync("/proc/self/fd")
      .map((fd) => linkOf(`/proc/self/fd/${fd}`))
      .filter((path) => path.startsWith(from));
  if (!existsSync("/proc/self/fd")) return t.pass("skipped: there is no /proc");
  const stop = new AbortController();
  const hold = { kind: "control", direction: "down", frame: "PLAN", part: "type", action: "hold" } as const;
  const proxy = await startProxy(t, to, { rules: [hold] });
  const sending = sendAll({ paths: [`${from}/`], to: proxy.address, signal: stop.signal });
  await proxy.until(() => proxy.harm.length === 1);
  stop.abort();
  await sending;
  t.same(open(), []);
});

t.test(
  "modes that its owner may not read, of a server that is not root, one file at a time",
  { skip: isRoot ? false : "needs root" },
  async (t) => {
    const { from, to: dir } = directories(t);
    for (let up = dir; up !== "/"; up = dirname(up)) chmodSync(up, lstatSync(up).mode | 0o755);
    chmodSync(dir, 0o777);
    makeFile(join(from, "locked"), 10);
    chmodSync(join(from, "locked"), 0);
    makeFile(join(from, "plain"), 10);
    const server = await startServerChild(t, dir, {}, { uid: 65534, gid: 65534 });
    for (const name of ["locked", "plain"]) assertOk(t, await sendAll({ paths: [join(from, name)], to: server.to }));
    assertSameTree(t, from, dir);
  },
);

/** What a link says; nothing where it went away. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
