/**
 * Faults at system calls: strace(1) is attached to one thread of a running child, so that calls are counted from that
 * moment on, and on that thread alone. Files are written and linked on the main thread, synced on libuv's (with
 * UV_THREADPOOL_SIZE=1 there is one of them).
 */
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import type { Test } from "tap";

export type Thread = "main" | "worker";

export interface Tracing {
  /** The calls so far, one a line, with the paths of their descriptors. */
  readonly calls: () => string[];
  /** The child is gone, or `stop` was called. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/** With this in its environment a child syncs on one thread. */
export const ONE_WORKER = { UV_THREADPOOL_SIZE: "1" };

/** Says why there is no strace here, and passes; false where there is one that may attach. */
export function skipsWithoutStrace(t: Test): boolean {
  const probe = spawnSync("strace", ["-qq", "-o", "/dev/null", "true"], { encoding: "utf8" });
  if (probe.status === 0) return false;
  t.pass(`skipped: strace can't be used here: ${probe.error?.message ?? probe.stderr.trim()}`);
  return true;
}

/** Traces and injects; resolves when it is attached. `inject` as in strace(1): `fsync:error=EIO:when=2`. */
export async function attachStrace(
  t: Test,
  pid: number,
  thread: Thread,
  { calls, inject }: { readonly calls: readonly string[]; readonly inject?: string },
): Promise<Tracing> {
  const id = thread === "main" ? pid : workerOf(pid);
  const args = ["-p", String(id), "-y", "-e", `trace=${calls.join(",")}`];
  if (inject !== undefined) args.push("-e", `inject=${inject}`);
  const strace = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  const ended = new Promise<void>((resolve) => strace.on("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    strace.stderr.on("data", (bytes: Buffer) => {
      said += bytes.toString();
      if (said.includes("attached\n")) resolve();
    });
    void ended.then(() => reject(new Error(`strace ended: ${said}`)));
  });
  const stop = async () => {
    strace.kill("SIGINT");
    await ended;
  };
  t.teardown(stop);
  const isCall = (line: string) => /^\w+\(/.test(line);
  return { calls: () => said.split("\n").filter(isCall), ended, stop };
}

function workerOf(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  const found = readdirSync(tasks).filter((id) =>
    readFileSync(`${tasks}/${id}/comm`, "utf8").startsWith("libuv-worker"),
  );
  if (found.length !== 1) throw new Error(`${found.length} threads of libuv: one file must have been synced before`);
  return Number(found[0]);
}
