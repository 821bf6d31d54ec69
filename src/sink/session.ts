/**
 * The sink's part in a transfer: hears what the source says and has each of its rooms do its part. What is offered is for
 * `offers.ts`; what lies there already, for `comparison.ts`; what arrives, for `receiving.ts`; what becomes of each file,
 * for `settlement.ts`; and what has no chunks, for `small-files.ts`. The one owner of the files that are open.
 */
import type { Connection } from "../net/connection.ts";
import { type Load, LoadMeter, processMicros } from "../net/load.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { errorCodeOf, HawserError } from "../protocol/errors.ts";
import { OFFERED_AHEAD_MAX } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import { Checkpoints } from "./checkpoints.ts";
import { ChunkCopies } from "./chunk-copies.ts";
import { Comparison } from "./comparison.ts";
import { Offers } from "./offers.ts";
import { OutcomeQueue, type SettledRecord } from "./outcome-queue.ts";
import { PartCheck } from "./part-check.ts";
import type { Planner, TransferLimits, Wishes } from "./plan.ts";
import type { ReceivedFile } from "./received-file.ts";
import { Receiving } from "./receiving.ts";
import type { SessionStore } from "./session-store.ts";
import { Settlement } from "./settlement.ts";
import type { Sink } from "./sink.ts";
import { SmallFiles } from "./small-files.ts";
import { hexOf, Unfinished } from "./unfinished.ts";

export interface SinkEvents {
  /** Files got their outcomes; these are told to the source when the promise resolves. Must not reject. */
  onSettled(records: readonly SettledRecord[]): Promise<void>;
  /** All is settled; the receipt goes out when the promise resolves. Must not reject. */
  onFinished(receipt: Message<"RECEIPT">): Promise<void>;
  /** The receipt went out: all that is left is for the connections to be closed. */
  onReceiptSent(): void;
  /** The session can't go on: the peer broke the protocol. */
  onFailed(error: HawserError): void;
}

export interface SinkSessionOptions {
  readonly terms: Terms;
  /** Whose session it is. */
  readonly peer: string;
  readonly sink: Sink;
  readonly store: SessionStore;
  /** Shared by all sessions over this sink and store; its own unless given. */
  readonly unfinished?: Unfinished;
  /** What earlier runs left of the files is thrown away. */
  readonly fresh?: boolean;
  readonly wishes?: Wishes;
  readonly limits?: TransferLimits;
  /** Whose room its parts take up, for a sink with a quota. */
  readonly account?: string;
  readonly events: SinkEvents;
}

/** Made once: without a reason each abort makes one, with its stack. */
const DISPOSED = new Error("the session has ended");

export class SinkSession implements TransferEnd {
  readonly role = "sink";
  readonly #options: SinkSessionOptions;
  readonly #terms: Terms;
  readonly #store: SessionStore;
  readonly #unfinished: Unfinished;
  readonly #sessionId: string;
  readonly #planner: Planner;
  readonly #checkpoints: Checkpoints;
  readonly #settlement: Settlement;
  readonly #check: PartCheck;
  readonly #copies: ChunkCopies;
  readonly #outcomes: OutcomeQueue;
  readonly #offers: Offers;
  readonly #files = new Map<number, ReceivedFile>();
  readonly #small: SmallFiles;
  readonly #comparison: Comparison;
  readonly #receiving: Receiving;
  readonly #disposal = new AbortController();
  readonly #startedMs = performance.now();
  readonly #startedCpu = processMicros();
  readonly #meter = new LoadMeter();
  #control: Connection | undefined;
  /** Of committed files, what an earlier run had brought. */
  #bytesResumed = 0;
  #bytesMatched = 0;
  /** How many files there are, once the source has said so. */
  #announced: number | undefined;
  #receipt: Promise<Message<"RECEIPT">> | undefined;
  #receiptSent = false;
  #disposed: Promise<void> | undefined;

