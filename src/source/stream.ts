/**
 * The sending half of a stream: reads a chunk, sums it, encodes it where that is worthwhile, sends it, and keeps count of
 * what is not acknowledged. It touches payload bytes and nothing else: which chunks, says the session, through a port.
 */
import type { Connection } from "../net/connection.ts";
import { type Spent, WorkSampler } from "../net/load.ts";
import type { Port } from "../net/port.ts";
import type { BundledFile } from "../protocol/bundle.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { crc32 } from "../protocol/crc32.ts";
import { asHawserError, type Failure, type HawserError } from "../protocol/errors.ts";
import type { DataName, Encoding } from "../protocol/header.ts";
import type { FileExtent } from "../protocol/messages.ts";
import { type DataSlice, encodeTable, findData } from "../protocol/sparse.ts";
import { sourceBlocks } from "./blocks.ts";
import type { Attempt, Compressed } from "./compression.ts";
import type { BundleMember, Piece } from "./dispatcher.ts";
import { compress, isWorthSparse, sample } from "./encoding.ts";
import { openReader, type Reader, type ReaderDescriptor } from "./reader.ts";
import { readBundle, type UnreadableFile } from "./small-reader.ts";

/** What the session tells its streams. */
export type SourceOrder =
  | { readonly type: "file"; readonly file: number; readonly reader: ReaderDescriptor }
  | { readonly type: "send"; readonly piece: Piece; readonly compress: Attempt }
  | { readonly type: "forget"; readonly file: number }
  /** It gets nothing more, and closes when what it has has arrived. */
  | { readonly type: "leave" };

/** What a stream tells its session. */
export type SourceReport =
  /** It can take `count` more pieces. */
  | { readonly type: "ready"; readonly count: number }
  /** A chunk was read, and is sent now. `spent`: what reading it took, where that was measured. */
  | {
      readonly type: "read";
      readonly piece: Piece;
      readonly crc32: number;
      readonly sent: SentAs;
      readonly spent: Spent | undefined;
    }
  /** Of a bundle: what could be read, and is sent, and what could not. */
  | {
      readonly type: "bundled";
      readonly piece: Piece;
      readonly files: readonly BundledFile[];
      readonly unreadable: readonly UnreadableFile[];
    }
  /** The bundle is sent now; `bytes` of all of it. */
  | {
      readonly type: "bundle-sent";
      readonly piece: Piece;
      readonly bytes: number;
      readonly sent: SentAs;
      readonly spent: Spent | undefined;
    }
  /** What compressing a chunk, or a sample of one, came to. */
  | { readonly type: "compressed" | "sampled"; readonly came: Compressed }
  /** The system has taken the piece (of bundles it is told where they wait for their turn, under a rate limit). */
  | { readonly type: "accepted"; readonly piece: Piece }
  /** The file ended before the piece did, or could not be read. */
  | { readonly type: "unreadable"; readonly piece: Piece; readonly failure: Failure | null }
  /** It reads nothing more of a file that it was to forget. */
  | { readonly type: "forgot"; readonly file: number }
  | { readonly type: "acknowledged"; readonly chunks: readonly FileExtent[] }
  | { readonly type: "damaged"; readonly chunks: readonly FileExtent[] };

/** How a chunk goes over the wire, and what it takes there. */
export interface SentAs {
  readonly encoding: Encoding;
  readonly bytesOnWire: number;
}

/**
 * Blocks of a stream: one is read into while the system takes the other. Where there are many streams each is slow, and what
 * the system has of it lasts: the fifth and those after it have one, so that all of them need little memory.
 */
const BLOCKS = 2;
const STREAMS_WITH_TWO = 4;
/** Pieces that are asked for ahead, so that the next is here when a block is free. */
const ASKED_AHEAD = 1;
/** The same where the answer comes from another thread, while this one reads. */
const ASKED_AHEAD_DISTANT = 2;
/** While chunks are compressed a stream may use more, so that few streams keep as many threads busy as there are. */
const BLOCKS_MAX = 4;
const COMPRESSING_BLOCKS = 8;

