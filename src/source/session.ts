/**
 * The source's part in a transfer: offers files in pages, has what the sink lacks sent, seals a file when all of it was
 * read, and collects what became of each. The one owner of the files; of ranges and streams it is the dealer.
 */
import { availableParallelism } from "node:os";
import { blake3 } from "@napi-rs/blake-hash";
import type { Connection } from "../net/connection.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import type { FileExtent, Message, PlannedFile } from "../protocol/messages.ts";
import { Compression, type CompressMode } from "./compression.ts";
import { Dealer } from "./dealer.ts";
import { Digests } from "./digests.ts";
import type { Piece } from "./dispatcher.ts";
import { type EntryFeed, feedOf, type SourceEntry } from "./entry.ts";
import type { SourceEvents } from "./events.ts";
import type { Feed } from "./feed.ts";
import type { ItemDigest } from "./item.ts";
import { Offers } from "./offers.ts";
import type { ReaderDescriptor } from "./reader.ts";
import { Rereader } from "./rereader.ts";
import type { SentFile } from "./sent-file.ts";
import { Settlement } from "./settlement.ts";
import { SmallEntries } from "./small-entries.ts";

/** Threads of the pool that chunks are compressed in: as many as libuv makes unless it is told otherwise. */
const POOL_THREADS = 4;

/** Before a file is planned to be sent. */
const HEARS_OF_CHUNKS = new Set<SentFile["phase"]>(["offered", "comparing", "matching"]);

