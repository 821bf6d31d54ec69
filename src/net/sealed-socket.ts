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
    const sealed = this.#sealer.seal(slices);
    if (sealed.length === 0) {
      done();
      return;
    }
    raw.cork();
    if (this.#before !== undefined) raw.write(this.#before);
    this.#before = undefined;
    for (const [i, piece] of sealed.entries()) {
      raw.write(
        piece,
        i < sealed.length - 1
          ? undefined
          : (error) => {
              // What failed to be written may be the system's still.
              if (!error) sealed.forEach(release);
              done(error);
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
