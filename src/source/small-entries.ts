/**
 * What is offered and not sent in chunks: files that are sent whole, directories and links. Files are put into bundles
 * when the sink wants them; the others have nothing to be sent. The one owner of these until they are settled.
 */
import type { Terms } from "../net/transfer-end.ts";
import { type BundledFile, bundleTableBytes } from "../protocol/bundle.ts";
import { bytesOf } from "../protocol/byte-text.ts";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import { BUNDLE_FILES_MAX } from "../protocol/limits.ts";
import type { SettledFile } from "../protocol/messages.ts";
import type { BundleMember, Piece } from "./dispatcher.ts";
import type { SmallEntry, SmallItem, SourceEntry } from "./entry.ts";
import { asFile } from "./item.ts";
import type { UnreadableFile } from "./small-reader.ts";

export interface SmallEntriesOwner {
  /** A bundle is ready to be sent. */
  onBundle(bundle: Piece): void;
  /** Something got its outcome, which may be that of several neighbours; `crc32` of what was read. */
  onSettled(item: SmallEntry, outcome: SettledFile, crc32: number | undefined): void;
  /** A file can't be sent after all. */
  withdraw(index: number, failure: Failure): void;
  onFailed(error: HawserError): void;
}

interface OpenEntry {
  readonly item: SmallEntry;
  /** `wanted`: the sink has asked for it, and it waits for a bundle or is in one. */
  phase: "offered" | "wanted" | "sent" | "withdrawn";
  crc32: number | undefined;
  failure: Failure | undefined;
}

/** Contents of a bundle: enough that its frame costs little, and little enough that streams share the work. */
const BUNDLE_BYTES = 256 * 1024;

export class SmallEntries {
  readonly #owner: SmallEntriesOwner;
  #chunkBytes: number;
  #open = new Map<number, OpenEntry>();
  /** Wanted files that are in no bundle yet. */
  #ready: BundleMember[] = [];
  #readyBytes = 0;
  /** Files whose bundle was read, and that have no outcome. */
  #sent = 0;
  /** Directories and links: nothing of them is sent but the offer. */
  #offersOnly = 0;

  constructor(chunkBytes: number, owner: SmallEntriesOwner) {
    this.#chunkBytes = chunkBytes;
    this.#owner = owner;
  }

  get count(): number {
    return this.#open.size;
  }
  /** Whether all that is open was sent, or has nothing to be sent. */
  get areSent(): boolean {
    return this.#sent + this.#offersOnly === this.#open.size;
  }
  get hasSent(): boolean {
    return this.#sent > 0;
  }
  has(index: number): boolean {
    return this.#open.has(index);
  }
  itemOf(index: number): SmallEntry | undefined {
    return this.#open.get(index)?.item;
  }
  get indexes(): Iterable<number> {
    return this.#open.keys();
  }

  /** `failure`: why it can't be sent after all. */
  add(index: number, item: SmallEntry, failure?: Failure): void {
    if (item.kind !== "small") this.#offersOnly++;
    this.#open.set(index, { item, phase: failure === undefined ? "offered" : "withdrawn", crc32: undefined, failure });
  }

