/**
 * Bytes in, frames out. The decoder says where the next bytes should land, so that a socket can read a chunk straight
 * into the buffer from which it is written: a payload byte is not copied on its way through here.
 *
 * A chunk's buffer is asked for a little larger than the chunk, and the slack behind it takes the next header with the
 * same read. Every length is admitted before a buffer is asked for.
 */
import { crc32 } from "./crc32.ts";
import { decodeGreeting, foreignProgram, isGreetingSoFar, type VersionRange } from "./greeting.ts";
import { decodeHeader, type FrameHeader, isData } from "./header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "./limits.ts";

/** Room behind a chunk for what follows it: one header. */
export const SLACK_BYTES = HEADER_BYTES;

/** Takes in headers, and whole frames when they are small; larger payloads have buffers of their own. */
const SCRATCH_BYTES = 4096;

/** Where a read goes that was begun while nothing should be read. */
const ASIDE_BYTES = 4096;

export interface Frame {
  readonly header: FrameHeader;
  readonly payload: Uint8Array;
  /** The buffer that `admit` gave for this frame and that the payload lies at the start of. */
  readonly block: Uint8Array;
  /** Whether the payload is what was sent; null of an encoded one, which has to be decoded to know. */
  readonly intact: boolean | null;
}

export interface DecoderOwner {
  /**
   * A buffer for this frame's payload, of `payloadBytes` or more; undefined where there is none now: then `isBlocked`, and
   * nothing should be read until `goOn`. Throws a HawserError for a frame that must not come: nothing has been kept for it.
   */
  admit(header: FrameHeader): Uint8Array | undefined;
  onGreeting(versions: VersionRange): void;
  onFrame(frame: Frame): void;
}

export class FrameDecoder {
  readonly #owner: DecoderOwner;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  /** Bytes of scratch that are filled, and from where on they are not parsed yet. */
  #filled = 0;
  #parsed = 0;
  #greeted = false;
  /** Something illegal came: nothing that follows means anything. */
  #failed = false;
  /** There is no buffer yet for the frame whose header is the first in scratch. */
  #blocked = false;
  /** What `target` gave meanwhile: whoever reads may hold it still when there is a buffer. */
  #aside: Uint8Array | undefined;
  /** What was pushed meanwhile. */
  #pushed: Uint8Array[] = [];
  /** The frame whose payload is being read, and where to. */
  #header: FrameHeader | undefined;
  #block: Uint8Array | undefined;
  #received = 0;
  #crc = 0;
  /** Of chunks that came whole. */
  #chunkBytes = 0;

  constructor(owner: DecoderOwner) {
    this.#owner = owner;
  }

