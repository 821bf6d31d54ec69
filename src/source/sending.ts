/**
 * What is sent: gives the dealer what the sink lacks of each file, and of a pipe what was read of it, and hears from it
 * what streams read and brought.
 */
import { availableParallelism } from "node:os";
import type { Connection } from "../net/connection.ts";
import { DiskWork } from "../net/load.ts";
import type { Demand, DistantStream, Terms } from "../net/transfer-end.ts";
import { asHawserError, type HawserError } from "../protocol/errors.ts";
import { STREAMS_DEFAULT } from "../protocol/limits.ts";
import type { FileExtent } from "../protocol/messages.ts";
import { Compression, type CompressMode } from "./compression.ts";
import { Dealer } from "./dealer.ts";
import type { Piece } from "./dispatcher.ts";
import type { SourceEvents } from "./events.ts";
import { chunksKept, type Feed } from "./feed.ts";
import type { ReaderDescriptor } from "./reader.ts";
import type { SentFile } from "./sent-file.ts";
import type { Settlement } from "./settlement.ts";
import type { SmallEntries } from "./small-entries.ts";

export interface SendingOwner {
  /** The files that are open, by their index. */
  readonly files: ReadonlyMap<number, SentFile>;
  /** What comes in bundles. */
  readonly small: SmallEntries;
  readonly settlement: Settlement;
  readonly events: SourceEvents;
  /** What earlier runs brought is not read again. */
  readonly trustsTime: boolean;
  /** Reads what earlier runs brought of a file. */
  readThere(file: SentFile): void;
  /** Something may have become idle. */
  onIdle(): void;
}

/** Threads of the pool that chunks are compressed in: as many as libuv makes unless it is told otherwise. */
const POOL_THREADS = 4;

/** Asked once: it takes the system a while. */
const CORES = availableParallelism();

export class Sending {
  #terms: Terms;
  readonly #owner: SendingOwner;
  readonly #compression: Compression;
  #dealer: Dealer;
  #roundTripMs: number | undefined;
  #stopped = false;
  /** What was read of files. */
  readonly disk = new DiskWork();

  constructor(terms: Terms, compress: CompressMode, owner: SendingOwner) {
    this.#terms = terms;
    this.#owner = owner;
    this.#compression = new Compression(compress, Math.min(POOL_THREADS, CORES));
    this.#dealer = this.#newDealer();
  }

  /** Whether nothing was sent that is not acknowledged. */
  get isIdle(): boolean {
    return this.#dealer.isIdle;
  }
  /** Bytes that were dealt and are not acknowledged. */
  get bytesUnderWay(): number {
    return this.#dealer.bytesUnderWay;
  }

  /** See TransferEnd. */
  get demand(): Demand {
    return this.#dealer.demand;
  }
  roundTrip(ms: number): void {
    this.#roundTripMs = Math.min(ms, this.#roundTripMs ?? ms);
    this.#dealer.roundTrip(ms);
  }
  closeStream(index: number): void {
    this.#dealer.closeStream(index);
  }

  peerReads(bytesPerSecond: number | null): void {
    this.#dealer.peerReads(bytesPerSecond);
  }

  streamOpened(connection: Connection, index: number, onClosed: (error: HawserError | undefined) => void): void {
    this.#dealer.openStream(connection, index, onClosed);
  }
  distantOpened(stream: DistantStream, index: number, onClosed: (error: HawserError | undefined) => void): void {
    this.#dealer.openDistant(stream, index, onClosed);
  }

