/**
 * The sending half of a stream: reads a chunk, sums it, sends it, one after the other, and keeps count of what is not
 * acknowledged. It touches payload bytes and nothing else: which chunks, says the session, through a port.
 */
import type { Connection } from "../net/connection.ts";
import type { Port } from "../net/port.ts";
import type { BundledFile } from "../protocol/bundle.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { crc32 } from "../protocol/crc32.ts";
import { asHawserError, type Failure, type HawserError } from "../protocol/errors.ts";
import type { FileExtent } from "../protocol/messages.ts";
import type { BundleMember, Piece } from "./dispatcher.ts";
import { openReader, type Reader, type ReaderDescriptor } from "./reader.ts";
import { readBundle, type UnreadableFile } from "./small-reader.ts";

/** What the session tells its streams. */
export type SourceOrder =
  | { readonly type: "file"; readonly file: number; readonly reader: ReaderDescriptor }
  | { readonly type: "send"; readonly piece: Piece }
  | { readonly type: "forget"; readonly file: number };

/** What a stream tells its session. */
export type SourceReport =
  /** It can take `count` more pieces. */
  | { readonly type: "ready"; readonly count: number }
  | { readonly type: "read"; readonly piece: Piece; readonly crc32: number }
  /** Of a bundle: what could be read, and is sent, and what could not. */
  | {
      readonly type: "bundled";
      readonly piece: Piece;
      readonly files: readonly BundledFile[];
      readonly unreadable: readonly UnreadableFile[];
    }
  /** Under a rate limit: the system has taken the piece, and it waits for its turn no more. */
  | { readonly type: "accepted"; readonly piece: Piece }
  /** The file ended before the piece did, or could not be read. */
  | { readonly type: "unreadable"; readonly piece: Piece; readonly failure: Failure | null }
  | { readonly type: "acknowledged"; readonly chunks: readonly FileExtent[] }
  | { readonly type: "damaged"; readonly chunks: readonly FileExtent[] };

/** Blocks of a stream: one is read into while the system takes the other. */
const BLOCKS = 2;

export class SourceStream {
  readonly #connection: Connection;
  readonly #report: Port<SourceReport>;
  readonly #windowBytes: number;
  readonly #chunkBytes: number;
  readonly #readers = new Map<number, Reader>();
  readonly #free: Uint8Array[] = [];
  readonly #queue: Piece[] = [];
  #blocksMade = 0;
  /** Pieces asked for and not got. */
  #asked = 0;
  /** Bytes read and not acknowledged. */
  #unacknowledgedBytes = 0;

  constructor(
    connection: Connection,
    report: Port<SourceReport>,
    limits: { readonly windowBytes: number; readonly chunkBytes: number },
    onClosed: (error: HawserError | undefined) => void,
  ) {
    this.#connection = connection;
    this.#report = report;
    this.#windowBytes = limits.windowBytes;
    this.#chunkBytes = limits.chunkBytes;
    connection.events = { onMessage: (message) => this.#onMessage(message), onClosed };
  }

  /** Asks for the first pieces. */
  start(): void {
    this.#ask();
  }

  receive(order: SourceOrder): void {
    if (order.type === "file") this.#readers.set(order.file, openReader(order.reader));
    else if (order.type === "forget") this.#readers.delete(order.file);
    else {
      this.#asked--;
      this.#queue.push(order.piece);
      this.#work();
    }
  }

  #onMessage(message: NamedMessage): void {
    if (message.name === "ACK") {
      for (const [, , bytes] of message.body.chunks) this.#unacknowledgedBytes -= bytes;
      this.#report.post({ type: "acknowledged", chunks: message.body.chunks });
      this.#work();
    } else if (message.name === "RESEND") {
      for (const [, , bytes] of message.body.chunks) this.#unacknowledgedBytes -= bytes;
      this.#report.post({ type: "damaged", chunks: message.body.chunks });
      this.#ask();
    }
  }

  #work(): void {
    while (this.#queue.length > 0 && this.#unacknowledgedBytes + this.#chunkBytes <= this.#windowBytes) {
      const block = this.#takeBlock();
      if (block === undefined) return;
      const piece = this.#queue.shift() as Piece;
      if (piece.bundle === undefined) this.#send(piece, block);
      else this.#sendBundle(piece, piece.bundle, block);
    }
    this.#ask();
  }

  #send(piece: Piece, block: Uint8Array): void {
    const reader = this.#readers.get(piece.file);
    let payload: Uint8Array | undefined;
    let failure: Failure | null = null;
    try {
      payload = reader?.read(piece.offset, piece.bytes, block);
    } catch (thrown) {
      failure = asHawserError(thrown).toFailure();
    }
    if (payload === undefined || payload.length < piece.bytes) {
      this.#free.push(block);
      this.#report.post({ type: "unreadable", piece, failure });
      return;
    }
    const crc = crc32(payload);
    this.#unacknowledgedBytes += piece.bytes;
    this.#report.post({ type: "read", piece, crc32: crc });
    this.#connection.sendChunk(piece.file, piece.offset, payload, crc, () => this.#accepted(piece, block));
  }

  #sendBundle(piece: Piece, members: readonly BundleMember[], block: Uint8Array): void {
    const { payload, files, unreadable } = readBundle(members, block);
    this.#report.post({ type: "bundled", piece, files, unreadable });
    if (files.length === 0) {
      this.#free.push(block);
      return;
    }
    this.#unacknowledgedBytes += payload.length;
    this.#connection.sendChunk(piece.file, 0, payload, crc32(payload), () => this.#accepted(piece, block), "BUNDLE");
  }

  #accepted(piece: Piece, block: Uint8Array): void {
    this.#free.push(block);
    if (!this.#connection.isOpen) return;
    if (this.#connection.sendingLimit !== undefined) this.#report.post({ type: "accepted", piece });
    this.#work();
  }

  /** As many pieces as there are blocks are asked for ahead, so that the next is here when a block is free. */
  #ask(): void {
    const count = BLOCKS - this.#queue.length - this.#asked;
    if (count <= 0 || !this.#connection.isOpen) return;
    this.#asked += count;
    this.#report.post({ type: "ready", count });
  }

  #takeBlock(): Uint8Array | undefined {
    const block = this.#free.pop();
    if (block !== undefined || this.#blocksMade === BLOCKS) return block;
    this.#blocksMade++;
    return Buffer.allocUnsafeSlow(this.#chunkBytes);
  }
}