export class SourceSession implements TransferEnd {
  readonly role = "source";
  #terms: Terms;
  readonly #trustsTime: boolean;
  readonly #events: SourceEvents;
  readonly #compression: Compression;
  #dealer: Dealer;
  readonly #files = new Map<number, SentFile>();
  readonly #small: SmallEntries;
  readonly #offers: Offers;
  readonly #settlement: Settlement;
  readonly #rereader = new Rereader({
    onRead: (item, piece, crc, bytes) =>
      this.#files.get(piece.file)?.item === item && this.#onReread(piece, crc, bytes),
    onUnreadable: (item, piece, failure) =>
      this.#files.get(piece.file)?.item === item && this.#settlement.onUnreadable(piece, failure),
  });
  readonly #digests = new Digests();
  #control: Connection | undefined;
  #stopped = false;
  #idle: (() => void) | undefined;
  /** It came while files were still being confirmed. */
  #receipt: Message<"RECEIPT"> | undefined;

  /** `trustsTime`: what earlier runs read of a file of the same size and times is not read again. */
  constructor(
    entries: Iterable<SourceEntry> | EntryFeed,
    terms: Terms,
    events: SourceEvents,
    trustsTime = false,
    compress: CompressMode = "none",
  ) {
    this.#small = new SmallEntries(terms.chunkBytes, {
      onBundle: (bundle) => this.#dealer.addBundle(bundle),
      onSettled: (item, outcome, crc32) =>
        this.#events.onSettled({
          item,
          outcome,
          crc32,
          blake3: undefined,
          bytesResumed: 0,
          bytesMatched: 0,
          bytesTrusted: 0,
        }),
      withdraw: (file, failure) => this.#settlement.sendWithdrawal(file, failure),
      onFailed: (error) => this.#events.onFailed(error),
    });
    const feed = Symbol.iterator in entries ? feedOf(entries) : entries;
    this.#offers = new Offers(feed, terms, { files: this.#files, small: this.#small, events });
    this.#terms = terms;
    // What is verified is read.
    this.#trustsTime = trustsTime && terms.verify !== "full";
    this.#events = events;
    this.#settlement = new Settlement(terms, {
      files: this.#files,
      digests: this.#digests,
      events,
      trustsTime: this.#trustsTime,
      send: (name, body) => this.#control?.send(name, body),
      readAll: (file) => this.#rereader.add(file.item, file.unreadOfAll()),
      drop: (file) => void this.#dealer.drop(file.index),
      forget: (file) => {
        this.#offers.settled(file.index);
        return this.#dealer.forget(file.index);
      },
      onSettled: () => this.#checkIdle(),
      onSettledHere: () => {
        // It has made room.
        this.#offers.offerMore();
        this.#checkReceipt();
      },
    });
    this.#compression = new Compression(compress, Math.min(POOL_THREADS, availableParallelism()));
    this.#dealer = this.#newDealer();
  }

  controlOpened(control: Connection): void {
    this.#control = control;
    this.#offers.controlOpened(control);
  }

  /** The sink has forgotten which file has which number, and knows what is on its disk: all is offered anew. */
  restart(terms: Terms): void {
    const once = [...this.#files.values()].find(({ item }) => item.feed?.hasStarted);
    if (once !== undefined) {
      this.#events.onFailed(forgotten(once));
      return;
    }
    this.#events.onRestarted();
    this.#terms = terms;
    this.#rereader.clear();
    this.#dealer.dispose();
    this.#dealer = this.#newDealer();
    if (this.#stopped) this.#dealer.stop();
    this.#settlement.restart(terms);
    this.#offers.restart(terms);
    for (const file of this.#files.values()) {
      if (file.phase === "confirming") this.#rereader.add(file.item, file.unreadOfAll());
    }
  }

  peerReads(bytesPerSecond: number | null): void {
    this.#dealer.peerReads(bytesPerSecond);
  }

  controlMessage(message: NamedMessage): void {
    if (message.name === "HAVE") this.#onHave(message.body);
    else if (message.name === "RESEND") {
      for (const extent of message.body.chunks) this.#onSpoilt(extent);
    } else if (message.name === "PLAN") {
      for (const plan of message.body.files) this.#onPlans(plan);
      this.#small.flush();
    } else if (message.name === "OUTCOME") {
      for (const outcome of message.body.files)
        if (!this.#small.onOutcome(outcome)) this.#settlement.onOutcome(outcome);
      this.#offers.offerMore();
      this.#checkIdle();
    } else if (message.name === "RECEIPT") {
      this.#receipt = message.body;
      this.#checkReceipt();
    }
  }

  streamOpened(connection: Connection, index: number, onClosed: (error: HawserError | undefined) => void): void {
    this.#dealer.openStream(connection, index, onClosed);
  }

  /** Deals out no more, and waits until what is under way is acknowledged, and what is sealed is settled. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#offers.stop();
    this.#settlement.stop();
    this.#dealer.stop();
    this.#rereader.stop();
    // Its end, if it is one, must not be taken for the end of the file any more.
    for (const { item } of this.#files.values()) item.feed?.stop();
    return new Promise((resolve) => {
      this.#idle = resolve;
      this.#checkIdle();
    });
  }

  /** Ends files of unknown size where they are now: nothing more is read of them. */
  endEndless(): void {
    for (const file of this.#files.values()) {
      if (file.ledger.size !== null || file.item.feed !== undefined) continue;
      file.ledger.settleSize(this.#dealer.endEndless(file.index));
      this.#settlement.sealIfRead(file);
    }
  }

  dispose(): Promise<void> {
    this.#stopped = true;
    this.#offers.stop();
    this.#settlement.stop();
    this.#idle?.();
    this.#dealer.dispose();
    this.#rereader.stop();
    this.#digests.stop();
    for (const file of this.#files.values()) {
      file.end();
      file.item.close();
    }
    this.#files.clear();
    this.#small.clear();
    return Promise.resolve();
  }

  /** Bytes that were sent and are not acknowledged. */
  get hasOutstanding(): boolean {
    return !this.#dealer.isIdle;
  }
  /** A pipe has to give more before anything goes on. */
  get isWaitingForInput(): boolean {
    return [...this.#files.values()].some(({ item }) => item.feed?.isWaiting);
  }
  /** How many they are. */
  get unacknowledgedBytes(): number {
    return this.#dealer.bytesUnderWay;
  }
  /** Files are read here, and not to be sent. */
  get isComparing(): boolean {
    return (
      this.#rereader.isRunning ||
      this.#digests.isRunning ||
      [...this.#files.values()].some(({ phase }) => phase === "comparing" || phase === "matching")
    );
  }

  /** A plan may stand for several neighbours. */
  #onPlans({ file: first, action, count = 1 }: PlannedFile): void {
    for (let index = first; index < first + count; index++) {
      if (!this.#small.has(index)) this.#onPlan({ file: index, action });
      else if (action === "send") this.#small.wanted(index);
      else if (this.#offers.move(index)) this.#onPlan({ file: index, action });
    }
  }

  #onPlan({ file: index, action }: PlannedFile): void {
    const file = this.#files.get(index);
    if (file === undefined) return;
    if (file.withdrawn !== undefined) this.#settlement.sendWithdrawal(index, file.withdrawn);
    else if (file.phase === "confirming") {
      // What was committed is gone again.
      file.phase = "offered";
      file.outcome = undefined;
      this.#onPlan({ file: index, action });
    } else if (action === "compare") {
      if (file.digest !== undefined) this.#sendDigest(file, file.digest);
      else if (file.phase === "offered") this.#compare(file);
    } else if (file.phase === "sealed") this.#settlement.sendSeal(file);
    // What was compared may differ, and then be wanted all the same.
    else if (file.phase === "offered" || file.phase === "comparing" || file.phase === "matching")
      this.#beginSending(file);
  }

  #beginSending(file: SentFile): void {
    file.phase = "sending";
    if (file.item.feed !== undefined) this.#feed(file, file.item.feed);
    else if (file.ledger.size === null) this.#dealer.addEndless(file.index);
    else {
      this.#dealer.add(file.index, file.missing);
      this.#events.onInherited(file.bytesThere);
      for (const piece of file.differing) this.#sendAgain(file, piece.offset);
      if (this.#trustsTime) file.trust();
      else this.#rereader.add(file.item, file.unread());
    }
    this.#settlement.sealIfRead(file);
  }

  /** Reads what can be read only once, and sends each chunk when it is there. */
  #feed(file: SentFile, feed: Feed): void {
    const { chunkBytes, streams } = this.#terms;
    this.#dealer.addEndless(file.index, 0);
    feed.start(
      { chunkBytes, chunksKept: chunksKept(chunkBytes, streams) },
      {
        onReady: (end) => this.#dealer.extend(file.index, end),
        onEnded: (size) => {
          file.ledger.settleSize(size);
          this.#events.onSized?.(size);
          this.#dealer.extend(file.index, size);
          this.#settlement.sealIfRead(file);
        },
        onFailed: (error) => this.#settlement.withdraw(file, error.toFailure()),
      },
    );
  }

  #onHave(have: Message<"HAVE">): void {
    const file = this.#files.get(have.file);
    // What was compared, and differs, may have been begun by an earlier run.
    if (file === undefined || !HEARS_OF_CHUNKS.has(file.phase)) return;
    file.has(have);
    if (have.digests === undefined) return;
    // Of what it has of another file more may come: meanwhile these are compared.
    file.phase = "matching";
    this.#rereader.add(file.item, file.claims(have));
  }

  /** What the sink had of a chunk is not what it should be. */
  #onSpoilt([index, offset]: FileExtent): void {
    const file = this.#files.get(index);
    if (
      file !== undefined &&
      file.withdrawn === undefined &&
      file.ledger.isChunk(offset, file.ledger.bytesAt(offset))
    ) {
      this.#sendAgain(file, offset);
    }
  }

  #sendAgain(file: SentFile, offset: number): void {
    if (!file.sendAgain(offset)) return;
    this.#events.onResent("damaged", 1);
    if (file.phase !== "offered") this.#dealer.again(file.pieceAt(offset));
  }

  /** What the sink has of a chunk must be what the file is now; where it isn't, the file as it is now counts. */
  #onReread(piece: Piece, crc: number, bytes: Buffer): void {
    // It may have been asked for when the session had chunks of another size.
    if (!this.#files.get(piece.file)?.ledger.isChunk(piece.offset, piece.bytes)) return;
    this.#settlement.onRead(piece, crc);
    const file = this.#files.get(piece.file);
    if (file === undefined || file.withdrawn !== undefined) return;
    if (file.phase === "confirming") this.#settlement.confirmIfRead(file);
    else if (file.isClaimed(piece.offset)) this.#onCompared(file, piece, crc, bytes);
    else if (file.differs(piece.offset)) this.#sendAgain(file, piece.offset);
    else this.#settlement.sealIfRead(file);
  }

  /** What the sink has of another file counts where CRC-32 and digest are the same. */
  #onCompared(file: SentFile, { offset, bytes }: Piece, crc: number, content: Buffer): void {
    if (file.compare(offset, crc, blake3(content))) this.#events.onInherited(bytes);
    else this.#dealer.add(file.index, [{ start: offset, end: offset + bytes }]);
    this.#settlement.sealIfRead(file);
  }

  #compare(file: SentFile): void {
    file.phase = "comparing";
    this.#digests.add(
      file,
      (digest) => {
        file.digest = digest;
        this.#sendDigest(file, digest);
      },
      (thrown) => this.#settlement.withdraw(file, asHawserError(thrown).toFailure()),
    );
  }

  #sendDigest(file: SentFile, { blake3 }: ItemDigest): void {
    this.#control?.send("DIGEST", { files: [{ file: file.index, blake3 }] });
  }

  #newDealer(): Dealer {
    return new Dealer(this.#terms, this.#compression, {
      readerOf: (file) => this.#readerOf(file),
      stillWanted: (bundle) => this.#small.stillWanted(bundle),
      onBundled: (files, unreadable) => this.#small.onBundled(files, unreadable),
      onSentBundle: (bytes, sent) => this.#events.onSent?.(bytes, sent),
      onSent: (piece, crc, sent) => {
        this.#files.get(piece.file)?.sent(piece.offset);
        this.#events.onSent?.(piece.bytes, sent);
        this.#settlement.onRead(piece, crc);
      },
      onUnreadable: (piece, failure) => this.#settlement.onUnreadable(piece, failure),
      onAcknowledged: (stream, file, offset, bytes) => this.#onAcknowledged(stream, file, offset, bytes),
      onResent: (reason, count) => this.#events.onResent(reason, count),
      onIdle: () => this.#checkIdle(),
      onFailed: (error) => this.#events.onFailed(error),
    });
  }

  #onAcknowledged(stream: number, index: number, offset: number, bytes: number): void {
    const file = this.#files.get(index);
    file?.acknowledged(offset);
    if (bytes > 0) file?.item.feed?.release(offset);
    if (file !== undefined) this.#settlement.sealIfRead(file);
    if (bytes > 0) this.#events.onAcknowledged(stream, bytes);
  }

  /** Opens the file, which is where an unreadable one shows. */
  #readerOf(index: number): ReaderDescriptor | undefined {
    const file = this.#files.get(index);
    try {
      return file?.item.open();
    } catch (thrown) {
      if (file !== undefined) this.#settlement.withdraw(file, asHawserError(thrown).toFailure());
      return undefined;
    }
  }

  #checkReceipt(): void {
    if (this.#receipt !== undefined && this.#files.size === 0 && this.#small.count === 0)
      this.#events.onReceipt(this.#receipt);
  }

  #checkIdle(): void {
    if (this.#idle === undefined || this.hasOutstanding) return;
    const files = [...this.#files.values()];
    // All of them are read and on the other side: what remains is to hear what became of them, and then the receipt.
    const isEnding = this.#offers.finishSent && this.#small.areSent && files.every(({ phase }) => phase === "sealed");
    const hasSent = this.#small.hasSent || files.some(({ phase }) => phase === "sealed");
    if (!isEnding && !hasSent) this.#idle();
  }
}

/** A few for each stream, and some to read ahead: they are what is on its way, and bound what it costs. */
const CHUNKS_PER_STREAM_MIN = 2;
const CHUNKS_PER_STREAM_MAX = 8;
const CHUNKS_AHEAD = 2;
/** Where more than the least is allowed, it is up to this much. */
const KEPT_BYTES = 64 * 1024 * 1024;

function chunksKept(chunkBytes: number, streams: number): number {
  const fitting = Math.min(CHUNKS_PER_STREAM_MAX * streams, Math.floor(KEPT_BYTES / chunkBytes));
  return Math.max(CHUNKS_PER_STREAM_MIN * streams, fitting) + CHUNKS_AHEAD;
}

/** The server has begun anew, and what it had of a file is gone on both ends. */
function forgotten({ phase }: SentFile): HawserError {
  const committed = phase === "sealed" ? "whether it was committed before that is not known" : "nothing was committed";
  const message = `the server was started anew and has forgotten the transfer; the input can't be read again, and ${committed}`;
  return new HawserError("E_UNKNOWN_SESSION", message);
}
