/** Entries of a list of paths that comes bit by bit: what has come is there at once, and no more is read than is needed. */
import { asHawserError } from "../protocol/errors.ts";
import type { EntryFeed, SourceEntry } from "./entry.ts";
import type { Listed } from "./listed.ts";

/** Paths that wait, at most; and as many are told of at once. */
const WAITING_MAX = 512;

export class ListFeed implements EntryFeed {
  onMore: (() => void) | undefined;
  readonly #paths: AsyncIterator<Uint8Array>;
  readonly #listed: Listed;
  readonly #waiting: Uint8Array[] = [];
  #current: Iterator<SourceEntry> | undefined;
  /** Why no more can be read: it comes after what was. */
  #failed: SourceEntry | undefined;
  #isReading = false;
  #isOver = false;
  #isTelling = false;

  constructor(paths: AsyncIterable<Uint8Array>, listed: Listed) {
    this.#paths = paths[Symbol.asyncIterator]();
    this.#listed = listed;
  }

  next(): SourceEntry | "later" | undefined {
    for (;;) {
      const { value, done } = this.#current?.next() ?? { done: true, value: undefined };
      if (!done) return value;
      const path = this.#waiting.shift();
      if (path === undefined) break;
      this.#current = this.#listed.entriesOf(Buffer.from(path.buffer, path.byteOffset, path.length))[Symbol.iterator]();
    }
    this.#current = undefined;
    if (this.#isOver) {
      const rest = [...this.#listed.rest(), ...(this.#failed === undefined ? [] : [this.#failed])];
      this.#failed = undefined;
      if (rest.length === 0) return undefined;
      this.#current = rest[Symbol.iterator]();
      return this.next();
    }
    if (!this.#isReading) void this.#read();
    return "later";
  }

  close(): void {
    this.#isOver = true;
    this.#waiting.length = 0;
    this.#current?.return?.();
    this.#current = undefined;
    // What is still being read ends when it has come.
    void this.#paths.return?.();
  }

  /** Reads until there is enough, and tells of what has come after every pause. */
  async #read(): Promise<void> {
    this.#isReading = true;
    try {
      while (this.#waiting.length < WAITING_MAX) {
        const { value, done } = await this.#paths.next();
        if (done) {
          this.#isOver = true;
          break;
        }
        this.#waiting.push(value);
        this.#tell();
      }
    } catch (thrown) {
      this.#isOver = true;
      const failure = asHawserError(thrown).toFailure();
      this.#failed = { kind: "failed", name: Buffer.from("the list of files"), failure };
    }
    this.#isReading = false;
    this.#tell();
  }

  /** Once for all that comes in this turn of the event loop. */
  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      this.onMore?.();
    });
  }
}
