/** Processes that run cases. One that dies, or says nothing for too long, fails its case and is replaced. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { CaseReport, FailureKind } from "./case.ts";
import type { Task } from "./worker.ts";

/** More than a case's own watchdog takes, and what it does when it bites. */
const SILENCE_MS = 150_000;
const KEPT_CHARS = 8000;

const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));

export class Worker {
  #child: ChildProcess | undefined;
  #errors = "";

  async run(task: Task): Promise<CaseReport> {
    this.#child ??= this.#start();
    const child = this.#child;
    const { promise, resolve } = Promise.withResolvers<CaseReport>();
    const fail = (kind: FailureKind, message: string) => {
      this.kill();
      resolve({ counts: {}, failures: [{ kind, message }], story: [this.#errors] });
    };
    const watchdog = setTimeout(() => fail("hung", "the worker says nothing"), SILENCE_MS);
    const onExit = (code: number | null, signal: string | null) =>
      fail("other", `the worker ended with ${signal ?? code}: ${this.#errors}`);
    child.once("message", (report) => resolve(report as CaseReport));
    child.once("close", onExit);
    child.send(task);
    const report = await promise;
    clearTimeout(watchdog);
    child.removeAllListeners("message").off("close", onExit);
    // What hangs in that process stays in it.
    if (report.failures.some(({ kind }) => kind === "hung")) this.kill();
    return report;
  }

  /** With all that it started: they are one process group. */
  kill(): void {
    const pid = this.#child?.pid;
    this.#child = undefined;
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch {
      // The group is empty.
    }
  }

  #start(): ChildProcess {
    const child = fork(WORKER, { detached: true, stdio: ["ignore", "inherit", "pipe", "ipc"] });
    this.#errors = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-KEPT_CHARS);
    });
    child.once("exit", () => {
      if (this.#child === child) this.kill();
    });
    return child;
  }
}
