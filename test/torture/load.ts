/**
 * `npm run load`: what a crowd that means harm costs an honest client, and what many idle transfers cost the server. Real
 * sockets, each side in processes of its own; what is printed stands in docs/reliability.md.
 *
 *   node test/torture/load.ts crowd [--count 5000] [--addresses 500] [--redial 1000] [--rounds 5] [--mib 256] [--rate MIB_PER_SECOND]
 *   node test/torture/load.ts hoard [--sessions 8] [--addresses 1] [--rounds 5] [--mib 256] [--rate MIB_PER_SECOND]
 *   node test/torture/load.ts idle [--sessions 1000] [--streams 4]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { send } from "../../src/index.ts";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { MIB, makeFile } from "../helpers/files.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: "string", default: "5000" },
    addresses: { type: "string" },
    rate: { type: "string", default: "0" },
    redial: { type: "string", default: "1000" },
    rounds: { type: "string", default: "5" },
    mib: { type: "string", default: "256" },
    sessions: { type: "string" },
    streams: { type: "string", default: "4" },
  },
});

interface Running {
  readonly process: ChildProcess;
  /** The first event of a type. */
  until(type: string): Promise<Record<string, unknown>>;
}

function start(program: string, options: unknown): Running {
  const path = fileURLToPath(new URL(`../helpers/${program}`, import.meta.url));
  const child = spawn(process.execPath, [path, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] });
  const waiting = new Map<string, (event: Record<string, unknown>) => void>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const event = JSON.parse(line) as Record<string, unknown>;
    waiting.get(String(event["type"]))?.(event);
  });
  const ended = new Promise<never>((_, reject) => child.on("close", () => reject(new Error(`${program} ended`))));
  ended.catch(() => {});
  const until = (type: string) =>
    Promise.race([ended, new Promise<Record<string, unknown>>((resolve) => waiting.set(type, resolve))]);
  return { process: child, until };
}

async function stop({ process: child }: Running): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "close");
}

const statusMib = (pid: number, field: string) =>
  Math.round(
    Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024,
  );
const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;
const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
const say = (text: string) => process.stdout.write(`${text}\n`);

/** One honest transfer: when the server had taken it up, and the rate of its bytes from then on. */
async function honest(path: string, name: string, to: { host: string; port: number }) {
  const beganMs = performance.now();
  let readyMs = Number.NaN;
  const result = await send({
    paths: [path],
    to,
    name,
    ...(Number(values.rate) > 0 ? { bwlimit: new RateLimit(Number(values.rate) * MIB) } : {}),
    onEvent: ({ type }) => {
      if (type === "connected") readyMs = performance.now();
    },
  });
  if (!result.ok) throw new Error(`the honest client failed: ${result.error?.message}`);
  const seconds = (performance.now() - readyMs) / 1000;
  return { startMs: readyMs - beganMs, mibPerSecond: Number(values.mib) / seconds };
}

/** The server that all this is done to, in a process of its own. */
async function serveIn(work: string, limits = {}) {
  const dir = join(work, "served");
  mkdirSync(dir);
  const server = start("server-child.ts", { dir, port: 0, durability: "none", ...limits });
  const { host, port } = (await server.until("listening")) as { host: string; port: number };
  return { dir, server, pid: server.process.pid as number, host, port };
}

