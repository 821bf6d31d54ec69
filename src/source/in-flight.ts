/**
 * Chunks that were dealt to streams and are not acknowledged: who has which, since when, and which one a stream that has
 * nothing left to do should send as well, because another has had it for too long. Pure: the clock is an argument.
 */
import type { Piece } from "./dispatcher.ts";

interface Dealt {
  readonly piece: Piece;
  /** As it was last sent; undefined until it is. */
  bytesOnWire?: number;
  /** When each stream that has it got it, in milliseconds. */
  readonly holders: Map<number, number>;
  /** No stream got it before. */
  sinceMs: number;
  /** A stream has handed it over to the system. */
  hasLeft: boolean;
}

/** A chunk is overdue when it takes so much longer than the idle stream's own last one took. */
const OVERDUE_FACTOR = 2;
/** And longer than this, so that the jitter of short paths means nothing. */
const OVERDUE_MS = 500;

const keyOf = (file: number, offset: number) => `${file}:${offset}`;

export class InFlight {
  /** In the order of dealing. */
  readonly #dealt = new Map<string, Dealt>();
  /** How many chunks each stream has. */
  readonly #held = new Map<number, number>();
  /** How many chunks of each file the system has not taken. */
  readonly #staying = new Map<number, number>();
  /** How long each stream's last chunk took to be acknowledged. */
  readonly #tookMs = new Map<number, number>();

  get isEmpty(): boolean {
    return this.#dealt.size === 0;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { piece } of this.#dealt.values()) bytes += piece.bytes;
    return bytes;
  }

  /** `nowMs` is infinite while a rate limit holds the chunk up: it is not overdue, however long that takes. */
  deal(stream: number, piece: Piece, nowMs: number): void {
    const key = keyOf(piece.file, piece.offset);
    const known = this.#dealt.get(key);
    if (!known?.holders.has(stream)) this.#count(stream, 1);
    if (known === undefined) {
      this.#dealt.set(key, { piece, holders: new Map([[stream, nowMs]]), sinceMs: nowMs, hasLeft: false });
      this.#countStaying(piece.file, 1);
    } else known.holders.set(stream, nowMs);
  }

  /** The system has taken a chunk of a stream. */
  left({ file, offset }: Piece): void {
    const dealt = this.#dealt.get(keyOf(file, offset));
    if (dealt === undefined || dealt.hasLeft) return;
    dealt.hasLeft = true;
    this.#countStaying(file, -1);
  }

  /** Whether no chunk of a file was dealt that the system has not taken. */
  hasLeft(file: number): boolean {
    return !this.#staying.has(file);
  }

  /** A stream whose rate is limited has handed the chunk over: what holds it up from now on is not the limit. */
  accepted(stream: number, file: number, offset: number, nowMs: number): void {
    const dealt = this.#dealt.get(keyOf(file, offset));
    if (!dealt?.holders.has(stream)) return;
    dealt.holders.set(stream, nowMs);
    dealt.sinceMs = Math.min(dealt.sinceMs, nowMs);
  }

  /** A stream sends a chunk, which takes so many bytes there. */
  sent({ file, offset }: Piece, bytesOnWire: number): void {
    const dealt = this.#dealt.get(keyOf(file, offset));
    if (dealt !== undefined) dealt.bytesOnWire = bytesOnWire;
  }

  /** What a chunk that is on its way takes on the wire. */
  bytesOnWire(file: number, offset: number): number {
    return this.#dealt.get(keyOf(file, offset))?.bytesOnWire ?? 0;
  }

  /** A chunk arrived. Returns it once, whichever stream brought it. */
  acknowledge(stream: number, file: number, offset: number, nowMs: number): Piece | undefined {
    const key = keyOf(file, offset);
    const dealt = this.#dealt.get(key);
    const sinceMs = dealt?.holders.get(stream);
    if (sinceMs !== undefined && Number.isFinite(sinceMs)) this.#tookMs.set(stream, nowMs - sinceMs);
    this.#remove(key);
    return dealt?.piece;
  }

  /** A stream lost a chunk: it has to be sent again if it is returned, and no other stream has it. */
  lose(stream: number, file: number, offset: number): Piece | undefined {
    const key = keyOf(file, offset);
    const dealt = this.#dealt.get(key);
    if (dealt === undefined || !dealt.holders.delete(stream)) return undefined;
    this.#count(stream, -1);
    if (dealt.holders.size > 0) return undefined;
    this.#remove(key);
    return dealt.piece;
  }

  /** Nobody waits for a chunk any more. */
  forget({ file, offset }: Piece): void {
    this.#remove(keyOf(file, offset));
  }

  /** A stream is gone. Returns the chunks that have to be sent again. */
  closeStream(stream: number): Piece[] {
    this.#tookMs.delete(stream);
    const lost = [...this.#dealt.values()].flatMap(({ piece }) => this.lose(stream, piece.file, piece.offset) ?? []);
    this.#held.delete(stream);
    return lost;
  }

  /** How many chunks a stream has that nobody brought yet. */
  heldBy(stream: number): number {
    return this.#held.get(stream) ?? 0;
  }

  /** A file is settled, or given up. Returns what was on its way of it, each chunk with the stream that got it first. */
  forgetFile(file: number): { readonly stream: number; readonly bytes: number }[] {
    const forgotten: { stream: number; bytes: number }[] = [];
    for (const [key, { piece, holders }] of this.#dealt) {
      if (piece.file !== file) continue;
      const [stream = 0] = holders.keys();
      forgotten.push({ stream, bytes: piece.bytes });
      this.#remove(key);
    }
    return forgotten;
  }

  #remove(key: string): void {
    const dealt = this.#dealt.get(key);
    if (dealt === undefined) return;
    for (const stream of dealt.holders.keys()) this.#count(stream, -1);
    if (!dealt.hasLeft) this.#countStaying(dealt.piece.file, -1);
    this.#dealt.delete(key);
  }

  #countStaying(file: number, by: number): void {
    const count = (this.#staying.get(file) ?? 0) + by;
    if (count === 0) this.#staying.delete(file);
    else this.#staying.set(file, count);
  }

  #count(stream: number, by: number): void {
    this.#held.set(stream, this.heldBy(stream) + by);
  }

  /** A chunk that `stream`, which is idle, should send as well; none where the others get on. */
  overdueFor(stream: number, nowMs: number): Piece | undefined {
    const tookMs = this.#tookMs.get(stream);
    if (tookMs === undefined) return undefined;
    const limitMs = Math.max(OVERDUE_MS, tookMs * OVERDUE_FACTOR);
    for (const { piece, holders, sinceMs: earliestMs } of this.#dealt.values()) {
      // It is asked for each piece that is dealt, and most are under way for a moment.
      if (nowMs - earliestMs <= limitMs) continue;
      const [sinceMs] = holders.values();
      if (holders.size === 1 && !holders.has(stream) && sinceMs !== undefined && nowMs - sinceMs > limitMs)
        return piece;
    }
    return undefined;
  }
}
