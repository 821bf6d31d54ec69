/**
 * What arrives: says to a stream of each chunk whether to store it, or that the peer broke the protocol, and records what
 * was stored. The one owner of the streams.
 */
import type { Connection } from "../net/connection.ts";
import { DiskWork, WorkSampler } from "../net/load.ts";
import { joinedPorts, type Port } from "../net/port.ts";
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import { RUNS_MAX } from "../protocol/limits.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { SmallFiles } from "./small-files.ts";
import { type ChunkFacts, type SinkOrder, type SinkReport, SinkStream } from "./stream.ts";

export interface ReceivingOwner {
  /** The files that are open, by their index. */
  readonly files: ReadonlyMap<number, ReceivedFile>;
  /** What comes in bundles. */
  readonly small: SmallFiles;
  readonly checkpoints: Checkpoints;
  /** What the sink takes of a file, at most. */
  readonly fileBytesMax: number;
  /** Whether a file was offered, be it settled by now. */
  wasOffered(index: number): boolean;
  /** A chunk of a file is there now, and recorded. */
  onStored(file: ReceivedFile): void;
  /** A file can't be received. */
  giveUp(index: number, failure: Failure): void;
  /** The peer broke the protocol. */
  fail(error: HawserError): void;
}

interface StreamState {
  readonly port: Port<SinkOrder>;
  readonly connection: Connection;
  readonly files: Set<number>;
}

export class Receiving {
  readonly #terms: Terms;
  readonly #owner: ReceivingOwner;
  readonly #streams = new Set<StreamState>();
  #writing = 0;
  /** What was written at once. */
  readonly disk = new DiskWork();
  readonly #bundleWork = new WorkSampler();
  #heldMs = 0;
  /** The most that were attached at once: the terms say how many there may be. */
  #streamsMost = 0;

  constructor(terms: Terms, owner: ReceivingOwner) {
    this.#terms = terms;
    this.#owner = owner;
  }

  /** Chunks are to be stored that are not yet. */
  get isWriting(): boolean {
    return this.#writing > 0;
  }

  /** For how long streams were not read because what they had brought was not written yet, the mean of all. */
  get heldMs(): number {
    return this.#heldMs / Math.max(1, this.#streamsMost);
  }