export class SourceStream {
  readonly #connection: Connection;
  readonly #report: Port<SourceReport>;
  readonly #windowBytes: number;
  readonly #chunkBytes: number;
  readonly #readers = new Map<number, Reader>();
  readonly #blocks: number;
  readonly #compressingBlocks: number;
  readonly #askedAhead: number;
  readonly #queue: Extract<SourceOrder, { type: "send" }>[] = [];
  #blocksUsed = 0;
  /** Pieces asked for and not got. */
  #asked = 0;
  /** Bytes read and not acknowledged. */
  #unacknowledgedBytes = 0;
  #isLeaving = false;
  readonly #reading = new WorkSampler();

  constructor(
    connection: Connection,
    report: Port<SourceReport>,
    limits: {
      readonly windowBytes: number;
      readonly chunkBytes: number;
      readonly streams: number;
      /** Its number, of so many. */
      readonly stream: number;
      /** The session is in another thread. */
      readonly isDistant?: boolean;
    },
    onClosed: (error: HawserError | undefined) => void,
  ) {
    this.#connection = connection;
    this.#report = report;
    this.#windowBytes = limits.windowBytes;
    this.#chunkBytes = limits.chunkBytes;
    this.#blocks = limits.stream < STREAMS_WITH_TWO ? BLOCKS : 1;
    const sharedOut = Math.ceil(COMPRESSING_BLOCKS / limits.streams);
    this.#compressingBlocks = Math.min(BLOCKS_MAX, Math.max(this.#blocks, sharedOut));
    this.#askedAhead = limits.isDistant === true ? ASKED_AHEAD_DISTANT : ASKED_AHEAD;
    sourceBlocks.opened();
    connection.events = {
      onMessage: (message) => this.#onMessage(message),
      onClosed: (error) => {
        sourceBlocks.closed();
        onClosed(error);
      },
    };
  }

  /** Asks for the first pieces. */
  start(): void {
    this.#ask();
  }

  receive(order: SourceOrder): void {
    if (order.type === "file") this.#readers.set(order.file, openReader(order.reader));
    else if (order.type === "forget") {
      this.#readers.delete(order.file);
      this.#report.post({ type: "forgot", file: order.file });
    } else if (order.type === "leave") {
      this.#isLeaving = true;
      this.#closeIfDone();
    } else {
      this.#asked--;
      this.#queue.push(order);
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
      this.#work();
    }
    this.#closeIfDone();
  }

  /** Between two chunks, and with none on its way: nothing is lost, and nothing comes twice. */
  #closeIfDone(): void {
    const isDone = this.#queue.length === 0 && this.#blocksUsed === 0 && this.#unacknowledgedBytes <= 0;
    if (this.#isLeaving && isDone) this.#connection.close();
  }

