/**
 * The receiving half of a stream: decodes a chunk, checks its CRC, asks the session what to do with it, writes it,
 * acknowledges.
 * It touches payload bytes and nothing else: which chunk belongs where, says the session, through a port.
 */
import type { Connection } from "../net/connection.ts";
import { type Spent, WorkSampler } from "../net/load.ts";
import type { Port } from "../net/port.ts";
import type { Terms } from "../net/transfer-end.ts";
import type { ArrivedChunk } from "../protocol/conversation.ts";
import { asHawserError, type Failure, type HawserError } from "../protocol/errors.ts";
import { PAGE_ENTRIES_MAX } from "../protocol/limits.ts";
import type { FileExtent } from "../protocol/messages.ts";
import { type Content, decode, isSparse } from "./decode.ts";
import type { WriterDescriptor } from "./sink.ts";
import { openWriter, type Writer } from "./writer.ts";

/** What the session tells its streams. */
export type SinkOrder =
  | { readonly type: "file"; readonly file: number; readonly writer: WriterDescriptor }
  | { readonly type: "forget"; readonly file: number }
  /**
   * What to do with the chunk of this ticket: write it, or drop it and say that it is there. `fresh`: nothing was ever
   * written in its place, so zeros need not be.
   */
  | { readonly type: "verdict"; readonly ticket: number; readonly store: boolean; readonly fresh: boolean }
  /** The bytes of the bundle of this ticket are of no more use. */
  | { readonly type: "taken"; readonly ticket: number };

/** What a stream tells its session. */
export type SinkReport =
  | { readonly type: "arrived"; readonly ticket: number; readonly chunk: ChunkFacts }
  /** `spent`: what writing took of the stream's time, where that was measured. */
  | { readonly type: "stored"; readonly chunk: ChunkFacts; readonly spent: Spent | undefined }
  | { readonly type: "unwritable"; readonly file: number; readonly failure: Failure }
  | { readonly type: "damaged"; readonly chunk: ChunkFacts }
  /** For so long nothing was read, since what had come was not written yet. */
  | { readonly type: "held"; readonly ms: number }
  /** A bundle of whole files: who gets it writes them, since that is more about names than about bytes. */
  | { readonly type: "bundle"; readonly ticket: number; readonly payload: Uint8Array };

export interface ChunkFacts {
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
  readonly crc32: number;
}

/** What of the terms bounds a stream. */
type Limits = Pick<Terms, "windowBytes" | "chunkBytes" | "inOrder">;

/** Chunks that may wait to be decoded and written before we read no more: one is written while the next comes in. */
const WAITING_MAX = 2;

/** Where chunks are written in order they wait as well for one that comes over another stream: all that may be sent may. */
const waitingMax = ({ windowBytes, chunkBytes, inOrder }: Limits) =>
  inOrder === true ? Math.max(WAITING_MAX, Math.floor(windowBytes / chunkBytes) + 1) : WAITING_MAX;

interface Waiting {
  readonly arrived: ArrivedChunk;
  /** What is to be written. */
  readonly content: Content;
  /** Somebody is at it, and says when it is of no more use. */
  inUse: boolean;
}

/** Acknowledgements wait for company, this long and until they cover this much of the window at most. */
const ACK_DELAY_MS = 5;
const ACK_WINDOW_PART = 8;

/** The stream could do other things meanwhile. */
const NOT_WAITED_FOR: Spent = { wallMicros: 0, cpuMicros: 0 };

export class SinkStream {
  readonly #connection: Connection;
  readonly #report: Port<SinkReport>;
  readonly #ackBytes: number;
  readonly #waitingMax: number;
  readonly #writers = new Map<number, Writer>();
  /** Chunks whose verdict or writing is waited for. */
  readonly #waiting = new Map<number, Waiting>();
  /** Chunks that are being decoded. */
  #decoding = 0;
  #tickets = 0;
  #acks: FileExtent[] = [];
  #unackedBytes = 0;
  /** Since when nothing is read. */
  #heldSinceMs: number | undefined;
  #ackTimer: NodeJS.Timeout | undefined;
  readonly #writingWork = new WorkSampler();

