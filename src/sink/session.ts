/**
 * The sink's part in a transfer: plans what is offered, says of each chunk that arrives what to do with it, commits a
 * file when all of it is there and both ends agree on its CRC-32, and settles each with an outcome. The one owner of
 * what has arrived, of the journal, and of the parts.
 */
import type { Connection } from "../net/connection.ts";
import { joinedPorts, type Port } from "../net/port.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import { ChunkLedger } from "../protocol/chunks.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { formatCrc32 } from "../protocol/crc32.ts";
import { asHawserError, errorCodeOf, type Failure, HawserError, wireFailureOf } from "../protocol/errors.ts";
import type { Message, OfferedFile, SettledFile } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import { Journal } from "./journal.ts";
import { Limiter } from "./limiter.ts";
import { OutcomeQueue, type SettledRecord } from "./outcome-queue.ts";
import { alreadyThere, planFile } from "./plan.ts";
import type { SessionStore } from "./session-store.ts";
import type { ExistingFile, Part, Sink } from "./sink.ts";
import { type ChunkFacts, type SinkOrder, type SinkReport, SinkStream } from "./stream.ts";

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
  readonly sink: Sink;
  readonly store: SessionStore;
  readonly events: SinkEvents;
}

interface OpenFile {
  readonly index: number;
  readonly offer: OfferedFile;
  readonly ledger: ChunkLedger;
  /** `settling`: its outcome is being made, and nothing that comes changes it. */
  phase: "planning" | "comparing" | "receiving" | "settling";
  part: Part | undefined;
  existing: ExistingFile | undefined;
  seal: { readonly size: number; readonly crc32: number } | undefined;
}

interface StreamState {
  readonly port: Port<SinkOrder>;
  readonly connection: Connection;
  readonly files: Set<number>;
}

/** Commits and comparisons at once: each waits for the disk, and holds a few descriptors while it does. */
const COMMITS_MAX = 16;
const COMPARISONS_MAX = 4;

export class SinkSession implements TransferEnd {
  readonly role = "sink";
  readonly #terms: Terms;
  readonly #sink: Sink;
  readonly #store: SessionStore;
  readonly #events: SinkEvents;
  readonly #sessionId: string;
  readonly #journal: Journal;
  readonly #outcomes: OutcomeQueue;
  readonly #files = new Map<number, OpenFile>();
  readonly #streams = new Set<StreamState>();
  readonly #commits = new Limiter(COMMITS_MAX);
  readonly #comparisons = new Limiter(COMPARISONS_MAX);
  readonly #disposal = new AbortController();
  readonly #startedMs = performance.now();
  readonly #startedCpu = process.cpuUsage();
  #control: Connection | undefined;
  /** Offers are handled one page after the other. */
  #offers: Promise<void> = Promise.resolve();
  #offeredBelow = 0;
  /** How many files there are, once the source has said so. */
  #announced: number | undefined;
  #receipt: Promise<Message<"RECEIPT">> | undefined;
  #disposed: Promise<void> | undefined;

