/**
 * The source's part in a transfer: hears what the sink says and has each of its rooms do its part. What is offered is for
 * `offers.ts`; what the sink has already, for `comparison.ts`; what it lacks, for `sending.ts`; what becomes of each file,
 * for `settlement.ts`; and what has no chunks, for `small-entries.ts`. The one owner of the files that are open.
 */
import type { Connection } from "../net/connection.ts";
import { type Load, LoadMeter } from "../net/load.ts";
import type { Demand, DistantStream, Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { HawserError } from "../protocol/errors.ts";
import type { Message, PlannedFile } from "../protocol/messages.ts";
import { Comparison } from "./comparison.ts";
import type { CompressMode } from "./compression.ts";
import { Digests } from "./digests.ts";
import { type EntryFeed, feedOf, type SourceEntry } from "./entry.ts";
import type { SourceEvents } from "./events.ts";
import { Offers } from "./offers.ts";
import { Sending } from "./sending.ts";
import type { SentFile } from "./sent-file.ts";
import { Settlement } from "./settlement.ts";
import { SmallEntries } from "./small-entries.ts";

export class SourceSession implements TransferEnd {
  readonly role = "source";
  readonly #events: SourceEvents;
  /** Those that are sent in chunks, by their index. */
  readonly #files = new Map<number, SentFile>();
  readonly #small: SmallEntries;
  readonly #offers: Offers;
  readonly #comparison: Comparison;
  readonly #sending: Sending;
  readonly #settlement: Settlement;
  readonly #digests = new Digests();
  readonly #meter = new LoadMeter();
  #control: Connection | undefined;
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
    this.#events = events;
    const files = this.#files;
    const digests = this.#digests;
    this.#small = new SmallEntries(terms.chunkBytes, {
      onBundle: (bundle) => this.#sending.addBundle(bundle),
      onSettled: (item, outcome, crc32) => {
        events.onSettled({
          item,
          outcome,
          wasBegun: crc32 !== undefined,
          crc32,
          // What has no chunks is not read back, and not resumed. (A spread of these would cost more than all the rest.)
          blake3: undefined,
          bytesResumed: 0,
          bytesMatched: 0,
          bytesTrusted: 0,
        });
      },
      withdraw: (file, failure) => this.#settlement.sendWithdrawal(file, failure),
      onFailed: (error) => events.onFailed(error),
    });
    const small = this.#small;
    const feed = Symbol.iterator in entries ? feedOf(entries) : entries;
    this.#offers = new Offers(feed, terms, { files, small, events });
    // What is verified is read.
    const trusts = trustsTime && terms.verify !== "full";
    this.#settlement = new Settlement(terms, {
      files,
      digests,
      events,
      trustsTime: trusts,
      send: (name, body) => this.#control?.send(name, body),
      readAll: (file) => this.#comparison.readAll(file),
      hasLeft: (file) => this.#sending.hasLeft(file),
      drop: (file) => this.#sending.drop(file),
      forget: (file) => {
        this.#offers.settled(file.index);
        return this.#sending.forget(file);
      },
      onSettled: () => this.#checkIdle(),
      onSettledHere: () => {
        // It has made room.
        this.#offers.offerMore();
        this.#checkReceipt();
      },
    });
    const settlement = this.#settlement;
    this.#comparison = new Comparison({
      files,
      digests,
      settlement,
      events,
      send: (name, body) => this.#control?.send(name, body),
      lacks: (piece) => this.#sending.add(piece),
      sendAgain: (file, offset) => this.#sending.again(file, offset),
    });
    this.#sending = new Sending(terms, compress, {
      files,
      small,
      settlement,
      events,
      trustsTime: trusts,
      readThere: (file) => this.#comparison.readThere(file),
      onIdle: () => this.#checkIdle(),
    });
  }

  get load(): Load {
    return this.#meter.read(this.#sending.disk);
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
    this.#comparison.clear();
    this.#sending.restart(terms);
    this.#settlement.restart(terms);
    this.#offers.restart(terms);
    for (const file of this.#files.values()) {
      if (file.phase === "confirming") this.#comparison.readAll(file);
    }
  }

  peerReads(bytesPerSecond: number | null): void {
    this.#sending.peerReads(bytesPerSecond);
  }

  controlMessage(message: NamedMessage): void {
    if (message.name === "HAVE") this.#comparison.onHave(message.body);
    else if (message.name === "RESEND") {
      for (const extent of message.body.chunks) this.#sending.onSpoilt(extent);
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
    this.#sending.streamOpened(connection, index, onClosed);
  }

  distantOpened(stream: DistantStream, index: number, onClosed: (error: HawserError | undefined) => void): void {
    this.#sending.distantOpened(stream, index, onClosed);
  }

  closeStream(index: number): void {
    this.#sending.closeStream(index);
  }
  roundTrip(ms: number): void {
    this.#sending.roundTrip(ms);
  }
  get demand(): Demand {
    return this.#sending.demand;
  }

  /** Deals out no more, and waits until what is under way is acknowledged, and what is sealed is settled. */
  stop(): Promise<void> {
    this.#offers.stop();
    this.#settlement.stop();
    this.#sending.stop();
    this.#comparison.stop();
    // Its end, if it is one, must not be taken for the end of the file any more.
    for (const { item } of this.#files.values()) item.feed?.stop();
    return new Promise((resolve) => {
      this.#idle = resolve;
      this.#checkIdle();
    });
  }

  /** Ends files of unknown size where they are now: nothing more is read of them. */
  endEndless(): void {
    this.#sending.endEndless();
  }

  dispose(): Promise<void> {
    this.#offers.stop();
    this.#settlement.stop();
    this.#idle?.();
    this.#sending.dispose();
    this.#comparison.stop();
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
    return !this.#sending.isIdle;
  }
  /** How many they are. */
  get unacknowledgedBytes(): number {
    return this.#sending.bytesUnderWay;
  }
  /** A pipe, or the list of what is to be sent, has to give more before anything goes on. */
  get isWaitingForInput(): boolean {
    if (this.#files.size === 0 && this.#small.count === 0) return this.#offers.isWaiting;
    return [...this.#files.values()].some(({ item }) => item.feed?.isWaiting);
  }
  /** Files are read here, and not to be sent. */
  get isComparing(): boolean {
    return this.#comparison.isRunning;
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
    } else if (action === "compare") this.#comparison.compare(file);
    else if (file.phase === "sealed") this.#settlement.sendSeal(file);
    // What was compared may differ, and then be wanted all the same.
    else if (file.phase === "offered" || file.phase === "comparing" || file.phase === "matching")
      this.#sending.begin(file);
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

/** The server has begun anew, and what it had of a file is gone on both ends. */
function forgotten({ phase }: SentFile): HawserError {
  const committed = phase === "sealed" ? "whether it was committed before that is not known" : "nothing was committed";
  const message = `the server was started anew and has forgotten the transfer; the input can't be read again, and ${committed}`;
  return new HawserError("E_UNKNOWN_SESSION", message);
}
