/**
 * Lets a transfer have as many streams as pay: asks the server what it has got, by PING, has `stream-control.ts` decide,
 * and tells the link. The one with the timer.
 */
import type { Demand } from "../net/transfer-end.ts";
import type { StreamCounter } from "./stream-control.ts";

export interface AutoStreamsOwner {
  /** Asks the server: its PONG has what it received. */
  ping(): void;
  /** How many are attached. */
  attached(): number;
  demand(): Demand | undefined;
  /** What all may carry, in bytes a second; null: no limit. */
  limitBytesPerSecond(): number | null;
  /** There should be so many from now on. */
  resize(streams: number): void;
  /** The same, for whoever looks on: not each step of a change that is forced. */
  onChanged(streams: number): void;
}

/** A server that answers no faster is not asked more often. */
const UNANSWERED_MS = 2_000;

export class AutoStreams {
  readonly #owner: AutoStreamsOwner;
  readonly #control: StreamCounter;
  #timer: NodeJS.Timeout | undefined;
  #askedMs: number | undefined;
  /** Over streams that the server has counted anew since, and at its last word. */
  #bytesBefore = 0;
  #bytes = 0;
  /** How many there should be, as far as the owner was told. */
  #told: number;
  #stopped = false;

  constructor(control: StreamCounter, owner: AutoStreamsOwner) {
    this.#control = control;
    this.#owner = owner;
    this.#told = control.wanted;
  }

  get wanted(): number {
    return this.#control.wanted;
  }
  get held(): number {
    return this.#control.held;
  }
  get knowsMost(): boolean {
    return this.#control.knowsMost;
  }

  start(): void {
    this.#ask();
  }
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  roundTrip(ms: number): void {
    this.#control.roundTrip(ms);
  }

  /** A connection more could not be had: there can be `streams`. */
  refused(streams: number, nowMs: number): void {
    this.#control.refused(streams, nowMs);
    this.#owner.resize(this.#control.wanted);
  }

  /** The server says what it has got over each stream. */
  onReceived(received: readonly number[], nowMs: number): void {
    this.#askedMs = undefined;
    const demand = this.#owner.demand();
    if (demand === undefined || this.#stopped) return;
    const bytes = received.reduce((sum, one) => sum + one, 0);
    // A server that was started anew counts anew.
    if (bytes < this.#bytes) this.#bytesBefore += this.#bytes;
    this.#bytes = bytes;
    this.#control.sample({
      nowMs,
      bytes: this.#bytesBefore + bytes,
      streams: this.#owner.attached(),
      ...demand,
      limitBytesPerSecond: this.#owner.limitBytesPerSecond(),
    });
    const { wanted } = this.#control;
    if (wanted === this.#told) return;
    this.#told = wanted;
    this.#owner.resize(wanted);
    this.#owner.onChanged(wanted);
  }

  #ask(): void {
    if (this.#stopped) return;
    const nowMs = performance.now();
    if (this.#askedMs === undefined || nowMs - this.#askedMs > UNANSWERED_MS) {
      this.#askedMs = nowMs;
      this.#owner.ping();
    }
    this.#timer = setTimeout(() => this.#ask(), this.#control.everyMs);
  }
}
