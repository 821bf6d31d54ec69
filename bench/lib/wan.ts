/**
 * Two network namespaces with a long path between them (`bench/wan/wanem.c`): what runs in them knows nothing else of
 * the network. Needs root. All of it is gone when the benchmark ends, however it ends.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, Server } from "./processes.ts";
import { findTool } from "./tools.ts";

const SOURCE = fileURLToPath(new URL("../wan/wanem.c", import.meta.url));

export interface WanPath {
  readonly mbit: number;
  readonly roundTripMs: number;
  /** Of packets, each way. */
  readonly lossPercent: number;
}

/** wanem gives these to its two ends. */
export const SERVER_HOST = "10.77.0.1";

/** What most machines have. A namespace begins with what this one has. */
const CONGESTION_CONTROL = "cubic";
/** Those that namespaces may have: one setting of the whole machine, put back as it was at the end. */
const ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

const namespaces = new Set<string>();
let allowedBefore: string | undefined;

process.once("exit", () => {
  for (const name of namespaces) spawnSync("ip", ["netns", "del", name], { stdio: "ignore" });
  disallow();
});

function allow(): void {
  const allowed = readFileSync(ALLOWED, "utf8").trim();
  if (allowed.split(" ").includes(CONGESTION_CONTROL)) return;
  allowedBefore ??= allowed;
  writeFileSync(ALLOWED, `${allowed} ${CONGESTION_CONTROL}`);
}

function disallow(): void {
  if (allowedBefore !== undefined) writeFileSync(ALLOWED, allowedBefore);
  allowedBefore = undefined;
}

/** A program and its arguments, started in such a place. */
export function through(via: readonly string[], ...args: string[]): [command: string, args: string[]] {
  const [command = "", ...before] = via;
  return [command, [...before, ...args]];
}

/** Why there can be no such path here; undefined where there can. */
export function whyNoWan(): string | undefined {
  if (process.getuid?.() !== 0) return "being root, whom namespaces and TUN devices take";
  for (const tool of ["cc", "ip"]) if (findTool(tool) === undefined) return tool;
  return undefined;
}

/** Compiles wanem into a directory. Returns its path. */
export async function buildWanem(directory: string): Promise<string> {
  const path = join(directory, "wanem");
  await run("cc", ["-O2", "-o", path, SOURCE]);
  return path;
}

export class Wan {
  readonly #names: readonly [string, string];
  readonly #wanem: Server;

  private constructor(names: readonly [string, string], wanem: Server) {
    this.#names = names;
    this.#wanem = wanem;
  }

  static async start(wanem: string, { mbit, roundTripMs, lossPercent }: WanPath): Promise<Wan> {
    const names = [`hawser-bench-${process.pid}-a`, `hawser-bench-${process.pid}-b`] as const;
    try {
      allow();
      for (const name of names) {
        await run("ip", ["netns", "add", name]);
        namespaces.add(name);
        await run("ip", [
          "netns",
          "exec",
          name,
          "sysctl",
          "-qw",
          `net.ipv4.tcp_congestion_control=${CONGESTION_CONTROL}`,
        ]);
      }
      const shape = ["--delay", roundTripMs / 2, "--rate", mbit, "--loss", lossPercent].map(String);
      return new Wan(names, await Server.start(wanem, [...names, ...shape], ({ stdout }) => stdout.includes("ready")));
    } catch (error) {
      await remove(names);
      throw error;
    }
  }

  /** What starts a program where servers run; the arguments are the program and its own. */
  get atServer(): readonly string[] {
    return ["ip", "netns", "exec", this.#names[0]];
  }
  /** The same where clients run. */
  get atClient(): readonly string[] {
    return ["ip", "netns", "exec", this.#names[1]];
  }

  async stop(): Promise<void> {
    await this.#wanem.stop();
    await remove(this.#names);
  }
}

async function remove(names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (!namespaces.has(name)) continue;
    await run("ip", ["netns", "del", name]);
    namespaces.delete(name);
  }
  disallow();
}
