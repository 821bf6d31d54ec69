/**
 * The source's part in a transfer: offers files in pages, has what the sink lacks sent, seals a file when all of it was
 * read, and collects what became of each. The one owner of the files; of ranges and streams it is the dealer.
 */
import { availableParallelism } from "node:os";
import { blake3 } from "@napi-rs/blake-hash";
import type { Connection } from "../net/connection.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, type Failure, HawserError, wireFailureOf } from "../protocol/errors.ts";
import { OFFERED_AHEAD_MAX } from "../protocol/limits.ts";
import {
  type FileExtent,
  type Message,
  type OfferedFile,
  type PlannedFile,
  pages,
  type SettledFile,
} from "../protocol/messages.ts";
import { displayName } from "../protocol/names.ts";
import { Compression, type CompressMode } from "./compression.ts";
import { Dealer } from "./dealer.ts";
import { Digests } from "./digests.ts";
import type { Piece } from "./dispatcher.ts";
import { type EntryFeed, feedOf, type SmallEntry, type SmallItem, type SourceEntry } from "./entry.ts";
import type { Feed } from "./feed.ts";
import type { ItemDigest, SourceItem } from "./item.ts";
import { Offering } from "./offering.ts";
import type { ReaderDescriptor } from "./reader.ts";
import { Rereader } from "./rereader.ts";
import { SentFile } from "./sent-file.ts";
import { fitTerms, SmallEntries } from "./small-entries.ts";
import type { SentAs } from "./stream.ts";

/** What happens, told to whoever runs the transfer. */
export interface SourceEvents {
  /** Something was found that is offered, or that can't or need not be. */
  onFound?(entry: SourceEntry): void;
  /** There is no more to be found. */
  onAllFound?(): void;
  /** A file got its outcome. */
  onSettled(settled: SettledItem): void;
  /** The size of a file that was read from a pipe is known now. */
  onSized?(bytes: number): void;
  /** Bytes of a file that were there when it was planned. */
  onInherited(bytes: number): void;
  /** The sink begins anew: of files that are not settled, what counts is what it will say. */
  onRestarted(): void;
  /** Bytes of a file that the sink has now, on the stream that brought them. */
  onAcknowledged(stream: number, bytes: number): void;
  onResent(reason: "damaged" | "lost", count: number): void;
  /** A chunk goes out, once more perhaps. */
  onSent?(bytes: number, sent: SentAs): void;
  onReceipt(receipt: Message<"RECEIPT">): void;
  /** The transfer can't go on. */
  onFailed(error: HawserError): void;
}

export interface SettledItem {
  readonly item: SourceItem | SmallEntry;
  readonly outcome: SettledFile;
  /** Of what this end read, or trusts; missing where it knows nothing or not all. */
  readonly crc32: number | undefined;
  /** Of the whole, where the session verifies and both ends agree on it. */
  readonly blake3: Uint8Array | undefined;
  /** Of a committed file, what earlier runs had brought. */
  readonly bytesResumed: number;
  /** And what was in the file that gave way to it. */
  readonly bytesMatched: number;
  /** Of the resumed ones, what was not read again. */
  readonly bytesTrusted: number;
}

/** Threads of the pool that chunks are compressed in: as many as libuv makes unless it is told otherwise. */
const POOL_THREADS = 4;

/** What an OFFER's entry takes on the wire besides name and target, at most: nine fields' names, seven numbers, a key. */
const OFFER_ENTRY_BYTES = 160;

/** Entries that are looked for before others have their turn: some milliseconds' worth. */
const OFFERS_AT_ONCE = 512;

/** Before a file is planned to be sent. */
const HEARS_OF_CHUNKS = new Set<SentFile["phase"]>(["offered", "comparing", "matching"]);

