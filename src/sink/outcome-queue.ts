/**
 * Outcomes on their way to the source: recorded first, sent in pages, and kept until the source is known to have them,
 * so that they can be sent again after a connection broke.
 */
import type { Failure } from "../protocol/errors.ts";
import { PAGE_ENTRIES_MAX } from "../protocol/limits.ts";
import { pages, type SettledFile } from "../protocol/messages.ts";

/** What is recorded of a settled file before the other end hears of it. */
export interface SettledRecord {
  readonly outcome: SettledFile;
  readonly name: Uint8Array;
  readonly failure: Failure | undefined;
  /** In the session's store, as long as that keeps the outcome. */
  readonly storedId: number | undefined;
  /** Of what came whole: a file, or what else it is. */
  readonly kind?: "whole" | "directory" | "symlink";
}

export interface OutcomeQueueOwner {
  record(records: readonly SettledRecord[]): Promise<void>;
  send(outcomes: SettledFile[]): void;
  /** Nothing waits to be recorded or sent. */
  onEmpty(): Promise<void>;
}

export class OutcomeQueue {
  readonly #owner: OutcomeQueueOwner;
  #waiting: SettledRecord[] = [];
  #running: Promise<void> | undefined;
  /** Told, and perhaps not heard. */
  readonly #told = new Map<number, SettledRecord>();
  #totals = { files: 0, failed: 0, bytes: 0 };

  constructor(owner: OutcomeQueueOwner) {
    this.#owner = owner;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#running === undefined;
  }
  /** Of all outcomes so far; bytes of files that are at their destination. */
  get totals(): { readonly files: number; readonly failed: number; readonly bytes: number } {
    return this.#totals;
  }

  /** Resolves when nothing waits, and all that follows of that is done. */
  async idle(): Promise<void> {
    // What settles of what just ended is added in this turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#running;
  }

  add(record: SettledRecord): void {
    this.#waiting.push(record);
    this.#running ??= this.#run();
  }

  /** Tells an outcome again. Returns false where it isn't known, or no more. */
  sendAgain(file: number): boolean {
    const outcome = this.#told.get(file)?.outcome;
    if (outcome !== undefined) this.#owner.send([outcome]);
    return (
      outcome !== undefined ||
      this.#waiting.some((record) => record.outcome.file === file) ||
      this.#running !== undefined
    );
  }

  /** The source knows all below `index`. Returns what the session's store need not keep any more. */
  forgetBelow(index: number): number[] {
    const known: number[] = [];
    for (const [file, { storedId }] of this.#told) {
      if (file >= index) continue;
      this.#told.delete(file);
      if (storedId !== undefined) known.push(storedId);
    }
    return known;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // What settles together is recorded together.
      await new Promise((resolve) => setImmediate(resolve));
      const records = this.#waiting;
      this.#waiting = [];
      await this.#owner.record(records);
      for (const record of records) {
        const { file, status, size = 0 } = record.outcome;
        this.#told.set(file, record);
        this.#totals.files++;
        if (status === "failed") this.#totals.failed++;
        else this.#totals.bytes += size;
      }
      for (const page of pages(merged(records), wireBytesOf)) this.#owner.send(page);
    }
    this.#running = undefined;
    await this.#owner.onEmpty();
  }
}

/** One entry for neighbours that came whole and have the same, plain outcome. */
function merged(records: readonly SettledRecord[]): SettledFile[] {
  const outcomes: SettledFile[] = [];
  let last: SettledFile | undefined;
  for (const { outcome, kind } of records) {
    const { file, status, name, replaces } = outcome;
    const isPlain = kind === "whole" && (status === "committed" || status === "unchanged") && !name && !replaces;
    const count = last?.count ?? 1;
    if (isPlain && last?.status === status && last.file + count === file && count < PAGE_ENTRIES_MAX) {
      last.count = count + 1;
      delete last.size;
      delete last.crc32;
      continue;
    }
    last = isPlain ? { ...outcome } : undefined;
    outcomes.push(last ?? outcome);
  }
  return outcomes;
}

/** Fields and names of an entry, a digest, a name, and a message of up to four bytes a character. */
function wireBytesOf({ error, name }: SettledFile): number {
  return 160 + (name?.length ?? 0) + 4 * (error?.message.length ?? 0);
}
