/**
 * A limit that several connections share: they queue for their turns, and each turn takes a slice, so that all get on
 * alike. The one owner of its pace, and of the one timer; it can be changed at any time.
 */
import { Pace, sliceBytesOf } from "./pace.ts";

/** As whoever sends sees it. */
export interface SendingLimit {
  readonly isOff: boolean;
  sliceBytes(sliceMs: number): number;
  turn(go: () => void): void;
  forget(go: () => void): void;
  take(bytes: number): void;
}

export class RateLimit implements SendingLimit {
  readonly #pace: Pace;
  readonly #watchers = new Set<() => void>();
  /** Who waits for a turn, first come first served. */
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #serving = false;

  /** null: no limit, for now. */
  constructor(bytesPerSecond: number | null = null) {
    this.#pace = new Pace(bytesPerSecond, performance.now());
  }

  get bytesPerSecond(): number | null {
    return this.#pace.bytesPerSecond;
  }
  get isOff(): boolean {
    return this.#pace.bytesPerSecond === null;
  }
  /** The most to take in one turn, in slices of `sliceMs`. */
  sliceBytes(sliceMs: number): number {
    return sliceBytesOf(this.#pace.bytesPerSecond, sliceMs);
  }
  /** How long what was taken still has to be paid for, in milliseconds. */
  get owedMs(): number {
    return this.#pace.delayMs(performance.now());
  }

  /** Another limit, or none, also for what is under way. */
  set(bytesPerSecond: number | null): void {
    this.#pace.set(bytesPerSecond, performance.now());
    for (const watcher of this.#watchers) watcher();
    this.#serve();
  }

  /** Calls back whenever the limit was changed. What is returned ends that. */
  watch(onSet: () => void): () => void {
    this.#watchers.add(onSet);
    return () => this.#watchers.delete(onSet);
  }

  /** Calls `go` when its turn has come, at once where nothing holds it up. It takes its bytes there and then. */
  turn(go: () => void): void {
    this.#waiting.add(go);
    if (this.#timer === undefined) this.#serve();
  }

  /** Who waited is gone. */
  forget(go: () => void): void {
    this.#waiting.delete(go);
    if (this.#waiting.size === 0) this.#stopTimer();
  }

  /** Bytes go or went; negative ones were taken and not used. What comes next waits until they are paid for. */
  take(bytes: number): void {
    this.#pace.take(bytes, performance.now());
    if (bytes < 0 && this.#timer !== undefined) this.#serve();
  }

  /** How long so many bytes take by this limit alone; 0 without one. */
  msFor(bytes: number): number {
    return this.#pace.msFor(bytes);
  }

  #serve(): void {
    // Whoever has its turn may ask for the next one at once: the loop comes to it.
    if (this.#serving) return;
    this.#serving = true;
    this.#stopTimer();
    for (const go of this.#waiting) {
      const delayMs = this.owedMs;
      if (delayMs > 0) {
        this.#timer = setTimeout(() => this.#serve(), Math.min(Math.ceil(delayMs), TIMER_MS_MAX));
        break;
      }
      this.#waiting.delete(go);
      go();
    }
    this.#serving = false;
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The longest that Node's timers can wait. */
const TIMER_MS_MAX = 2 ** 31 - 1;
