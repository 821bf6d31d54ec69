/**
 * Writes frames to a socket under a rate limit: chunks in slices, each in its turn, and messages between two chunks. A
 * frame is never broken into by another.
 */
import type { Writable } from "node:stream";
import { WRITE_SLICE_MS } from "./pace.ts";
import type { SendingLimit } from "./rate-limit.ts";

interface PacedChunk {
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  readonly onAccepted: () => void;
  /** Of the payload. */
  writtenBytes: number;
}

export class PacedWriter {
  readonly #socket: Writable;
  readonly #limit: SendingLimit;
  /** The first one is under way. */
  readonly #chunks: PacedChunk[] = [];
  /** What was said while a chunk is under way. */
  #messages: Uint8Array[] = [];
  #messageBytes = 0;
  readonly #go = () => this.#writeSlice();

  constructor(socket: Writable, limit: SendingLimit) {
    this.#socket = socket;
    this.#limit = limit;
  }

  /** Bytes of messages that wait for the end of a chunk. */
  get waitingBytes(): number {
    return this.#messageBytes;
  }

  /** A message counts, and waits for nothing but the end of a chunk that is begun. */
  message(bytes: Uint8Array): void {
    this.#limit.take(bytes.length);
    if (this.#isInChunk) {
      this.#messages.push(bytes);
      this.#messageBytes += bytes.length;
    } else this.#socket.write(bytes);
  }

  /** Whether the chunk was taken; where not, nothing limits it and nothing is before it. See Connection.sendChunk. */
  chunk(header: Uint8Array, pieces: readonly Uint8Array[], onAccepted: () => void): boolean {
    if (this.#limit.isOff && this.#chunks.length === 0) return false;
    const [first = header] = pieces;
    // Under a limit there is time to put together what lies in several places.
    const payload = pieces.length === 1 ? first : Buffer.concat(pieces);
    this.#chunks.push({ header, payload, onAccepted, writtenBytes: 0 });
    if (this.#chunks.length === 1) this.#limit.turn(this.#go);
    return true;
  }

  /** The connection ends: what is not written is not written any more. */
  stop(): void {
    this.#limit.forget(this.#go);
    this.#messages = [];
    for (const { onAccepted } of this.#chunks.splice(0)) onAccepted();
  }

  #writeSlice(): void {
    const chunk = this.#chunks[0];
    if (chunk === undefined) return;
    const { header, payload, writtenBytes } = chunk;
    const slice = payload.subarray(writtenBytes, writtenBytes + this.#limit.sliceBytes(WRITE_SLICE_MS));
    this.#limit.take(slice.length + (writtenBytes === 0 ? header.length : 0));
    chunk.writtenBytes += slice.length;
    this.#socket.cork();
    if (writtenBytes === 0) this.#socket.write(header);
    this.#socket.write(slice, () => this.#onWritten(chunk));
    if (!this.#isInChunk) this.#writeMessages();
    this.#socket.uncork();
  }

  /** The system has the slice: only then the next one, so that nothing piles up here. */
  #onWritten(chunk: PacedChunk): void {
    if (this.#chunks[0] !== chunk) return;
    if (chunk.writtenBytes < chunk.payload.length) {
      this.#limit.turn(this.#go);
      return;
    }
    this.#chunks.shift();
    if (this.#chunks.length > 0) this.#limit.turn(this.#go);
    chunk.onAccepted();
  }

  get #isInChunk(): boolean {
    const chunk = this.#chunks[0];
    return chunk !== undefined && chunk.writtenBytes > 0 && chunk.writtenBytes < chunk.payload.length;
  }

  #writeMessages(): void {
    const messages = this.#messages;
    this.#messages = [];
    this.#messageBytes = 0;
    for (const bytes of messages) this.#socket.write(bytes);
  }
}