  streamOpened(connection: Connection, onClosed: (error: HawserError | undefined) => void): void {
    const [port, report] = joinedPorts<SinkOrder, SinkReport>(
      (order) => stream.receive(order),
      (message) => this.#onReport(state, message),
    );
    const stream = new SinkStream(connection, report, this.#terms, (error) => {
      this.#streams.delete(state);
      onClosed(error);
    });
    const state: StreamState = { port, connection, files: new Set() };
    this.#streams.add(state);
    this.#streamsMost = Math.max(this.#streamsMost, this.#streams.size);
  }

  /** No stream writes to the file any more. */
  forget(index: number): void {
    for (const stream of this.#streams) {
      if (stream.files.delete(index)) stream.port.post({ type: "forget", file: index });
    }
  }

  #onReport(stream: StreamState, report: SinkReport): void {
    switch (report.type) {
      case "arrived": {
        const store = this.#judge(stream, report.chunk);
        if (store === undefined) break;
        if (store) this.#writing++;
        const fresh = this.#owner.files.get(report.chunk.file)?.isFresh(report.chunk.offset) ?? false;
        stream.port.post({ type: "verdict", ticket: report.ticket, store, fresh });
        break;
      }
      case "stored":
        this.#writing--;
        this.disk.add(report.chunk.bytes, report.spent);
        this.#onStored(report.chunk);
        break;
      case "unwritable":
        this.#writing--;
        this.#owner.giveUp(report.file, report.failure);
        break;
      case "bundle":
        this.#onBundle(stream, report.ticket, report.payload);
        break;
      case "held":
        this.#heldMs += report.ms;
        break;
      case "damaged":
        this.#isLegal(report.chunk);
        break;
    }
  }

  #onBundle({ port }: StreamState, ticket: number, payload: Uint8Array): void {
    const done = this.#bundleWork.start();
    try {
      const taking = this.#owner.small.take(payload);
      if (taking === undefined) this.disk.add(payload.length, done?.());
      if (taking === undefined) port.post({ type: "taken", ticket });
      else void taking.then(() => port.post({ type: "taken", ticket }));
    } catch (thrown) {
      this.#owner.fail(asHawserError(thrown));
      port.post({ type: "taken", ticket });
    }
  }

  /** Whether to write a chunk; undefined when the peer broke the protocol, and nothing more is done for it. */
  #judge(stream: StreamState, chunk: ChunkFacts): boolean | undefined {
    if (!this.#isLegal(chunk)) return undefined;
    const file = this.#owner.files.get(chunk.file);
    // Settled meanwhile: committed already, or failed, and the source hears of it.
    if (file === undefined || file.part === undefined || file.phase === "settling") return false;
    const known = file.ledger.crcAt(chunk.offset);
    // What an earlier run left gives way to what comes now.
    const isCopied = file.isCopied(chunk.offset);
    if (known === chunk.crc32 && !file.isUnchecked(chunk.offset) && !isCopied) return false;
    if (known !== undefined && !file.isInherited(chunk.offset) && !isCopied) {
      this.#fail("E_ILLEGAL", "a chunk came twice, with different content");
      return undefined;
    }
    if (this.#isScattered(file, chunk.offset)) {
      const message = `the chunks that came lie in more than ${RUNS_MAX} places, with gaps between them`;
      this.#owner.fail(new HawserError("E_ILLEGAL", message));
      return undefined;
    }
    if (!stream.files.has(chunk.file)) {
      try {
        stream.port.post({ type: "file", file: chunk.file, writer: file.part.open() });
      } catch (thrown) {
        this.#owner.giveUp(chunk.file, asHawserError(thrown).toFailure());
        return false;
      }
      stream.files.add(chunk.file);
    }
    return true;
  }

  /** Whether a chunk would make one run more than there may be. What fills a gap never does. */
  #isScattered({ ledger }: ReceivedFile, offset: number): boolean {
    if (ledger.runs === 0 || !ledger.startsRun(offset)) return false;
    let runs = 1;
    for (const file of this.#owner.files.values()) runs += Math.max(0, file.ledger.runs - 1);
    return runs > RUNS_MAX;
  }

  #isLegal({ file: index, offset, bytes }: ChunkFacts): boolean {
    const file = this.#owner.files.get(index);
    if (file === undefined) {
      if (this.#owner.small.has(index)) {
        this.#fail("E_WRONG_STATE", `a chunk of file ${index}, which is to come whole`);
        return false;
      }
      if (this.#owner.wasOffered(index)) return true;
      this.#fail("E_FOREIGN_CHUNK", `a chunk of file ${index}, which was not offered`);
      return false;
    }
    const isEarly = file.phase === "receiving" && offset >= (file.copiedBelow ?? Number.POSITIVE_INFINITY);
    if (file.phase === "planning" || file.phase === "comparing" || isEarly) {
      this.#fail("E_WRONG_STATE", `a chunk of file ${index}, which was not asked for`);
      return false;
    }
    if (!file.ledger.isChunk(offset, bytes)) {
      this.#fail("E_OUT_OF_RANGE", `${bytes} bytes at ${offset} are no chunk of file ${index}`);
      return false;
    }
    const { fileBytesMax } = this.#owner;
    if (offset + bytes > fileBytesMax) {
      this.#owner.giveUp(index, {
        code: "E_TOO_LARGE",
        message: `the server takes files of ${fileBytesMax} bytes at most`,
      });
    }
    return true;
  }

  #onStored({ file: index, offset, bytes, crc32 }: ChunkFacts): void {
    const file = this.#owner.files.get(index);
    if (file === undefined) return;
    const recorded = file.record(offset, bytes, crc32);
    // Two streams brought it at once, and the judge had seen neither stored.
    if (recorded === "different") this.#fail("E_ILLEGAL", "a chunk came twice, with different content");
    if (recorded !== "new") return;
    try {
      file.part?.written(bytes);
    } catch (thrown) {
      this.#owner.giveUp(index, asHawserError(thrown).toFailure());
      return;
    }
    this.#owner.checkpoints.add(file, offset, crc32, bytes);
    this.#owner.onStored(file);
  }

  #fail(code: "E_ILLEGAL" | "E_FOREIGN_CHUNK" | "E_WRONG_STATE" | "E_OUT_OF_RANGE", message: string): void {
    this.#owner.fail(new HawserError(code, message));
  }
}
