/**
 * Each limit, made on purpose, and named. What is slow is slower by far than all else, so that a busy machine changes the
 * figures and not the name.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { measure } from "../../src/client/measure.ts";
import { type SweepOptions, sweep } from "../../src/client/sweep.ts";
import type { Verdict } from "../../src/client/verdict.ts";
import { type FailureReport, RateLimit } from "../../src/index.ts";
import { ForgetfulSink } from "../../src/sink/forgetful-sink.ts";
import type { Part, SinkCapabilities } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";
import { type ChildOptions, sendAll, sendInChild, startChild, startServer, startServerChild } from "../helpers/e2e.ts";
import { directories, KIB, MIB, makeFile } from "../helpers/files.ts";
import { longPath, narrowPath } from "../helpers/paths.ts";
import { slowed } from "../helpers/slowed.ts";
import { soonHolds } from "../helpers/wire-end.ts";

/** Says what came out, so that a run that went wrong shows why. */
function assertCause(t: Test, verdict: Verdict | null | undefined, cause: Verdict["cause"]): void {
  t.equal(verdict?.cause, cause, `${cause}: ${JSON.stringify(verdict)}`);
}

interface Swept {
  readonly type: "swept";
  readonly verdict: Verdict | null;
  readonly error: FailureReport | null;
}

async function sweepInChild(t: Test, options: SweepOptions, how: ChildOptions = {}): Promise<Verdict | null> {
  const child = startChild<Swept>(t, "bench-child.ts", options, how);
  const ended = child.exited.then(() => Promise.reject(new Error(`it ended: ${child.stderr()}`)));
  const { verdict, error } = await Promise.race([child.log.until("swept"), ended]);
  t.equal(error, null);
  return verdict;
}

// Most of them wait, for a limit to be seen: those stand beside each other.
t.jobs = 4;
/** Where the processor is the limit, or a rate is compared with another, by a path that this process makes. */
const alone = { buffered: false };

t.test("the CPU of the server", alone, async (t) => {
  const server = await startServerChild(t, directories(t).to, {}, slowed("thread"));
  const { verdict } = await sweep({ to: server.to, streams: [2], seconds: 2 });
  assertCause(t, verdict, "receiver-cpu");
  t.ok((verdict?.receiver?.busy ?? 0) > 0.8);
});

t.test("the CPU of this end", alone, async (t) => {
  const server = await startServerChild(t, directories(t).to);
  assertCause(t, await sweepInChild(t, { to: server.to, streams: [2], seconds: 2 }, slowed("thread")), "sender-cpu");
});

t.test("the path's own rate: more streams bring no more", alone, async (t) => {
  const server = await startServerChild(t, directories(t).to);
  const to = await narrowPath(t, server.to, 2 * MIB);
  const { verdict } = await sweep({ to, streams: [1, 4], seconds: 3, chunkBytes: 64 * KIB });
  assertCause(t, verdict, "path-rate");
  t.equal(verdict?.wantsMoreStreams, false);
});

t.test("the disk of the server, whose writes the thread waits for", async (t) => {
  const server = await startServerChild(t, directories(t).to, { durability: "none" }, slowed("writes"));
  const { verdict, result } = await sweep({ to: server.to, streams: [2], seconds: 2, disk: true });
  assertCause(t, verdict, "destination-disk");
  t.ok((result.figures?.receiver?.diskBytes ?? 0) > 0, "and says how much was written");
});

/** A part of an object store that is far away: each write takes its time, and other things go on meanwhile. */
class SlowSink extends ForgetfulSink {
  readonly capabilities: SinkCapabilities = {
    randomAccess: true,
    blockBytes: 1,
    fileBytesMax: Number.MAX_SAFE_INTEGER,
    durability: "commit",
  };
  parts = 0;

  reserve(): Promise<Part> {
    this.parts++;
    const gone = async () => void this.parts--;
    const part: Part = {
      open: () => ({ kind: "local", part }),
      write: () => delay(200),
      written: () => {},
      read: async () => 0,
      sync: async () => {},
      fingerprint: "",
      commit: async () => ({}),
      close: gone,
      abort: gone,
    };
    return Promise.resolve(part);
  }
}

t.test("the disk of the server, whose writes are waited for beside other things", async (t) => {
  const sink = new SlowSink();
  const { address } = await testServer(t, { sink });
  const { verdict } = await sweep({ to: address, streams: [2], seconds: 2, disk: true });
  assertCause(t, verdict, "destination-disk");
  t.ok((verdict?.receiver?.held ?? 0) > 0.5);
  // What is on its way when the time is up is written first.
  await soonHolds("what was written is dropped", () => sink.parts === 0);
});

t.test("the disk of this end", async (t) => {
  const { from, to } = directories(t);
  const server = await startServerChild(t, to);
  const path = makeFile(join(from, "a"), 4 * MIB);
  const options = { to: server.to, streams: [2], seconds: 2, from: path };
  assertCause(t, await sweepInChild(t, options, slowed("reads")), "source-disk");
});

