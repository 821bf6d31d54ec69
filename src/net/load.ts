/**
 * What an end's time goes into while a session lives: its processor, its thread, its disk. Each end measures itself and
 * tells the other in plain numbers, so that somebody can say which of them holds a transfer up.
 */
import { availableParallelism } from "node:os";
import type { Message } from "../protocol/messages.ts";

/** As PONG and RECEIPT carry it (PROTOCOL.md, Load). */
export type Load = NonNullable<Message<"RECEIPT">["load"]>;

/** What a piece of work took, in microseconds: on the clock, and of the processor by this thread. */
export interface Spent {
  readonly wallMicros: number;
  readonly cpuMicros: number;
}

/** The first pieces of work are measured, and one in so many after them: no period that a disk or a reader has. */
const MEASURED_FIRST = 8;
const MEASURED_EVERY = 7;

/**
 * Measures pieces of work of a kind: not each, since asking the system twice for the time of a thread takes some ten
 * microseconds, and a stream moves a thousand chunks a second.
 */
export class WorkSampler {
  #count = 0;

  /** A piece begins. What is returned says what was spent when it is done; undefined where it is not measured. */
  start(): (() => Spent) | undefined {
    const count = this.#count++;
    if (count >= MEASURED_FIRST && count % MEASURED_EVERY !== 0) return undefined;
    const startedMs = performance.now();
    const startedCpu = threadMicros();
    return () => ({ wallMicros: (performance.now() - startedMs) * 1000, cpuMicros: threadMicros() - startedCpu });
  }
}

/** Work on a disk: how much, and how long it kept whoever asked for it waiting. */
export class DiskWork {
  #wallMicros = 0;
  #cpuMicros = 0;
  #bytesMeasured = 0;
  bytes = 0;

  /** A piece of so many bytes was done; `spent` where it was measured. */
  add(bytes: number, spent: Spent | undefined): void {
    this.bytes += bytes;
    if (spent === undefined) return;
    this.#bytesMeasured += bytes;
    this.#wallMicros += spent.wallMicros;
    this.#cpuMicros += spent.cpuMicros;
  }

  /**
   * What was not spent at the processor, with those that were not measured taken for like the others. Of the sums: the system counts a thread's time in ticks, so that one call seems to
   * take nothing and the next a whole tick (Linux, getrusage(2)).
   */
  get waitedMicros(): number {
    if (this.#bytesMeasured === 0) return 0;
    return Math.max(0, this.#wallMicros - this.#cpuMicros) * (this.bytes / this.#bytesMeasured);
  }
}

/** Of one session, from when it is made. */
export class LoadMeter {
  readonly #startedMs = performance.now();
  readonly #startedCpu = processMicros();
  readonly #startedThread = threadMicros();
  readonly #startedLoop = performance.eventLoopUtilization();

  /** `heldMicros`: how long connections were not read because what they brought was not written yet, their mean. */
  read(disk: DiskWork, heldMicros = 0): Load {
    const { active } = performance.eventLoopUtilization(this.#startedLoop);
    return {
      clockMicros: whole((performance.now() - this.#startedMs) * 1000),
      cpuMicros: processMicros() - this.#startedCpu,
      threadMicros: whole(threadMicros() - this.#startedThread),
      busyMicros: whole(active * 1000),
      diskMicros: whole(disk.waitedMicros),
      heldMicros: whole(heldMicros),
      diskBytes: disk.bytes,
      cores,
    };
  }
}

const cores = availableParallelism();

/** For so long it is not asked again: of a busy process of a dozen threads it costs 30 to 50 microseconds, and every session asks. */
const PROCESS_FRESH_MS = 5;
let processAskedMs = Number.NEGATIVE_INFINITY;
let lastProcessMicros = 0;

/** What this process has had of the processor, in microseconds, as of 5 ms ago at most. */
export function processMicros(): number {
  const nowMs = performance.now();
  if (nowMs - processAskedMs >= PROCESS_FRESH_MS) {
    const { user, system } = process.cpuUsage();
    processAskedMs = nowMs;
    lastProcessMicros = user + system;
  }
  return lastProcessMicros;
}

/** What a thread that has streams has done, in microseconds, as of `Load`. */
export type ThreadLoad = Pick<Load, "threadMicros" | "busyMicros">;

/** Of this thread, since it began. */
export function threadLoad(): ThreadLoad {
  return { threadMicros: whole(threadMicros()), busyMicros: whole(performance.eventLoopUtilization().active * 1000) };
}

/** The load of an end whose streams live in these threads: of all its threads the busiest counts, and of disks their mean. */
export function withThreads(load: Load, threads: readonly ThreadLoad[]): Load {
  const [first] = threads.toSorted((a, b) => b.busyMicros - a.busyMicros);
  if (first === undefined) return load;
  const busiest = first.busyMicros > load.busyMicros ? first : load;
  const { threadMicros: thread, busyMicros } = busiest;
  return { ...load, threadMicros: thread, busyMicros, diskMicros: whole(load.diskMicros / threads.length) };
}

const whole = (value: number) => Math.max(0, Math.round(value));

function threadMicros(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
