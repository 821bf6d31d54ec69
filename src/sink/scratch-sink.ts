/**
 * Writes to another sink as a transfer does, and syncs as it does, and then drops what it wrote: what a measurement of the
 * disk writes to. Nothing of it ever has a name.
 */
import { HawserError } from "../protocol/errors.ts";
import { ForgetfulSink } from "./forgetful-sink.ts";
import type { Committed, Part, PartSpec, Sink, SinkCapabilities, WriterDescriptor } from "./sink.ts";

export class ScratchSink extends ForgetfulSink {
  readonly #inner: Sink;
  readonly #bytesMax: number;
  #bytes = 0;

  /** `bytesMax`: all that is written, over all parts. */
  constructor(inner: Sink, bytesMax: number) {
    super();
    this.#inner = inner;
    this.#bytesMax = bytesMax;
  }

  get capabilities(): SinkCapabilities {
    return this.#inner.capabilities;
  }
  get isWriting(): boolean | undefined {
    return this.#inner.isWriting;
  }

  /** Throws E_TOO_LARGE as well: room is promised to a part before any of it is written. */
  async reserve(spec: PartSpec): Promise<Part> {
    if (this.#bytes + (spec.size ?? 0) > this.#bytesMax) throw this.#tooMuch();
    const syncs = this.capabilities.durability !== "none";
    return new ScratchPart(await this.#inner.reserve(spec), syncs, (bytes) => this.#count(bytes));
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax) throw this.#tooMuch();
  }

  #tooMuch(): HawserError {
    return new HawserError("E_TOO_LARGE", `a measurement may write ${this.#bytesMax} bytes at most`);
  }
}

class ScratchPart implements Part {
  readonly #inner: Part;
  readonly #syncs: boolean;
  readonly #count: (bytes: number) => void;
  readonly fingerprint = "";

  constructor(inner: Part, syncs: boolean, count: (bytes: number) => void) {
    this.#inner = inner;
    this.#syncs = syncs;
    this.#count = count;
  }

  open(): WriterDescriptor {
    return this.#inner.open();
  }
  write(offset: number, bytes: Uint8Array): void | Promise<void> {
    return this.#inner.write(offset, bytes);
  }
  /** Throws E_TOO_LARGE as well. */
  written(bytes: number): void {
    this.#inner.written(bytes);
    this.#count(bytes);
  }
  read(offset: number, room: Uint8Array): Promise<number> {
    return this.#inner.read(offset, room);
  }
  sync(): Promise<void> {
    return this.#inner.sync();
  }
  async commit(): Promise<Committed> {
    if (this.#syncs) await this.#inner.sync();
    await this.#inner.abort();
    return {};
  }
  close(): Promise<void> {
    return this.#inner.abort();
  }
  abort(): Promise<void> {
    return this.#inner.abort();
  }
}
