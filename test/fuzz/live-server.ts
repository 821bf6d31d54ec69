/** A server in a process of its own, and how much it holds, by what the kernel says of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Endpoint, ServeOptions, ServerEvent } from "../../src/index.ts";
import { endWithProcess } from "../helpers/end-with-process.ts";

const PROGRAM = fileURLToPath(new URL("../helpers/server-child.ts", import.meta.url));

export class LiveServer {
  readonly to: Endpoint;
  readonly #child: ChildProcess;
  readonly exited: Promise<string>;
  #isEnding = false;
  #stderr = "";

  private constructor(child: ChildProcess, to: Endpoint, exited: Promise<string>) {
    this.#child = child;
    this.to = to;
    this.exited = exited;
    child.stderr?.on("data", (bytes: Buffer) => {
      this.#stderr = (this.#stderr + bytes.toString()).slice(-10_000);
    });
  }

  static async start(options: ServeOptions, onEvent: (event: ServerEvent) => void): Promise<LiveServer> {
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify({ ...options, port: 0 })], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const exited = new Promise<string>((resolve) => {
      child.on("close", (code, signal) => resolve(`it ended with ${code ?? signal}`));
    });
    void exited.then(endWithProcess(() => void child.kill("SIGKILL")));
    const listening = new Promise<Endpoint>((resolve) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
        const event = JSON.parse(line) as ServerEvent;
        if (event.type === "listening") resolve({ host: event.host, port: event.port });
        onEvent(event);
      });
    });
    const ended = exited.then((how) => Promise.reject(new Error(`the server did not start: ${how}`)));
    return new LiveServer(child, await Promise.race([listening, ended]), exited);
  }

  /** Whether it has ended by itself. */
  get hasEnded(): boolean {
    return !this.#isEnding && (this.#child.exitCode !== null || this.#child.signalCode !== null);
  }
  get stderr(): string {
    return this.#stderr;
  }

  /** Resident memory in bytes, and open descriptors. */
  look(): { readonly bytes: number; readonly descriptors: number } {
    const proc = `/proc/${this.#child.pid}`;
    const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`${proc}/status`, "utf8"))?.[1]);
    return { bytes: kib * 1024, descriptors: readdirSync(`${proc}/fd`).length };
  }

  /** As `hawser serve` ends when it is told to. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await this.exited;
    clearTimeout(timer);
  }
}
