/** The commands that bring their own server: what they print, and that they leave nothing behind. */
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { nonconformity } from "../cli/schema.ts";
import { run, start, startServe } from "./program.ts";

/** A temporary directory of the test's own, so that what is left behind can be seen. */
const inside = (tmpdir: string, env: Record<string, string> = {}) => ({ env: { TMPDIR: tmpdir, ...env } });

t.test("demo: receipt, verified, cleaned up", async (t) => {
  const tmpdir = t.testdir({});
  const { code, out } = await run(["demo", "--size", "3MB", "--streams", "2"], inside(tmpdir));
  t.equal(code, 0);
  t.match(out, /^sent +2\.86 MiB {2}[0-9a-f]{8} {2}demo\.bin\n/);
  t.match(out, /^streams +2$/m);
  t.match(out, /\nverified {4}3,000,000 bytes on the disk are those that were sent\n$/);
  t.same(readdirSync(tmpdir), []);
});

t.test("demo: no byte at all, and json", async (t) => {
  const tmpdir = t.testdir({});
  const { code, out } = await run(["demo", "--size", "0", "--json"], inside(tmpdir));
  t.equal(code, 0);
  t.equal(nonconformity("demo", JSON.parse(out)), undefined);
  t.same([JSON.parse(out).ok, JSON.parse(out).verified], [true, true]);
  t.same(readdirSync(tmpdir), []);
});

/** Runs before the program: damages the file that arrived, just before the demo looks at it. */
const DAMAGE = `
  import fs from "node:fs/promises";
  import { appendFileSync } from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  const open = fs.open;
  fs.open = (path, flags, ...rest) => {
    if (flags === "r" && String(path).endsWith("received/demo.bin")) appendFileSync(path, "x");
    return open(path, flags, ...rest);
  };
  syncBuiltinESMExports();
`;

t.test("demo: it believes the disk, not the receipt", async (t) => {
  const tmpdir = t.testdir({});
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(DAMAGE)}` };
  const { code, out, err } = await run(["demo", "--size", "1M"], inside(tmpdir, env));
  t.equal(code, 65);
  t.notMatch(out, "verified");
  t.match(err, /the file on the disk is not the file that was sent \(E_CONTENT\)/);
  const json = await run(["demo", "--size", "1M", "--json"], inside(tmpdir, env));
  t.equal(nonconformity("demo", JSON.parse(json.out)), undefined);
  t.same([JSON.parse(json.out).ok, JSON.parse(json.out).verified, json.code], [false, false, 65]);
  t.same(readdirSync(tmpdir), []);
});

t.test("demo: the user's settings for servers do not break it", async (t) => {
  const env = { HAWSER_MAX_FILE_SIZE: "1", HAWSER_BIND: "192.0.2.1", HAWSER_PORT: "1" };
  t.equal((await run(["demo", "--size", "1M"], inside(t.testdir({}), env))).code, 0);
});

t.test("bench: its own server is not the one that a ticket is for", async (t) => {
  const env = { HAWSER_TICKET_FILE: "/dev/null", HAWSER_CA: "/dev/null" };
  const { code, err } = await run(["bench", "--seconds", "1", "-P", "2", "-q"], inside(t.testdir({}), env));
  t.equal(code, 0, err);
});

t.test("demo: ^C cleans up, and ends the server", async (t) => {
  const tmpdir = t.testdir({});
  const running = start(["demo", "--size", "1GiB", "--progress", "json"], inside(tmpdir));
  await running.said(/"phase":"sending"/);
  const pid = serverPid(tmpdir);
  running.child.kill("SIGINT");
  const { code } = await running.ended;
  t.equal(code, 130);
  t.same(readdirSync(tmpdir), []);
  t.throws(() => process.kill(pid, 0), { code: "ESRCH" }, "its server is gone");
});

t.test("demo: a second signal cleans up as well", async (t) => {
  const tmpdir = t.testdir({});
  const running = start(["demo", "--size", "1GiB", "--progress", "json"], inside(tmpdir));
  await running.said(/"phase":"sending"/);
  running.child.kill("SIGINT");
  running.child.kill("SIGTERM");
  await running.ended;
  t.same(readdirSync(tmpdir), []);
});

t.test("demo: no room", async (t) => {
  const { code, out, err } = await run(["demo", "--size", "1T"], inside(t.testdir({})));
  t.same([code, out], [74, ""]);
  t.match(err, /has .* free, and 2\.00 TiB are needed \(E_NO_SPACE\)/);
});

t.test("bench: with a server of its own", async (t) => {
  const tmpdir = t.testdir({});
  const { code, out } = await run(["bench", "--seconds", "1", "--streams", "2"], inside(tmpdir));
  t.equal(code, 0);
  t.match(out, /^path +127\.0\.0\.1:\d+ \(a server of its own/);
  t.match(out, /^rate +\d.* [GM]iB\/s \(.*bit\/s\)$/m);
  t.match(out, /^client +\d+\.\d\d CPU seconds per GiB/m);
  t.match(out, /^server +\d+\.\d\d CPU seconds per GiB/m);
  t.match(out, /^limited by {2}\S.*\n$/m, "and a verdict");
  t.same(readdirSync(tmpdir), []);
});

t.test("bench: --to and --json", async (t) => {
  const server = await startServe(t.testdir({}));
  const { code, out } = await run(["bench", "--to", server.address, "--seconds", "1", "-P", "1,2", "--disk", "--json"]);
  t.equal(code, 0);
  t.same(
    JSON.parse(out).runs.map(({ streams }: { streams: number }) => streams),
    [1, 2],
  );
  t.equal(JSON.parse(out).disk, true);
  t.equal(nonconformity("bench", JSON.parse(out)), undefined);
  t.equal(JSON.parse(out).to, server.address);
  await server.stop();
  const unreachable = await run(["bench", "--to", server.address, "--json"]);
  t.equal(unreachable.code, 69);
  t.equal(nonconformity("bench", JSON.parse(unreachable.out)), undefined);
});

/** The process that serves below `tmpdir`. */
function serverPid(tmpdir: string): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return words.includes("serve") && words.some((word) => word.startsWith(tmpdir));
    } catch {
      return false;
    }
  });
  return Number(found);
}