  /** The sink wants a file. What was withdrawn it hears of again. */
  wanted(index: number): void {
    const entry = this.#open.get(index);
    if (entry?.failure !== undefined) this.#owner.withdraw(index, entry.failure);
    if (entry?.phase !== "offered" || entry.item.kind !== "small") return;
    entry.phase = "wanted";
    const { size, path, mtimeMs, inode } = entry.item;
    if (this.#readyBytes + size > this.#roomFor(this.#ready.length + 1)) this.flush();
    this.#ready.push({ file: index, path, bytes: size, mtimeMs, inode });
    this.#readyBytes += size;
    if (this.#readyBytes >= BUNDLE_BYTES || this.#ready.length === BUNDLE_FILES_MAX) this.flush();
  }

  /** Lets go of a file that is sent otherwise. */
  take(index: number): SmallItem | undefined {
    const entry = this.#open.get(index);
    if (entry?.phase !== "offered" || entry.item.kind !== "small") return undefined;
    this.#open.delete(index);
    return entry.item;
  }

  /** Sends on what waits for more to keep it company. */
  flush(): void {
    const [bundle, bytes] = [this.#ready, this.#readyBytes];
    const [first] = bundle;
    if (first === undefined) return;
    this.#ready = [];
    this.#readyBytes = 0;
    this.#owner.onBundle({ file: first.file, offset: 0, bytes, bundle });
  }

  /** Of a bundle, the files that have no outcome yet. */
  stillWanted(bundle: Piece): Piece | undefined {
    const { bundle: all = [] } = bundle;
    if (all.every(({ file }) => this.#isWanted(file))) return bundle;
    const members = all.filter(({ file }) => this.#isWanted(file));
    const [first] = members;
    if (first === undefined) return undefined;
    return { file: first.file, offset: 0, bytes: members.reduce((sum, { bytes }) => sum + bytes, 0), bundle: members };
  }

  #isWanted(index: number): boolean {
    const phase = this.#open.get(index)?.phase;
    return phase === "wanted" || phase === "sent";
  }

  onBundled(files: readonly BundledFile[], unreadable: readonly UnreadableFile[]): void {
    for (const { file, crc32 } of files) {
      const entry = this.#open.get(file);
      if (entry === undefined) continue;
      if (entry.phase === "wanted") this.#sent++;
      entry.phase = "sent";
      entry.crc32 = crc32;
    }
    for (const { file, failure } of unreadable) this.fail(file, failure);
  }

  /** An entry can't be sent: the sink hears of it, and settles it. */
  fail(index: number, failure: Failure): void {
    const entry = this.#open.get(index);
    if (entry === undefined || entry.failure !== undefined) return;
    if (entry.phase === "sent") this.#sent--;
    entry.phase = "withdrawn";
    entry.failure = failure;
    this.#owner.withdraw(index, failure);
  }

  /** An outcome for one or several neighbours. Returns false where it is none of these. */
  onOutcome(outcome: SettledFile): boolean {
    const { file: first, count = 1 } = outcome;
    if (!this.#open.has(first)) return false;
    for (let index = first; index < first + count; index++) this.#settle(index, outcome, count > 1);
    return true;
  }

  #settle(index: number, outcome: SettledFile, isOneOfMany: boolean): void {
    const entry = this.#open.get(index);
    if (entry === undefined) return;
    this.#open.delete(index);
    const { item, crc32 } = entry;
    if (entry.phase === "sent") this.#sent--;
    if (item.kind !== "small") this.#offersOnly--;
    if (outcome.status === "committed" && item.kind === "small") {
      const theirs = isOneOfMany ? crc32 : outcome.crc32;
      if (crc32 === undefined || theirs !== crc32) {
        const message = "the server committed a file with another CRC-32 than was read";
        this.#owner.onFailed(new HawserError("E_CONTENT", message));
        return;
      }
    }
    this.#owner.onSettled(item, outcome, crc32);
  }

  /** Lets go of files that can't be sent whole on these terms, in their order. */
  takeTooLarge(terms: Terms): SmallItem[] {
    const taken: SmallItem[] = [];
    for (const [index, { item }] of [...this.#open].sort(([a], [b]) => a - b)) {
      if (item.kind !== "small" || isWholeOn(item, terms)) continue;
      this.#open.delete(index);
      taken.push(item);
    }
    return taken;
  }

  /** The sink knows nothing of these any more, and each gets a new number. */
  restart(chunkBytes: number, renumber: (index: number) => number): void {
    const before = this.#open;
    this.#chunkBytes = chunkBytes;
    this.#open = new Map();
    this.#ready = [];
    this.#readyBytes = 0;
    this.#sent = 0;
    this.#offersOnly = 0;
    for (const [index, { item, failure }] of before) this.add(renumber(index), item, failure);
  }

  clear(): void {
    this.#open.clear();
    this.#ready = [];
  }

  /** What so many files may take of a frame: it is no larger than a chunk. */
  #roomFor(files: number): number {
    return this.#chunkBytes - bundleTableBytes(files);
  }
}

/** The largest file that is sent whole: several fit a frame, and it is small enough to be read at once. */
export function smallBytesMax(chunkBytes: number): number {
  return Math.min(BUNDLE_BYTES, chunkBytes / 4);
}

function isWholeOn({ size }: SmallItem, { chunkBytes, verify }: Terms): boolean {
  return size <= smallBytesMax(chunkBytes) && verify !== "full";
}

/** An entry as it can be offered on these terms: a file that is too large for a bundle, or to be read back, is one in chunks. */
export function fitTerms(entry: SourceEntry, terms: Terms): SourceEntry {
  if (entry.kind !== "small" || isWholeOn(entry, terms)) return entry;
  try {
    return asFile(entry);
  } catch (thrown) {
    return { kind: "failed", name: bytesOf(entry.name), failure: asHawserError(thrown).toFailure() };
  }
}
