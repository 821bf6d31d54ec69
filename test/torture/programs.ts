/** hawser's two programs as processes of their own, which are killed at a moment that a case drew. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Case } from "./case.ts";
import type { ToldFile } from "./files.ts";

/** SIGKILL at the nth call, as strace(1) counts: of one thread. */
export interface CallMoment {
  /** One system call, or several names of the same, separated by commas. */
  readonly calls: string;
  readonly nth: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Of what a program says, what is kept for the story. */
const KEPT_CHARS = 4000;

export class Program {
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #trace: string | undefined;
  #exit: Exit | undefined;
  /** The end of what it wrote to standard error. */
  errors = "";
  stdout = "";

  constructor(it: Case, args: readonly string[], onLine: (line: string) => void, moment?: CallMoment) {
    this.#trace = moment && join(it.dir, "trace");
    const program = [process.execPath, it.setting.program.script, ...args];
    const command = moment === undefined ? program : [...tracer(moment, this.#trace as string), ...program];
    it.note(command.join(" "));
    this.#child = spawn(command[0] as string, command.slice(1), {
      cwd: it.dir,
      stdio: ["ignore", "pipe", "pipe"],
      env: environment(it),
    });
    createInterface({ input: this.#child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
      this.errors = `${this.errors}${line}\n`.slice(-KEPT_CHARS);
      onLine(line);
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.exited = new Promise((resolve) => {
      // When all that it said is read as well.
      this.#child.on("close", (code, signal) => {
        this.#exit = { code, signal };
        it.note(`${args[0]} ended: ${signal ?? code}`);
        resolve(this.#exit);
      });
    });
    it.atEnd(() => this.kill().then(() => {}));
  }

  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** SIGKILL. Resolves with how it ended, which may have been before. */
  kill(): Promise<Exit> {
    return this.#signal("SIGKILL");
  }

  /** Asks it to stop. */
  stop(): Promise<Exit> {
    return this.#signal("SIGTERM");
  }

  #signal(signal: NodeJS.Signals): Promise<Exit> {
    if (this.#exit === undefined) {
      // A tracer that dies lets its program go on: that one gets the signal, and the tracer ends as it does.
      const traced = this.#trace === undefined ? [] : childrenOf(this.#child.pid);
      for (const child of traced) process.kill(child, signal);
      if (traced.length === 0) this.#child.kill(signal);
    }
    return this.exited;
  }

