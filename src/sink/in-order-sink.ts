/**
 * One received file, in order, into a stream such as a pipe to another program. Chunks may come in any order: those that
 * come early wait where they arrived, and are acknowledged when they are written, so that the source's windows bound them.
 */
import type { Writable } from "node:stream";
import { HawserError } from "../protocol/errors.ts";
import { FILE_BYTES_MAX } from "../protocol/limits.ts";
import { ForgetfulSink } from "./forgetful-sink.ts";
import type { Committed, Part, PartSpec, SinkCapabilities, WriterDescriptor } from "./sink.ts";

export class InOrderSink extends ForgetfulSink {
  readonly capabilities: SinkCapabilities;
  readonly #output: Writable;
  #part: InOrderPart | undefined;

  /** Takes the stream over, and never ends it: who gave it knows whether what went out is whole. */
  constructor(output: Writable, fileBytesMax = FILE_BYTES_MAX) {
    super();
    this.#output = output;
    this.capabilities = { randomAccess: true, blockBytes: 1, fileBytesMax, durability: "none", inOrder: true };
    // Each write tells its own error.
    output.on("error", () => {});
  }

  /** Whether it waits for the stream to take more, rather than for chunks. */
  get isWriting(): boolean {
    return this.#part?.isWriting ?? false;
  }

  reserve({ size }: PartSpec): Promise<Part> {
    const { fileBytesMax } = this.capabilities;
    if ((size ?? 0) > fileBytesMax) {
      return Promise.reject(new HawserError("E_TOO_LARGE", `the server takes files of ${fileBytesMax} bytes at most`));
    }
    if (this.#part !== undefined && !this.#part.isUnused) {
      return Promise.reject(new HawserError("E_ONE_FILE", "the server streams one file, and has begun another"));
    }
    this.#part = new InOrderPart(this.#output);
    return Promise.resolve(this.#part);
  }

  /** What the stream has not taken yet is of no use. */
  override close(): Promise<void> {
    this.#output.destroy();
    return Promise.resolve();
  }
}

interface WaitingChunk {
  readonly bytes: Uint8Array;
  readonly done: PromiseWithResolvers<void>;
}

class InOrderPart implements Part {
  readonly fingerprint = "";
  readonly #output: Writable;
  readonly #waiting = new Map<number, WaitingChunk>();
  /** Up to here all is written, in bytes. */
  #next = 0;
  #failure: HawserError | undefined;
  #committed = false;
  isWriting = false;

  constructor(output: Writable) {
    this.#output = output;
  }

  /** It was given up before anything of it went out: another file may have the stream. */
  get isUnused(): boolean {
    return this.#failure !== undefined && !this.#committed && this.#next === 0 && !this.isWriting;
  }

  open(): WriterDescriptor {
    return { kind: "local", part: this };
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    // It came twice, and is out already.
    if (offset < this.#next) return Promise.resolve();
    const waiting = this.#waiting.get(offset);
    if (waiting !== undefined) return waiting.done.promise;
    const done = Promise.withResolvers<void>();
    this.#waiting.set(offset, { bytes, done });
    if (!this.isWriting) void this.#run();
    return done.promise;
  }

  async #run(): Promise<void> {
    this.isWriting = true;
    for (let chunk = this.#waiting.get(this.#next); chunk !== undefined; chunk = this.#waiting.get(this.#next)) {
      try {
        await written(this.#output, chunk.bytes);
      } catch (thrown) {
        this.#fail(thrown as HawserError);
        break;
      }
      this.#waiting.delete(this.#next);
      this.#next += chunk.bytes.length;
      chunk.done.resolve();
    }
    this.isWriting = false;
  }

  #fail(failure: HawserError): void {
    this.#failure ??= failure;
    for (const { done } of this.#waiting.values()) done.reject(this.#failure);
    this.#waiting.clear();
  }

  written(): void {}
  /** What went out can't be read, nor made durable, from here. */
  read(): Promise<number> {
    return Promise.resolve(0);
  }
  sync(): Promise<void> {
    return Promise.resolve();
  }

  commit(size: number): Promise<Committed> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#next !== size) {
      return Promise.reject(new HawserError("E_INTERNAL", `${this.#next} of ${size} bytes were written at the commit`));
    }
    this.#committed = true;
    return Promise.resolve({});
  }

  close(): Promise<void> {
    return this.abort();
  }
  abort(): Promise<void> {
    this.#fail(new HawserError("E_DESTINATION", "the file was given up"));
    return Promise.resolve();
  }
}

/** Resolves when the stream has passed the bytes on. Throws E_DESTINATION, E_IO. */
function written(output: Writable, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    output.write(bytes, (cause) => (cause ? reject(outputError(cause)) : resolve()));
  });
}

/** Its reader closed it. */
const GONE = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED"]);

function outputError(cause: NodeJS.ErrnoException): HawserError {
  if (GONE.has(cause.code ?? "")) {
    const message = "the program that the server streams to has closed its input before the file was whole";
    return new HawserError("E_DESTINATION", message, { cause });
  }
  const code = cause.code === "ENOSPC" ? "E_NO_SPACE" : "E_IO";
  return new HawserError(code, `the server's output can't be written: ${cause.message}`, { cause });
}