export class SourceSession implements TransferEnd {
  readonly role = "source";
  #terms: Terms;
  readonly #trustsTime: boolean;
  readonly #offering: Offering;
  readonly #events: SourceEvents;
  readonly #compression: Compression;
  #dealer: Dealer;
  #files = new Map<number, SentFile>();
  readonly #small: SmallEntries;
  /** Files that were offered to come whole, and are as any other now: they count as what they were offered as. */
  readonly #moved = new Map<number, SmallItem>();
  readonly #rereader = new Rereader({
    onRead: (item, piece, crc, bytes) =>
      this.#files.get(piece.file)?.item === item && this.#onReread(piece, crc, bytes),
    onUnreadable: (item, piece, failure) =>
      this.#files.get(piece.file)?.item === item && this.#onUnreadable(piece, failure),
  });
  readonly #digests = new Digests();
  #control: Connection | undefined;
  #offered = 0;
  /** All below have their outcome. */
  #settledBelow = 0;
  #finishSent = false;
  #offersMoreSoon = false;
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
    const feed = Symbol.iterator in entries ? feedOf(entries) : entries;
    feed.onMore = () => this.#offerMore();
    this.#offering = new Offering(feed, (entry) => fitTerms(entry, this.#terms));
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
      withdraw: (file, failure) => this.#sendWithdrawal(file, failure),
      onFailed: (error) => this.#events.onFailed(error),
    });
    this.#terms = terms;
    // What is verified is read.
    this.#trustsTime = trustsTime && !this.#verifies;
    this.#events = events;
    this.#compression = new Compression(compress, Math.min(POOL_THREADS, availableParallelism()));
    this.#dealer = this.#newDealer();
  }

  /** Whether files are read once more, whole, and compared before they are committed. */
  get #verifies(): boolean {
    return this.#terms.verify === "full";
  }

  controlOpened(control: Connection): void {
    this.#control = control;
    this.#finishSent = false;
    // What the sink may not have heard, it hears again: it knows a file by its index.
    this.#sendOffers([...this.#files.keys(), ...this.#small.indexes].sort((a, b) => a - b));
    this.#offerMore();
  }

  /** The sink has forgotten which file has which number, and knows what is on its disk: all is offered anew. */
  restart(terms: Terms): void {
    const once = [...this.#files.values()].find(({ item }) => item.feed?.hasStarted);
    if (once !== undefined) {
      this.#events.onFailed(forgotten(once));
      return;
    }
    this.#moveBack();
    const open = [...this.#files.keys(), ...this.#small.indexes].sort((a, b) => a - b);
    const numbers = new Map(open.map((before, now) => [before, now]));
    const renumber = (before: number) => numbers.get(before) ?? 0;
    this.#events.onRestarted();
    this.#terms = terms;
    this.#rereader.clear();
    this.#dealer.dispose();
    this.#dealer = this.#newDealer();
    if (this.#stopped) this.#dealer.stop();
    const files = [...this.#files.values()];
    this.#files = new Map();
    this.#offered = open.length;
    this.#settledBelow = 0;
    this.#offering.restart(this.#offered);
    for (const [index] of this.#small.restart(terms.chunkBytes, renumber)) this.#moveToFiles(index);
    for (const file of files) {
      file.restart(renumber(file.index), terms.chunkBytes);
      this.#files.set(file.index, file);
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
      for (const outcome of message.body.files) if (!this.#small.onOutcome(outcome)) this.#onOutcome(outcome);
      this.#offerMore();
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
      this.#sealIfRead(file);
    }
  }

  dispose(): Promise<void> {
    this.#stopped = true;
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
  /** A pipe, or the list of what is to be sent, has to give more before anything goes on. */
  get isWaitingForInput(): boolean {
    if (this.#files.size === 0 && this.#small.count === 0) return this.#offering.isWaiting;
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

  /** Offers as much as may be open; what has to be looked for takes turns with what else there is to do. */
  #offerMore(): void {
    if (this.#stopped || this.#control === undefined) return;
    const fresh: number[] = [];
    const { openFiles, openSmall = openFiles } = this.#terms;
    while (fresh.length < OFFERS_AT_ONCE) {
      this.#advanceSettled();
      if (this.#offered - this.#settledBelow >= OFFERED_AHEAD_MAX) break;
      const moved = this.#moved.size;
      const room = { files: openFiles - this.#files.size + moved, small: openSmall - this.#small.count - moved };
      const entry = this.#offering.take(this.#offered, this.#settledBelow, room);
      if (entry === undefined) break;
      this.#events.onFound?.(entry);
      if (entry.kind === "failed" || entry.kind === "skipped") continue;
      const index = this.#offered++;
      if (entry.kind === undefined) this.#files.set(index, new SentFile(index, entry, this.#terms.chunkBytes));
      else this.#small.add(index, entry);
      fresh.push(index);
    }
    this.#sendOffers(fresh);
    if (fresh.length === OFFERS_AT_ONCE) this.#offerMoreSoon();
    else if (this.#offering.isOver && !this.#finishSent) {
      this.#finishSent = true;
      this.#events.onAllFound?.();
      this.#control.send("FINISH", { files: this.#offered });
    }
  }

  #offerMoreSoon(): void {
    if (this.#offersMoreSoon) return;
    this.#offersMoreSoon = true;
    setImmediate(() => {
      this.#offersMoreSoon = false;
      this.#offerMore();
    });
  }

  #advanceSettled(): void {
    const isOpen = (index: number) => this.#files.has(index) || this.#small.has(index);
    while (this.#settledBelow < this.#offered && !isOpen(this.#settledBelow)) this.#settledBelow++;
  }

  #sendOffers(indexes: readonly number[]): void {
    this.#advanceSettled();
    const offers = indexes.flatMap((index) => this.#offerOf(index) ?? []);
    for (const files of pages(offers, offerBytesOf)) {
      this.#control?.send("OFFER", { settledBelow: this.#settledBelow, files });
    }
  }

  #offerOf(index: number): OfferedFile | undefined {
    const entry = this.#small.itemOf(index);
    if (entry !== undefined) return offerOfEntry(index, entry);
    const item = this.#files.get(index)?.item;
    if (item === undefined) return undefined;
    const { name, size, mtime, mode, key, quick } = item;
    const offer = { file: index, name, size, mtime, mode, ...(quick ? { quick } : {}) };
    return key === undefined ? offer : { ...offer, key };
  }

  /** A plan may stand for several neighbours. */
  #onPlans({ file: first, action, count = 1 }: PlannedFile): void {
    for (let index = first; index < first + count; index++) {
      if (!this.#small.has(index)) this.#onPlan({ file: index, action });
      else if (action === "send") this.#small.wanted(index);
      else this.#compareSmall(index);
    }
  }

  /** A file that would have been sent whole: it is as any other from now on. */
  #compareSmall(index: number): void {
    const item = this.#moveToFiles(index);
    // It was withdrawn before, and the sink has not heard.
    if (item === undefined) this.#small.wanted(index);
    else if (this.#files.has(index)) {
      this.#moved.set(index, item);
      this.#onPlan({ file: index, action: "compare" });
    }
  }

  /** They count as what they are offered as: offered anew as files in chunks they would be too many. */
  #moveBack(): void {
    for (const [index, item] of this.#moved) {
      const file = this.#files.get(index);
      if (file === undefined) continue;
      this.#files.delete(index);
      file.end();
      file.item.close();
      this.#small.add(index, item, file.withdrawn);
    }
    this.#moved.clear();
  }

  #moveToFiles(index: number): SmallItem | undefined {
    const item = this.#small.take(index);
    if (item === undefined) return undefined;
    try {
      this.#files.set(index, new SentFile(index, item.asFile(), this.#terms.chunkBytes));
    } catch (thrown) {
      this.#small.add(index, item);
      this.#small.fail(index, asHawserError(thrown).toFailure());
    }
    return item;
  }

  #onPlan({ file: index, action }: PlannedFile): void {
    const file = this.#files.get(index);
    if (file === undefined) return;
    if (file.withdrawn !== undefined) this.#sendWithdrawal(index, file.withdrawn);
    else if (file.phase === "confirming") {
      // What was committed is gone again.
      file.phase = "offered";
      file.outcome = undefined;
      this.#onPlan({ file: index, action });
    } else if (action === "compare") {
      if (file.digest !== undefined) this.#sendDigest(file, file.digest);
      else if (file.phase === "offered") this.#compare(file);
    } else if (file.phase === "sealed") this.#sendSeal(file);
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
    this.#sealIfRead(file);
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
          this.#sealIfRead(file);
        },
        onFailed: (error) => this.#withdraw(file, error.toFailure()),
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
    this.#onRead(piece, crc);
    const file = this.#files.get(piece.file);
    if (file === undefined || file.withdrawn !== undefined) return;
    if (file.phase === "confirming") this.#confirmIfRead(file);
    else if (file.isClaimed(piece.offset)) this.#onCompared(file, piece, crc, bytes);
    else if (file.differs(piece.offset)) this.#sendAgain(file, piece.offset);
    else this.#sealIfRead(file);
  }

  /** What the sink has of another file counts where CRC-32 and digest are the same. */
  #onCompared(file: SentFile, { offset, bytes }: Piece, crc: number, content: Buffer): void {
    if (file.compare(offset, crc, blake3(content))) this.#events.onInherited(bytes);
    else this.#dealer.add(file.index, [{ start: offset, end: offset + bytes }]);
    this.#sealIfRead(file);
  }

  #compare(file: SentFile): void {
    file.phase = "comparing";
    this.#digests.add(
      file,
      (digest) => {
        file.digest = digest;
        this.#sendDigest(file, digest);
      },
      (thrown) => this.#withdraw(file, asHawserError(thrown).toFailure()),
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
        this.#onRead(piece, crc);
      },
      onUnreadable: (piece, failure) => this.#onUnreadable(piece, failure),
      onAcknowledged: (stream, file, offset, bytes) => this.#onAcknowledged(stream, file, offset, bytes),
      onResent: (reason, count) => this.#events.onResent(reason, count),
      onIdle: () => this.#checkIdle(),
      onFailed: (error) => this.#events.onFailed(error),
    });
  }

  #onRead({ file: index, offset, bytes }: Piece, crc: number): void {
    const file = this.#files.get(index);
    if (file === undefined || file.withdrawn !== undefined) return;
    if (file.ledger.record(offset, bytes, crc) === "different") {
      const message = `'${displayName(file.item.name)}' changed while it was being sent: the bytes at ${offset} read differently`;
      this.#withdraw(file, { code: "E_SOURCE_CHANGED", message });
      return;
    }
    this.#sealIfRead(file);
  }

  #onAcknowledged(stream: number, index: number, offset: number, bytes: number): void {
    const file = this.#files.get(index);
    file?.acknowledged(offset);
    if (bytes > 0) file?.item.feed?.release(offset);
    if (file !== undefined) this.#sealIfRead(file);
    if (bytes > 0) this.#events.onAcknowledged(stream, bytes);
  }

  #onUnreadable(piece: Piece, failure: Failure | null): void {
    const file = this.#files.get(piece.file);
    if (file === undefined) return;
    if (failure === null && file.item.feed?.chunk(piece.offset) === undefined && file.item.feed !== undefined) {
      // The sink had got it meanwhile, over another stream.
      if (file.ledger.crcAt(piece.offset) !== undefined || file.withdrawn !== undefined) return;
      this.#events.onFailed(new HawserError("E_ILLEGAL", "a chunk was acknowledged before it was sent"));
      return;
    }
    const message = "a file became shorter while it was being sent";
    this.#withdraw(file, failure ?? this.#changeOf(file) ?? { code: "E_SOURCE_CHANGED", message });
  }

  /** Opens the file, which is where an unreadable one shows. */
  #readerOf(index: number): ReaderDescriptor | undefined {
    const file = this.#files.get(index);
    try {
      return file?.item.open();
    } catch (thrown) {
      if (file !== undefined) this.#withdraw(file, asHawserError(thrown).toFailure());
      return undefined;
    }
  }

  /** When all of a file was read, and it still is what was offered, its CRC is final. */
  #sealIfRead(file: SentFile): void {
    if (file.phase !== "sending" || !file.isRead) return;
    if (this.#stopped && file.item.feed !== undefined) return;
    if (this.#verifies && file.verified === undefined) {
      this.#verify(file);
      return;
    }
    const failure = this.#changeOf(file);
    if (failure !== undefined) {
      this.#withdraw(file, failure);
      return;
    }
    file.phase = "sealed";
    this.#sendSeal(file);
  }

  /** Reads a file once more, after all of it was read: what is committed must be just that. */
  #verify(file: SentFile): void {
    if (file.verifying !== undefined) return;
    const run = Symbol();
    file.verifying = run;
    this.#digests.add(
      file,
      (digest) => {
        // The session may have been begun anew meanwhile.
        if (file.verifying !== run) return;
        file.verified = digest;
        if (file.ledger.isComplete && digest.crc32 !== file.ledger.wholeCrc32()) {
          const message = `'${displayName(file.item.name)}' changed while it was being sent: it read differently the second time`;
          this.#withdraw(file, { code: "E_SOURCE_CHANGED", message });
        } else if (file.phase === "confirming") this.#confirmIfRead(file);
        else this.#sealIfRead(file);
      },
      (thrown) => this.#withdraw(file, asHawserError(thrown).toFailure()),
    );
  }

  #changeOf(file: SentFile): Failure | undefined {
    try {
      file.item.assertUnchanged();
      if (file.ledger.isComplete) file.item.assertExpected?.(file.ledger.wholeCrc32());
      return undefined;
    } catch (thrown) {
      return asHawserError(thrown).toFailure();
    }
  }

  #sendSeal({ index, ledger, verified }: SentFile): void {
    const seal = { file: index, size: ledger.size ?? 0, crc32: ledger.wholeCrc32() };
    const blake3 = this.#verifies ? verified?.blake3 : undefined;
    this.#control?.send("SEAL", { files: [blake3 === undefined ? seal : { ...seal, blake3 }] });
  }

  /** Takes an offer back: nothing more of the file is sent, and the sink settles it as failed. */
  #withdraw(file: SentFile, failure: Failure): void {
    if (file.withdrawn !== undefined || !this.#files.has(file.index)) return;
    if (file.phase === "confirming") {
      // The sink has nothing to take back.
      this.#settle(file, { file: file.index, status: "failed", error: wireFailureOf(failure) });
      this.#offerMore();
      this.#checkReceipt();
      return;
    }
    file.withdrawn = failure;
    file.end();
    this.#dealer.drop(file.index);
    file.item.feed?.close();
    this.#sendWithdrawal(file.index, failure);
  }

  #sendWithdrawal(file: number, { code, message }: Failure): void {
    this.#control?.send("WITHDRAW", { files: [{ file, error: wireFailureOf({ code, message }) }] });
  }

  #onOutcome(outcome: SettledFile): void {
    const file = this.#files.get(outcome.file);
    if (file === undefined || file.phase === "confirming") return;
    file.outcome = outcome;
    const isKnown = file.ledger.isComplete && (!this.#verifies || file.verified !== undefined);
    if (outcome.status === "committed" && !isKnown && !this.#trustsTime) {
      // An earlier run's commit: it is this run's too if the file still is what was committed.
      file.phase = "confirming";
      this.#rereader.add(file.item, file.unreadOfAll());
      this.#confirmIfRead(file);
    } else this.#settle(file, outcome);
  }

  #confirmIfRead(file: SentFile): void {
    if (!file.ledger.isComplete || file.outcome === undefined) return;
    if (this.#verifies && file.verified === undefined) {
      this.#verify(file);
      return;
    }
    const failure = this.#changeOf(file);
    const { index, item, outcome } = file;
    if (failure !== undefined) this.#settle(file, { file: index, status: "failed", error: wireFailureOf(failure) });
    else if (outcome.crc32 === file.ledger.wholeCrc32() && this.#isVerified(file, outcome)) this.#settle(file, outcome);
    else {
      const message = `what an earlier run committed as '${displayName(item.name)}' is not what the file is now`;
      const error = wireFailureOf({ code: "E_CONTENT", message });
      this.#settle(file, { file: index, status: "failed", error });
    }
    // It has made room.
    this.#offerMore();
    this.#checkReceipt();
  }

  #settle(file: SentFile, outcome: SettledFile): void {
    this.#files.delete(file.index);
    this.#moved.delete(file.index);
    file.end();
    const underWay = this.#dealer.forget(file.index);
    // The outcome overtakes acknowledgements, which wait for company.
    if (outcome.status === "committed") {
      for (const { stream, bytes } of underWay) this.#events.onAcknowledged(stream, bytes);
    }
    file.item.close();
    const trusted = this.#trustsTime && outcome.status === "committed" ? outcome.crc32 : undefined;
    const crc = file.ledger.isComplete ? file.ledger.wholeCrc32() : (file.digest?.crc32 ?? trusted);
    if (outcome.status === "committed" && (crc === undefined || outcome.crc32 !== crc)) {
      this.#events.onFailed(
        new HawserError("E_CONTENT", "the server committed a file with another CRC-32 than was read"),
      );
      return;
    }
    const isCommitted = outcome.status === "committed";
    if (isCommitted && !this.#isVerified(file, outcome)) {
      const what = outcome.blake3 === undefined ? "without its BLAKE3" : "with another BLAKE3 than was read";
      this.#events.onFailed(new HawserError("E_CONTENT", `the server committed a file ${what}`));
      return;
    }
    const blake3 = this.#verifies && outcome.status !== "failed" ? (file.verified ?? file.digest)?.blake3 : undefined;
    const bytesResumed = isCommitted ? file.bytesResumed : 0;
    const bytesMatched = isCommitted ? file.bytesMatched : 0;
    const bytesUnread = file.ledger.isComplete ? file.bytesTrusted : (outcome.size ?? 0);
    const bytesTrusted = isCommitted && trusted !== undefined ? bytesUnread : 0;
    this.#events.onSettled({ item: file.item, outcome, crc32: crc, blake3, bytesResumed, bytesMatched, bytesTrusted });
    this.#checkIdle();
  }

  /** Whether the sink has read back what this end has read, where that was agreed on. */
  #isVerified({ verified }: SentFile, { blake3 }: SettledFile): boolean {
    if (!this.#verifies) return true;
    return blake3 !== undefined && verified !== undefined && Buffer.compare(blake3, verified.blake3) === 0;
  }

  #checkReceipt(): void {
    if (this.#receipt !== undefined && this.#files.size === 0 && this.#small.count === 0)
      this.#events.onReceipt(this.#receipt);
  }

  #checkIdle(): void {
    if (this.#idle === undefined || this.hasOutstanding) return;
    const files = [...this.#files.values()];
    // All of them are read and on the other side: what remains is to hear what became of them, and then the receipt.
    const isEnding = this.#finishSent && this.#small.areSent && files.every(({ phase }) => phase === "sealed");
    const hasSent = this.#small.hasSent || files.some(({ phase }) => phase === "sealed");
    if (!isEnding && !hasSent) this.#idle();
  }
}

function offerOfEntry(file: number, item: SmallEntry): OfferedFile {
  const { kind, name, size, mtime, mode } = item;
  const offer = { file, name, size, mtime: [...mtime] as [number, number], mode };
  if (kind === "small") return { ...offer, whole: true, ...(item.quick ? { quick: true } : {}) };
  return kind === "symlink" ? { ...offer, kind, target: item.target } : { ...offer, kind };
}

function offerBytesOf({ name, target }: OfferedFile): number {
  return OFFER_ENTRY_BYTES + name.length + (target?.length ?? 0);
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