  /** The call at which it was killed, and what that was about. */
  get lastCall(): string {
    const lines = readFileSync(this.#trace as string, "utf8").split("\n");
    // It never returned; where another thread's line came in between it stands in two halves.
    const end = lines.findLast((line) => line.endsWith("= ?")) ?? "";
    const thread = /^\d+/.exec(end)?.[0] ?? "";
    const line = lines.findLast((text) => text.startsWith(`${thread} `) && /^\d+ +[a-z0-9]+\(/.test(text)) ?? "";
    const call = /^\d+ +([a-z0-9]+)/.exec(line)?.[1] ?? "unknown";
    const about = KINDS.find(([, pattern]) => pattern.test(line))?.[0] ?? "of something else";
    return `${call} ${about}`;
  }
}

/** What a traced line is about: the first that matches. */
const KINDS: readonly (readonly [string, RegExp])[] = [
  ["of the sessions' log", /sessions\.db-wal/],
  ["of the sessions' database", /sessions\.db/],
  ["of history", /history\.db/],
  ["of the lock", /lock\.db|server\.txt/],
  ["of a probe", /probe/],
  ["of a part", /\.part/],
  ["of staging", /\.hawser/],
  ["of a socket", /socket:|TCP/],
  ["of a pipe", /pipe:/],
  ["of the program", /node_modules|dist\/|\/src\/|package\.json/],
  ["of a file", /\/to\/|\/from\/|\/mount\//],
];

function tracer({ calls, nth }: CallMoment, output: string): string[] {
  const options = ["-f", "-q", "-y", "-s", "0", "-e", "signal=none", "-o", output];
  return ["strace", ...options, "-e", `trace=${calls}`, "-e", `inject=${calls}:signal=KILL:when=${nth}`, "--"];
}

function environment(it: Case): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("HAWSER_"));
  return {
    ...Object.fromEntries(others),
    XDG_CONFIG_HOME: it.dir,
    // Calls are counted: none may depend on what an earlier run left in a cache, or on which thread takes it.
    NODE_DISABLE_COMPILE_CACHE: "1",
    UV_THREADPOOL_SIZE: "1",
  };
}

function childrenOf(pid: number | undefined): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Below the ports that the system gives to whoever dials: one of those may be taken while a server is down. */
const PORTS = [20_000, 32_000] as const;
let lastPort = PORTS[0] + Math.floor(Math.random() * (PORTS[1] - PORTS[0]));

/** A port that is free, and stays it as long as nobody else picks the same. */
export async function freePort(): Promise<number> {
  for (;;) {
    lastPort = lastPort + 1 < PORTS[1] ? lastPort + 1 : PORTS[0];
    const port = lastPort;
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer().once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

export interface ServeArguments {
  readonly dir: string;
  readonly port: number;
  readonly durability: string;
}

export class Server extends Program {
  /** Whether it came up. */
  readonly listening: Promise<boolean>;

  constructor(it: Case, { dir, port, durability }: ServeArguments, moment?: CallMoment) {
    let listens = () => {};
    const heard = new Promise<boolean>((resolve) => {
      listens = () => resolve(true);
    });
    // Its log, which has a line for whatever goes wrong, comes through as it is.
    const onLine = (line: string) => {
      it.note(`serve: ${line}`);
      if (line.startsWith("hawser: receiving into")) listens();
    };
    // When it is told to stop, nobody comes back whom the case has cut off.
    const settings = ["--port", String(port), "--durability", durability, "--drain-timeout", "1s", "--verbose"];
    super(it, ["serve", dir, "--insecure", ...settings], onLine, moment);
    this.listening = Promise.race([heard, this.exited.then(() => false)]);
  }
}

export interface SendArguments {
  readonly paths: readonly string[];
  readonly port: number;
  readonly streams: number;
  readonly chunkBytes: number;
  readonly timeoutMs: number;
  readonly retries?: number;
  readonly trustsMtime?: boolean;
  /** Below the served directory, or empty. */
  readonly into: string;
}

/** The document that `send --json` prints. */
export interface Receipt {
  readonly ok: boolean;
  readonly files: readonly ToldFile[];
  readonly bytesResumed: number;
  readonly error?: { readonly code: string; readonly message: string };
}

export class Client extends Program {
  constructor(it: Case, send: SendArguments, onFile: (file: ToldFile) => void, moment?: CallMoment) {
    const onLine = (line: string) => {
      if (line.startsWith('{"event":"progress"')) return;
      it.note(`send: ${line}`);
      // What was cut off in the middle was not said.
      if (line.startsWith('{"event":"file"') && line.endsWith("}}")) onFile(JSON.parse(line).file);
    };
    super(it, sendArguments(send), onLine, moment);
  }

  /** Only where it ended by itself. */
  get receipt(): Receipt {
    return JSON.parse(this.stdout) as Receipt;
  }
}

function sendArguments(send: SendArguments): string[] {
  const { paths, port, streams, chunkBytes, timeoutMs, retries, trustsMtime, into } = send;
  return [
    "send",
    ...paths,
    ...["--to", `127.0.0.1:${port}`, "--streams", String(streams), "--chunk-size", String(chunkBytes)],
    ...["--insecure", "--timeout", `${timeoutMs}ms`, "--json", "--progress", "json"],
    ...(retries === undefined ? [] : ["--retries", String(retries)]),
    ...(into === "" ? [] : ["--into", into]),
    ...(trustsMtime ? ["--trust-mtime"] : []),
  ];
}
