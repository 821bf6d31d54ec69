/**
 * A sealed stream as a socket: what is written goes out in records, and what comes in is given on when its record has been
 * opened. As with TLS, whoever owns it need not know.
 */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { SEALED_RECORD_BYTES_MAX } from "../protocol/limits.ts";
import type { DirectReader } from "./direct-read.ts";
import { release } from "./release.ts";
import type { Opener, Sealer } from "./sealing.ts";

/**
 * Where all of them read to: what is there is opened before anyone reads again. As large as a record, so that one comes
 * with few calls.
 */
const scratch = Buffer.allocUnsafeSlow(SEALED_RECORD_BYTES_MAX);

/**
 * What all of this thread's may have sealed and not yet written, beyond a record of each. Four streams with chunks of 1 MiB
 * fit in.
 */
const SEALED_AHEAD_BYTES_MAX = 8 * 1024 * 1024;
let sealedAheadBytes = 0;

export class SealedSocket extends Duplex implements DirectReader {
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  #raw: Socket | undefined;
  /** Goes out with the first record. */
  #before: Uint8Array | undefined;

  /** `opened`: what came already. `before`: what says in the clear which stream it is. */
  constructor(sealer: Sealer, opener: Opener, opened: readonly Uint8Array[] = [], before?: Uint8Array) {
    // While nobody reads, what was opened already is enough: more would be memory that no limit counts.
    super({ allowHalfOpen: false, readableHighWaterMark: 1 });
    this.#sealer = sealer;
    this.#opener = opener;
    this.#before = before;
    for (const bytes of opened) this.push(bytes);
  }

  /** The connection below, made to read through this DirectReader, or handing its 'data' to `receive`. */
  attach(raw: Socket): void {
    this.#raw = raw;
    raw.on("error", (cause) => this.destroy(cause));
    raw.on("end", () => this.push(null));
    raw.on("close", () => this.destroy());
    if (this.destroyed) raw.destroy();
  }

  get remoteAddress(): string | undefined {
    return this.#raw?.remoteAddress;
  }
  get localPort(): number | undefined {
    return this.#raw?.localPort;
  }
  setNoDelay(on: boolean): void {
    this.#raw?.setNoDelay(on);
  }
  setKeepAlive(on: boolean, afterMs: number): void {
    this.#raw?.setKeepAlive(on, afterMs);
  }

  target(): Uint8Array {
    return scratch;
  }
  advance(count: number): boolean {
    return this.receive(scratch.subarray(0, count));
  }

  /** Bytes came from below; whether more may come. */
  receive(bytes: Uint8Array): boolean {
    if (this.destroyed) return true;
    try {
      let more = true;
      for (const opened of this.#opener.open(bytes)) more = this.push(opened);
      return more;
    } catch (thrown) {
      this.destroy(thrown as Error);
      return true;
    }
  }

  override _read(): void {
    this.#raw?.resume();
  }

  override _write(bytes: Uint8Array, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#put([bytes], done);
  }

  override _writev(chunks: readonly { readonly chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    this.#put(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  #put(slices: readonly Uint8Array[], done: (error?: Error | null) => void): void {
    const raw = this.#raw;
    if (raw === undefined) {
      done(new Error("written to before it is connected"));
      return;
    }
    this.#putNext(raw, new Queue(slices), done);
  }

  /**
   * Seals and writes what may lie sealed now, and goes on when the system has taken it. What is sealed lies there twice, with
   * what it was made of: where few streams write, that is a whole chunk at once, and where many do a record of each.
   */
  #putNext(raw: Socket, queue: Queue, done: (error?: Error | null) => void): void {
    const taken = queue.take(Math.max(SEALED_RECORD_BYTES_MAX, SEALED_AHEAD_BYTES_MAX - sealedAheadBytes));
    const sealed = this.#sealer.seal(taken.slices);
    if (sealed.length === 0) {
      done();
      return;
    }
    sealedAheadBytes += taken.bytes;
    raw.cork();
    if (this.#before !== undefined) raw.write(this.#before);
    this.#before = undefined;
    for (const [i, piece] of sealed.entries()) {
      raw.write(
        piece,
        i < sealed.length - 1
          ? undefined
          : (error) => {
              sealedAheadBytes -= taken.bytes;
              if (error) {
                // What failed to be written may be the system's still.
                done(error);
                return;
              }
              sealed.forEach(release);
              this.#putNext(raw, queue, done);
            },
      );
    }
    raw.uncork();
  }

  /** Whoever read it needs it no more. */
  release(bytes: Uint8Array): void {
    release(bytes);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#raw === undefined) done();
    else this.#raw.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#raw?.destroy();
    done(error);
  }
}

/** Slices of which the first are taken away. */
class Queue {
  readonly #slices: readonly Uint8Array[];
  #next = 0;
  /** Of the next slice, what is taken already. */
  #at = 0;

  constructor(slices: readonly Uint8Array[]) {
    this.#slices = slices;
  }

  take(bytesMax: number): { readonly slices: Uint8Array[]; readonly bytes: number } {
    const slices: Uint8Array[] = [];
    let bytes = 0;
    for (; this.#next < this.#slices.length && bytes < bytesMax; ) {
      const slice = this.#slices[this.#next] as Uint8Array;
      const part = slice.subarray(this.#at, this.#at + bytesMax - bytes);
      slices.push(part);
      bytes += part.length;
      this.#at += part.length;
      if (this.#at < slice.length) break;
      this.#next++;
      this.#at = 0;
    }
    return { slices, bytes };
  }
}
