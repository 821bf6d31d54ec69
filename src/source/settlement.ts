/**
 * From what was read of a file to its outcome: a file is sealed when all of it was read and sent and it still is what was offered,
 * withdrawn when it is not, and settled by what the sink says of it, where that is what was read here.
 */
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError, type Failure, HawserError, wireFailureOf } from "../protocol/errors.ts";
import type { Message, SettledFile } from "../protocol/messages.ts";
import { displayName } from "../protocol/names.ts";
import type { Digests } from "./digests.ts";
import type { Piece } from "./dispatcher.ts";
import type { SourceEvents } from "./events.ts";
import type { SentFile } from "./sent-file.ts";

export interface SettlementOwner {
  /** The files that are open, by their index. */
  readonly files: Map<number, SentFile>;
  readonly digests: Digests;
  readonly events: SourceEvents;
  /** What earlier runs brought is not read again. */
  readonly trustsTime: boolean;
  /** Tells the sink. */
  send<N extends "SEAL" | "WITHDRAW">(name: N, body: Message<N>): void;
  /** Reads what this run has not read of a file. */
  readAll(file: SentFile): void;
  /** Whether the system has taken all that was read of a file to be sent. */
  hasLeft(file: SentFile): boolean;
  /** Sends nothing more of a file. */
  drop(file: SentFile): void;
  /** A file is open no more. Returns what was under way of it. */
  forget(file: SentFile): readonly { readonly stream: number; readonly bytes: number }[];
  /** A file has its outcome. */
  onSettled(): void;
  /** And it was not the sink that gave it just now. */
  onSettledHere(): void;
}

export class Settlement {
  #terms: Terms;
  readonly #owner: SettlementOwner;
  #stopped = false;

  constructor(terms: Terms, owner: SettlementOwner) {
    this.#terms = terms;
    this.#owner = owner;
  }

  restart(terms: Terms): void {
    this.#terms = terms;
  }

  /** What is read only once is sealed no more: where its reading ends now is not its end. */
  stop(): void {
    this.#stopped = true;
  }