  constructor(
    connection: Connection,
    report: Port<SinkReport>,
    limits: Limits,
    onClosed: (error: HawserError | undefined) => void,
  ) {
    this.#connection = connection;
    this.#report = report;
    this.#ackBytes = limits.windowBytes / ACK_WINDOW_PART;
    this.#waitingMax = waitingMax(limits);
    connection.events = {
      onMessage: () => {},
      onChunk: (chunk) => this.#onChunk(chunk),
      onClosed: (error) => {
        clearTimeout(this.#ackTimer);
        // Nobody judges what came last, where it ended the session.
        for (const [ticket, { arrived, inUse }] of this.#waiting) if (!inUse) this.#done(ticket, arrived);
        onClosed(error);
      },
    };
  }

  receive(order: SinkOrder): void {
    if (order.type === "file") this.#writers.set(order.file, openWriter(order.writer));
    else if (order.type === "forget") this.#writers.delete(order.file);
    else if (order.type === "taken") this.#onTaken(order.ticket);
    else this.#onVerdict(order);
  }

  #onChunk(arrived: ArrivedChunk): void {
    this.#decoding++;
    decode(arrived, (content) => {
      this.#decoding--;
      // What comes over a stream whose place another has taken has no effect.
      if (!this.#connection.isOpen) this.#connection.giveBack(arrived.block);
      else if (content === undefined) this.#onDamaged(arrived);
      else this.#onDecoded(arrived, content);
    });
    this.#pauseOrGoOn();
  }

  #onDamaged(arrived: ArrivedChunk): void {
    const chunk = factsOf(arrived);
    this.#connection.giveBack(arrived.block);
    if (!arrived.isBundle) this.#report.post({ type: "damaged", chunk });
    this.#connection.send("RESEND", { chunks: [[chunk.file, chunk.offset, chunk.bytes]] });
    this.#pauseOrGoOn();
  }

  #onDecoded(arrived: ArrivedChunk, content: Content): void {
    if (arrived.isBundle && isSparse(content)) {
      this.#onDamaged(arrived);
      return;
    }
    const ticket = this.#tickets++;
    this.#waiting.set(ticket, { arrived, content, inUse: arrived.isBundle });
    if (isSparse(content) || !arrived.isBundle) {
      this.#report.post({ type: "arrived", ticket, chunk: factsOf(arrived) });
    } else this.#report.post({ type: "bundle", ticket, payload: content });
  }

  #onTaken(ticket: number): void {
    const waiting = this.#waiting.get(ticket);
    if (waiting === undefined) return;
    this.#acknowledge(factsOf(waiting.arrived));
    this.#done(ticket, waiting.arrived);
  }

  #onVerdict({ ticket, store, fresh }: Extract<SinkOrder, { type: "verdict" }>): void {
    const waiting = this.#waiting.get(ticket);
    if (waiting === undefined) return;
    const { arrived, content } = waiting;
    if (!store) {
      this.#acknowledge(factsOf(arrived));
      this.#done(ticket, arrived);
      return;
    }
    const done = this.#writingWork.start();
    try {
      const writer = this.#writers.get(arrived.file);
      const writing = isSparse(content)
        ? writer?.writeSparse(arrived.offset, content, fresh)
        : writer?.write(arrived.offset, content);
      waiting.inUse = true;
      if (writing === undefined) this.#stored(ticket, arrived, done?.());
      else
        writing.then(
          () => this.#stored(ticket, arrived, NOT_WAITED_FOR),
          (thrown) => this.#unwritable(ticket, arrived, thrown),
        );
    } catch (thrown) {
      this.#unwritable(ticket, arrived, thrown);
    }
  }

  #stored(ticket: number, arrived: ArrivedChunk, spent: Spent | undefined): void {
    const chunk = factsOf(arrived);
    this.#report.post({ type: "stored", chunk, spent });
    this.#acknowledge(chunk);
    this.#done(ticket, arrived);
  }

  #unwritable(ticket: number, arrived: ArrivedChunk, thrown: unknown): void {
    this.#report.post({ type: "unwritable", file: arrived.file, failure: asHawserError(thrown).toFailure() });
    // The file has failed, and the source hears of it; the chunk must not stay in its window.
    this.#acknowledge(factsOf(arrived));
    this.#done(ticket, arrived);
  }

  #done(ticket: number, arrived: ArrivedChunk): void {
    this.#waiting.delete(ticket);
    this.#connection.giveBack(arrived.block);
    this.#pauseOrGoOn();
  }

  #pauseOrGoOn(): void {
    if (this.#waiting.size + this.#decoding >= this.#waitingMax) {
      this.#heldSinceMs ??= performance.now();
      this.#connection.pause();
      return;
    }
    if (this.#heldSinceMs !== undefined) {
      this.#report.post({ type: "held", ms: performance.now() - this.#heldSinceMs });
      this.#heldSinceMs = undefined;
    }
    this.#connection.resume();
  }

  /** Neighbours become one range. */
  #acknowledge({ file, offset, bytes }: ChunkFacts): void {
    const last = this.#acks[this.#acks.length - 1];
    if (last !== undefined && last[0] === file && last[1] + last[2] === offset) last[2] += bytes;
    else this.#acks.push([file, offset, bytes]);
    this.#unackedBytes += bytes;
    if (this.#unackedBytes >= this.#ackBytes || this.#acks.length === PAGE_ENTRIES_MAX) this.#flushAcks();
    else this.#ackTimer ??= setTimeout(() => this.#flushAcks(), ACK_DELAY_MS);
  }

  #flushAcks(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    if (this.#acks.length > 0) this.#connection.send("ACK", { chunks: this.#acks });
    this.#acks = [];
    this.#unackedBytes = 0;
  }
}

function factsOf({ file, offset, decodedBytes, payloadCrc32 }: ArrivedChunk): ChunkFacts {
  return { file, offset, bytes: decodedBytes, crc32: payloadCrc32 };
}
