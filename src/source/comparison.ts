/**
 * What the sink has already, compared with what is here: whole files by their digest, chunks by what it says of each. What
 * differs is sent; what earlier runs brought is read beside the sending.
 */
import { blake3 } from "../protocol/blake3.ts";
import { asHawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { Digests } from "./digests.ts";
import type { Piece } from "./dispatcher.ts";
import type { SourceEvents } from "./events.ts";
import { Rereader } from "./rereader.ts";
import type { SentFile } from "./sent-file.ts";
import type { Settlement } from "./settlement.ts";

export interface ComparisonOwner {
  /** The files that are open, by their index. */
  readonly files: ReadonlyMap<number, SentFile>;
  readonly digests: Digests;
  readonly settlement: Settlement;
  readonly events: SourceEvents;
  /** Tells the sink. */
  send(name: "DIGEST", body: Message<"DIGEST">): void;
  /** A chunk is to be sent, since what has its name at the sink has it otherwise. */
  lacks(piece: Piece): void;
  /** A chunk that an earlier run brought is to be sent once more. */
  sendAgain(file: SentFile, offset: number): void;
}

/** Before a file is planned to be sent. */
const HEARS_OF_CHUNKS = new Set<SentFile["phase"]>(["offered", "comparing", "matching"]);

export class Comparison {
  readonly #owner: ComparisonOwner;
  readonly #rereader: Rereader;

  constructor(owner: ComparisonOwner) {
    this.#owner = owner;
    const isOpen = (item: SentFile["item"], { file }: Piece) => owner.files.get(file)?.item === item;
    this.#rereader = new Rereader({
      onRead: (item, piece, crc, bytes) => isOpen(item, piece) && this.#onReread(piece, crc, bytes),
      onUnreadable: (item, piece, failure) => isOpen(item, piece) && owner.settlement.onUnreadable(piece, failure),
    });
  }

  /** Files are read here, and not to be sent. */
  get isRunning(): boolean {
    return (
      this.#rereader.isRunning ||
      this.#owner.digests.isRunning ||
      [...this.#owner.files.values()].some(({ phase }) => phase === "comparing" || phase === "matching")
    );
  }

  /** Reads no more chunks, but for those that are asked for after. */
  clear(): void {
    this.#rereader.clear();
  }
  /** Reads no more chunks. */
  stop(): void {
    this.#rereader.stop();
  }

  /** The sink wants the digest of a file; again perhaps. */
  compare(file: SentFile): void {
    if (file.digest !== undefined) this.#sendDigest(file, file.digest);
    else if (file.phase === "offered") this.#digest(file);
  }

  /** Reads what earlier runs brought of a file. */
  readThere(file: SentFile): void {
    this.#rereader.add(file.item, file.unread());
  }
  /** Reads all of a file that this run has not read. */
  readAll(file: SentFile): void {
    this.#rereader.add(file.item, file.unreadOfAll());
  }

  onHave(have: Message<"HAVE">): void {
    const file = this.#owner.files.get(have.file);
    // What was compared, and differs, may have been begun by an earlier run.
    if (file === undefined || !HEARS_OF_CHUNKS.has(file.phase)) return;
    file.has(have);
    if (have.digests === undefined) return;
    // Of what it has of another file more may come: meanwhile these are compared.
    file.phase = "matching";
    this.#rereader.add(file.item, file.claims(have));
  }

  #digest(file: SentFile): void {
    file.phase = "comparing";
    this.#owner.digests.add(
      file,
      (digest) => {
        file.digest = digest;
        this.#sendDigest(file, digest);
      },
      (thrown) => this.#owner.settlement.withdraw(file, asHawserError(thrown).toFailure()),
    );
  }

  #sendDigest({ index }: SentFile, { blake3 }: NonNullable<SentFile["digest"]>): void {
    this.#owner.send("DIGEST", { files: [{ file: index, blake3 }] });
  }

  /** What the sink has of a chunk must be what the file is now; where it isn't, the file as it is now counts. */
  #onReread(piece: Piece, crc: number, bytes: Buffer): void {
    const { files, settlement } = this.#owner;
    const file = files.get(piece.file);
    // It may have been asked for when the session had chunks of another size.
    if (!file?.ledger.isChunk(piece.offset, piece.bytes) || file.withdrawn !== undefined) return;
    const isToMatch = file.phase !== "confirming" && !file.isClaimed(piece.offset);
    // Before it counts as read: if it was the last, the file would be sealed, and what the sink has with it.
    if (isToMatch && file.differs(piece.offset, crc)) this.#owner.sendAgain(file, piece.offset);
    settlement.onRead(piece, crc);
    if (files.get(piece.file) !== file || file.withdrawn !== undefined) return;
    if (file.phase === "confirming") settlement.confirmIfRead(file);
    else if (file.isClaimed(piece.offset)) this.#onCompared(file, piece, crc, bytes);
  }

  /** What the sink has of another file counts where CRC-32 and digest are the same. */
  #onCompared(file: SentFile, piece: Piece, crc: number, content: Buffer): void {
    if (file.compare(piece.offset, crc, blake3(content))) this.#owner.events.onInherited(piece.bytes);
    else this.#owner.lacks(piece);
    this.#owner.settlement.sealIfRead(file);
  }
}
