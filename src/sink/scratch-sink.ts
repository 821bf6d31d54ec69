/**
 * Writes to another sink as a transfer does, and syncs as it does, and then drops what it wrote: what a measurement of the
 * disk writes to. Nothing of it ever has a name.
 */
import { HawserError } from "../protocol/errors.ts";
import { ForgetfulSink } from "./forgetful-sink.ts";
import type { Committed, Part, PartSpec, Sink, SinkCapabilities, WriterDescriptor } from "./sink.ts";

export class ScratchSink extends ForgetfulSink {
  readonly #inner: Sink;
  readonly #room: Room;

  /** `bytesMax`: all that is written or promised, over all parts. */
  constructor(inner: Sink, bytesMax: number) {
    super();
    this.#inner = inner;
    this.#room = new Room(bytesMax);
  }

  get capabilities(): SinkCapabilities {
    return this.#inner.capabilities;
  }
  get isWriting(): boolean | undefined {
    return this.#inner.isWriting;
  }

  /** Throws E_TOO_LARGE as well. */
  async reserve(spec: PartSpec): Promise<Part> {
    const share = this.#room.promise(spec.size ?? 0);
    try {
      return new ScratchPart(await this.#inner.reserve(spec), this.capabilities.durability !== "none", share);
    } catch (thrown) {
      share.end();
      throw thrown;
    }
  }
}

/** What is written stays counted when it is dropped: a measurement has so much in all. */
class Room {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Throws E_TOO_LARGE. */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) {
      throw new HawserError("E_TOO_LARGE", `a measurement may write ${this.#bytesMax} bytes at most`);
    }
    this.#bytes += bytes;
  }
  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }

  /** Room for a part of so many bytes, before any of it is written. Throws E_TOO_LARGE. */
  promise(bytes: number): Share {
    this.take(bytes);
    return new Share(this, bytes);
  }
}

/** Of one part. */
class Share {
  readonly #room: Room;
  /** Promised, and not written. */
  #left: number;

  constructor(room: Room, bytes: number) {
    this.#room = room;
    this.#left = bytes;
  }

  /** Throws E_TOO_LARGE, where more comes than was promised. */
  written(bytes: number): void {
    const promised = Math.min(bytes, this.#left);
    this.#left -= promised;
    if (bytes > promised) this.#room.take(bytes - promised);
  }
  end(): void {
    this.#room.giveBack(this.#left);
    this.#left = 0;
  }
}

class ScratchPart implements Part {
  readonly #inner: Part;
  readonly #syncs: boolean;
  readonly #share: Share;
  readonly fingerprint = "";

  constructor(inner: Part, syncs: boolean, share: Share) {
    this.#inner = inner;
    this.#syncs = syncs;
    this.#share = share;
  }

  open(): WriterDescriptor {
    return this.#inner.open();
  }
  /** Throws E_TOO_LARGE as well. */
  write(offset: number, bytes: Uint8Array): void | Promise<void> {
    this.#share.written(bytes.length);
    return this.#inner.write(offset, bytes);
  }
  /** Throws E_TOO_LARGE as well. */
  written(bytes: number): void {
    this.#inner.written(bytes);
    this.#share.written(bytes);
  }
  read(offset: number, room: Uint8Array): Promise<number> {
    return this.#inner.read(offset, room);
  }
  sync(): Promise<void> {
    return this.#inner.sync();
  }
  async commit(): Promise<Committed> {
    if (this.#syncs) await this.#inner.sync();
    await this.abort();
    return {};
  }
  close(): Promise<void> {
    return this.abort();
  }
  abort(): Promise<void> {
    this.#share.end();
    return this.#inner.abort();
  }
}