  constructor({ terms, sink, store, events }: SinkSessionOptions) {
    this.#terms = terms;
    this.#sink = sink;
    this.#store = store;
    this.#events = events;
    this.#sessionId = Buffer.from(terms.session).toString("hex");
    this.#journal = new Journal(store, this.#sessionId);
    this.#outcomes = new OutcomeQueue({
      record: (records) => this.#recordSettled(records),
      send: (outcomes) => this.#control?.send("OUTCOME", { files: outcomes }),
      onEmpty: () => this.#finishIfSettled(),
    });
  }

  controlOpened(control: Connection): void {
    this.#control = control;
    this.#announced = undefined;
  }

  controlMessage(message: NamedMessage): void {
    switch (message.name) {
      case "OFFER":
        this.#outcomes.forgetBelow(message.body.settledBelow);
        this.#inOrder(() => this.#onOffer(message.body.files));
        break;
      case "DIGEST":
        for (const { file, blake3 } of message.body.files) this.#onDigest(file, blake3);
        break;
      case "SEAL":
        for (const { file, size, crc32 } of message.body.files) this.#onSeal(file, size, crc32);
        break;
      case "WITHDRAW":
        for (const { file, error } of message.body.files) {
          this.#giveUp(file, { code: errorCodeOf(error.code), message: escapeText(error.message) });
        }
        break;
      case "FINISH":
        // Behind the offers that came before it.
        this.#inOrder(() => {
          this.#announced = message.body.files;
          return this.#finishIfSettled();
        });
        break;
    }
  }

  streamOpened(connection: Connection, _index: number, onClosed: (error: HawserError | undefined) => void): void {
    const [port, report] = joinedPorts<SinkOrder, SinkReport>(
      (order) => stream.receive(order),
      (message) => this.#onReport(state, message),
    );
    const stream = new SinkStream(connection, report, this.#terms.windowBytes, (error) => {
      this.#streams.delete(state);
      onClosed(error);
    });
    const state: StreamState = { port, connection, files: new Set() };
    this.#streams.add(state);
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    this.#disposal.abort();
    await this.#offers;
    // What is being committed gets its outcome, and its place in history, also when nobody hears of it any more.
    await this.#commits.idle();
    await this.#outcomes.idle();
    await this.#journal.close();
    for (const file of this.#files.values()) await file.part?.abort();
    this.#files.clear();
    // What can't be forgotten now is dropped when the server starts again.
    await this.#store.drop(this.#sessionId).catch(() => {});
  }

  #inOrder(work: () => Promise<void>): void {
    this.#offers = this.#offers.then(work).catch((thrown) => this.#events.onFailed(asHawserError(thrown)));
  }

  // --- planning ---------------------------------------------------------------------------------------------------

  async #onOffer(offers: readonly OfferedFile[]): Promise<void> {
    const plans: Message<"PLAN">["files"] = [];
    for (const offer of offers) {
      if (this.#disposal.signal.aborted) return;
      const again = this.#files.get(offer.file);
      if (again !== undefined) {
        if (again.phase === "comparing") plans.push({ file: offer.file, action: "compare" });
        else if (again.phase === "receiving") plans.push({ file: offer.file, action: "send" });
        continue;
      }
      if (offer.file < this.#offeredBelow) {
        if (!this.#outcomes.sendAgain(offer.file)) this.#fail("E_ILLEGAL", "a file that was settled is offered again");
        continue;
      }
      if (offer.file !== this.#offeredBelow || this.#files.size >= this.#terms.openFiles) {
        return this.#fail("E_ILLEGAL", "files are offered out of order, or too many at once");
      }
      this.#offeredBelow++;
      const action = await this.#plan(offer);
      if (action !== undefined) plans.push({ file: offer.file, action });
    }
    await this.#remember(plans);
    if (plans.length > 0) this.#control?.send("PLAN", { files: plans });
  }

  async #plan(offer: OfferedFile): Promise<"send" | "compare" | undefined> {
    const file: OpenFile = {
      index: offer.file,
      offer,
      ledger: new ChunkLedger(offer.size, this.#terms.chunkBytes),
      phase: "planning",
      part: undefined,
      existing: undefined,
      seal: undefined,
    };
    this.#files.set(offer.file, file);
    try {
      const plan = await planFile(this.#sink, offer, this.#partId(offer.file));
      file.phase = plan.action === "send" ? "receiving" : "comparing";
      if (plan.action === "send") file.part = plan.part;
      else file.existing = plan.existing;
      return plan.action;
    } catch (thrown) {
      this.#giveUp(offer.file, asHawserError(thrown).toFailure());
      return undefined;
    }
  }

  /** Writes down what is now expected, before the source hears of it. */
  async #remember(plans: Message<"PLAN">["files"]): Promise<void> {
    const files = plans.flatMap(({ file }) => this.#files.get(file) ?? []);
    if (files.length === 0) return;
    const stored = files.map(({ index, offer: { name, size, mtime, mode } }) => ({
      file: index,
      name,
      size,
      mtime,
      mode,
      partId: this.#partId(index),
    }));
    try {
      await this.#store.putFiles(this.#sessionId, stored);
    } catch (thrown) {
      for (const { index } of files) this.#giveUp(index, asHawserError(thrown).toFailure());
    }
  }

  #partId(index: number): string {
    return `${this.#terms.transfer}-${index}`;
  }

  // --- comparing --------------------------------------------------------------------------------------------------

  #onDigest(index: number, theirs: Uint8Array): void {
    const file = this.#files.get(index);
    const existing = file?.existing;
    if (file === undefined || existing === undefined) return;
    file.existing = undefined;
    this.#comparisons
      .run(() => existing.digest(this.#disposal.signal))
      .then(
        (ours) => {
          if (Buffer.compare(ours, theirs) !== 0) {
            this.#giveUp(index, alreadyThere(file.offer.name, existing).toFailure());
          } else {
            file.phase = "settling";
            this.#settle(file, { file: index, status: "unchanged", size: existing.size ?? 0 });
          }
        },
        (thrown) => this.#giveUp(index, asHawserError(thrown).toFailure()),
      );
  }

  // --- receiving --------------------------------------------------------------------------------------------------

  #onReport(stream: StreamState, report: SinkReport): void {
    switch (report.type) {
      case "arrived": {
        const store = this.#judge(stream, report.chunk);
        if (store !== undefined) stream.port.post({ type: "verdict", ticket: report.ticket, store });
        break;
      }
      case "stored":
        this.#onStored(report.chunk);
        break;
      case "unwritable":
        this.#giveUp(report.file, report.failure);
        break;
      case "damaged":
        this.#isLegal(report.chunk);
        break;
    }
  }

  /** Whether to write a chunk; undefined when the peer broke the protocol, and nothing more is done for it. */
  #judge(stream: StreamState, chunk: ChunkFacts): boolean | undefined {
    if (!this.#isLegal(chunk)) return undefined;
    const file = this.#files.get(chunk.file);
    // Settled meanwhile: committed already, or failed, and the source hears of it.
    if (file === undefined || file.part === undefined || file.phase === "settling") return false;
    const known = file.ledger.crcAt(chunk.offset);
    if (known !== undefined) {
      if (known === chunk.crc32) return false;
      this.#fail("E_ILLEGAL", "a chunk came twice, with different content");
      return undefined;
    }
    if (!stream.files.has(chunk.file)) {
      try {
        stream.port.post({ type: "file", file: chunk.file, writer: file.part.open() });
      } catch (thrown) {
        this.#giveUp(chunk.file, asHawserError(thrown).toFailure());
        return false;
      }
      stream.files.add(chunk.file);
    }
    return true;
  }

  #isLegal({ file: index, offset, bytes }: ChunkFacts): boolean {
    const file = this.#files.get(index);
    if (file === undefined) {
      if (index < this.#offeredBelow) return true;
      this.#fail("E_FOREIGN_CHUNK", `a chunk of file ${index}, which was not offered`);
      return false;
    }
    if (file.phase === "planning" || file.phase === "comparing") {
      this.#fail("E_WRONG_STATE", `a chunk of file ${index}, which was not asked for`);
      return false;
    }
    if (!file.ledger.isChunk(offset, bytes)) {
      this.#fail("E_OUT_OF_RANGE", `${bytes} bytes at ${offset} are no chunk of file ${index}`);
      return false;
    }
    if (offset + bytes > this.#sink.capabilities.fileBytesMax) {
      const message = `the server takes files of ${this.#sink.capabilities.fileBytesMax} bytes at most`;
      this.#giveUp(index, { code: "E_TOO_LARGE", message });
      return true;
    }
    return true;
  }

  #onStored({ file: index, offset, bytes, crc32 }: ChunkFacts): void {
    const file = this.#files.get(index);
    if (file === undefined) return;
    const recorded = file.ledger.record(offset, bytes, crc32);
    // Two streams brought it at once, and the judge had seen neither stored.
    if (recorded === "different") this.#fail("E_ILLEGAL", "a chunk came twice, with different content");
    if (recorded !== "new") return;
    try {
      file.part?.written(bytes);
    } catch (thrown) {
      this.#giveUp(index, asHawserError(thrown).toFailure());
      return;
    }
    this.#journal.add({ file: index, offset, crc32 }, bytes);
    this.#commitIfWhole(file);
  }

  #onSeal(index: number, size: number, crc32: number): void {
    const file = this.#files.get(index);
    if (file === undefined || file.phase !== "receiving" || file.seal !== undefined) return;
    if (!file.ledger.settleSize(size)) {
      this.#fail("E_ILLEGAL", `file ${index} is sealed with ${size} bytes, which is not what was offered or sent`);
      return;
    }
    file.seal = { size, crc32 };
    this.#commitIfWhole(file);
  }

  // --- committing -------------------------------------------------------------------------------------------------

  #commitIfWhole(file: OpenFile): void {
    if (file.phase !== "receiving" || file.seal === undefined || !file.ledger.isComplete) return;
    const { size, crc32 } = file.seal;
    const ours = file.ledger.wholeCrc32();
    if (ours !== crc32) {
      const message = `what arrived has the CRC-32 ${formatCrc32(ours)}, what was read ${formatCrc32(crc32)}`;
      this.#giveUp(file.index, { code: "E_CONTENT", message });
      return;
    }
    file.phase = "settling";
    this.#forget(file.index);
    this.#commits
      .run(async () => file.part?.commit(size))
      .then(
        () => this.#settle(file, { file: file.index, status: "committed", size, crc32 }),
        (thrown) => this.#settleFailed(file, asHawserError(thrown).toFailure()),
      );
  }

  /** A file can't be received: of no effect on one whose outcome is being made. */
  #giveUp(index: number, failure: Failure): void {
    const file = this.#files.get(index);
    if (file === undefined || file.phase === "settling") return;
    file.phase = "settling";
    this.#forget(index);
    this.#settleFailed(file, failure);
  }

  #settleFailed(file: OpenFile, failure: Failure): void {
    const error = wireFailureOf(failure);
    // The part goes before the outcome, so that whoever hears of it finds staging clean.
    void (file.part?.abort() ?? Promise.resolve()).then(() =>
      this.#settle(file, { file: file.index, status: "failed", error }, failure),
    );
  }

  #settle(file: OpenFile, outcome: SettledFile, failure?: Failure): void {
    if (!this.#files.delete(file.index)) return;
    this.#outcomes.add({ outcome, name: file.offer.name, failure });
  }

  /** No stream writes to the file any more. */
  #forget(index: number): void {
    for (const stream of this.#streams) {
      if (stream.files.delete(index)) stream.port.post({ type: "forget", file: index });
    }
  }

  async #recordSettled(records: readonly SettledRecord[]): Promise<void> {
    const indexes = records.map(({ outcome }) => outcome.file);
    await this.#journal.forget(indexes);
    await this.#store.settleFiles(this.#sessionId, indexes).catch(() => {
      // The files are settled all the same; what stays of them goes with the session.
    });
    await this.#events.onSettled(records);
  }

  async #finishIfSettled(): Promise<void> {
    if (this.#announced === undefined || this.#files.size > 0 || !this.#outcomes.isEmpty) return;
    if (this.#announced !== this.#offeredBelow) {
      return this.#fail("E_ILLEGAL", `${this.#announced} files are announced and ${this.#offeredBelow} were offered`);
    }
    this.#receipt ??= this.#finish();
    const receipt = await this.#receipt;
    if (this.#control?.state !== "finishing") return;
    this.#control.send("RECEIPT", receipt);
    this.#events.onReceiptSent();
  }

  async #finish(): Promise<Message<"RECEIPT">> {
    const { user, system } = process.cpuUsage(this.#startedCpu);
    const { files, failed, bytes } = this.#outcomes.totals;
    const durationMs = performance.now() - this.#startedMs;
    const receipt = { files, failed, bytes, durationMs, cpuMicros: user + system };
    await this.#events.onFinished(receipt);
    return receipt;
  }

  #fail(code: "E_ILLEGAL" | "E_FOREIGN_CHUNK" | "E_WRONG_STATE" | "E_OUT_OF_RANGE", message: string): void {
    this.#events.onFailed(new HawserError(code, message));
  }
}
