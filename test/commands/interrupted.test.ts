/** Commands and servers that are stopped, and go on, through real processes and real sockets. */
import { existsSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { formatEndpoint } from "../../src/index.ts";
import { nonconformity } from "../cli/schema.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { soon } from "../helpers/wire-end.ts";
import { run, start, startServe } from "./program.ts";

const CONTENT = Buffer.from("hawser\n".repeat(100_000));

t.test("^C before there is a session: in order, exit code 130, and nothing to go on with", async (t) => {
  // Something that listens and says nothing: the client waits until it is told to stop.
  const silent = createServer();
  const to = formatEndpoint(await listenAnywhere(silent));
  const dir = t.testdir({ "it's": "x" });
  // In the TLS handshake, and in that of hawser: neither is waited for until its deadline, which is ten seconds.
  for (const [signal, code, name, ...insecure] of [
    ["SIGINT", 130, "E_INTERRUPTED"],
    ["SIGTERM", 143, "E_TERMINATED"],
    ["SIGINT", 130, "E_INTERRUPTED", "--insecure"],
  ] as const) {
    const connected = new Promise<void>((resolve) =>
      silent.once("connection", (socket) => {
        socket.on("error", () => {});
        resolve();
      }),
    );
    const running = start(["send", "it's", "--to", to, "--json", ...insecure], { cwd: dir });
    await connected;
    running.child.kill(signal);
    const ended = await soon(running.ended, "the end", 8000);
    t.equal(ended.code, code);
    t.match(ended.err, /stopping: what is in flight is being finished; \^C again ends it at once/);
    t.match(ended.err, new RegExp(`\\(${name}\\)\\n$`));
    t.equal(nonconformity("send", JSON.parse(ended.out)), undefined);
    t.equal(JSON.parse(ended.out).error.code, name);
  }
  silent.close();
});

/** Ends a transfer of a large file when some of it is on the other side. */
async function interrupt(args: readonly string[], cwd: string) {
  const running = start(["send", ...args, "--json", "--progress", "json"], { cwd });
  await running.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  running.child.kill("SIGINT");
  return await running.ended;
}

t.test("^C, and the same command again: it goes on where it stood", async (t) => {
  const dir = t.testdir({ in: {}, "it's big": "" });
  truncateSync(join(dir, "it's big"), 2 ** 30);
  const server = await startServe(join(dir, "in"));
  const first = await interrupt(["it's big", "--to", server.address], dir);
  t.equal(first.code, 130);
  t.notMatch(first.err, "The same command", "events and nothing else");
  t.match(await server.event("session"), { resumed: false });
  await server.event("ended");

  const second = start(["send", "it's big", "--to", server.address, "--json", "-v"], { cwd: dir });
  // Before it has heard of its session it has nothing to go on with.
  await second.said(/connected to hawser/);
  t.match(await server.event("session"), { resumed: true });
  second.child.kill("SIGINT");
  const ended = await second.ended;
  t.equal(ended.code, 130);
  t.match(ended.err, /\(E_INTERRUPTED\)\n/);
  const command = `hawser send 'it'\\\\''s big' --to ${server.address} --json -v`;
  t.match(ended.err, new RegExp(` {2}The same command goes on where this one stopped:\\n {2}${command}\\n$`));
  t.equal(JSON.parse(ended.out).error.retryable, true);
  await server.event("ended");

  const last = await run(["send", "it's big", "--to", server.address, "--json", "--trust-mtime"], { cwd: dir });
  t.equal(last.code, 0);
  const document = JSON.parse(last.out);
  t.equal(nonconformity("send", document), undefined);
  t.match(document, { ok: true, bytes: 2 ** 30, files: [{ status: "resumed" }] });
  t.equal(document.bytesSent + document.bytesResumed, 2 ** 30);
  t.ok(document.bytesTrusted > 0 && document.bytesTrusted <= document.bytesResumed, `${document.bytesTrusted}`);
  t.equal(document.transferId, JSON.parse(first.out).transferId, "one transfer all along");
  t.match(await server.event("transfer"), { bytesResumed: document.bytesResumed });
  t.match(await server.stop(), { err: /ended before it was complete: .*; it can be resumed\n/ });
  for (const event of server.events) t.equal(nonconformity("serve-event", event), undefined, JSON.stringify(event));
});

t.test("--no-resume: what an interrupted run left is sent again", async (t) => {
  const dir = t.testdir({ in: {}, big: "" });
  truncateSync(join(dir, "big"), 2 ** 30);
  const server = await startServe(join(dir, "in"));
  t.equal((await interrupt(["big", "--to", server.address], dir)).code, 130);
  const { code, out } = await run(["send", "big", "--to", server.address, "--json", "--no-resume"], { cwd: dir });
  t.equal(code, 0);
  t.match(JSON.parse(out), { bytesResumed: 0, bytesSent: 2 ** 30, files: [{ status: "sent" }] });
  await server.stop();
});

t.test("a client that was killed is forgotten when its time is over, and that is said", async (t) => {
  const dir = t.testdir({ in: {}, big: "" });
  truncateSync(join(dir, "big"), 2 ** 36);
  const server = await startServe(join(dir, "in"), ["--session-ttl", "1s"]);
  const running = start(["send", "big", "--to", server.address, "--progress", "json"], { cwd: dir });
  await running.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  running.child.kill("SIGKILL");
  await running.ended;
  const { transferId } = await server.event("session");
  t.match(await server.event("expired"), { transferId, peer: "local" });
  const ended = await server.stop();
  t.match(ended.err, new RegExp(`local did not come back: what transfer ${transferId} had left is dropped`));
  for (const event of server.events) t.equal(nonconformity("serve-event", event), undefined, JSON.stringify(event));
});

t.test("a failure that a retry may help, after a session was opened: the command is said", async (t) => {
  const dir = t.testdir({ in: {}, big: "" });
  truncateSync(join(dir, "big"), 2 ** 36);
  const server = await startServe(join(dir, "in"));
  const running = start(["send", "big", "--to", server.address, "--retries", "0", "-v"], { cwd: dir });
  await running.said(/connected to hawser/);
  server.child.kill("SIGKILL");
  const { code, err } = await running.ended;
  t.equal(code, 75);
  t.match(err, /\(E_LOST\)\n/);
  t.match(
    err,
    new RegExp(
      `The same command goes on where this one stopped:\\n {2}hawser send big --to ${server.address} --retries 0 -v\\n$`,
    ),
  );
  const nobody = await run(["send", "big", "--to", server.address], { cwd: dir });
  t.match(nobody, { code: 69, err: /E_UNREACHABLE/ });
  t.notMatch(nobody.err, "The same command", "nothing was begun");
});

t.test("a second signal ends it at once, with a whole document", async (t) => {
  const dir = t.testdir({ in: {}, big: "" });
  truncateSync(join(dir, "big"), 2 ** 34);
  const server = await startServe(join(dir, "in"));
  const running = start(["send", "big", "--to", server.address, "--json", "--progress", "json"], { cwd: dir });
  await running.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  server.child.kill("SIGSTOP");
  running.child.kill("SIGINT");
  await running.said(/stopping/);
  running.child.kill("SIGTERM");
  const ended = await running.ended;
  t.equal(ended.code, 143);
  t.equal(JSON.parse(ended.out).error.code, "E_TERMINATED");
  t.equal(nonconformity("send", JSON.parse(ended.out)), undefined);
  server.child.kill("SIGCONT");
  // A client that is there, and gets nowhere, keeps the server from ending by itself.
  writeFileSync(join(dir, "other"), "");
  truncateSync(join(dir, "other"), 2 ** 31);
  const other = start(["send", "other", "--to", server.address, "--progress", "json"], { cwd: dir });
  await other.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  other.child.kill("SIGSTOP");
  server.child.kill("SIGINT");
  await server.said(/stopping/);
  server.child.kill("SIGTERM");
  t.equal((await server.ended).code, 143, "a second signal ends a server at once too");
  other.child.kill("SIGKILL");
  await other.ended;
  t.notOk(existsSync(join(dir, "in", "big")));
});

t.test("SIGTERM drains: a transfer under way finishes", async (t) => {
  const dir = t.testdir({ in: {}, big: "" });
  truncateSync(join(dir, "big"), 2 ** 30);
  const server = await startServe(join(dir, "in"));
  const running = start(["send", "big", "--to", server.address, "--progress", "json"], { cwd: dir });
  await running.said(/"phase":"sending","stall":null,"bytesDone":[1-9]/);
  server.child.kill("SIGTERM");
  t.equal((await running.ended).code, 0);
  const ended = await server.ended;
  t.equal(ended.code, 0);
  t.match(ended.err, /stopping: transfers under way may finish/);
  t.equal(statSync(join(dir, "in", "big")).size, 2 ** 30);
});

t.test("SIGTERM drains: a transfer that has just begun finishes as well", async (t) => {
  const dir = t.testdir({ in: {}, a: CONTENT });
  const server = await startServe(join(dir, "in"));
  const running = start(["send", "a", "--to", server.address], { cwd: dir });
  await server.event("session");
  server.child.kill("SIGTERM");
  t.match(await running.ended, { code: 0, err: "" });
  t.equal((await server.ended).code, 0);
});

t.test("a server whose events nobody reads any more stops, quietly", async (t) => {
  const dir = t.testdir({ in: {}, a: "a" });
  writeFileSync(join(dir, "b"), "b");
  const server = await startServe(join(dir, "in"));
  server.child.stdout?.destroy();
  await run(["send", "a", "--to", server.address], { cwd: dir });
  const { code, err } = await server.ended;
  t.equal(code, 0);
  t.notMatch(err, /EPIPE|Error/);
});
