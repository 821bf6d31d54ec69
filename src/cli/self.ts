/** This program as a child process: the demo and the benchmark need a server that is not this process. */
import { spawn } from "node:child_process";
import type { Endpoint } from "../net/dial.ts";
import { HawserError } from "../protocol/errors.ts";
import { readLines } from "./lines.ts";

/** A server on loopback is up in a fraction of a second; a machine that swaps takes longer. */
const START_MS = 30_000;
/** Between the polite signal and the last one. */
const STOP_MS = 10_000;

export interface ServerChild {
  readonly address: Endpoint;
  /** Ends it: SIGTERM, and SIGKILL when that does not help. Safe to call again. */
  stop(): Promise<void>;
  /** The same without waiting, for a process that ends now. */
  kill(): void;
}

export interface ServerChildOptions {
  readonly dir: string;
  /**
   * Stands in for the user's configuration and state directories: the child takes no settings but its flags, and has keys
   * of its own there.
   */
  readonly home: string;
  /** Plain TCP. */
  readonly insecure?: boolean;
  /** What this process was started with; the child runs the same. */
  readonly execArgv?: readonly string[];
  readonly script?: string;
  readonly signal?: AbortSignal;
}

const FLAGS = ["--bind", "127.0.0.1", "--port", "0", "--json", "--quiet"];

/** Throws E_INTERNAL when the child does not come up, and the signal's reason. */
export async function startServerChild(options: ServerChildOptions): Promise<ServerChild> {
  const { dir, home, insecure = false, execArgv = process.execArgv, script = process.argv[1] ?? "", signal } = options;
  signal?.throwIfAborted();
  const child = spawn(
    process.execPath,
    [...execArgv, script, "serve", dir, ...FLAGS, ...(insecure ? ["--insecure"] : [])],
    {
      env: { ...withoutSettings(process.env), XDG_CONFIG_HOME: home, XDG_STATE_HOME: home },
      // The channel closes when this process dies, however it dies, and the server then stops.
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      // ^C in a terminal goes to the whole group: the child must not be gone before the transfer has ended in order.
      detached: true,
    },
  );
  const exited = new Promise<string>((resolve) => {
    child.once("exit", (code, by) => resolve(by ?? `exit code ${code}`));
    child.once("error", (error) => resolve(error.message));
  });
  let complaints = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaints = (complaints + text).slice(-4096);
  });
  const kill = () => void child.kill("SIGKILL");
  const stop = async () => {
    child.kill("SIGTERM");
    const timer = setTimeout(kill, STOP_MS);
    await exited;
    clearTimeout(timer);
  };
  try {
    const address = await Promise.race([
      firstAddress(child.stdout as NodeJS.ReadableStream),
      exited.then((how) => failed(`its server did not start (${how}): ${complaints.trim()}`)),
      waited(START_MS, signal),
    ]);
    child.stdout?.resume();
    return { address, stop, kill };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The environment without what would change a server. */
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("HAWSER_")));
}

async function firstAddress(stdout: NodeJS.ReadableStream): Promise<Endpoint> {
  for await (const line of readLines(stdout)) {
    const { event, host, port } = JSON.parse(line) as { event?: string; host?: string; port?: number };
    if (event === "listening" && host !== undefined && port !== undefined) return { host, port };
  }
  // The stream ends with the process, which says more.
  return await new Promise(() => {});
}

function failed(message: string): never {
  throw new HawserError("E_INTERNAL", message);
}

function waited(ms: number, signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const late = () => reject(new HawserError("E_INTERNAL", `its server said nothing for ${ms / 1000} s`));
    setTimeout(late, ms).unref();
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