async function crowd(work: string): Promise<void> {
  const { dir, server, pid, host, port } = await serveIn(work);
  const path = makeFile(join(work, "file"), Number(values.mib) * MIB);
  const found = {
    alone: [] as Awaited<ReturnType<typeof honest>>[],
    crowded: [] as Awaited<ReturnType<typeof honest>>[],
  };
  await honest(path, "warm", { host, port });
  for (let round = 0; round < Number(values.rounds); round++) {
    found.alone.push(await honest(path, `alone-${round}`, { host, port }));
    const crowd = start("crowd-child.ts", {
      host,
      port,
      count: Number(values.count),
      addresses: Number(values.addresses ?? 500),
      redialMs: Number(values.redial),
    });
    await crowd.until("here");
    const sending = honest(path, `crowded-${round}`, { host, port });
    const open = descriptors(pid);
    found.crowded.push(await sending);
    const pace = await crowd.until("pace");
    say(`round ${round}: ${open} descriptors, ${statusMib(pid, "VmRSS")} MiB resident, ${pace["dialled"]} dialled`);
    await stop(crowd);
    for (const name of readdirSync(dir)) if (!name.startsWith(".")) rmSync(join(dir, name));
  }
  for (const [name, runs] of Object.entries(found)) {
    const starts = runs.map(({ startMs }) => startMs);
    const rates = runs.map(({ mibPerSecond }) => mibPerSecond);
    say(
      `${name}: started after ${median(starts).toFixed(0)} ms (most ${Math.max(...starts).toFixed(0)}), ${median(rates).toFixed(0)} MiB/s`,
    );
  }
  const ratios = found.crowded.map((run, i) => run.mibPerSecond / (found.alone[i]?.mibPerSecond ?? Number.NaN));
  say(
    `rate beside the crowd: ${median(ratios).toFixed(2)} of the rate without (${ratios.map((r) => r.toFixed(2)).join(", ")})`,
  );
  say(`the server's peak: ${statusMib(pid, "VmHWM")} MiB`);
  await stop(server);
}

async function hoard(work: string): Promise<void> {
  const { server, pid, host, port } = await serveIn(work);
  const path = makeFile(join(work, "file"), Number(values.mib) * MIB);
  await honest(path, "warm", { host, port });
  const before = statusMib(pid, "VmRSS");
  const alone = await honest(path, "alone", { host, port });
  const [sessions, addresses] = [Number(values.sessions ?? 8), Number(values.addresses ?? 1)];
  const crowd = start("hoard-child.ts", { host, port, sessions, addresses });
  const { streams } = await crowd.until("here");
  say(`${streams} streams from ${addresses} addresses: ${statusMib(pid, "VmRSS")} MiB resident, ${before} before`);
  for (let round = 0; round < Number(values.rounds); round++) {
    const beside = await honest(path, `beside-${round}`, { host, port });
    say(
      `beside them: started after ${beside.startMs.toFixed(0)} ms, ${(beside.mibPerSecond / alone.mibPerSecond).toFixed(2)} of the rate without; ${statusMib(pid, "VmRSS")} MiB resident`,
    );
  }
  say(`the server's peak: ${statusMib(pid, "VmHWM")} MiB`);
  await stop(crowd);
  await stop(server);
}

async function idle(work: string): Promise<void> {
  const [sessions, streams] = [Number(values.sessions ?? 1000), Number(values.streams)];
  const most = sessions * (streams + 1) + 100;
  const limits = {
    maxSessions: sessions + 10,
    maxSessionsPerPeer: sessions + 10,
    maxConnections: most,
    maxConnectionsPerPeer: most,
  };
  const { server, pid, host, port } = await serveIn(work, limits);
  const before = statusMib(pid, "VmRSS");
  const path = makeFile(join(work, "file"), Number(values.mib) * MIB);
  const crowd = start("sessions-child.ts", { host, port, sessions, streams });
  await crowd.until("here");
  say(
    `${sessions} sessions with ${streams} streams each: ${statusMib(pid, "VmRSS")} MiB resident (${before} before), ${descriptors(pid)} descriptors`,
  );
  const beside = await honest(path, "honest", { host, port });
  say(
    `an honest client beside them: started after ${beside.startMs.toFixed(0)} ms, ${beside.mibPerSecond.toFixed(0)} MiB/s`,
  );
  say(`then: ${statusMib(pid, "VmRSS")} MiB resident, ${statusMib(pid, "VmHWM")} MiB at the peak`);
  await stop(crowd);
  await stop(server);
}

const work = mkdtempSync(join(tmpdir(), "hawser-load-"));
try {
  const [what] = positionals;
  if (what === "crowd") await crowd(work);
  else if (what === "hoard") await hoard(work);
  else if (what === "idle") await idle(work);
  else throw new Error("say crowd, hoard or idle");
} finally {
  rmSync(work, { recursive: true, force: true });
}