  #work(): void {
    while (this.#unacknowledgedBytes + this.#chunkBytes <= this.#windowBytes) {
      const [next] = this.#queue;
      if (next === undefined) break;
      const block = this.#takeBlock(next.compress === "yes" ? this.#compressingBlocks : this.#blocks);
      if (block === undefined) return;
      this.#queue.shift();
      if (next.piece.bundle === undefined) this.#send(next.piece, next.compress, block);
      else this.#sendBundle(next.piece, next.piece.bundle, next.compress, block);
    }
    this.#ask();
  }

  #send(piece: Piece, attempt: Attempt, block: Uint8Array): void {
    const reader = this.#readers.get(piece.file);
    let payload: Uint8Array | undefined;
    let failure: Failure | null = null;
    const done = this.#reading.start();
    try {
      payload = reader?.read(piece.offset, piece.bytes, block);
    } catch (thrown) {
      failure = asHawserError(thrown).toFailure();
    }
    if (payload === undefined || payload.length < piece.bytes) {
      this.#giveBlock(block);
      this.#report.post({ type: "unreadable", piece, failure });
      return;
    }
    const spent = done?.();
    const crc = crc32(payload);
    this.#unacknowledgedBytes += piece.bytes;
    const data = findData(payload);
    const chunk = { piece, crc32: crc, payload, block, spent };
    const isSparse = data !== undefined && isWorthSparse(data, piece.bytes);
    if (attempt === "yes" && !(isSparse && data.length === 0)) this.#compress(chunk, isSparse ? data : undefined);
    else if (isSparse) this.#sendSparse(chunk, data);
    else this.#sendRaw(chunk, attempt);
  }

  #sendBundle(piece: Piece, members: readonly BundleMember[], attempt: Attempt, block: Uint8Array): void {
    const done = this.#reading.start();
    const { payload, files, unreadable } = readBundle(members, block);
    const spent = done?.();
    this.#report.post({ type: "bundled", piece, files, unreadable });
    if (files.length === 0) {
      this.#giveBlock(block);
      return;
    }
    this.#unacknowledgedBytes += payload.length;
    const chunk = { piece, crc32: crc32(payload), payload, block, spent };
    if (attempt === "yes") this.#compress(chunk, undefined);
    else this.#sendRaw(chunk, attempt);
  }

  /** `data`: what is to be sent where the chunk gets no shorter. */
  #compress(chunk: ReadChunk, data: DataSlice[] | undefined): void {
    compress(chunk.payload, (frame, came) => {
      // The chunk goes to another stream.
      if (!this.#connection.isOpen) {
        this.#giveBlock(chunk.block);
        return;
      }
      this.#report.post({ type: "compressed", came });
      if (frame !== undefined) this.#sendEncoded(chunk, "zstd", [frame]);
      else if (data !== undefined) this.#sendSparse(chunk, data);
      else this.#sendRaw(chunk, "no");
    });
  }

  #sendRaw(chunk: ReadChunk, attempt: Attempt): void {
    const { piece, crc32: crc, payload, block } = chunk;
    this.#reportSent(chunk, { encoding: "raw", bytesOnWire: payload.length });
    const name = nameOf(piece);
    this.#connection.sendChunk(piece.file, piece.offset, payload, crc, () => this.#accepted(piece, block), name);
    if (attempt === "sample") sample(payload, (came) => this.#report.post({ type: "sampled", came }));
  }

  #sendSparse(chunk: ReadChunk, data: readonly DataSlice[]): void {
    this.#sendEncoded(chunk, "sparse", [encodeTable(data), ...data.map(({ bytes }) => bytes)]);
  }

  #sendEncoded(chunk: ReadChunk, encoding: Encoding, slices: readonly Uint8Array[]): void {
    const { piece, crc32: crc, payload, block } = chunk;
    const bytesOnWire = slices.reduce((sum, { length }) => sum + length, 0);
    const decodedBytes = payload.length;
    this.#reportSent(chunk, { encoding, bytesOnWire });
    const { file, offset } = piece;
    // The block stays in use until the system has taken what was made of it: so what waits for that is bounded.
    this.#connection.sendEncodedChunk(
      { name: nameOf(piece), file, offset, crc32: crc, encoding, decodedBytes },
      slices,
      () => this.#accepted(piece, block),
    );
  }

  #reportSent({ piece, crc32: crc, payload, spent }: ReadChunk, sent: SentAs): void {
    if (piece.bundle === undefined) this.#report.post({ type: "read", piece, crc32: crc, sent, spent });
    else this.#report.post({ type: "bundle-sent", piece, bytes: payload.length, sent, spent });
  }

  #accepted(piece: Piece, block: Uint8Array): void {
    this.#giveBlock(block);
    if (!this.#connection.isOpen) return;
    if (piece.bundle === undefined || this.#connection.sendingLimit !== undefined) {
      this.#report.post({ type: "accepted", piece });
    }
    this.#work();
    this.#closeIfDone();
  }

  #ask(): void {
    const count = this.#askedAhead - this.#queue.length - this.#asked;
    if (count <= 0 || this.#isLeaving || !this.#connection.isOpen) return;
    this.#asked += count;
    this.#report.post({ type: "ready", count });
  }

  #takeBlock(most: number): Uint8Array | undefined {
    if (this.#blocksUsed >= most || (this.#blocksUsed > 0 && sourceBlocks.isCrowded)) return undefined;
    this.#blocksUsed++;
    return sourceBlocks.take(this.#chunkBytes);
  }

  #giveBlock(block: Uint8Array): void {
    this.#blocksUsed--;
    sourceBlocks.give(block);
  }
}

const nameOf = ({ bundle }: Piece): DataName => (bundle === undefined ? "CHUNK" : "BUNDLE");

interface ReadChunk {
  readonly piece: Piece;
  readonly crc32: number;
  readonly payload: Uint8Array;
  /** Where it lies, unless it lies elsewhere. */
  readonly block: Uint8Array;
  /** What reading it took, where that was measured. */
  readonly spent: Spent | undefined;
}
