/**
 * The processes that the benchmark starts: timed from outside, asked for their CPU time and memory, and ended by their
 * ids, whatever happens.
 *
 * CPU time is user and system time as Linux counts it, in /proc/PID/stat. A server that goes on living is read before
 * and after. A client is gone by the time it could be read, but then its time, and that of the processes that it started
 * and waited for, has been added to "children waited for" of this process; one client runs at a time, so the difference
 * is that client's. Elsewhere than on Linux the CPU time is unknown, and the rest works.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Ticks a second in /proc: a constant of Linux's interface to programs. */
const TICKS = 100;
const START_MS = 10_000;
const STOP_MS = 5_000;
/** How long a server may take to finish what is left to do when its client is gone. */
const SETTLE_MS = 5_000;
const POLL_MS = 20;
/** Of what a process says, what is kept. */
const KEPT_CHARS = 64 * 1024;

export type Environment = Record<string, string | undefined>;

const alive = new Set<ChildProcess>();

process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

export interface Spawned {
  readonly child: ChildProcess;
  /** Resolves with how it ended. */
  readonly exited: Promise<number | string>;
  readonly out: { stdout: string; stderr: string };
}

/** Starts a process that ends with the benchmark at the latest. */
export function start(command: string, args: readonly string[], env: Environment = process.env): Spawned {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
  alive.add(child);
  const exited = new Promise<number | string>((resolve) => {
    const end = (how: number | string) => {
      alive.delete(child);
      resolve(how);
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(signal ?? code ?? "unknown"));
  });
  const out = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]?.setEncoding("utf8").on("data", (text: string) => {
      out[stream] = (out[stream] + text).slice(-KEPT_CHARS);
    });
  }
  return { child, exited, out };
}

export interface Finished {
  readonly seconds: number;
  readonly cpuSeconds: number | null;
  /** The most memory it had resident; only where it was asked for. */
  readonly peakBytes: number | null;
  readonly stdout: string;
}

export interface RunOptions {
  readonly env?: Environment;
  readonly watchMemory?: boolean;
  /** What has to happen after its exit for the work to be done: part of the time. */
  readonly until?: () => Promise<void>;
}

/** Runs a whole process and times it. Throws where it fails. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const cpuBefore = waitedCpuSeconds();
  const startedMs = performance.now();
  const { child, exited, out } = start(command, args, options.env);
  let peakBytes: number | null = null;
  const watch = () => {
    peakBytes = peakBytesOf(child.pid) ?? peakBytes;
  };
  const watching = options.watchMemory ? setInterval(watch, POLL_MS) : undefined;
  const how = await exited;
  if (how === 0) await options.until?.();
  const seconds = (performance.now() - startedMs) / 1000;
  clearInterval(watching);
  if (how !== 0) throw new Error(`${command} ${args.join(" ")}: ${how}: ${(out.stderr || out.stdout).trim()}`);
  return { seconds, cpuSeconds: difference(waitedCpuSeconds(), cpuBefore), peakBytes, stdout: out.stdout };
}

/** A server in a process of its own. */
export class Server {
  readonly #spawned: Spawned;

  private constructor(spawned: Spawned) {
    this.#spawned = spawned;
  }

  /** Starts it and waits until `ready` says so. Throws where it does not come up. */
  static async start(
    command: string,
    args: readonly string[],
    ready: (server: Server) => boolean | Promise<boolean>,
    env?: Environment,
  ): Promise<Server> {
    const spawned = start(command, args, env);
    const server = new Server(spawned);
    let ended: number | string | undefined;
    void spawned.exited.then((how) => {
      ended = how;
    });
    const deadlineMs = performance.now() + START_MS;
    while (ended === undefined && performance.now() < deadlineMs) {
      if (await ready(server)) return server;
      await delay(POLL_MS);
    }
    await server.stop();
    throw new Error(`${command} did not come up (${ended ?? "silent"}): ${spawned.out.stderr.trim()}`);
  }

  get stdout(): string {
    return this.#spawned.out.stdout;
  }
  get stderr(): string {
    return this.#spawned.out.stderr;
  }
  get peakBytes(): number | null {
    return peakBytesOf(this.#spawned.child.pid);
  }

  get pid(): number | undefined {
    return this.#spawned.child.pid;
  }
  get cpuSeconds(): number | null {
    return cpuSecondsOf(this.pid);
  }

  /** Until no process that it started for a client is left: only then their CPU time is counted. */
  async alone(pollMs = POLL_MS): Promise<void> {
    const { pid } = this.#spawned.child;
    const deadlineMs = performance.now() + SETTLE_MS;
    while (performance.now() < deadlineMs && childrenOf(pid) !== "") await delay(pollMs);
  }

  /** SIGTERM, and SIGKILL where that does not help. */
  async stop(): Promise<void> {
    const { child, exited } = this.#spawned;
    if (!alive.has(child)) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await exited;
    clearTimeout(timer);
  }
}

/** A process's own CPU time and that of the children that it waited for. */
export function cpuSecondsOf(pid: number | undefined): number | null {
  const fields = statOf(pid);
  return fields === undefined ? null : fields.own + fields.waited;
}

export interface CpuSeconds {
  readonly client: number | null;
  readonly server: number | null;
}

/** Runs a client against a server, with the CPU time of both. */
export async function runAgainst(
  server: Server,
  client: () => Promise<Finished>,
): Promise<Finished & { readonly cpu: CpuSeconds }> {
  const before = server.cpuSeconds;
  const finished = await client();
  // What it does after its last answer is its work too.
  await delay(5 * POLL_MS);
  await server.alone();
  return { ...finished, cpu: { client: finished.cpuSeconds, server: difference(server.cpuSeconds, before) } };
}

/** A port that was free a moment ago, for servers that can't pick one. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Whether something accepts connections there. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const end = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}

function difference(after: number | null, before: number | null): number | null {
  return after === null || before === null ? null : after - before;
}

function waitedCpuSeconds(): number | null {
  return statOf(process.pid)?.waited ?? null;
}

function statOf(pid: number | undefined): { own: number; waited: number } | undefined {
  const text = proc(pid, "stat");
  if (text === undefined) return undefined;
  // Behind the name, which may hold anything: the state is field 3 of proc(5), and utime to cstime are 14 to 17.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [user = 0, system = 0, waitedUser = 0, waitedSystem = 0] = fields.slice(11, 15).map(Number);
  return { own: (user + system) / TICKS, waited: (waitedUser + waitedSystem) / TICKS };
}

function peakBytesOf(pid: number | undefined): number | null {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(proc(pid, "status") ?? "")?.[1];
  return kib === undefined ? null : Number(kib) * 1024;
}

function childrenOf(pid: number | undefined): string {
  return (proc(pid, `task/${pid}/children`) ?? "").trim();
}

function proc(pid: number | undefined, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return undefined;
  }
}
