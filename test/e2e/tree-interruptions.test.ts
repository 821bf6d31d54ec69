/**
 * Trees of small files over paths that break and between programs that are killed: everything arrives all the same, what
 * was committed stays the file that it is and is not sent again, and staging is empty at the end.
 */
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SendOptions } from "../../src/index.ts";
import { assertOk, type ClientEvent, sendAll, startChild, startServer, startServerChild } from "../helpers/e2e.ts";
import { directories, KIB, MIB, makeFile, partsIn } from "../helpers/files.ts";
import { type Rule, startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { attachStrace, skipsWithoutStrace } from "../helpers/strace.ts";
import { assertSameTree, readTree } from "../helpers/trees.ts";

const CHUNK = 64 * KIB;
const FILES = 500;

/** Some hundred small files in directories, links among them, and two that go in chunks. */
function makeTree(from: string): void {
  for (let i = 0; i < FILES; i++) makeFile(join(from, `d${i % 5}/e${i % 3}/f${i}`), (i * 97) % (4 * KIB), i);
  for (let i = 0; i < 20; i++) {
    symlinkSync(`f${i}`, join(from, `d${i % 5}/l${i}`));
    mkdirSync(join(from, `d${i % 5}/empty${i}`));
  }
  makeFile(join(from, "large"), 3 * MIB, 1);
  makeFile(join(from, "d1/large"), MIB + 7, 2);
}

// While a program starts, or waits to dial again, the next one can begin.
t.jobs = 2;

const optionsOf = (from: string, { address }: TcpProxy): SendOptions => ({
  paths: [`${from}/`],
  to: address,
  chunkBytes: CHUNK,
  streams: 2,
  timeoutMs: 20_000,
});

const upStream = { kind: "stream", direction: "up", frame: "BUNDLE", times: 1 } as const;
const control = { kind: "control", part: "type", times: 1, action: "reset" } as const;

const HARMS: readonly (readonly [what: string, rules: readonly Rule[], resends: boolean])[] = [
  ["a byte of a bundle's content is damaged", [{ ...upStream, part: "payload", action: "flip" }], true],
  [
    "bundle after bundle is damaged",
    [0, 1, 2].map((nth): Rule => ({ ...upStream, nth, part: "payload", action: "flip", times: 4 })),
    true,
  ],
  ["a bundle's header is damaged: its file", [{ ...upStream, part: "file", action: "flip" }], false],
  ["a bundle's header is damaged: its length", [{ ...upStream, part: "length", action: "flip" }], false],
  ["a bundle's header is damaged: its type", [{ ...upStream, part: "type", action: "flip" }], false],
  ["a stream is reset in a bundle", [{ ...upStream, part: "payload", action: "reset", times: 3 }], false],
  ["a stream is half closed in a bundle", [{ ...upStream, part: "payload", action: "half-close", times: 3 }], false],
  [
    "a stream is reset before a bundle is acknowledged",
    [{ kind: "stream", direction: "down", frame: "ACK", part: "type", action: "reset", times: 3 }],
    false,
  ],
  ["a stream stalls in a bundle", [{ ...upStream, ordinal: 0, part: "payload", action: "stall" }], false],
  ["control is reset at an offer", [{ ...control, direction: "up", frame: "OFFER" }], false],
  ["control is reset at the second offer", [{ ...control, direction: "up", frame: "OFFER", nth: 1 }], false],
  ["control is reset at a plan", [{ ...control, direction: "down", frame: "PLAN" }], false],
  [
    "control is reset at the outcomes, again and again",
    [0, 1, 2].map((nth): Rule => ({ ...control, direction: "down", frame: "OUTCOME", nth, times: 2 })),
    false,
  ],
  ["control is reset at the receipt", [{ ...control, direction: "down", frame: "RECEIPT" }], false],
];

for (const [what, rules, resends] of HARMS) {
  t.test(what, async (t) => {
    const { from, to: dir } = directories(t);
    makeTree(from);
    const { to } = await startServer(t, dir);
    const proxy = await startProxy(t, to, { rules });
    const sent = await sendAll({ ...optionsOf(from, proxy), streams: 3 });
    assertOk(t, sent);
    t.ok(proxy.harm.length > 0, `harm was done: ${proxy.harm.join(", ")}`);
    if (resends) t.ok(sent.result.retries > 0, `${sent.result.retries} were sent again`);
    assertSameTree(t, from, dir);
    t.equal(sent.files.length, FILES + 22, "each was told once");
    t.equal(new Set(sent.files.map(({ name }) => name)).size, FILES + 22);
    t.same(partsIn(dir), []);
  });
}

/** Runs again what was killed, and holds what comes of it against what was there. */
async function assertGoesOn(
  t: Test,
  from: string,
  dir: string,
  run: () => Promise<Awaited<ReturnType<typeof sendAll>>>,
): Promise<void> {
  const before = readTree(dir);
  const ours = readTree(from);
  for (const [path, { kind, content }] of before) {
    if (kind === "file" && content !== ours.get(path)?.content) t.fail(`${path} is not whole`);
  }
  const sent = await run();
  assertOk(t, sent);
  assertSameTree(t, from, dir);
  const after = readTree(dir);
  const moved = [...before].filter(
    ([path, { kind, inode }]) => kind !== "directory" && after.get(path)?.inode !== inode,
  );
  t.same(
    moved.map(([path]) => path),
    [],
    "what was there is the same file",
  );
  const there = [...before.values()].filter(({ kind }) => kind !== "directory").length;
  t.comment(`${there} of ${FILES + 22} were there`);
  t.same(partsIn(dir), [], "staging is empty");
}

/** Slow enough for several bundles to be told apart. */
const shape = ({ kind }: { kind: string }) => (kind === "stream" ? { bytesPerSecond: 3 * MIB } : {});

for (const victim of ["client", "server"] as const) {
  for (const nth of [1, 5, 12]) {
    t.test(`SIGKILL of the ${victim} at bundle ${nth}`, async (t) => {
      const { from, to: dir } = directories(t);
      makeTree(from);
      const first = await startServerChild(t, dir);
      const proxy = await startProxy(t, first.to, { shape });
      const options = optionsOf(from, proxy);
      const client = startChild<ClientEvent>(t, "client-child.ts", options);
      await proxy.until(() => proxy.framesOf("up", "BUNDLE") >= nth);
      if (victim === "client") {
        client.process.kill("SIGKILL");
        await client.exited;
        await assertGoesOn(t, from, dir, () => sendAll(options));
        return;
      }
      await first.kill();
      const told = client.log
        .of("file")
        .filter(({ file }) => file.error === null)
        .map(({ file }) => file.name);
      const there = readTree(dir);
      t.same(
        told.filter((name) => !there.has(name)),
        [],
        "what the client was told of is there",
      );
      const second = await startServerChild(t, dir);
      proxy.retarget(second.to);
      await assertGoesOn(t, from, dir, async () => {
        await client.exited;
        const result = client.log.of("result")[0]?.result;
        if (result === undefined) throw new Error(client.stderr());
        return { result, files: client.log.of("file").map(({ file }) => file), log: client.log as never };
      });
      t.equal(new Set(client.log.of("file").map(({ file }) => file.name)).size, FILES + 22, "each was told once");
    });
  }
}

for (const [calls, when] of [
  ["link,linkat", 1],
  ["link,linkat", 130],
  ["unlink,unlinkat", 1],
  ["unlink,unlinkat", 200],
  ["openat", 40],
  ["openat", 300],
  ["mkdir,mkdirat", 3],
  ["symlink,symlinkat", 2],
] as const) {
  t.test(`SIGKILL of the server at ${calls} ${when}`, async (t) => {
    if (skipsWithoutStrace(t)) return;
    const { from, to: dir } = directories(t);
    makeTree(from);
    const first = await startServerChild(t, dir);
    const proxy = await startProxy(t, first.to);
    proxy.hold("stream");
    const options = optionsOf(from, proxy);
    await attachStrace(t, Number(first.process.pid), "main", {
      calls: calls.split(","),
      inject: `${calls}:signal=KILL:when=${when}`,
    });
    const sending = sendAll(options);
    proxy.release("stream");
    await Promise.race([first.exited, sending]);
    await first.kill();
    const second = await startServerChild(t, dir);
    proxy.retarget(second.to);
    await assertGoesOn(t, from, dir, () => sending);
  });
}

t.test("SIGKILL of the server before a link has its time: under its name it is not there yet", async (t) => {
  if (skipsWithoutStrace(t)) return;
  const { from, to: dir } = directories(t);
  for (let i = 0; i < 20; i++) symlinkSync(`f${i}`, join(from, `l${i}`));
  const first = await startServerChild(t, dir);
  const proxy = await startProxy(t, first.to);
  await attachStrace(t, Number(first.process.pid), "main", {
    calls: ["utimensat"],
    inject: "utimensat:signal=KILL:when=7",
  });
  const sending = sendAll(optionsOf(from, proxy));
  t.match(await first.exited, { signal: "SIGKILL" });
  const second = await startServerChild(t, dir);
  proxy.retarget(second.to);
  await assertGoesOn(t, from, dir, () => sending);
});

t.test("SIGKILL of the client at its Kth open of a file", async (t) => {
  if (skipsWithoutStrace(t)) return;
  const { from, to: dir } = directories(t);
  makeTree(from);
  const server = await startServerChild(t, dir);
  const proxy = await startProxy(t, server.to);
  proxy.hold("control");
  const options = optionsOf(from, proxy);
  const client = startChild<ClientEvent>(t, "client-child.ts", options);
  await proxy.until(() => proxy.connections.control === 1);
  await attachStrace(t, Number(client.process.pid), "main", {
    calls: ["openat"],
    inject: "openat:signal=KILL:when=200",
  });
  proxy.release("control");
  t.match(await client.exited, { signal: "SIGKILL" });
  await assertGoesOn(t, from, dir, () => sendAll(options));
});
