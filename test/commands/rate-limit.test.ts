/** --bwlimit of the real program: what it understands, keys in a terminal, and SIGHUP. */
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { nonconformity } from "../cli/schema.ts";
import { inTerminal, noTerminal } from "../helpers/terminal.ts";
import { BIN, run, start, startServe } from "./program.ts";

const skip = noTerminal() ?? false;

// They wait for what is at a small rate, or shown now and then.
t.jobs = 3;

/** Zeros would cost nothing on the way, and no limit would hold them up. */
const LARGE_BYTES = 64 * 2 ** 20;

/** A large file, a served directory, and a configuration for it. */
function scene(t: Test, config = "") {
  const dir = t.testdir({ in: {}, big: "", config: { hawser: { "config.toml": config } } });
  writeFileSync(join(dir, "big"), randomBytes(LARGE_BYTES));
  return {
    dir,
    inbox: join(dir, "in"),
    env: { XDG_CONFIG_HOME: join(dir, "config") },
    configure: (text: string) => writeFileSync(join(dir, "config", "hawser", "config.toml"), text),
  };
}

t.test("send --bwlimit: what was understood is said, the receipt names it, and it holds", async (t) => {
  const { dir, inbox } = scene(t);
  writeFileSync(join(dir, "small"), randomBytes(3_000_000));
  const server = await startServe(inbox);
  const sent = await run(["send", "small", "--to", server.address, "--bwlimit", "16Mbit", "-v"], { cwd: dir });
  t.equal(sent.code, 0);
  t.match(sent.err, /hawser: bwlimit is 1\.91 MiB\/s \(16\.0 Mbit\/s\), from --bwlimit\n/);
  t.match(sent.out, /^limit {7}1\.91 MiB\/s \(16\.0 Mbit\/s\)$/m);
  writeFileSync(join(dir, "other"), randomBytes(3_000_000));
  const json = await run(
    ["send", "other", "--to", server.address, "--bwlimit", "2MB/s", "--json", "--progress", "json"],
    {
      cwd: dir,
    },
  );
  const document = JSON.parse(json.out);
  t.equal(nonconformity("send", document), undefined);
  t.equal(document.limitBytesPerSecond, 2_000_000);
  t.ok(document.durationMs > 1300, `${document.durationMs} ms`);
  for (const line of json.err.trim().split("\n")) t.equal(nonconformity("progress-event", JSON.parse(line)), undefined);
  await server.stop();
});