t.test("the disk of this end, in a transfer", async (t) => {
  const { from, to } = directories(t);
  const server = await startServerChild(t, to, { durability: "none" });
  const path = makeFile(join(from, "a"), 16 * MIB);
  const sent = await sendInChild(t, { paths: [path], to: server.to, compress: "none" }, slowed("reads"));
  assertCause(t, sent.result.verdict, "source-disk");
});

t.test("a pipe that gives little", async (t) => {
  const server = await startServerChild(t, directories(t).to, { durability: "none" });
  async function* trickle() {
    for (let i = 0; i < 20; i++) {
      await delay(100);
      yield Buffer.alloc(64 * KIB, i);
    }
  }
  const sent = await sendAll({ input: Readable.from(trickle()), name: "a", to: server.to, streams: 2 });
  t.equal(sent.result.ok, true);
  assertCause(t, sent.result.verdict, "source-disk");
});

t.test("a long path, and few streams", async (t) => {
  const server = await startServerChild(t, directories(t).to);
  const to = await longPath(t, server.to, 100, 64 * KIB);
  const { verdict } = await sweep({ to, streams: [1, 4], seconds: 3, chunkBytes: 64 * KIB });
  assertCause(t, verdict, "path-window");
  t.equal(verdict?.wantsMoreStreams, true);
  t.ok((verdict?.run.roundTrip?.leastMs ?? 0) >= 100);
});

/** Built where it is, as root: two namespaces, and a link between them that loses what it is told to. */
const WANEM = fileURLToPath(new URL("../../bench/wan/wanem.c", import.meta.url));

/** Why there can't be one; undefined where there can. */
function noLossyPath(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, for namespaces";
  if (!existsSync(WANEM)) return "needs bench/wan/wanem.c";
  for (const command of ["cc", "ip"]) {
    if (spawnSync(command, ["--help"]).error !== undefined) return `needs the program ${command}`;
  }
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  return undefined;
}

function run(t: Test, command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  t.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
}

t.test("loss on the path", { skip: noLossyPath() ?? false }, async (t) => {
  const { from, to } = directories(t);
  const wanem = join(from, "wanem");
  run(t, "cc", "-O2", "-o", wanem, WANEM);
  const [here, there] = ["a", "b"].map((side) => `hawser-${process.pid}-${side}`) as [string, string];
  for (const name of [here, there]) {
    run(t, "ip", "netns", "add", name);
    t.teardown(() => spawnSync("ip", ["netns", "delete", name]));
    run(t, "ip", "-n", name, "link", "set", "lo", "up");
    // Others may not care about loss.
    run(t, "ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno");
  }
  const link = spawn(wanem, [here, there, "--delay", "10", "--rate", "200", "--loss", "2"]);
  t.teardown(() => link.kill());
  await new Promise((resolve) => link.stdout.once("data", resolve));
  const server = await startServerChild(t, to, { host: "10.77.0.2" }, { under: ["ip", "netns", "exec", there] });
  const verdict = await sweepInChild(
    t,
    { to: server.to, streams: [1, 4], seconds: 4, chunkBytes: 64 * KIB },
    { under: ["ip", "netns", "exec", here] },
  );
  assertCause(t, verdict, "path-loss");
  t.ok((verdict?.lossShare ?? 0) > 0.005, `${verdict?.lossShare}`);
});

t.test("a limit of the server", async (t) => {
  const { to } = await startServer(t, directories(t).to, { bytesPerSecondPerPeer: 2 * MIB });
  const { verdict } = await sweep({ to, streams: [2], seconds: 3, chunkBytes: 64 * KIB });
  assertCause(t, verdict, "peer-limit");
});

t.test("a limit of one's own", alone, async (t) => {
  const { from, to } = directories(t);
  const server = await startServer(t, to, { durability: "none" });
  const path = makeFile(join(from, "a"), 4 * MIB);
  const options = { paths: [path], to: server.to, chunkBytes: 64 * KIB, bwlimit: new RateLimit(2 * MIB) };
  assertCause(t, (await sendAll({ ...options, compress: "none" })).result.verdict, "own-limit");
});

t.test("a measurement of the disk leaves nothing there", async (t) => {
  const { to } = directories(t);
  const server = await startServer(t, to);
  const measured = await measure({ to: server.to, streams: 2, seconds: 0.3, disk: true });
  t.equal(measured.error, null);
  t.ok((measured.figures?.receiver?.diskBytes ?? 0) >= measured.bytes, "it was written");
  t.same(readdirSync(to), [".hawser"]);
  t.same(readdirSync(join(to, ".hawser", "parts")), []);
});

t.test("and takes no more than a transfer may", async (t) => {
  const limited = await startServer(t, directories(t).to, { maxFileBytes: MIB });
  const refused = await measure({ to: limited.to, streams: 2, seconds: 5, disk: true });
  t.equal(refused.error?.code, "E_TOO_LARGE");
});