  /** Payload bytes of chunks that came so far, the one under way included. */
  get chunkBytesReceived(): number {
    const header = this.#header;
    return (
      this.#chunkBytes +
      (header !== undefined && isData(header.name) ? Math.min(this.#received, header.payloadBytes) : 0)
    );
  }

  /** Of the chunk that is coming, what has come in bytes; undefined where none is. */
  get comingBytes(): number | undefined {
    return this.#header !== undefined && isData(this.#header.name) ? this.#received : undefined;
  }

  get isBlocked(): boolean {
    return this.#blocked;
  }

  /** There may be a buffer now for what had none. Calls the owner, and throws, as `advance` does. */
  goOn(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#guard(() => this.#parse());
    const pushed = this.#pushed;
    this.#pushed = [];
    for (const bytes of pushed) this.push(bytes);
  }

  /** Nothing more comes. Returns the buffer of the frame that was coming, if there is one. */
  abandon(): Uint8Array | undefined {
    this.#failed = true;
    this.#pushed = [];
    const block = this.#block;
    this.#header = undefined;
    this.#block = undefined;
    return block;
  }

  /** Where the next bytes go: read into this, never more than fits, then call `advance`. Never empty. */
  target(): Uint8Array {
    if (this.#blocked) {
      this.#aside ??= new Uint8Array(ASIDE_BYTES);
      return this.#aside;
    }
    this.#aside = undefined;
    return this.#place();
  }

  #place(): Uint8Array {
    if (this.#header === undefined || this.#block === undefined) return this.#scratch.subarray(this.#filled);
    const end = Math.min(this.#block.length, this.#header.payloadBytes + SLACK_BYTES);
    return this.#block.subarray(this.#received, end);
  }

  /**
   * `count` bytes were put where `target` said. Calls the owner; throws what the owner throws, or a HawserError, and
   * after that makes nothing more of what comes.
   */
  advance(count: number): void {
    const aside = this.#aside;
    if (aside === undefined) this.#guard(() => this.#advance(count));
    else {
      this.#aside = undefined;
      this.push(aside.subarray(0, count));
    }
  }

  #guard(work: () => void): void {
    if (this.#failed) return;
    try {
      work();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  #advance(count: number): void {
    const header = this.#header;
    const block = this.#block;
    if (header === undefined || block === undefined) {
      this.#filled += count;
      this.#parse();
      return;
    }
    const before = this.#received;
    this.#received += count;
    const end = Math.min(this.#received, header.payloadBytes);
    if (header.encoding === "raw") this.#crc = crc32(block.subarray(before, end), this.#crc);
    if (this.#received < header.payloadBytes) return;
    this.#scratch.set(block.subarray(header.payloadBytes, this.#received));
    this.#filled = this.#received - header.payloadBytes;
    this.#finish(header, block);
    this.#parse();
  }

  /** The same for bytes that lie elsewhere (a TLS socket, a test): they are copied to where they belong. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.#failed; ) {
      if (this.#blocked) {
        // They are the caller's again when this returns. (A Buffer's `slice` is no copy.)
        this.#pushed.push(new Uint8Array(bytes.subarray(at)));
        return;
      }
      const target = this.#place();
      const count = Math.min(target.length, bytes.length - at);
      target.set(bytes.subarray(at, at + count));
      at += count;
      this.#guard(() => this.#advance(count));
    }
  }

  /** Takes whole frames out of scratch, or the start of one that then goes on in a buffer of its own. */
  #parse(): void {
    if (!this.#greeted && !this.#parseGreeting()) return;
    while (this.#filled - this.#parsed >= HEADER_BYTES) {
      const header = decodeHeader(this.#scratch, this.#parsed);
      const block = this.#owner.admit(header);
      if (block === undefined) {
        this.#blocked = true;
        break;
      }
      this.#parsed += HEADER_BYTES;
      const count = Math.min(header.payloadBytes, this.#filled - this.#parsed);
      const start = this.#scratch.subarray(this.#parsed, this.#parsed + count);
      block.set(start);
      this.#parsed += count;
      this.#received = count;
      this.#crc = crc32(start);
      if (count < header.payloadBytes) {
        this.#header = header;
        this.#block = block;
        this.#filled = 0;
        this.#parsed = 0;
        return;
      }
      this.#finish(header, block);
    }
    this.#scratch.copyWithin(0, this.#parsed, this.#filled);
    this.#filled -= this.#parsed;
    this.#parsed = 0;
  }

  #parseGreeting(): boolean {
    const bytes = this.#scratch.subarray(0, this.#filled);
    if (!isGreetingSoFar(bytes)) throw foreignProgram(bytes);
    if (bytes.length < GREETING_BYTES) return false;
    this.#greeted = true;
    this.#parsed = GREETING_BYTES;
    this.#owner.onGreeting(decodeGreeting(bytes));
    return true;
  }

  #finish(header: FrameHeader, block: Uint8Array): void {
    const intact = header.encoding === "raw" ? this.#crc === header.payloadCrc32 : null;
    this.#header = undefined;
    this.#block = undefined;
    if (isData(header.name)) this.#chunkBytes += header.payloadBytes;
    this.#owner.onFrame({ header, block, payload: block.subarray(0, header.payloadBytes), intact });
  }
}
