/**
 * Whether a transfer gets on, and for how long it has not. Progress is what is acknowledged and what the other end says;
 * bytes of a chunk that is on its way are less than that, and count for a while. Pure: the clock is an argument.
 */

/** As long as bytes come, a chunk may take this many timeouts; a path that carries no chunk whole is a broken one. */
const MOVING_TIMEOUTS = 10;
/** Timers that are so late were not held up by work: the program was stopped. */
const AWAY_MS = 1_000;

/** How long a rate limit makes things take that would move at once. */
export interface PaceTimes {
  /** Between two slices of one stream. */
  readonly turnMs: number;
  /** Until every stream has sent its chunk. */
  readonly roundMs: number;
}

const UNPACED: PaceTimes = { turnMs: 0, roundMs: 0 };

export class Watch {
  readonly #timeoutMs: number;
  #progressMs: number;
  /** When waiting last was for something that the other end has to finish, or this one. */
  #waitedMs = 0;
  /** When the server last had got more of a chunk. */
  #movedMs = 0;
  #tickedMs: number;
  /** Payload bytes that the server has got over each stream, and when that last was more, by number. */
  readonly #received = new Map<number, { readonly bytes: number; readonly sinceMs: number }>();

  constructor(timeoutMs: number, nowMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#progressMs = nowMs;
    this.#tickedMs = nowMs;
  }

  /** When the transfer last got on. */
  get progressMs(): number {
    return this.#progressMs;
  }

  progress(nowMs: number): void {
    this.#progressMs = nowMs;
  }

  /** One of the ends is at something that takes its time. */
  waits(nowMs: number): void {
    this.#waitedMs = nowMs;
  }

  /** The server says what it has got over each stream, by its number. */
  onReceived(received: readonly number[], nowMs: number): void {
    for (const [index, bytes] of received.entries()) {
      const before = this.#received.get(index)?.bytes ?? 0;
      if (bytes === before) continue;
      this.#received.set(index, { bytes, sinceMs: nowMs });
      // Less than before: the server counts anew.
      if (bytes > before) this.#movedMs = nowMs;
    }
  }

  /** When the server last had got more over a stream. */
  movedMsOf(index: number): number {
    return this.#received.get(index)?.sinceMs ?? 0;
  }

  /** For how long nothing has moved. */
  stillMs(nowMs: number): number {
    return nowMs - Math.max(this.#progressMs, this.#movedMs);
  }

  /** `pace`: what a rate limit explains. */
  isTimedOut(nowMs: number, { turnMs, roundMs }: PaceTimes = UNPACED): boolean {
    const stalledMs = nowMs - Math.max(this.#progressMs, this.#waitedMs);
    return (
      Math.min(stalledMs, nowMs - this.#movedMs) > this.#timeoutMs + turnMs ||
      stalledMs > this.#timeoutMs * MOVING_TIMEOUTS + roundMs
    );
  }

  /**
   * To be asked every `everyMs`: for how long this program was stopped since the last time (^Z, a laptop asleep), in
   * milliseconds. Nobody else was late meanwhile.
   */
  awayMs(nowMs: number, everyMs: number): number {
    const awayMs = nowMs - this.#tickedMs - everyMs;
    this.#tickedMs = nowMs;
    if (awayMs < AWAY_MS) return 0;
    this.#progressMs += awayMs;
    this.#waitedMs += awayMs;
    return awayMs;
  }
}
