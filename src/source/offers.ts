/**
 * What is offered, page after page, as far as may be open at once, and that there is no more. The one owner of which
 * entry has which index.
 */
import type { Connection } from "../net/connection.ts";
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError } from "../protocol/errors.ts";
import { OFFERED_AHEAD_MAX } from "../protocol/limits.ts";
import { type Offer, OfferPage } from "../protocol/offer-page.ts";
import type { EntryFeed, SmallEntry, SmallItem } from "./entry.ts";
import type { SourceEvents } from "./events.ts";
import { asFile, type SourceItem } from "./item.ts";
import { Offering } from "./offering.ts";
import { SentFile } from "./sent-file.ts";
import { fitTerms, type SmallEntries } from "./small-entries.ts";
import { mtimeOf } from "./stats.ts";

export interface OffersOwner {
  /** The files that are open, by their index. */
  readonly files: Map<number, SentFile>;
  /** What is open besides. */
  readonly small: SmallEntries;
  readonly events: SourceEvents;
}

/** Entries that are looked for before others have their turn: some milliseconds' worth. */
const OFFERS_AT_ONCE = 512;
/**
 * At first fewer, and twice as many each time: streams are being dialled meanwhile, and the other end has something to do. What
 * runs for the first time takes many times as long.
 */
const FIRST_OFFERS = 32;

export class Offers {
  #terms: Terms;
  readonly #owner: OffersOwner;
  readonly #offering: Offering;
  #control: Connection | undefined;
  /** How many entries were offered: the next one's index. */
  #offered = 0;
  /** All below have their outcome. */
  #settledBelow = 0;
  /** Files that were offered to come whole, and are as any other now: they count as what they were offered as. */
  readonly #moved = new Map<number, SmallItem>();
  readonly #page = new OfferPage();
  #finishSent = false;
  #offersMoreSoon = false;
  #stopped = false;

  constructor(feed: EntryFeed, terms: Terms, owner: OffersOwner) {
    this.#terms = terms;
    this.#owner = owner;
    feed.onMore = () => this.offerMore();
    this.#offering = new Offering(feed, (entry) => fitTerms(entry, this.#terms));
  }

  /** Whether the sink was told, on this control connection, that there is no more. */
  get finishSent(): boolean {
    return this.#finishSent;
  }

  /** What the sink may not have heard, it hears again: it knows a file by its index. */
  controlOpened(control: Connection): void {
    this.#control = control;
    this.#finishSent = false;
    this.#send(this.#openIndexes());
    this.offerMore();
  }

  /** All that is open has a new number, counted from zero, and is offered on the next control connection. */
  restart(terms: Terms): void {
    this.#moveBack();
    this.#terms = terms;
    const { files, small } = this.#owner;
    // As files in chunks they may be too many at once.
    const tooLarge = small.takeTooLarge(terms);
    const open = this.#openIndexes();
    const numbers = new Map(open.map((before, now) => [before, now]));
    const renumber = (before: number) => numbers.get(before) ?? 0;
    const before = [...files.values()];
    files.clear();
    this.#offered = open.length;
    this.#settledBelow = 0;
    this.#offering.restart(this.#offered, tooLarge);
    small.restart(terms.chunkBytes, renumber);
    for (const file of before) {
      file.restart(renumber(file.index), terms.chunkBytes);
      files.set(file.index, file);
    }
  }

  /** Offers nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /** A file in chunks has its outcome. */
  settled(index: number): void {
    this.#moved.delete(index);
  }

