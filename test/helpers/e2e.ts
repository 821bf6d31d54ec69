/** A server of this process for one test, with what it says; and one in a process of its own, to be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import type { FailureReport, FileResult, SendOptions, TransferEvent, TransferResult } from "../../src/index.ts";
import {
  ERRORS,
  type ErrorCode,
  type HawserServer,
  type ServeOptions,
  type ServerEvent,
  send,
  serve,
} from "../../src/index.ts";
import { endWithProcess } from "./end-with-process.ts";

type Of<E, T> = Extract<E, { readonly type: T }>;

/** Events in their order, and waiting for one that came or will come. */
export class EventLog<E extends { readonly type: string }> {
  readonly all: E[] = [];
  readonly #waiting = new Set<() => void>();

  readonly add = (event: E): void => {
    this.all.push(event);
    for (const look of [...this.#waiting]) look();
  };

  of<T extends E["type"]>(type: T): Of<E, T>[] {
    return this.all.filter((event): event is Of<E, T> => event.type === type);
  }

  /** The first event of this type for which `matches`: at once, or when it comes. */
  until<T extends E["type"]>(type: T, matches: (event: Of<E, T>) => boolean = () => true): Promise<Of<E, T>> {
    return this.untilCount(type, 1, matches).then((events) => events[0] as Of<E, T>);
  }

  untilCount<T extends E["type"]>(
    type: T,
    count: number,
    matches: (event: Of<E, T>) => boolean = () => true,
  ): Promise<Of<E, T>[]> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.of(type).filter(matches);
        if (found.length < count) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

export interface TestServer {
  readonly server: HawserServer;
  readonly to: { readonly host: string; readonly port: number };
  readonly log: EventLog<ServerEvent>;
}

/** Serves `dir` on a free port until the test ends. */
export async function startServer(t: Test, dir: string, options: Partial<ServeOptions> = {}): Promise<TestServer> {
  const log = new EventLog<ServerEvent>();
  const server = await serve({ dir, port: 0, onEvent: log.add, ...options });
  let closed: Promise<void> | undefined;
  const once: HawserServer = {
    address: server.address,
    setRateLimit: (bytesPerSecond) => server.setRateLimit(bytesPerSecond),
    close: (how) => {
      closed ??= server.close(how);
      return closed;
    },
  };
  t.teardown(() => once.close());
  return { server: once, to: server.address, log };
}

export interface Sent {
  readonly result: TransferResult;
  readonly files: FileResult[];
  readonly log: EventLog<TransferEvent>;
}

/** Sends, and collects what `send` tells on the way. */
export async function sendAll(options: SendOptions, log = new EventLog<TransferEvent>()): Promise<Sent> {
  const result = await send({ ...options, onEvent: log.add });
  return { result, files: log.of("file").map(({ file }) => file), log };
}

/** A failure as scripts see it: code, hint and retryable of the table, and the exit code that goes with them. */
export function assertFailure(
  t: Test,
  what: { readonly error: FailureReport | null; readonly exitCode?: number },
  code: ErrorCode,
  message?: RegExp,
): void {
  const row = ERRORS[code];
  t.equal(what.error?.code, code, `the code is ${code} (${what.error?.message})`);
  t.equal(what.error?.hint, row.hint, "with its hint");
  t.equal(what.error?.retryable, row.retryable, "and whether trying again can help");
  if (what.exitCode !== undefined) t.equal(what.exitCode, row.exit, `exit code ${row.exit}`);
  if (message !== undefined) t.match(what.error?.message, message);
}

/** Everything arrived. */
export function assertOk(t: Test, { result }: { readonly result: TransferResult }): void {
  t.same(result.error, null, "no error");
  t.equal(result.ok, true, "ok");
  t.equal(result.exitCode, 0, "exit code 0");
}

export interface Child<E extends { readonly type: string }> {
  readonly process: ChildProcess;
  readonly log: EventLog<E>;
  /** What it wrote to standard error. */
  readonly stderr: () => string;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

export interface ChildOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** For node, before the program. */
  readonly nodeArgs?: readonly string[];
  /** A shell's commands before the program, in its process: what `ulimit` sets lasts. */
  readonly shell?: string;
  /** A command that runs the one that follows it, such as `ip netns exec NAME`. */
  readonly under?: readonly string[];
}

/** Runs one of the helper programs of this directory, which print their events as lines of JSON. */
export function startChild<E extends { readonly type: string }>(
  t: Test,
  program: "server-child.ts" | "client-child.ts" | "crowd-child.ts" | "bench-child.ts",
  options: unknown,
  { uid, gid, env = {}, nodeArgs = [], shell, under = [] }: ChildOptions = {},
): Child<E> {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const command = [process.execPath, ...nodeArgs, path, JSON.stringify(options)];
  if (shell !== undefined) command.unshift("/bin/sh", "-c", `${shell}; exec "$0" "$@"`);
  command.unshift(...under);
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  const log = new EventLog<E>();
  createInterface({ input: child.stdout }).on("line", (line) => log.add(JSON.parse(line) as E));
  let stderr = "";
  child.stderr.on("data", (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  void exited.then(endWithProcess(() => void child.kill("SIGKILL")));
  t.teardown(async () => {
    // One that was stopped dies all the same.
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await exited;
  });
  return { process: child, log, stderr: () => stderr, exited };
}

export interface ServerChild extends Child<ServerEvent> {
  readonly to: { readonly host: string; readonly port: number };
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
}

/** Serves `dir` from a process of its own, on a free port unless one is given, and waits until it listens. */
export async function startServerChild(
  t: Test,
  dir: string,
  options: Partial<ServeOptions> = {},
  how: ChildOptions = {},
): Promise<ServerChild> {
  const child = startChild<ServerEvent>(t, "server-child.ts", { dir, port: 0, ...options }, how);
  const ended = child.exited.then(() => Promise.reject(new Error(`the server did not start: ${child.stderr()}`)));
  const { host, port } = await Promise.race([child.log.until("listening"), ended]);
  const kill = async () => {
    child.process.kill("SIGKILL");
    await child.exited;
  };
  return { ...child, to: { host, port }, kill };
}

export type ClientEvent =
  | TransferEvent
  | { readonly type: "result"; readonly result: TransferResult; readonly grownBytes: number };

/** Sends from a process of its own, whose end is seen even when it crashes: `crash` then is what it said. */
export async function sendInChild(
  t: Test,
  options: SendOptions,
  how: ChildOptions = {},
): Promise<Sent & { readonly crash: string | null; readonly grownBytes: number }> {
  const child = startChild<ClientEvent>(t, "client-child.ts", options, how);
  const { code, signal } = await child.exited;
  const last = child.log.of("result")[0];
  const crash = last === undefined || code !== 0 ? `${code ?? signal}: ${child.stderr()}` : null;
  const error = { code: "E_INTERNAL", message: crash ?? "", hint: ERRORS.E_INTERNAL.hint, retryable: false } as const;
  const result = last?.result ?? ({ ok: false, exitCode: 1, retries: 0, error } as TransferResult);
  const log = child.log as unknown as EventLog<TransferEvent>;
  return { result, files: log.of("file").map(({ file }) => file), log, crash, grownBytes: last?.grownBytes ?? 0 };
}
