/**
 * Deals chunks out to streams, and keeps count of what is on its way: what a stream loses goes to the others, what arrives
 * damaged is dealt again, and what one holds up for too long another sends as well. The one owner of ranges and streams.
 */
import type { Connection } from "../net/connection.ts";
import type { Spent } from "../net/load.ts";
import { joinedPorts, type Port } from "../net/port.ts";
import type { SendingLimit } from "../net/rate-limit.ts";
import type { Demand, DistantStream, Terms } from "../net/transfer-end.ts";
import type { BundledFile } from "../protocol/bundle.ts";
import { type Failure, HawserError } from "../protocol/errors.ts";
import { CHUNK_RESENDS_MAX } from "../protocol/limits.ts";
import type { FileExtent } from "../protocol/messages.ts";
import type { Range } from "../protocol/ranges.ts";
import type { Compression } from "./compression.ts";
import { Dispatcher, type Piece } from "./dispatcher.ts";
import { InFlight } from "./in-flight.ts";
import type { ReaderDescriptor } from "./reader.ts";
import type { UnreadableFile } from "./small-reader.ts";
import { type SentAs, type SourceOrder, type SourceReport, SourceStream } from "./stream.ts";
import { StreamShares } from "./stream-shares.ts";

export interface DealerOwner {
  /** What a stream reads a file with; undefined where nothing of it is to be sent any more. */
  readerOf(file: number): ReaderDescriptor | undefined;
  /** A stream in another thread has a reader of the file, until then. */
  onLent(file: number, until: Promise<void>): void;
  /** Of a bundle, what is still to be sent; undefined where nothing is. */
  stillWanted(bundle: Piece): Piece | undefined;
  /** A stream has read a bundle's files, and sends those that could be read. */
  onBundled(files: readonly BundledFile[], unreadable: readonly UnreadableFile[]): void;
  /** It sends the bundle, which is so many bytes. */
  onSentBundle(bytes: number, sent: SentAs): void;
  /** A stream has read a chunk, and sends it. */
  onSent(piece: Piece, crc32: number, sent: SentAs): void;
  /** The file ended before the chunk did, or could not be read. */
  onUnreadable(piece: Piece, failure: Failure | null): void;
  /** The system has taken a chunk of a file. */
  onLeft(file: number): void;
  /** The sink has a chunk. `bytes` are zero where that was known. */
  onAcknowledged(stream: number, file: number, offset: number, bytes: number): void;
  onResent(reason: "damaged" | "lost", count: number): void;
  /** A stream has read so many bytes; `spent` where it measured what that took. */
  onReading(bytes: number, spent: Spent | undefined): void;
  /** Something may have become idle. */
  onIdle(): void;
  onFailed(error: HawserError): void;
}

interface StreamState {
  readonly port: Port<SourceOrder>;
  readonly sendingLimit: SendingLimit | undefined;
  /** Pieces that it can take. */
  credit: number;
  /** Files whose reader it has. */
  readonly files: Set<number>;
  /** It gets nothing more. */
  isLeaving: boolean;
  /** Where it lives in another thread: what it reads of, and whom to tell that it does no more. */
  readonly lent: Map<number, () => void> | undefined;
}

const CHUNKS_NEAR_END = 2;
/** A stream that may have no more than so many takes long for each. */
const CHUNKS_OF_SLOW = 3;

/** How often it is looked whether an idle stream should help one that is held up. */
const LOOK_MS = 250;

export class Dealer {
  readonly #terms: Terms;
  readonly #owner: DealerOwner;
  readonly #compression: Compression;
  readonly #dispatcher: Dispatcher;
  readonly #inFlight = new InFlight();
  readonly #shares: StreamShares;
  readonly #streams = new Map<number, StreamState>();
  /** How often each chunk arrived damaged, by 'file:offset'. */
  readonly #damages = new Map<string, number>();
  #lookTimer: NodeJS.Timeout | undefined;
  #peerBytesPerSecond: number | null = null;
  #wasStarved = false;
  #stopped = false;

  constructor(terms: Terms, compression: Compression, owner: DealerOwner) {
    this.#terms = terms;
    this.#owner = owner;
    this.#compression = compression;
    this.#dispatcher = new Dispatcher(terms.chunkBytes, terms.splitBytes, terms.inOrder);
    this.#shares = new StreamShares(terms.chunkBytes);
  }

  /** Whether nothing was sent that is not acknowledged. */
  get isIdle(): boolean {
    return this.#inFlight.isEmpty;
  }

