/**
 * Asks the server whether it is there, and judges what is late: a connection that is silent is ended, and dialled again by the
 * link; a transfer that gets nowhere for too long has failed. What a rate limit, a wait for input or a program that was
 * stopped explains is not late.
 */
import type { Connection } from "../net/connection.ts";
import { sliceBytesOf, WRITE_SLICE_MS } from "../net/pace.ts";
import type { Terms } from "../net/transfer-end.ts";
import { HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { LinkOptions } from "./link-options.ts";
import type { LinkStreams } from "./link-streams.ts";
import { CONTROL, type Redials } from "./redials.ts";
import { isAtWork, STALL_MS, waitingFor } from "./stall.ts";
import { type PaceTimes, Watch } from "./watch.ts";

const PING_MS = 5_000;
const TICK_MS = 1_000;
/** Silence is seen when it has lasted this many pings. */
const PINGS_MISSED = 3;
/** After this, why nothing moves is asked sooner than every few seconds. */
const STILL_MS = 1_500;

/** Whose connections these are, and who hears of it. */
export interface HeartbeatOwner {
  readonly streams: LinkStreams;
  readonly redials: Redials;
  readonly control: () => Connection | undefined;
  readonly terms: () => Terms | undefined;
  /** The server answered on the control connection, in so many milliseconds. */
  readonly onAnswered: (pong: Message<"PONG">, ms: number) => void;
  readonly onTimeout: (error: HawserError) => void;
}

export class Heartbeat {
  readonly #options: LinkOptions;
  readonly #owner: HeartbeatOwner;
  readonly #watch: Watch;
  #ticker: NodeJS.Timeout | undefined;
  #pings = 0;
  #pingedMs = 0;
  /** When the control connection's last PING went out. */
  #askedMs = 0;
  /** What the server reads of this client at most, by its own word. */
  #peerRate: number | null = null;
  /** The limit when the clock last ticked. */
  #rate: number | null = null;
  #doing: string | undefined;

  constructor(options: LinkOptions, owner: HeartbeatOwner) {
    this.#options = options;
    this.#owner = owner;
    this.#watch = new Watch(options.timeoutMs, performance.now());
  }

  start(): void {
    this.#watch.awayMs(performance.now(), 0);
    this.#ticker = setInterval(() => this.#tick(), this.#tickMs);
  }
  stop(): void {
    clearInterval(this.#ticker);
  }

  /** The transfer got on. */
  progress(): void {
    this.#watch.progress(performance.now());
  }
  /** When it last did. */
  get progressMs(): number {
    return this.#watch.progressMs;
  }

  /** The server sent something other than an answer. */
  heard(): void {
    this.#doing = undefined;
    this.progress();
  }

  /** A control connection is there: whether the server has a limit is asked at the first tick. */
  controlCame(): void {
    this.#pingedMs = performance.now() - this.#pingMs;
  }

  /** How the server is, and what it has got; its answer says how long the path is. */
  ask(): Message<"PING"> {
    const ping = { id: this.#pings++ };
    this.#askedMs = performance.now();
    this.#owner.control()?.send("PING", ping);
    return ping;
  }

  onPong(pong: Message<"PONG">): void {
    const nowMs = performance.now();
    this.#doing = pong.doing;
    this.#peerRate = pong.limit ?? null;
    this.#watch.onReceived(pong.received ?? [], nowMs);
    if (pong.id === this.#pings - 1) this.#owner.onAnswered(pong, nowMs - this.#askedMs);
    // Nothing is to be acknowledged: the server is at something that takes its time.
    if (!this.#options.awaitsAcknowledgement() && isAtWork(this.#doing)) this.#watch.waits(nowMs);
    // Nor is what waits for its turn, while the program that the server writes to takes its time.
    if (this.#owner.terms()?.inOrder === true && this.#doing === "writing") this.#watch.waits(nowMs);
  }

  /** What the server reads of this client at most; null where it has no limit. */
  get peerBytesPerSecond(): number | null {
    return this.#peerRate;
  }

  /** The lower one of this end's limit and the server's; null where there is none. */
  get limitBytesPerSecond(): number | null {
    const own = this.#options.limit?.bytesPerSecond ?? null;
    return own === null || this.#peerRate === null ? (own ?? this.#peerRate) : Math.min(own, this.#peerRate);
  }

  /** For how long nothing has moved, and what is waited for; undefined while things move. */
  get stall(): { readonly ms: number; readonly waitingFor: string } | undefined {
    const nowMs = performance.now();
    const ms = this.#watch.stillMs(nowMs);
    if (this.#waitsForInput) return ms < STALL_MS ? undefined : { ms, waitingFor: "more input" };
    if (this.#options.isWorking?.() && !this.#options.awaitsAcknowledgement()) return undefined;
    if (ms < STALL_MS || this.#owner.terms() === undefined) return undefined;
    const { streams, redials } = this.#owner;
    const control = this.#owner.control();
    const silentMs = control === undefined ? undefined : nowMs - control.lastHeardMs;
    const lost = redials.dials.whyBroken(CONTROL);
    const standing = { silentMs, pingMs: this.#pingMs, doing: this.#doing, streams: streams.size, lost };
    return { ms, waitingFor: waitingFor(standing) };
  }

  /** Nobody is late then; but a server that can't be reached is. */
  get #waitsForInput(): boolean {
    const { awaitsAcknowledgement, isWaitingForInput } = this.#options;
    return this.#owner.control() !== undefined && !awaitsAcknowledgement() && isWaitingForInput?.() === true;
  }

  get #pingMs(): number {
    return Math.min(this.#options.pingMs ?? PING_MS, this.#options.timeoutMs / PINGS_MISSED / 2);
  }
  get #tickMs(): number {
    return Math.min(TICK_MS, this.#options.pingMs ?? TICK_MS, this.#options.timeoutMs / PINGS_MISSED);
  }

  #tick(): void {
    const nowMs = performance.now();
    if (this.#wasAway(nowMs)) return;
    if (!this.#options.awaitsAcknowledgement() && this.#options.isWorking?.()) this.#watch.waits(nowMs);
    if (this.#waitsForInput) this.#watch.waits(nowMs);
    const pace = this.#paceTimes(nowMs);
    if (this.#watch.isTimedOut(nowMs, pace)) {
      this.#owner.onTimeout(this.#timeoutError());
      return;
    }
    this.#endSilent(nowMs, Math.max(PINGS_MISSED * this.#pingMs, this.#options.timeoutMs / 2) + pace.turnMs);
    // Where nothing moves, why is asked sooner.
    const isStill = this.#watch.stillMs(nowMs) > STILL_MS;
    if (nowMs - this.#pingedMs < (isStill ? Math.min(this.#pingMs, TICK_MS) : this.#pingMs)) return;
    this.#pingedMs = nowMs;
    const ping = this.ask();
    for (const stream of this.#owner.streams.attached.values()) {
      if (stream.state === "data") stream.send("PING", ping);
    }
  }

  #endSilent(nowMs: number, silentMs: number): void {
    const late = (what: string) =>
      new HawserError("E_TIMEOUT", `${what} was silent for ${Math.round(silentMs / 1000)} s`);
    const control = this.#owner.control();
    if (control !== undefined && nowMs - control.lastHeardMs > silentMs) control.destroy(late("the server"));
    for (const [index, stream] of this.#owner.streams.attached) {
      const heardMs = Math.max(stream.lastHeardMs, this.#watch.movedMsOf(index));
      if (nowMs - heardMs > silentMs) stream.destroy(late(`stream ${index}`));
    }
  }

  /** What the limit explains, with as much again for what it doesn't know of. */
  #paceTimes(nowMs: number): PaceTimes {
    const rate = this.limitBytesPerSecond;
    // What was slow for another limit is not late for this one.
    if (rate !== this.#rate) this.#watch.waits(nowMs);
    this.#rate = rate;
    const terms = this.#owner.terms();
    if (rate === null || terms === undefined) return { turnMs: 0, roundMs: 0 };
    const streams = this.#owner.streams.wanted;
    const round = streams * terms.chunkBytes;
    // What moves is seen at a tick.
    const turn = Math.min(round, streams * sliceBytesOf(rate, WRITE_SLICE_MS));
    return { turnMs: this.#tickMs + (2 * turn * 1000) / rate, roundMs: (2 * round * 1000) / rate };
  }

  /** Whether this program was stopped since the last tick: then nobody else is late. */
  #wasAway(nowMs: number): boolean {
    const awayMs = this.#watch.awayMs(nowMs, this.#tickMs);
    for (const connection of [this.#owner.control(), ...this.#owner.streams.attached.values()]) {
      if (connection !== undefined) connection.lastHeardMs += awayMs;
    }
    return awayMs > 0;
  }

  #timeoutError(): HawserError {
    const { dials } = this.#owner.redials;
    const after = `for ${this.#options.timeoutMs / 1000} s`;
    const lost = dials.whyBroken(CONTROL);
    if (this.#owner.control() === undefined && lost !== undefined) {
      return new HawserError("E_TIMEOUT", `the server could not be reached again ${after}: ${lost.message}`);
    }
    const broken = dials.whyAnyBroke;
    if (this.#owner.streams.size === 0 && broken !== undefined) {
      return new HawserError("E_TIMEOUT", `no stream could be opened again ${after}: ${broken.message}`);
    }
    const stall = this.stall;
    const what = this.#options.awaitsAcknowledgement() ? "nothing was acknowledged" : "nothing moved";
    const message = stall === undefined ? `${what} ${after}` : `${what} ${after}: waiting for ${stall.waitingFor}`;
    return new HawserError("E_TIMEOUT", message);
  }
}
