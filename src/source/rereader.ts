/**
 * Reads chunks that need not be sent, because an earlier run brought them: so that the CRC-32 of a file is that of the
 * file as it is now. One chunk at a time, in the thread pool, beside the sending.
 */
import { crc32 } from "../protocol/crc32.ts";
import { asHawserError, type Failure } from "../protocol/errors.ts";
import type { Piece } from "./dispatcher.ts";
import type { SourceItem } from "./item.ts";

export interface RereaderEvents {
  /** `bytes` are there for the time of the call. */
  onRead(item: SourceItem, piece: Piece, crc32: number, bytes: Buffer): void;
  /** The file ended before the piece did, or could not be read. */
  onUnreadable(item: SourceItem, piece: Piece, failure: Failure | null): void;
}

interface Task {
  readonly item: SourceItem;
  readonly pieces: Iterator<Piece>;
}

export class Rereader {
  readonly #events: RereaderEvents;
  #tasks: Task[] = [];
  #running = false;
  #stopped = false;
  #room = Buffer.alloc(0);

  constructor(events: RereaderEvents) {
    this.#events = events;
  }

  get isRunning(): boolean {
    return this.#running;
  }

  /** Reads these pieces when their turn comes; they are asked for one by one, so that they may become fewer. */
  add(item: SourceItem, pieces: Iterable<Piece>): void {
    this.#tasks.push({ item, pieces: pieces[Symbol.iterator]() });
    if (!this.#running) void this.#run();
  }

  /** Reads nothing more, but for what is added after. */
  clear(): void {
    this.#tasks = [];
  }
  stop(): void {
    this.#stopped = true;
    this.clear();
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let next = this.#next(); next !== undefined; next = this.#next()) await this.#read(next.item, next.piece);
    this.#running = false;
  }

  #next(): { readonly item: SourceItem; readonly piece: Piece } | undefined {
    for (let task = this.#tasks[0]; task !== undefined && !this.#stopped; task = this.#tasks[0]) {
      const { value: piece, done } = task.pieces.next();
      if (!done) return { item: task.item, piece };
      this.#tasks.shift();
    }
    return undefined;
  }

  async #read(item: SourceItem, piece: Piece): Promise<void> {
    if (this.#room.length < piece.bytes) this.#room = Buffer.allocUnsafeSlow(piece.bytes);
    const room = this.#room.subarray(0, piece.bytes);
    try {
      const count = await item.read(piece.offset, room);
      if (this.#stopped) return;
      if (count < piece.bytes) this.#events.onUnreadable(item, piece, null);
      else this.#events.onRead(item, piece, crc32(room), room);
    } catch (thrown) {
      if (!this.#stopped) this.#events.onUnreadable(item, piece, asHawserError(thrown).toFailure());
    }
  }
}