t.test("a rate that can be read in two ways is refused", async (t) => {
  for (const [rate, message] of [
    ["10Mb", /'10Mb' can't be used\b/],
    ["100", /it is 100 B\/s \(800 bit\/s\)/],
  ] as const) {
    const { code, err } = await run(["send", "x", "--to", "127.0.0.1", "--bwlimit", rate]);
    t.equal(code, 2);
    t.match(err, message);
    t.match(err, /such as 10MiB, .* or in bits, such as 80Mbit/);
  }
});

t.test("SIGHUP: a server reads its limit again, and it holds for the transfer under way", async (t) => {
  const { dir, inbox, env, configure } = scene(t, "[serve]\nbwlimit = '64KiB'\n");
  const server = await startServe(inbox, [], { env });
  await server.said(/hawser: each client may send 64\.0 KiB\/s \(524 kbit\/s\)\n/);
  const sending = start(["send", "big", "--to", server.address, "--progress", "json", "--json"], { cwd: dir });
  await sending.said(/"phase":"sending"/);

  configure("[serve]\nbwlimit = 'fast'\n");
  server.child.kill("SIGHUP");
  await server.said(/bwlimit 'fast' can't be used/);
  configure("[serve]\nbwlimit = '1Gbit'\n");
  server.child.kill("SIGHUP");
  t.same(await server.event("limit"), { event: "limit", bytesPerSecond: 125_000_000 });
  await server.said(/Z the rate limit of each client is now 119 MiB\/s \(1\.00 Gbit\/s\)\n/);
  const ended = await sending.ended;
  t.equal(ended.code, 0);
  t.ok(JSON.parse(ended.out).durationMs < 60_000, "at the old limit it takes a quarter of an hour");
  configure("");
  server.child.kill("SIGHUP");
  t.same(await server.event("limit"), { event: "limit", bytesPerSecond: null });
  await server.said(/the rate limit of each client is now off\n/);
  for (const event of server.events) t.equal(nonconformity("serve-event", event), undefined, JSON.stringify(event));
  t.equal((await server.stop()).code, 0);
});

t.test("SIGHUP: what a flag says stays", async (t) => {
  const { inbox, env, configure } = scene(t);
  const server = await startServe(inbox, ["--bwlimit", "10MiB"], { env });
  configure("[serve]\nbwlimit = '1MiB'\n");
  server.child.kill("SIGHUP");
  await server.said(/hawser: the rate limit stays as --bwlimit says: 10\.0 MiB\/s \(83\.9 Mbit\/s\)\n/);
  t.equal((await server.stop()).code, 0);
});

t.test("SIGHUP: a server whose terminal is gone ends", { skip }, async (t) => {
  const { inbox } = scene(t);
  const terminal = inTerminal(t, [process.execPath, BIN, "serve", inbox, "--port", "0"]);
  await terminal.shown(/receiving into/);
  terminal.hangUp();
  t.equal((await terminal.ended).code, 0);
});

/** A transfer at a limit, in a terminal. */
async function inBars(
  t: Test,
  args: readonly string[],
  wrap = (command: readonly string[]) => command,
  bytes = LARGE_BYTES,
  serveArgs: readonly string[] = [],
) {
  const { dir, inbox } = scene(t);
  if (bytes < LARGE_BYTES) writeFileSync(join(dir, "big"), randomBytes(bytes));
  const server = await startServe(inbox, serveArgs);
  const command = [process.execPath, BIN, "send", join(dir, "big"), "--to", server.address, ...args];
  const terminal = inTerminal(t, wrap(command));
  return { terminal, server, inbox };
}

t.test("keys change the limit, ^C is an interrupt, and the terminal gets its mode back", { skip }, async (t) => {
  const { terminal, server, inbox } = await inBars(t, ["--bwlimit", "1MiB"]);
  await terminal.shown(/\(limit 1\.00 MiB\/s\)/);
  terminal.type("+x");
  await terminal.shown(/hawser: the rate limit is now 1\.25 MiB\/s \(10\.5 Mbit\/s\)\r\n/);
  await terminal.shown(/\(limit 1\.25 MiB\/s\)/);
  terminal.type("--");
  await terminal.shown(/is now 960 KiB\/s/);
  await terminal.shown(/is now 720 KiB\/s/);
  terminal.type("\x03");
  await terminal.shown(/stopping: what is in flight is being finished; \^C again ends it at once/);
  const { code, before, after, text } = await terminal.ended;
  t.equal(code, 130);
  t.match(text, /The same command goes on where this one stopped/);
  t.same(before, { ICANON: true, ECHO: true, ISIG: true });
  t.same(after, before);
  t.notMatch(text, /\+x/, "keys are not shown");
  t.notOk(existsSync(join(inbox, "big")));
  await server.stop();
});

t.test("the end of the limit, and a second ^C", { skip }, async (t) => {
  // The server's limit keeps the transfer from ending while the client has none.
  const { terminal, server } = await inBars(t, ["--bwlimit", "20KiB"], undefined, LARGE_BYTES, ["--bwlimit", "2MiB"]);
  await terminal.shown(/\(limit 20\.0 KiB\/s\)/);
  // The present rate is nothing yet: without a limit there is nothing to lower.
  terminal.type("0");
  await terminal.shown(/hawser: no rate limit any more\r\n/);
  await terminal.shown(/\d MiB\/s \(limit 2/);
  terminal.type("-");
  await terminal.shown(/the rate limit is now/);
  server.child.kill("SIGSTOP");
  terminal.type("\x03");
  await terminal.shown(/stopping/);
  terminal.type("\x03");
  const { code, before, after } = await terminal.ended;
  t.equal(code, 130);
  t.same(after, before);
  server.child.kill("SIGKILL");
  await server.ended;
});

t.test(
  "^Z suspends, and fg goes on, keys included; in the background nothing touches the terminal",
  { skip },
  async (t) => {
    // Half a second in which it could touch the terminal that is not its own.
    const script = '"$@"; echo suspended=$?; bg; sleep 0.5; jobs; fg; echo ended=$?';
    const { terminal, server } = await inBars(t, ["--bwlimit", "200KiB"], (command) => [
      "bash",
      "-c",
      `set -m; ${script}`,
      "bash",
      ...command,
    ]);
    await terminal.shown(/\(limit 200 KiB\/s\)/);
    terminal.type("\x1a");
    await terminal.shown(/suspended=148\r\n/);
    await terminal.shown(/Running/);
    await terminal.shown(/\n"\$@"\r\n/);
    // Until the program has seen that the terminal is its own again the key waits there.
    terminal.type("+");
    await terminal.shown(/is now 250 KiB\/s/);
    terminal.type("\x03");
    await terminal.shown(/ended=130\r\n/);
    const { before, after } = await terminal.ended;
    t.same(after, before);
    await server.stop();
  },
);

t.test("where standard input is no terminal nothing of it is read", { skip }, async (t) => {
  const script = 'printf "+++\\n" | { "$@"; echo; cat; echo ended; }';
  const wrap = (command: readonly string[]) => ["bash", "-c", script, "bash", ...command];
  const { terminal, server } = await inBars(t, ["--bwlimit", "1MiB"], wrap, 1_500_000);
  await terminal.shown(/ended\r\n/);
  const { text } = await terminal.ended;
  t.match(text, /limit {7}1\.00 MiB\/s/);
  t.match(text, /\r\n\+\+\+\r\n/);
  t.notMatch(text, /rate limit is now/);
  await server.stop();
});
