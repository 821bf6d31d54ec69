/**
 * Chunks of what can be read only once: each is kept from when it was read until the sink has it, since streams break and
 * chunks are then sent again. How many are kept is bounded; while all are in use the input is not read, and whoever
 * writes to it waits.
 */
import { HawserError } from "../protocol/errors.ts";
import type { Input, InputReader } from "./input.ts";

export interface FeedEvents {
  /** What may be sent now ends here: whole chunks. */
  onReady(endOffset: number): void;
  /** The input ended: so many bytes came in all, and all of them may be sent. */
  onEnded(size: number): void;
  onFailed(error: HawserError): void;
}

export interface FeedLimits {
  readonly chunkBytes: number;
  /** How many chunks are kept at most; may change on the way. */
  readonly chunksKept: number;
}

/** A few for each stream, and some to read ahead: they are what is on its way, and bound what it costs. */
const CHUNKS_PER_STREAM_MIN = 2;
const CHUNKS_PER_STREAM_MAX = 8;
const CHUNKS_AHEAD = 2;
/** Where more than the least is allowed, it is up to this much. */
const KEPT_BYTES = 64 * 1024 * 1024;

/** How many chunks are kept for so many streams. */
export function chunksKept(chunkBytes: number, streams: number): number {
  const fitting = Math.min(CHUNKS_PER_STREAM_MAX * streams, Math.floor(KEPT_BYTES / chunkBytes));
  return Math.max(CHUNKS_PER_STREAM_MIN * streams, fitting) + CHUNKS_AHEAD;
}

export class Feed implements InputReader {
  readonly #input: Input;
  readonly #shownName: string;
  readonly #expectedBytes: number | undefined;
  readonly #kept = new Map<number, Uint8Array>();
  /** Buffers that nobody needs now. */
  readonly #free: Uint8Array[] = [];
  #limits: FeedLimits | undefined;
  #events: FeedEvents | undefined;
  /** The chunk that is being read, how far, and where it begins. */
  #current: Uint8Array = new Uint8Array(0);
  #filled = 0;
  #offset = 0;
  #paused = false;
  #over = false;
  #closed = false;

  constructor(input: Input, shownName: string, expectedBytes: number | undefined) {
    this.#input = input;
    this.#shownName = shownName;
    this.#expectedBytes = expectedBytes;
  }

  get hasStarted(): boolean {
    return this.#limits !== undefined;
  }
  /** Whether it is for the input to go on: it is being read, has not ended, and there is room. */
  get isWaiting(): boolean {
    return this.hasStarted && !this.#over && !this.#closed && !this.#paused;
  }
  /** What was read so far, in bytes. */
  get bytesRead(): number {
    return this.#offset + this.#filled;
  }

  /** Begins to read. Once. */
  start(limits: FeedLimits, events: FeedEvents): void {
    this.#limits = limits;
    this.#events = events;
    this.#current = this.#takeBuffer(limits.chunkBytes);
    this.#input.start(this);
  }

  /** The chunk at `offset`; undefined when it isn't kept any more. */
  chunk(offset: number): Uint8Array | undefined {
    return this.#kept.get(offset);
  }

  /** The sink has the chunk at `offset`. */
  release(offset: number): void {
    const buffer = this.#kept.get(offset);
    const limits = this.#limits;
    if (buffer === undefined || limits === undefined) return;
    this.#kept.delete(offset);
    if (this.#over || this.#closed) return;
    // The last chunk may be a view of part of a buffer.
    if (buffer.length === limits.chunkBytes) this.#free.push(buffer);
    if (!this.#paused || this.#kept.size >= limits.chunksKept) return;
    this.#paused = false;
    this.#input.resume();
  }

  /** Reads no more; what was read is kept. */
  stop(): void {
    this.#over = true;
    this.#input.close();
  }

  /** Reads no more, and forgets what was read. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.stop();
    this.#kept.clear();
    this.#free.length = 0;
  }

  target(): Uint8Array {
    return this.#current.subarray(this.#filled);
  }

  advance(count: number): boolean {
    const limits = this.#limits;
    if (this.#closed || this.#over || limits === undefined) return false;
    this.#filled += count;
    if (this.#expectedBytes !== undefined && this.bytesRead > this.#expectedBytes) {
      const message = `${this.#shownName} has more than the ${this.#expectedBytes} bytes that were expected`;
      this.#fail(new HawserError("E_CONTENT", message));
      return false;
    }
    if (this.#filled < limits.chunkBytes) return true;
    this.#kept.set(this.#offset, this.#current);
    this.#offset += limits.chunkBytes;
    this.#filled = 0;
    // One more than are kept, so that there is always one to read into.
    this.#current = this.#takeBuffer(limits.chunkBytes);
    this.#paused = this.#kept.size >= limits.chunksKept;
    const isPaused = this.#paused;
    this.#events?.onReady(this.#offset);
    return !isPaused;
  }

  onEnd(): void {
    if (!this.#closed && !this.#over) this.#end();
  }

  onFailed(error: HawserError): void {
    if (!this.#closed && !this.#over) this.#fail(error);
  }

  #end(): void {
    const size = this.bytesRead;
    if (this.#expectedBytes !== undefined && size !== this.#expectedBytes) {
      const message = `${this.#shownName} ended after ${size} bytes, and ${this.#expectedBytes} were expected`;
      this.#fail(new HawserError("E_CONTENT", message));
      return;
    }
    this.#over = true;
    if (this.#filled > 0) this.#kept.set(this.#offset, this.#current.subarray(0, this.#filled));
    this.#free.length = 0;
    this.#events?.onEnded(size);
    this.#input.close();
  }

  #fail(error: HawserError): void {
    this.stop();
    this.#events?.onFailed(error);
  }

  #takeBuffer(bytes: number): Uint8Array {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(bytes);
  }
}
