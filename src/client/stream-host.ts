/**
 * Has streams in a thread of its own: dials them, reads, sums, encodes, seals and writes their chunks, by the orders of the
 * main thread, and reports to it. It decides nothing.
 */
import { BlockPool } from "../net/blocks.ts";
import type { Connection } from "../net/connection.ts";
import { DistantLimit } from "../net/distant-limit.ts";
import { threadLoad } from "../net/load.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { type SourceReport, SourceStream } from "../source/stream.ts";
import { openStream } from "./handshake.ts";
import { type DistantDial, type FromWorker, Outbox, type ToWorker } from "./worker-messages.ts";

interface Hosted {
  readonly connection: Connection;
  readonly stream: SourceStream;
}

/** How often it says what it has done, at most. */
const LOAD_MS = 100;

export class StreamHost {
  readonly #outbox: Outbox<FromWorker>;
  readonly #blocks = new BlockPool();
  readonly #limit: DistantLimit;
  readonly #dialling = new Map<number, AbortController>();
  readonly #streams = new Map<number, Hosted>();

  constructor(send: (messages: readonly FromWorker[]) => void) {
    let toldMs = 0;
    this.#outbox = new Outbox((messages) => {
      const nowMs = performance.now();
      const isTime = nowMs - toldMs >= LOAD_MS;
      if (isTime) toldMs = nowMs;
      send(isTime ? [...messages, { type: "load", load: threadLoad() }] : messages);
    });
    this.#limit = new DistantLimit((request) => this.#outbox.post({ type: "limit", request }));
  }

  receive(message: ToWorker): void {
    if (message.type === "rate") this.#limit.set(message.bytesPerSecond);
    else if (message.type === "granted") this.#limit.granted(message.bytes);
    else if (message.type === "dial") void this.#dial(message.dial, message.how);
    else {
      const { dial } = message;
      const hosted = this.#streams.get(dial);
      if (message.type === "destroy") {
        this.#dialling.get(dial)?.abort();
        const { failure } = message;
        hosted?.connection.destroy(failure === null ? undefined : new HawserError(failure.code, failure.message));
      } else if (message.type === "order") hosted?.stream.receive(message.order);
      else if (hosted?.connection.state === "data") hosted.connection.send("PING", message.ping);
    }
  }

  async #dial(dial: number, { handshake, attach, limits }: DistantDial): Promise<void> {
    const abort = new AbortController();
    this.#dialling.set(dial, abort);
    const options = {
      ...handshake,
      blocks: this.#blocks,
      sending: this.#limit,
      signal: abort.signal,
      onAnswered: (ms: number) => this.#outbox.post({ type: "answered", dial, ms }),
    };
    try {
      await openStream(options, attach, (connection) => {
        this.#outbox.post({ type: "attached", dial, localPort: connection.localPort });
        this.#begin(dial, connection, { ...limits, stream: attach.stream, isDistant: true });
      });
    } catch (thrown) {
      // What ends before the dial has returned is heard of as any stream's end.
      if (!this.#streams.has(dial)) {
        this.#outbox.post({ type: "refused", dial, failure: asHawserError(thrown).toFailure() });
      }
    } finally {
      this.#dialling.delete(dial);
    }
  }

  #begin(dial: number, connection: Connection, limits: ConstructorParameters<typeof SourceStream>[2]): void {
    connection.chunkBytesMax = limits.chunkBytes;
    connection.onPong = (id) => id !== undefined && this.#outbox.post({ type: "heard", dial });
    const report = (said: SourceReport) => this.#outbox.post({ type: "report", dial, report: withoutMembers(said) });
    const stream = new SourceStream(connection, { post: report }, limits, (error) => {
      this.#streams.delete(dial);
      this.#outbox.post({ type: "closed", dial, failure: error?.toFailure() ?? null });
    });
    this.#streams.set(dial, { connection, stream });
    stream.start();
  }
}

/** The session knows what it has put into a bundle. */
function withoutMembers(report: SourceReport): SourceReport {
  if (report.type !== "bundled" && report.type !== "bundle-sent") return report;
  const { file, offset, bytes } = report.piece;
  return { ...report, piece: { file, offset, bytes } };
}