  constructor(options: SinkSessionOptions) {
    const { terms, peer, sink, store, fresh = false } = options;
    this.#options = options;
    this.#terms = terms;
    this.#store = store;
    this.#unfinished = options.unfinished ?? new Unfinished(sink, store);
    this.#sessionId = hexOf(terms.session);
    const { account, limits } = options;
    const owner = { sessionId: this.#sessionId, peer, account, chunkBytes: terms.chunkBytes, fresh };
    const unfinished = this.#unfinished;
    const partId = (index: number) => `${terms.transfer}-${terms.generation}-${index}`;
    const { signal } = this.#disposal;
    this.#planner = { sink, unfinished, owner, partId, signal, wishes: options.wishes ?? {}, limits };
    this.#small = new SmallFiles(this.#planner, {
      onSettled: (record) => this.#outcomes.add(record),
      wasOffered: (index) => index < this.#offers.below,
      comesInChunks: (index) => this.#files.has(index),
    });
    this.#checkpoints = new Checkpoints({
      store,
      durability: sink.capabilities.durability,
      onSyncFailed: (file, error) => {
        this.#receiving.forget(file.index);
        this.#settlement.failSync(file, error.toFailure());
      },
    });
    this.#settlement = new Settlement({
      store,
      unfinished,
      owner,
      checkpoints: this.#checkpoints,
      isStill: (file) => this.#isStill(file),
      verifies: this.#verifies,
      signal: this.#disposal.signal,
      onSettled: (file, record) => this.#onSettled(file, record),
    });
    this.#comparison = new Comparison({
      files: this.#files,
      sink,
      settlement: this.#settlement,
      signal: this.#disposal.signal,
      onDifferent: (file, existing) => this.#offers.inOrder(() => this.#offers.replan(file, existing)),
      giveUp: (index, failure) => this.#giveUp(index, failure),
    });
    this.#receiving = new Receiving(terms, {
      files: this.#files,
      small: this.#small,
      checkpoints: this.#checkpoints,
      fileBytesMax: sink.capabilities.fileBytesMax,
      wasOffered: (index) => index < this.#offers.below,
      onStored: (file) => this.#commitIfWhole(file),
      giveUp: (index, failure) => this.#giveUp(index, failure),
      fail: (error) => this.#options.events.onFailed(error),
    });
    this.#check = new PartCheck(this.#disposal.signal, {
      onSpoilt: (file, offset) => this.#onSpoilt(file, offset),
      onChecked: (file) => this.#commitIfWhole(file),
    });
    this.#copies = new ChunkCopies(this.#disposal.signal, {
      onCopied: (file, from, end) => this.#offers.copied(file, from, end),
      onDone: (file) => {
        this.#offers.copiedAll(file);
        this.#commitIfWhole(file);
      },
      onFailed: (file, failure) => this.#giveUp(file.index, failure),
    });
    this.#offers = new Offers(terms, this.#planner, {
      files: this.#files,
      giveUp: (index, failure) => this.#giveUp(index, failure),
      small: this.#small,
      onSettled: (file, action) => this.#onNothingToSend(file, action),
      check: (file) => this.#check.add(file),
      copy: (file) => this.#copies.add(file),
      tellAgain: (index) => this.#outcomes.sendAgain(index),
      fail: (error) => this.#options.events.onFailed(error),
    });
    this.#outcomes = new OutcomeQueue({
      record: (records) => this.#options.events.onSettled(records),
      send: (outcomes) => this.#control?.send("OUTCOME", { files: outcomes }),
      onEmpty: () => this.#finishIfSettled(),
    });
  }

  /** Whether every file is read back, whole, before it is committed. */
  get #verifies(): boolean {
    return this.#terms.verify === "full";
  }

  /** Of the files committed by now, bytes that earlier runs had brought. */
  get bytesResumed(): number {
    return this.#bytesResumed;
  }

  /** And bytes that are those of the files that gave way to them. */
  get bytesMatched(): number {
    return this.#bytesMatched;
  }

  /** One word of what keeps it, for a source that asks why nothing moves (PROTOCOL.md, PONG). */
  get doing(): string {
    if (this.#options.sink.isWriting ?? this.#receiving.isWriting) return "writing";
    if (this.#settlement.committing > 0 || this.#small.isCommitting) return "committing";
    if (this.#checkpoints.isSyncing) return "syncing";
    if (this.#comparison.isRunning || this.#copies.isRunning) return "comparing";
    return this.#offers.isPlanning || this.#check.isRunning ? "checking" : "receiving";
  }

  get load(): Load {
    const load = this.#meter.read(this.#receiving.disk, this.#receiving.heldMs * 1000);
    return this.#options.sink.capabilities.keepsNothing ? { ...load, diskBytes: 0 } : load;
  }

  controlOpened(control: Connection): void {
    this.#control = control;
    this.#offers.controlOpened(control);
    this.#announced = undefined;
  }

  controlMessage(message: NamedMessage): void {
    switch (message.name) {
      case "OFFER":
        this.#onOffer(message.body);
        break;
      case "DIGEST":
        for (const { file, blake3 } of message.body.files) this.#comparison.onDigest(file, blake3);
        break;
      case "SEAL":
        for (const { file, ...seal } of message.body.files) this.#onSeal(file, seal);
        break;
      case "WITHDRAW":
        for (const { file, error } of message.body.files) {
          const failure = { code: errorCodeOf(error.code), message: escapeText(error.message) };
          if (this.#small.has(file)) this.#small.withdraw(file, failure);
          else this.#giveUp(file, failure);
        }
        break;
      case "FINISH": {
        const control = this.#control;
        // Behind the offers that came before it; as they are, it is said again on another control connection.
        this.#offers.inOrder(async () => {
          if (this.#control !== control) return;
          this.#announced = message.body.files;
          await this.#finishIfSettled();
        });
        break;
      }
    }
  }

  streamOpened(connection: Connection, _index: number, onClosed: (error: HawserError | undefined) => void): void {
    this.#receiving.streamOpened(connection, onClosed);
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  /** What is unfinished stays, for the next run to go on with. */
  async #dispose(): Promise<void> {
    this.#disposal.abort(DISPOSED);
    await this.#offers.idle();
    // What is being committed gets its outcome, and its place in history, also when nobody hears of it any more.
    await this.#check.idle();
    await this.#copies.idle();
    await this.#settlement.idle();
    await this.#small.idle();
    this.#small.clear();
    await this.#outcomes.idle();
    await this.#checkpoints.flush();
    const { owner } = this.#planner;
    for (const file of this.#files.values()) {
      const isWorthKeeping = file.offer.key !== undefined && file.ledger.chunksPresent > 0;
      await (isWorthKeeping ? file.part?.close() : file.part?.abort());
      this.#unfinished.unclaim(owner, file.offer);
    }
    this.#files.clear();
    // What can't be written down now is seen when the server starts again.
    await this.#unfinished.leave(this.#sessionId, this.#receiptSent).catch(() => {});
  }

  #onOffer({ settledBelow, files }: Message<"OFFER">): void {
    if (files.some(({ file }) => file - settledBelow >= OFFERED_AHEAD_MAX)) {
      this.#fail("files are offered too far ahead of the first that has no outcome");
      return;
    }
    const known = this.#outcomes.forgetBelow(settledBelow);
    // What can't be forgotten now goes with the session.
    if (known.length > 0) this.#offers.inOrder(() => this.#store.forgetFiles(known).catch(() => {}));
    this.#offers.queue(files);
  }

  #onNothingToSend(file: ReceivedFile, action: "committed" | "unchanged" | "planned"): void {
    if (action === "planned") this.#settlement.planned(file);
    else if (action === "unchanged") this.#settlement.unchanged(file, file.offer.size ?? 0);
    else this.#onCommittedBefore(file);
  }

  /** An earlier run did it, and its client may not have heard. */
  #onCommittedBefore(file: ReceivedFile): void {
    const { size, crc32 } = file.committed ?? { size: 0, crc32: 0 };
    this.#bytesResumed += size;
    if (!this.#verifies) this.#settlement.committed(file, size, crc32);
    else void this.#comparison.verifyCommitted(file, size, crc32);
  }

  /** What an earlier run left of a chunk is not what was recorded of it. */
  #onSpoilt(file: ReceivedFile, offset: number): void {
    file.spoil(offset);
    if (file.id !== undefined) void this.#store.forgetChunks(file.id, [offset]).catch(() => {});
    this.#control?.send("RESEND", { chunks: [[file.index, offset, file.ledger.bytesAt(offset)]] });
  }

  #onSeal(index: number, seal: NonNullable<ReceivedFile["seal"]>): void {
    const file = this.#files.get(index);
    if (file === undefined || file.phase !== "receiving" || file.seal !== undefined) return;
    if (this.#verifies && seal.blake3 === undefined) {
      this.#fail(`file ${index} is sealed without its BLAKE3, which was agreed on`);
      return;
    }
    if (!file.ledger.settleSize(seal.size)) {
      this.#fail(`file ${index} is sealed with ${seal.size} bytes, which is not what was offered or sent`);
      return;
    }
    file.seal = seal;
    this.#commitIfWhole(file);
  }

  /** Whether all that would be committed is there already, under its name, so that it may stay. */
  async #isStill(file: ReceivedFile): Promise<boolean> {
    if (!file.isAllCopied || this.#planner.wishes.overwrite === "always") return false;
    const existing = await this.#options.sink.find(file.offer.name);
    return existing?.size === file.base?.size && existing?.mtimeMs === file.base?.mtimeMs;
  }

  #commitIfWhole(file: ReceivedFile): void {
    if (!file.isWhole || this.#disposal.signal.aborted) return;
    this.#receiving.forget(file.index);
    this.#settlement.commit(file);
  }

  /** A file can't be received: of no effect on one whose outcome is being made. */
  #giveUp(index: number, failure: Parameters<Settlement["fail"]>[1]): void {
    const file = this.#files.get(index);
    if (file === undefined || file.phase === "settling") return;
    this.#receiving.forget(index);
    this.#settlement.fail(file, failure);
  }

  #onSettled(file: ReceivedFile, record: SettledRecord): void {
    if (!this.#files.delete(file.index)) return;
    this.#offers.settled(file.index);
    if (record.outcome.status === "committed") {
      this.#bytesResumed += file.bytesInherited;
      this.#bytesMatched += file.bytesCopied;
    }
    this.#outcomes.add(record);
  }

  async #finishIfSettled(): Promise<void> {
    if (this.#announced === undefined || this.#files.size > 0 || this.#small.count > 0) return;
    if (!this.#outcomes.isEmpty) return;
    if (this.#announced !== this.#offers.below) {
      return this.#fail(`${this.#announced} files are announced and ${this.#offers.below} were offered`);
    }
    this.#receipt ??= this.#finish();
    const receipt = await this.#receipt;
    if (this.#control?.state !== "finishing") return;
    this.#control.send("RECEIPT", receipt);
    this.#receiptSent = true;
    this.#options.events.onReceiptSent();
  }

  async #finish(): Promise<Message<"RECEIPT">> {
    const cpuMicros = processMicros() - this.#startedCpu;
    const { files, failed, bytes } = this.#outcomes.totals;
    const durationMs = performance.now() - this.#startedMs;
    const receipt = { files, failed, bytes, durationMs, cpuMicros, load: this.load };
    await this.#options.events.onFinished(receipt);
    return receipt;
  }

  #fail(message: string): void {
    this.#options.events.onFailed(new HawserError("E_ILLEGAL", message));
  }
}
