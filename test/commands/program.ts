/** Runs the real program, as compiled, in a process of its own, and waits for what it says: never for time. */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { readLines } from "../../src/cli/lines.ts";
import { endWithProcess } from "../helpers/end-with-process.ts";

export const BIN = fileURLToPath(new URL("../../bin/run.js", import.meta.url));

/** A directory without a configuration file. */
const NO_CONFIG = "/dev/null";

const SCRATCH = mkdtempSync(join(tmpdir(), "hawser-programs-"));
endWithProcess(() => rmSync(SCRATCH, { recursive: true, force: true }));

/** Keys and tickets of this file's servers and clients, which are one user's; also of programs that inherit it. */
const STATE_HOME = join(SCRATCH, "state");
process.env["XDG_STATE_HOME"] = STATE_HOME;

/** Where programs run that are not told where: what one leaves in the directory it runs in is left nowhere else. */
export const WORK_DIRECTORY = join(SCRATCH, "work");
mkdirSync(WORK_DIRECTORY);

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when standard error matches, now or later. */
  said(pattern: RegExp): Promise<void>;
}

export interface RunOptions {
  readonly env?: Record<string, string>;
  /** An empty directory of the test file's own otherwise. */
  readonly cwd?: string;
  /** What stands on standard input; nothing otherwise. */
  readonly input?: string;
  readonly node?: string;
  /** Another copy of the program. */
  readonly bin?: string;
  readonly stdio?: SpawnOptions["stdio"];
}

/** The environment without what the test runner and the user put there. */
export function environment(env: Record<string, string> = {}): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(([name]) => !/^(HAWSER_|TAP|NODE_|XDG_)/.test(name));
  return { ...Object.fromEntries(kept), XDG_CONFIG_HOME: NO_CONFIG, XDG_STATE_HOME: STATE_HOME, ...env };
}

const alive = new Set<() => void>();
const endAll = () => {
  for (const end of alive) end();
};
endWithProcess(endAll);
// Whatever lives keeps its file from ending. What tests within a test share lives as long as that one; of tests that run at
// once the last one ends all.
t.afterEach(({ parent }) => {
  if (parent === t && t.pool.size <= 1) endAll();
});

/** A test that fails half-way leaves no process behind: neither this one nor, of one that is `detached`, those of its group. */
export function endWithTest<C extends ChildProcess>(child: C, { detached = false } = {}): C {
  const end = () => {
    if (!detached) return void child.kill("SIGKILL");
    try {
      process.kill(-(child.pid ?? Number.NaN), "SIGKILL");
    } catch {
      // All of them are gone.
    }
  };
  alive.add(end);
  // Those of its group may outlive it, and then hold its output open.
  child.once("close", () => alive.delete(end));
  return child;
}

export function start(args: readonly string[], options: RunOptions = {}): Running {
  const {
    env,
    cwd = WORK_DIRECTORY,
    input,
    node = process.execPath,
    bin = BIN,
    stdio = ["pipe", "pipe", "pipe"],
  } = options;
  const child = endWithTest(spawn(node, [bin, ...args], { env: environment(env), cwd, stdio }));
  let out = "";
  let err = "";
  let closed = false;
  const waiting = new Set<() => void>();
  child.stdout?.on("data", (data: Buffer) => {
    out += data.toString();
  });
  child.stderr?.on("data", (data: Buffer) => {
    err += data.toString();
    for (const check of waiting) check();
  });
  if (input !== undefined) child.stdin?.end(input);
  else if (options.stdio === undefined) child.stdin?.end();
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code, signal) => {
      closed = true;
      for (const check of waiting) check();
      resolve({ code, signal, out, err });
    });
  });
  const said = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const check = () => {
        if (pattern.test(err)) resolve();
        else if (closed) reject(new Error(`it ended without saying ${pattern}: ${err}`));
        else return;
        waiting.delete(check);
      };
      waiting.add(check);
      check();
    });
  return { child, ended, said };
}

export function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return start(args, options).ended;
}

export interface Served extends Running {
  readonly address: string;
  readonly events: Record<string, unknown>[];
  /** The next event of this kind, from the first on. */
  event(kind: string): Promise<Record<string, unknown>>;
  stop(): Promise<Ended>;
}

/** `serve --port 0 --json` on `dir`, once it listens. */
export async function startServe(dir: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Served> {
  const running = start(["serve", dir, "--port", "0", "--json", ...args], options);
  const events: Record<string, unknown>[] = [];
  const waiting = new Set<() => void>();
  const readEvents = async () => {
    for await (const line of readLines(running.child.stdout as NodeJS.ReadableStream)) {
      events.push(JSON.parse(line));
      for (const check of waiting) check();
    }
  };
  // A test may close this end.
  readEvents().catch(() => {});
  const seen = new Map<string, number>();
  const event = (kind: string) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      const check = () => {
        const found = events.filter((entry) => entry["event"] === kind)[seen.get(kind) ?? 0];
        if (found === undefined) return;
        waiting.delete(check);
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        resolve(found);
      };
      waiting.add(check);
      check();
      void running.ended.then(({ err }) => reject(new Error(`it ended without an event '${kind}': ${err}`)));
    });
  const listening = await event("listening");
  const stop = () => {
    running.child.kill("SIGTERM");
    return running.ended;
  };
  const host = ["::", "0.0.0.0"].includes(String(listening["host"])) ? "127.0.0.1" : listening["host"];
  return { ...running, address: `${host}:${listening["port"]}`, events, event, stop };
}