  /** Bytes that were dealt and are not acknowledged. */
  get bytesUnderWay(): number {
    return this.#inFlight.bytes;
  }

  /** The other end reads so many bytes a second at most; null: no limit. */
  peerReads(bytesPerSecond: number | null): void {
    this.#peerBytesPerSecond = bytesPerSecond;
  }

  /** A round trip of the path took so long. */
  roundTrip(ms: number): void {
    this.#shares.roundTrip(ms);
  }

  /** How many streams there are. */
  get streams(): number {
    return this.#streams.size;
  }

  /** See TransferEnd. */
  get demand(): Demand {
    // A stream that nothing was dealt to has asked for nothing since: it waits still.
    const isStarved = this.#wasStarved || [...this.#streams.keys()].some((index) => this.#isStarving(index));
    this.#wasStarved = false;
    return { isStarved, remainingBytes: this.#dispatcher.remainingBytes };
  }

  /** Whether it could take a piece, and there is none for it; what goes in order may wait for its turn. */
  #isStarving(index: number): boolean {
    const { credit = 0, isLeaving = true } = this.#streams.get(index) ?? {};
    if (credit === 0 || isLeaving || this.#hasShare(index)) return false;
    return this.#terms.inOrder !== true || this.#inFlight.heldBy(index) === 0;
  }

  /** A stream is to close: it gets nothing more, and what it had not begun goes to the others. */
  closeStream(index: number): void {
    const stream = this.#streams.get(index);
    if (stream === undefined || stream.isLeaving) return;
    stream.isLeaving = true;
    stream.credit = 0;
    this.#dispatcher.release(index);
    stream.port.post({ type: "leave" });
    this.deal();
  }

  /** Deals out nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /** What streams still say counts for nothing. */
  dispose(): void {
    this.#stopped = true;
    this.#streams.clear();
    clearTimeout(this.#lookTimer);
  }

  /** What is to be sent of a file: ranges of whole chunks, in bytes. */
  add(file: number, ranges: Iterable<Range>): void {
    this.#dispatcher.add(file, ranges);
    this.deal();
  }
  addBundle(bundle: Piece): void {
    this.#dispatcher.addBundle(bundle);
    this.deal();
  }
  addEndless(file: number, end?: number): void {
    this.#dispatcher.addEndless(file, end);
    this.deal();
  }
  /** More of a file of unknown size is there: up to `end`. */
  extend(file: number, end: number): void {
    this.#dispatcher.extend(file, end);
    this.deal();
  }
  /** Ends a file of unknown size after what was dealt of it. Returns its size, in bytes. */
  endEndless(file: number): number {
    return this.#dispatcher.endEndless(file);
  }

  /** A chunk is to be sent once more, before all others. */
  again(piece: Piece): void {
    this.#dispatcher.giveBack(piece);
    this.deal();
  }

  /** Nothing more of a file is sent. Returns what was on its way of it. */
  drop(file: number): ReturnType<InFlight["forgetFile"]> {
    this.#dispatcher.drop(file);
    return this.#inFlight.forgetFile(file);
  }

  /** A file is settled: streams let go of it as well. Returns what was on its way of it. */
  forget(file: number): ReturnType<InFlight["forgetFile"]> {
    const underWay = this.drop(file);
    for (const key of this.#damages.keys()) if (key.startsWith(`${file}:`)) this.#damages.delete(key);
    for (const stream of this.#streams.values()) {
      if (stream.files.delete(file)) stream.port.post({ type: "forget", file });
    }
    return underWay;
  }

  openStream(connection: Connection, index: number, onClosed: (error: HawserError | undefined) => void): void {
    const [port, report] = joinedPorts<SourceOrder, SourceReport>(
      (order) => stream.receive(order),
      // What a stream still says after another took its place counts for nothing.
      (message) => this.#streams.get(index) === state && this.#onReport(index, state, message),
    );
    const stream = new SourceStream(connection, report, { ...this.#terms, stream: index }, (error) => {
      if (this.#streams.get(index) === state) this.#release(index);
      onClosed(error);
    });
    const { sendingLimit } = connection;
    const state: StreamState = { port, sendingLimit, credit: 0, files: new Set(), isLeaving: false, lent: undefined };
    this.#opened(index, state);
    stream.start();
  }

  /** The same for one that lives in another thread, where it has begun already. */
  openDistant(stream: DistantStream, index: number, onClosed: (error: HawserError | undefined) => void): void {
    const { sendingLimit } = stream;
    const lent = new Map<number, () => void>();
    const state: StreamState = { port: stream, sendingLimit, credit: 0, files: new Set(), isLeaving: false, lent };
    stream.events = {
      onReport: (message) => {
        const report = message as SourceReport;
        if (report.type === "forgot") giveBack(lent, report.file);
        else if (this.#streams.get(index) === state) this.#onReport(index, state, report);
      },
      onClosed: (error) => {
        for (const file of lent.keys()) giveBack(lent, file);
        if (this.#streams.get(index) === state) this.#release(index);
        onClosed(error);
      },
    };
    this.#opened(index, state);
  }

  #opened(index: number, state: StreamState): void {
    if (this.#streams.has(index)) this.#release(index);
    this.#streams.set(index, state);
    this.#shares.opened(index, performance.now());
  }

  /** Gives every stream what it can take. */
  deal(): void {
    for (const [index, stream] of this.#streams) this.#dealTo(index, stream);
  }

  #dealTo(index: number, stream: StreamState): void {
    while (stream.credit > 0 && !stream.isLeaving && !this.#stopped && !this.#hasShare(index)) {
      const nowMs = performance.now();
      const taken = this.#terms.inOrder === true ? this.#nextInOrder(index) : this.#next(index);
      if (taken === undefined) {
        this.#wasStarved ||= this.#isStarving(index);
        this.#lookAgain();
        return;
      }
      const piece = taken.bundle === undefined ? taken : this.#owner.stillWanted(taken);
      // One that became smaller may have another number: whoever has the larger one is not waited for.
      if (piece !== taken) this.#inFlight.forget(taken);
      if (piece === undefined) continue;
      if (piece.bundle === undefined && !this.#giveReader(stream, piece.file)) continue;
      stream.credit--;
      const waitsForTurn = stream.sendingLimit?.isOff === false;
      this.#inFlight.deal(index, piece, waitsForTurn ? Number.POSITIVE_INFINITY : nowMs);
      stream.port.post({ type: "send", piece, compress: this.#compression.attempt(piece.bytes, nowMs) });
    }
  }

  /** Whether it has as many chunks as it may. */
  #hasShare(index: number): boolean {
    if (this.#terms.inOrder === true) return false;
    const most = this.#shares.chunksMax(index);
    if (most === Number.POSITIVE_INFINITY) return false;
    const held = this.#inFlight.heldBy(index);
    // Fast ones would only wait for acknowledgements.
    return held >= most || (held > 0 && most <= CHUNKS_OF_SLOW && this.#isNearEnd);
  }

  /** There is no more left than a chunk or two for each stream: who has one leaves the others to those that have none. */
  get #isNearEnd(): boolean {
    return this.#dispatcher.remainingBytes <= CHUNKS_NEAR_END * this.#streams.size * this.#terms.chunkBytes;
  }

  #next(index: number): Piece | undefined {
    return this.#dispatcher.take(index) ?? this.#overdueFor(index);
  }

  /**
   * What goes in order is acknowledged when it is its turn. So each window keeps room for one chunk that has to be sent
   * again, for which all others may wait; and none is sent twice because it takes long.
   */
  #nextInOrder(index: number): Piece | undefined {
    const most = Math.floor(this.#terms.windowBytes / this.#terms.chunkBytes);
    const held = this.#inFlight.heldBy(index);
    if (held >= most) return undefined;
    return held < Math.max(1, most - 1) ? this.#dispatcher.take(index) : this.#dispatcher.takeAgain();
  }

  /** What the other end's limit explains is not overdue: all that is on its way, and as much again for what it doesn't. */
  #overdueFor(index: number): Piece | undefined {
    const rate = this.#peerBytesPerSecond;
    const explainedMs = rate === null ? 0 : ((2 * this.#inFlight.bytes) / rate) * 1000;
    return this.#inFlight.overdueFor(index, performance.now() - explainedMs);
  }

  /** Whether the stream can read the file. */
  #giveReader(stream: StreamState, file: number): boolean {
    if (stream.files.has(file)) return true;
    const reader = this.#owner.readerOf(file);
    if (reader === undefined) return false;
    if (stream.lent !== undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      stream.lent.set(file, resolve);
      this.#owner.onLent(file, promise);
    }
    stream.port.post({ type: "file", file, reader });
    stream.files.add(file);
    return true;
  }

  /** Whether all that was dealt of a file is the system's. */
  hasLeft(file: number): boolean {
    return this.#inFlight.hasLeft(file);
  }

  /** A stream is idle: a chunk that is on its way now may turn out to be held up. */
  #lookAgain(): void {
    if (this.#inFlight.isEmpty || this.#lookTimer !== undefined) return;
    this.#lookTimer = setTimeout(() => {
      this.#lookTimer = undefined;
      this.deal();
    }, LOOK_MS);
  }

  #onReport(index: number, stream: StreamState, report: SourceReport): void {
    switch (report.type) {
      case "ready":
        stream.credit += report.count;
        this.#dealTo(index, stream);
        break;
      case "read":
        this.#inFlight.sent(report.piece, report.sent.bytesOnWire);
        this.#owner.onReading(report.piece.bytes, report.spent);
        this.#owner.onSent(report.piece, report.crc32, report.sent);
        break;
      case "compressed":
        this.#compression.compressed(report.came, performance.now());
        break;
      case "sampled":
        this.#compression.sampled(report.came);
        break;
      case "accepted":
        if (stream.sendingLimit !== undefined) {
          this.#inFlight.accepted(index, report.piece.file, report.piece.offset, performance.now());
        }
        this.#inFlight.left(report.piece);
        this.#owner.onLeft(report.piece.file);
        break;
      case "bundle-sent":
        this.#inFlight.sent(report.piece, report.sent.bytesOnWire);
        this.#owner.onReading(report.bytes, report.spent);
        this.#owner.onSentBundle(report.bytes, report.sent);
        break;
      case "bundled":
        // Where none could be read there is nothing to wait for.
        if (report.files.length === 0) this.#inFlight.forget(report.piece);
        this.#owner.onBundled(report.files, report.unreadable);
        this.#owner.onIdle();
        break;
      case "unreadable":
        this.#owner.onUnreadable(report.piece, report.failure);
        break;
      case "acknowledged":
        for (const chunk of report.chunks) this.#onAcknowledged(index, chunk);
        this.#owner.onIdle();
        // It may have more again.
        this.#dealTo(index, stream);
        break;
      case "damaged":
        for (const chunk of report.chunks) this.#onDamaged(index, chunk);
        this.deal();
        break;
    }
  }

  /** An ACK covers one chunk or several that follow each other. */
  #onAcknowledged(index: number, [file, offset, bytes]: FileExtent): void {
    const nowMs = performance.now();
    if (bytes > this.#terms.windowBytes) {
      this.#owner.onFailed(
        new HawserError("E_ILLEGAL", `${bytes} bytes are acknowledged at once, more than may be sent`),
      );
      return;
    }
    for (let at = offset; at < offset + bytes; at += this.#terms.chunkBytes) {
      const bytesOnWire = this.#inFlight.bytesOnWire(file, at);
      const piece = this.#inFlight.acknowledge(index, file, at, nowMs);
      this.#shares.acknowledged(index, this.#terms.chunkBytes, nowMs);
      if (piece !== undefined) this.#compression.acknowledged(piece.bytes, bytesOnWire, nowMs);
      this.#owner.onAcknowledged(index, file, at, piece?.bytes ?? 0);
    }
  }

  #onDamaged(index: number, [file, offset]: FileExtent): void {
    const piece = this.#inFlight.lose(index, file, offset);
    if (piece === undefined) return;
    const key = `${file}:${offset}`;
    const count = (this.#damages.get(key) ?? 0) + 1;
    this.#damages.set(key, count);
    this.#owner.onResent("damaged", 1);
    if (count > CHUNK_RESENDS_MAX) {
      this.#owner.onFailed(new HawserError("E_DAMAGED_PATH", `one chunk arrived damaged ${count} times`));
      return;
    }
    this.#dispatcher.giveBack(piece);
  }

  /** A stream is gone: what it had goes to the others. */
  #release(index: number): void {
    this.#streams.delete(index);
    this.#shares.closed(index);
    this.#dispatcher.release(index);
    const lost = this.#inFlight.closeStream(index);
    if (lost.length > 0 && !this.#stopped) {
      this.#owner.onResent("lost", lost.length);
      for (const piece of lost) this.#dispatcher.giveBack(piece);
    }
    this.deal();
    this.#owner.onIdle();
  }
}

function giveBack(lent: Map<number, () => void>, file: number): void {
  lent.get(file)?.();
  lent.delete(file);
}