  /** Offers as much as may be open; what has to be looked for takes turns with what else there is to do. */
  offerMore(): void {
    if (this.#stopped || this.#control === undefined) return;
    const { files, small, events } = this.#owner;
    const fresh: number[] = [];
    const { openFiles, openSmall = openFiles } = this.#terms;
    const moved = this.#moved.size;
    const room = { files: openFiles - files.size + moved, small: openSmall - small.count - moved };
    let found = 0;
    // Nothing is settled meanwhile.
    this.#advanceSettled();
    const most = Math.min(OFFERS_AT_ONCE, FIRST_OFFERS + this.#offered);
    for (; found < most; found++) {
      if (this.#offered - this.#settledBelow >= OFFERED_AHEAD_MAX) break;
      const entry = this.#offering.take(this.#offered, this.#settledBelow, room);
      if (entry === undefined) break;
      if (!this.#offering.isAgain || entry.kind === "failed") events.onFound?.(entry);
      if (entry.kind === "failed" || entry.kind === "skipped") continue;
      const index = this.#offered++;
      if (entry.kind === undefined) {
        files.set(index, new SentFile(index, entry, this.#terms.chunkBytes));
        room.files--;
      } else {
        small.add(index, entry);
        room.small--;
      }
      fresh.push(index);
    }
    this.#send(fresh);
    if (found === most) this.#offerMoreSoon();
    else if (this.#offering.isOver && !this.#finishSent) {
      this.#finishSent = true;
      events.onAllFound?.();
      this.#control.send("FINISH", { files: this.#offered });
    }
  }

  /** What is to be offered is not there yet. */
  get isWaiting(): boolean {
    return this.#offering.isWaiting;
  }

  #offerMoreSoon(): void {
    if (this.#offersMoreSoon) return;
    this.#offersMoreSoon = true;
    setImmediate(() => {
      this.#offersMoreSoon = false;
      this.offerMore();
    });
  }

  #openIndexes(): number[] {
    const { files, small } = this.#owner;
    return [...files.keys(), ...small.indexes].sort((a, b) => a - b);
  }

  #advanceSettled(): void {
    const { files, small } = this.#owner;
    let below = this.#settledBelow;
    while (below < this.#offered && !small.has(below) && !files.has(below)) below++;
    this.#settledBelow = below;
  }

  #send(indexes: readonly number[]): void {
    this.#advanceSettled();
    const page = this.#page;
    for (const index of indexes) {
      const offer = this.#offerOf(index);
      if (offer === undefined || page.add(offer)) continue;
      this.#control?.sendEncoded("OFFER", page.take(this.#settledBelow));
      page.add(offer);
    }
    if (!page.isEmpty) this.#control?.sendEncoded("OFFER", page.take(this.#settledBelow));
  }

  #offerOf(index: number): Offer | undefined {
    const item = this.#owner.small.itemOf(index) ?? this.#owner.files.get(index)?.item;
    return item === undefined ? undefined : offerOf(index, item);
  }

  /**
   * A file that was offered to come whole is as any other from now on. Returns whether it is; where it can't be, or was
   * withdrawn before, the sink hears of it.
   */
  move(index: number): boolean {
    const { files, small } = this.#owner;
    const item = this.#moveToFiles(index);
    // It was withdrawn before, and the sink has not heard.
    if (item === undefined) small.wanted(index);
    if (item === undefined || !files.has(index)) return false;
    this.#moved.set(index, item);
    return true;
  }

  #moveToFiles(index: number): SmallItem | undefined {
    const { files, small } = this.#owner;
    const item = small.take(index);
    if (item === undefined) return undefined;
    try {
      files.set(index, new SentFile(index, asFile(item), this.#terms.chunkBytes));
    } catch (thrown) {
      small.add(index, item);
      small.fail(index, asHawserError(thrown).toFailure());
    }
    return item;
  }

  /** They count as what they are offered as: offered anew as files in chunks they would be too many. */
  #moveBack(): void {
    const { files, small } = this.#owner;
    for (const [index, item] of this.#moved) {
      const file = files.get(index);
      if (file === undefined) continue;
      files.delete(index);
      file.end();
      file.item.close();
      small.add(index, item, file.withdrawn);
    }
    this.#moved.clear();
  }
}

/** Of one shape, whatever is offered: there are many, and V8 is slow where shapes differ. */
function offerOf(file: number, item: SourceItem | SmallEntry): Offer {
  const { kind, name, size, mode } = item;
  const mtime = kind === "small" ? mtimeOf(item) : item.mtime;
  const isWhole = kind === "small";
  const isQuick = (kind === undefined || isWhole) && item.quick === true;
  return {
    file,
    name,
    size,
    mtime,
    mode,
    key: kind === undefined ? item.key : undefined,
    kind: kind === "directory" || kind === "symlink" ? kind : undefined,
    target: kind === "symlink" ? item.target : undefined,
    whole: isWhole ? true : undefined,
    quick: isQuick ? true : undefined,
  };
}
