/** Sees what a program can't see of itself while it hangs: a case that doesn't end. And how much memory is in use. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";

/** Thousands of times what the slowest case takes, on a machine that does much else besides. */
const HANG_MS = 120_000;

/** Runs on a thread of its own: the one that hangs can't say so. */
const WATCHER = `
const { workerData } = require("node:worker_threads");
const { writeSync } = require("node:fs");
const { beats, hangMs, what } = workerData;
let last = -1;
let since = performance.now();
setInterval(() => {
  const now = performance.now();
  if (beats[0] !== last) {
    last = beats[0];
    since = now;
  } else if (now - since > hangMs) {
    writeSync(2, "HUNG in " + what + ":" + Number(beats[1]) + "\\n");
    process.kill(process.pid, "SIGKILL");
  }
}, 1000);
`;

export class Watchdog {
  readonly #beats = new Float64Array(new SharedArrayBuffer(16));
  readonly #worker: Worker;

  /** `what` is put before the number of a case that hangs. */
  constructor(what: string) {
    this.#worker = new Worker(WATCHER, { eval: true, workerData: { beats: this.#beats, hangMs: HANG_MS, what } });
    this.#worker.unref();
  }

  /** The case of this number begins. */
  beat(number: number): void {
    this.#beats[0] = (this.#beats[0] as number) + 1;
    this.#beats[1] = number;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

let collect: (() => void) | undefined;

/** Bytes in use by objects and buffers, when what is of no use any more is gone. */
export function bytesInUse(): number {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