  /** Whether files are read once more, whole, and compared before they are committed. */
  get #verifies(): boolean {
    return this.#terms.verify === "full";
  }

  // --- reading ----------------------------------------------------------------------------------------------------

  /** A chunk was read, to be sent or beside the sending. */
  onRead({ file: index, offset, bytes }: Piece, crc: number): void {
    const file = this.#owner.files.get(index);
    if (file === undefined || file.withdrawn !== undefined) return;
    if (file.ledger.record(offset, bytes, crc) === "different") {
      const message = `'${displayName(file.item.name)}' changed while it was being sent: the bytes at ${offset} read differently`;
      this.withdraw(file, { code: "E_SOURCE_CHANGED", message });
      return;
    }
    this.sealIfRead(file);
  }

  /** The file ended before the chunk did, or could not be read. */
  onUnreadable(piece: Piece, failure: Failure | null): void {
    const file = this.#owner.files.get(piece.file);
    if (file === undefined) return;
    const { feed } = file.item;
    if (failure === null && feed !== undefined && feed.chunk(piece.offset) === undefined) {
      // The sink had got it meanwhile, over another stream.
      if (file.ledger.crcAt(piece.offset) !== undefined || file.withdrawn !== undefined) return;
      this.#owner.events.onFailed(new HawserError("E_ILLEGAL", "a chunk was acknowledged before it was sent"));
      return;
    }
    const message = "a file became shorter while it was being sent";
    this.withdraw(file, failure ?? changeOf(file) ?? { code: "E_SOURCE_CHANGED", message });
  }

  // --- sealing ----------------------------------------------------------------------------------------------------

  /**
   * When all of a file was read, and it still is what was offered, its CRC is final. What is read may wait here for minutes, under a
   * rate limit, and what becomes of the file meanwhile counts: so not before the system has taken all of it.
   */
  sealIfRead(file: SentFile): void {
    if (file.phase !== "sending" || !file.isRead || !this.#owner.hasLeft(file)) return;
    if (this.#stopped && file.item.feed !== undefined) return;
    if (this.#verifies && file.verified === undefined) {
      this.#verify(file);
      return;
    }
    const failure = changeOf(file);
    if (failure !== undefined) {
      this.withdraw(file, failure);
      return;
    }
    file.phase = "sealed";
    this.sendSeal(file);
  }

  /** Reads a file once more, after all of it was read: what is committed must be just that. */
  #verify(file: SentFile): void {
    if (file.verifying !== undefined) return;
    const run = Symbol();
    file.verifying = run;
    this.#owner.digests.add(
      file,
      (digest) => {
        // The session may have been begun anew meanwhile.
        if (file.verifying !== run) return;
        file.verified = digest;
        if (file.ledger.isComplete && digest.crc32 !== file.ledger.wholeCrc32()) {
          const message = `'${displayName(file.item.name)}' changed while it was being sent: it read differently the second time`;
          this.withdraw(file, { code: "E_SOURCE_CHANGED", message });
        } else if (file.phase === "confirming") this.confirmIfRead(file);
        else this.sealIfRead(file);
      },
      (thrown) => this.withdraw(file, asHawserError(thrown).toFailure()),
    );
  }

  sendSeal({ index, ledger, verified }: SentFile): void {
    const seal = { file: index, size: ledger.size ?? 0, crc32: ledger.wholeCrc32() };
    const blake3 = this.#verifies ? verified?.blake3 : undefined;
    this.#owner.send("SEAL", { files: [blake3 === undefined ? seal : { ...seal, blake3 }] });
  }

  // --- withdrawing ------------------------------------------------------------------------------------------------

  /** Takes an offer back: nothing more of the file is sent, and the sink settles it as failed. */
  withdraw(file: SentFile, failure: Failure): void {
    if (file.withdrawn !== undefined || !this.#owner.files.has(file.index)) return;
    if (file.phase === "confirming") {
      // The sink has nothing to take back.
      this.#settle(file, { file: file.index, status: "failed", error: wireFailureOf(failure) });
      this.#owner.onSettledHere();
      return;
    }
    file.withdrawn = failure;
    file.end();
    this.#owner.drop(file);
    file.item.feed?.close();
    this.sendWithdrawal(file.index, failure);
  }

  sendWithdrawal(file: number, { code, message }: Failure): void {
    this.#owner.send("WITHDRAW", { files: [{ file, error: wireFailureOf({ code, message }) }] });
  }

  // --- settling ---------------------------------------------------------------------------------------------------

  onOutcome(outcome: SettledFile): void {
    const file = this.#owner.files.get(outcome.file);
    if (file === undefined || file.phase === "confirming") return;
    file.outcome = outcome;
    const isKnown = file.ledger.isComplete && (!this.#verifies || file.verified !== undefined);
    if (outcome.status === "committed" && !isKnown && !this.#owner.trustsTime) {
      // An earlier run's commit: it is this run's too if the file still is what was committed.
      file.phase = "confirming";
      this.#owner.readAll(file);
      this.confirmIfRead(file);
    } else this.#settle(file, outcome);
  }

  /** When all of a file was read that an earlier run has committed, it is settled. */
  confirmIfRead(file: SentFile): void {
    if (!file.ledger.isComplete || file.outcome === undefined) return;
    if (this.#verifies && file.verified === undefined) {
      this.#verify(file);
      return;
    }
    const failure = changeOf(file);
    const { index, item, outcome } = file;
    if (failure !== undefined) this.#settle(file, { file: index, status: "failed", error: wireFailureOf(failure) });
    else if (outcome.crc32 === file.ledger.wholeCrc32() && this.#isVerified(file, outcome)) this.#settle(file, outcome);
    else {
      const message = `what an earlier run committed as '${displayName(item.name)}' is not what the file is now`;
      const error = wireFailureOf({ code: "E_CONTENT", message });
      this.#settle(file, { file: index, status: "failed", error });
    }
    this.#owner.onSettledHere();
  }

  #settle(file: SentFile, outcome: SettledFile): void {
    const { events, trustsTime } = this.#owner;
    this.#owner.files.delete(file.index);
    file.end();
    const underWay = this.#owner.forget(file);
    // The outcome overtakes acknowledgements, which wait for company.
    if (outcome.status === "committed") {
      for (const { stream, bytes } of underWay) events.onAcknowledged(stream, bytes);
    }
    file.item.close();
    const trusted = trustsTime && outcome.status === "committed" ? outcome.crc32 : undefined;
    const crc = file.ledger.isComplete ? file.ledger.wholeCrc32() : (file.digest?.crc32 ?? trusted);
    if (outcome.status === "committed" && (crc === undefined || outcome.crc32 !== crc)) {
      events.onFailed(new HawserError("E_CONTENT", "the server committed a file with another CRC-32 than was read"));
      return;
    }
    const isCommitted = outcome.status === "committed";
    if (isCommitted && !this.#isVerified(file, outcome)) {
      const what = outcome.blake3 === undefined ? "without its BLAKE3" : "with another BLAKE3 than was read";
      events.onFailed(new HawserError("E_CONTENT", `the server committed a file ${what}`));
      return;
    }
    const blake3 = this.#verifies && outcome.status !== "failed" ? (file.verified ?? file.digest)?.blake3 : undefined;
    const bytesResumed = isCommitted ? file.bytesResumed : 0;
    const bytesMatched = isCommitted ? file.bytesMatched : 0;
    const bytesUnread = file.ledger.isComplete ? file.bytesTrusted : (outcome.size ?? 0);
    const bytesTrusted = isCommitted && trusted !== undefined ? bytesUnread : 0;
    const { item, wasBegun } = file;
    events.onSettled({ item, outcome, wasBegun, crc32: crc, blake3, bytesResumed, bytesMatched, bytesTrusted });
    this.#owner.onSettled();
  }

  /** Whether the sink has read back what this end has read, where that was agreed on. */
  #isVerified({ verified }: SentFile, { blake3 }: SettledFile): boolean {
    if (!this.#verifies) return true;
    return blake3 !== undefined && verified !== undefined && Buffer.compare(blake3, verified.blake3) === 0;
  }
}

/** What a file is now, where that isn't what was offered or expected. */
function changeOf(file: SentFile): Failure | undefined {
  try {
    file.item.assertUnchanged();
    if (file.ledger.isComplete) file.item.assertExpected?.(file.ledger.wholeCrc32());
    return undefined;
  } catch (thrown) {
    return asHawserError(thrown).toFailure();
  }
}