  /** Nothing is to be sent, and nothing under way, until files are planned anew. */
  restart(terms: Terms): void {
    this.#terms = terms;
    this.#dealer.dispose();
    this.#dealer = this.#newDealer();
    if (this.#roundTripMs !== undefined) this.#dealer.roundTrip(this.#roundTripMs);
    if (this.#stopped) this.#dealer.stop();
  }

  /** Deals out nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#dealer.stop();
  }

  dispose(): void {
    this.#stopped = true;
    this.#dealer.dispose();
  }

  /** The sink wants a file, but for what it says that it has. */
  begin(file: SentFile): void {
    file.phase = "sending";
    if (file.item.feed !== undefined) this.#feed(file, file.item.feed);
    else if (file.ledger.size === null) this.#dealer.addEndless(file.index);
    else {
      this.#dealer.add(file.index, file.missing);
      this.#owner.events.onInherited(file.bytesThere);
      for (const piece of file.differing) this.again(file, piece.offset);
      if (this.#owner.trustsTime) file.trust();
      else this.#owner.readThere(file);
    }
    this.#owner.settlement.sealIfRead(file);
  }

  /** A chunk is to be sent for the first time. */
  add({ file, offset, bytes }: Piece): void {
    this.#dealer.add(file, [{ start: offset, end: offset + bytes }]);
  }
  addBundle(bundle: Piece): void {
    this.#dealer.addBundle(bundle);
  }

  /** What the sink had of a chunk is not what it should be. */
  onSpoilt([index, offset]: FileExtent): void {
    const file = this.#owner.files.get(index);
    if (file === undefined || file.withdrawn !== undefined) return;
    if (file.ledger.isChunk(offset, file.ledger.bytesAt(offset))) this.again(file, offset);
  }

  /** The sink has to get a chunk once more. */
  again(file: SentFile, offset: number): void {
    if (!file.sendAgain(offset)) return;
    this.#owner.events.onResent("damaged", 1);
    if (file.phase !== "offered") this.#dealer.again(file.pieceAt(offset));
  }

  /** Ends files of unknown size where they are now: nothing more is read of them. */
  endEndless(): void {
    for (const file of this.#owner.files.values()) {
      if (file.ledger.size !== null || file.item.feed !== undefined) continue;
      file.ledger.settleSize(this.#dealer.endEndless(file.index));
      this.#owner.settlement.sealIfRead(file);
    }
  }

  /** Whether the system has taken all that was read of a file to be sent. */
  hasLeft({ index }: SentFile): boolean {
    return this.#dealer.hasLeft(index);
  }

  /** Sends nothing more of a file. */
  drop({ index }: SentFile): void {
    this.#dealer.drop(index);
  }
  /** A file is open no more. Returns what was under way of it. */
  forget({ index }: SentFile): ReturnType<Dealer["forget"]> {
    return this.#dealer.forget(index);
  }

  /** Reads what can be read only once, and sends each chunk when it is there. */
  #feed(file: SentFile, feed: Feed): void {
    const { chunkBytes, streams } = this.#terms;
    const { settlement, events } = this.#owner;
    const dealer = () => this.#dealer;
    this.#dealer.addEndless(file.index, 0);
    feed.start(
      {
        chunkBytes,
        // For those that there are: the terms say how many there may be.
        get chunksKept() {
          return chunksKept(chunkBytes, Math.min(streams, Math.max(STREAMS_DEFAULT, dealer().streams)));
        },
      },
      {
        onReady: (end) => this.#dealer.extend(file.index, end),
        onEnded: (size) => {
          file.ledger.settleSize(size);
          events.onSized?.(size);
          this.#dealer.extend(file.index, size);
          settlement.sealIfRead(file);
        },
        onFailed: (error) => settlement.withdraw(file, error.toFailure()),
      },
    );
  }

  #newDealer(): Dealer {
    const { files, small, settlement, events } = this.#owner;
    return new Dealer(this.#terms, this.#compression, {
      readerOf: (file) => this.#readerOf(file),
      onLent: (file, until) => files.get(file)?.item.keepOpen?.(until),
      stillWanted: (bundle) => small.stillWanted(bundle),
      onBundled: (bundled, unreadable) => small.onBundled(bundled, unreadable),
      onSentBundle: (bytes, sent) => events.onSent?.(bytes, sent),
      onSent: (piece, crc, sent) => {
        files.get(piece.file)?.sent(piece.offset);
        events.onSent?.(piece.bytes, sent);
        settlement.onRead(piece, crc);
      },
      onLeft: (index) => {
        const file = files.get(index);
        if (file !== undefined) settlement.sealIfRead(file);
      },
      onUnreadable: (piece, failure) => settlement.onUnreadable(piece, failure),
      onAcknowledged: (stream, file, offset, bytes) => this.#onAcknowledged(stream, file, offset, bytes),
      onResent: (reason, count) => events.onResent(reason, count),
      onReading: (bytes, spent) => this.disk.add(bytes, spent),
      onIdle: () => this.#owner.onIdle(),
      onFailed: (error) => events.onFailed(error),
    });
  }

  /** Opens the file, which is where an unreadable one shows. */
  #readerOf(index: number): ReaderDescriptor | undefined {
    const file = this.#owner.files.get(index);
    try {
      return file?.item.open();
    } catch (thrown) {
      if (file !== undefined) this.#owner.settlement.withdraw(file, asHawserError(thrown).toFailure());
      return undefined;
    }
  }

  #onAcknowledged(stream: number, index: number, offset: number, bytes: number): void {
    const file = this.#owner.files.get(index);
    file?.acknowledged(offset);
    if (bytes > 0) file?.item.feed?.release(offset);
    if (file !== undefined) this.#owner.settlement.sealIfRead(file);
    if (bytes > 0) this.#owner.events.onAcknowledged(stream, bytes);
  }
}
