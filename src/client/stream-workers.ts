/**
 * The worker threads of one transfer, as its link has them: which stream lives in which, and what becomes of streams whose
 * worker is gone. A worker that fails is not replaced: its streams broke, and are dialled again in this thread.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { LimitRequest } from "../net/distant-limit.ts";
import type { ThreadLoad } from "../net/load.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import type { DistantStream } from "../net/transfer-end.ts";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { SourceOrder } from "../source/stream.ts";
import { type DistantDial, type FromWorker, Outbox, type ToWorker } from "./worker-messages.ts";

export interface StreamWorkersOptions {
  readonly count: number;
  readonly limit: RateLimit | undefined;
  /** A worker is gone. */
  readonly onWarning: (message: string) => void;
}

export interface DialEvents {
  /** Told how long the stream's ATTACH took to be answered, in milliseconds. */
  onAnswered(ms: number): void;
  /** Whoever takes the stream over sets its events at once. */
  onAttached(stream: WorkerStream): void;
}

/** The same from the sources, from what is compiled of them, and from the program: all have it in the next directory. */
const ENTRY = new URL(`../client/worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url);

const ENDING_MS = 5_000;

/** Of a worker's heap: it makes little but messages, and with V8's own 16 each takes five MiB more, for no gain in time. */
const YOUNG_MIB = 2;

export class StreamWorkers {
  readonly #options: StreamWorkersOptions;
  #threads: StreamThread[] = [];

  constructor(options: StreamWorkersOptions) {
    this.#options = options;
  }

  /** They load what they need while the control connection is being opened. */
  start(): void {
    const { count, limit, onWarning } = this.#options;
    this.#threads = Array.from({ length: count }, () => new StreamThread(limit, onWarning));
  }

  /** Whoever dials this stream; undefined where this thread does. */
  of(stream: number): StreamThread | undefined {
    const thread = this.#threads[stream % this.#threads.length];
    return thread?.isAlive === true ? thread : undefined;
  }

  /** What each has done. */
  get loads(): readonly ThreadLoad[] {
    return this.#threads.flatMap(({ load }) => load ?? []);
  }

  /** Ends them. Resolves when nothing of them is at work any more. */
  async end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }
}

/** A worker, and the streams that live in it. */
export class StreamThread {
  readonly #worker: Worker;
  readonly #outbox: Outbox<ToWorker>;
  readonly #streams = new Map<number, WorkerStream>();
  readonly #limit: RateLimit | undefined;
  readonly #unwatch: (() => void) | undefined;
  /** Turns that it has asked for. */
  readonly #turns = new Set<() => void>();
  readonly #exited: Promise<void>;
  isAlive = true;
  /** What it has done, by its last word. */
  load: ThreadLoad | undefined;
  #isEnding = false;

  constructor(limit: RateLimit | undefined, onWarning: (message: string) => void) {
    this.#limit = limit;
    const worker = new Worker(ENTRY, {
      name: "hawser streams",
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#worker = worker;
    this.#outbox = new Outbox((messages) => worker.postMessage(messages));
    let why = "it ended by itself";
    worker.on("message", (messages: readonly FromWorker[]) => {
      for (const message of messages) this.#onMessage(message);
    });
    worker.on("error", (thrown) => {
      why = asHawserError(thrown).message;
    });
    this.#exited = new Promise((resolve) => {
      worker.once("exit", () => {
        this.isAlive = false;
        this.#unwatch?.();
        for (const go of this.#turns) limit?.forget(go);
        if (!this.#isEnding) onWarning(`a worker thread is gone, and its streams are dialled again without it: ${why}`);
        const error = new HawserError("E_LOST", `its worker thread is gone: ${why}`);
        for (const stream of this.#streams.values()) stream.gone(error);
        this.#streams.clear();
        resolve();
      });
    });
    this.#unwatch = limit?.watch(() => this.#sayRate());
    this.#sayRate();
  }

  /** Resolves when the stream was attached and taken over. Throws what `openStream` throws, and E_LOST when the worker is gone. */
  dial(how: DistantDial, events: DialEvents): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = new WorkerStream(this.#outbox, this.#limit, {
        onAnswered: events.onAnswered,
        onAttached: () => {
          events.onAttached(stream);
          resolve();
        },
        onRefused: reject,
      });
      this.#streams.set(stream.dial, stream);
      this.#outbox.post({ type: "dial", dial: stream.dial, how });
    });
  }

  /** What it is in the middle of, such as a read that a disk does not answer, is waited for so long and no longer. */
  async end(): Promise<void> {
    this.#isEnding = true;
    if (this.isAlive) void this.#worker.terminate();
    const patience = new AbortController();
    const late = delay(ENDING_MS, undefined, { signal: patience.signal }).catch(() => {});
    await Promise.race([this.#exited, late]);
    patience.abort();
  }

  #onMessage(message: FromWorker): void {
    if (message.type === "limit") this.#onLimit(message.request);
    else if (message.type === "load") this.load = message.load;
    else {
      this.#streams.get(message.dial)?.receive(message);
      if (message.type === "closed" || message.type === "refused") this.#streams.delete(message.dial);
    }
  }

  #onLimit(request: LimitRequest): void {
    const limit = this.#limit;
    if (request.type === "took") limit?.take(request.bytes);
    else {
      const { bytes } = request;
      const go = () => {
        this.#turns.delete(go);
        limit?.take(bytes);
        this.#outbox.post({ type: "granted", bytes });
      };
      this.#turns.add(go);
      limit?.turn(go);
    }
  }

  #sayRate(): void {
    this.#outbox.post({ type: "rate", bytesPerSecond: this.#limit?.bytesPerSecond ?? null });
  }
}

let dials = 0;

/** A stream that lives in a worker: to the link a connection, to the session something that takes its orders. */
interface Opening {
  onAnswered(ms: number): void;
  onAttached(): void;
  onRefused(error: HawserError): void;
}

export class WorkerStream implements DistantStream {
  readonly dial = dials++;
  readonly state = "data";
  readonly sendingLimit: RateLimit | undefined;
  readonly #outbox: Outbox<ToWorker>;
  readonly #opening: Opening;
  events: DistantStream["events"] = { onReport: () => {}, onClosed: () => {} };
  localPort: number | undefined;
  lastHeardMs = performance.now();
  #isAttached = false;

  constructor(outbox: Outbox<ToWorker>, limit: RateLimit | undefined, opening: Opening) {
    this.#outbox = outbox;
    this.sendingLimit = limit;
    this.#opening = opening;
  }

  post(order: object): void {
    this.#outbox.post({ type: "order", dial: this.dial, order: order as SourceOrder });
  }

  send(_: "PING", ping: Message<"PING">): void {
    this.#outbox.post({ type: "ping", dial: this.dial, ping });
  }

  destroy(error?: HawserError): void {
    this.#outbox.post({ type: "destroy", dial: this.dial, failure: error?.toFailure() ?? null });
  }

  /** Its worker says something of it. */
  receive(message: Exclude<FromWorker, { type: "limit" | "load" }>): void {
    if (message.type === "report") {
      const { report } = message;
      if (report.type === "acknowledged" || report.type === "damaged") this.lastHeardMs = performance.now();
      this.events.onReport(report);
    } else if (message.type === "heard") this.lastHeardMs = performance.now();
    else if (message.type === "answered") this.#opening.onAnswered(message.ms);
    else if (message.type === "attached") {
      this.#isAttached = true;
      this.lastHeardMs = performance.now();
      this.localPort = message.localPort;
      this.#opening.onAttached();
    } else if (message.type === "closed" || message.type === "refused") this.#ended(errorOf(message.failure));
  }

  /** Its worker is gone. */
  gone(error: HawserError): void {
    this.#ended(error);
  }

  #ended(error: HawserError | undefined): void {
    if (this.#isAttached) this.events.onClosed(error);
    else this.#opening.onRefused(error ?? new HawserError("E_LOST", "the server closed a stream"));
  }
}

function errorOf(failure: Failure | null): HawserError | undefined {
  return failure === null ? undefined : new HawserError(failure.code, failure.message);
}
