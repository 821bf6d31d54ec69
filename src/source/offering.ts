/**
 * What is offered next: entries as they are found, but a directory only when all that was found before it is settled,
 * since what is made in a directory changes its time. Pure.
 */
import type { DirectoryItem, EntryFeed, PassedOver, SmallEntry, SmallItem, SourceEntry } from "./entry.ts";
import type { SourceItem } from "./item.ts";

/** Directories that wait, at most: while a large file is under way others are found no further than this. */
const HELD_MAX = 4096;

export interface Room {
  /** Files in chunks, and all else, that may be offered now. */
  readonly files: number;
  readonly small: number;
}

export class Offering {
  readonly #feed: EntryFeed;
  readonly #fit: (entry: SourceEntry) => SourceEntry;
  #next: SourceEntry | undefined;
  #isFound = false;
  #isLater = false;
  /** Offered before, and to be offered again as something else; the last one first. */
  #back: SourceEntry[] = [];
  #isAgain = false;
  /** Each with how many entries had been offered before it. */
  #held: { mark: number; readonly item: DirectoryItem }[] = [];

  /** `fit`: an entry as this session can offer it. */
  constructor(feed: EntryFeed, fit: (entry: SourceEntry) => SourceEntry = (entry) => entry) {
    this.#feed = feed;
    this.#fit = fit;
  }

  /** Whether everything was offered. */
  get isOver(): boolean {
    return this.#isFound && this.#next === undefined && this.#held.length === 0 && this.#back.length === 0;
  }

  /** Whether what was taken last had been taken before. */
  get isAgain(): boolean {
    return this.#isAgain;
  }

  /** Whether it is for the feed to go on, which has nothing yet. */
  get isWaiting(): boolean {
    return this.#isLater;
  }

  /**
   * What may be offered now, or passed over; undefined where nothing may. `offered`: how many entries were until now;
   * all below `settledBelow` have their outcome.
   */
  take(offered: number, settledBelow: number, room: Room): SourceItem | SmallEntry | PassedOver | undefined {
    this.#isAgain = this.#back.length > 0;
    if (this.#isAgain) return this.#takeBack(offered, room);
    for (;;) {
      const [first] = this.#held;
      if (first !== undefined && first.mark <= settledBelow && room.small > 0) {
        this.#held.shift();
        return first.item;
      }
      if (this.#next === undefined && !this.#isFound && this.#held.length < HELD_MAX) this.#find();
      const next = this.#next;
      if (next === undefined) return undefined;
      if (next.kind === "directory") {
        this.#held.push({ mark: offered, item: next });
        this.#next = undefined;
        continue;
      }
      if (!hasRoom(next, room)) return undefined;
      this.#next = undefined;
      return next;
    }
  }

  /**
   * All that is open has new numbers, below `offered`; what waits for room is fitted again, and `back` is offered again
   * before anything else.
   */
  restart(offered: number, back: readonly SmallItem[] = []): void {
    for (const held of this.#held) held.mark = offered;
    if (this.#next !== undefined) this.#next = this.#fit(this.#next);
    this.#back = [...this.#back.reverse(), ...back].map(this.#fit).reverse();
  }

  #takeBack(offered: number, room: Room): SourceItem | SmallEntry | PassedOver | undefined {
    const next = this.#back.at(-1);
    if (next === undefined || !hasRoom(next, room)) return undefined;
    this.#back.pop();
    // Directories wait for these too: they were found before them.
    if (this.#back.length === 0) for (const held of this.#held) held.mark = offered + 1;
    return next;
  }

  #find(): void {
    const found = this.#feed.next();
    this.#isLater = found === "later";
    if (found === undefined) this.#isFound = true;
    else if (found !== "later") this.#next = this.#fit(found);
  }
}

function hasRoom({ kind }: SourceEntry, room: Room): boolean {
  if (kind === "failed" || kind === "skipped") return true;
  return (kind === undefined ? room.files : room.small) > 0;
}
