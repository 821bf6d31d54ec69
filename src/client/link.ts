/**
 * The client's connections of one transfer: a control connection and N streams to one address. Each is dialled again when
 * it breaks, for as long as the transfer may go without progress; a server that comes back from its disk with another
 * generation of the session gets all of them anew. It does not know which role this end has.
 */
import { AGENT } from "../agent.ts";
import { BlockPool } from "../net/blocks.ts";
import type { Connection } from "../net/connection.ts";
import type { Endpoint } from "../net/dial.ts";
import { sliceBytesOf, WRITE_SLICE_MS } from "../net/pace.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, ERRORS, type ErrorCode, endsSession, HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import type { Role } from "../protocol/states.ts";
import { backoffMs } from "./backoff.ts";
import { type ClientIdentity, type HandshakeOptions, openControl, openStream } from "./handshake.ts";
import { type PaceTimes, Watch } from "./watch.ts";

export interface LinkOptions {
  readonly to: Endpoint;
  readonly role: Role;
  readonly purpose: Message<"HELLO">["purpose"];
  readonly streams: number;
  readonly chunkBytes: number;
  /** By which the server knows what earlier runs left. */
  readonly keys?: readonly Uint8Array[];
  /** What they left is thrown away. */
  readonly fresh?: boolean;
  readonly overwrite?: Message<"HELLO">["overwrite"];
  readonly preserveMode?: boolean;
  readonly verify?: Message<"HELLO">["verify"];
  readonly delta?: boolean;
  /** Without progress for this long the transfer has failed. */
  readonly timeoutMs: number;
  /** How often a connection is dialled again, one after the other, before it is given up. */
  readonly retries?: number;
  readonly signal?: AbortSignal | undefined;
  /** What all connections together may send. */
  readonly limit?: RateLimit | undefined;
  /** Missing: plain TCP. */
  readonly identity?: ClientIdentity | undefined;
  readonly makeEnd: (terms: Terms) => TransferEnd;
  /** Whether the transfer waits for bytes to be acknowledged, rather than for the other end to finish something. */
  readonly awaitsAcknowledgement: () => boolean;
  /** Whether this end is at something that moves nothing, such as reading what earlier runs sent. */
  readonly isWorking?: () => boolean;
  /** Whether this end can send nothing before it gets more itself, such as from a pipe. */
  readonly isWaitingForInput?: () => boolean;
  readonly onReady: (terms: Terms, address: Endpoint) => void;
  readonly onWarning: (message: string) => void;
  /** How often connections are asked whether they live, at most, in milliseconds (5,000). */
  readonly pingMs?: number;
  /** The server's answer on the control connection, and how long it took. */
  readonly onPong?: (pong: Message<"PONG">, roundTripMs: number) => void;
}

/** A server answers a HELLO within a round trip, and this is more than the longest. */
const ANSWER_MS = 10_000;
const PING_MS = 5_000;
const TICK_MS = 1_000;
/** The first dial is repeated at once, where damage on the way may have spoilt it. */
const FIRST_REDIAL_MS = 200;
const FIRST_REDIAL_WITHIN_MS = 2_000;
/** Silence is seen when it has lasted this many pings. */
const PINGS_MISSED = 3;
/** Of the control connection; others have a number of their own. */
const CONTROL = -1;
/** After this, why nothing moves is asked sooner than every few seconds. */
const STILL_MS = 1_500;
/** Below this a pause is nothing that a user wants to hear of. */
const STALL_MS = 3_000;

/** What a server says while it is being stopped, is full, or does not know the session: it may be otherwise soon. */
const PASSING = new Set<ErrorCode>(["E_UNREACHABLE", "E_NO_ANSWER", "E_NOT_HAWSER", "E_BUSY"]);

/** What of a PONG's word is worth saying (PROTOCOL.md has the list). */
const DOING = new Map<string | undefined, string>(
  Object.entries({
    writing: "the server to write",
    syncing: "the server to sync what is written",
    committing: "the server to commit",
    comparing: "the server to compare what it has",
    checking: "the server to check what it has",
  }),
);

export class Link {
  readonly #options: LinkOptions;
  readonly #blocks = new BlockPool();
  readonly #streams = new Map<number, Connection>();
  /** Why each connection that is not there now broke, by number. */
  readonly #broken = new Map<number, HawserError>();
  /** How often each was dialled again in a row, and when last. */
  readonly #failures = new Map<number, { count: number; sinceMs: number }>();
  readonly #attempts = new Map<number, number>();
  /** Streams that wait for the control connection. */
  readonly #parked = new Set<number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #startedMs = performance.now();
  #end: TransferEnd | undefined;
  #terms: Terms | undefined;
  #address: Endpoint;
  #control: Connection | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #pings = 0;
  #pingedMs = 0;
  /** When the control connection's last PING went out. */
  #askedMs = 0;
  readonly #watch: Watch;
  /** What the server reads of this client at most, by its own word. */
  #peerRate: number | null = null;
  /** The limit when the clock last ticked. */
  #rate: number | null = null;
  #doing: string | undefined;
  #settled = false;
  #resolve: (error: HawserError | undefined) => void = () => {};
  /** Resolves when the transfer is over: without an error when `finish` was called. Never rejects. */
  readonly over: Promise<HawserError | undefined>;

  retries = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#address = options.to;
    this.#watch = new Watch(options.timeoutMs, this.#startedMs);
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Connects. What goes wrong, here or later, ends the link. */
  async start(): Promise<void> {
    try {
      await this.#openControl().catch((thrown) => this.#onceMore(thrown));
      if (this.#settled) return;
      this.#watch.awayMs(performance.now(), 0);
      this.#ticker = setInterval(() => this.#tick(), this.#tickMs);
    } catch (thrown) {
      this.fail(asHawserError(thrown));
    }
  }

  /** The transfer got on. */
  progress(): void {
    this.#watch.progress(performance.now());
  }

  /** For how long nothing has moved, and what is waited for; undefined while things move. */
  get stall(): { readonly ms: number; readonly waitingFor: string } | undefined {
    const ms = this.#watch.stillMs(performance.now());
    if (this.#waitsForInput) return ms < STALL_MS ? undefined : { ms, waitingFor: "more input" };
    if (this.#options.isWorking?.() && !this.#options.awaitsAcknowledgement()) return undefined;
    if (ms < STALL_MS || this.#terms === undefined || this.#settled) return undefined;
    const control = this.#control;
    const lost = this.#broken.get(CONTROL);
    if (control === undefined) return { ms, waitingFor: `the server to be reached again (${lost?.message ?? "lost"})` };
    const silentMs = performance.now() - control.lastHeardMs;
    if (silentMs > STALL_MS + this.#pingMs) return { ms, waitingFor: "the server to answer" };
    const doing = DOING.get(this.#doing);
    if (doing !== undefined) return { ms, waitingFor: doing };
    if (this.#streams.size === 0) return { ms, waitingFor: "streams to be opened again" };
    return { ms, waitingFor: "the path to carry data" };
  }

  /** Nobody is late then; but a server that can't be reached is. */
  get #waitsForInput(): boolean {
    const { awaitsAcknowledgement, isWaitingForInput } = this.#options;
    return this.#control !== undefined && !awaitsAcknowledgement() && isWaitingForInput?.() === true;
  }

  /** The lower one of this end's limit and the server's; null where there is none. */
  get limitBytesPerSecond(): number | null {
    const own = this.#options.limit?.bytesPerSecond ?? null;
    return own === null || this.#peerRate === null ? (own ?? this.#peerRate) : Math.min(own, this.#peerRate);
  }

  /** The receipt is here: all connections are closed. */
  finish(): void {
    this.#settle(undefined);
  }

  /** The transfer can't go on: the server is told, all connections are closed. */
  fail(error: HawserError): void {
    this.#settle(error);
  }

  #settle(error: HawserError | undefined): void {
    if (this.#settled) return;
    this.#settled = true;
    clearInterval(this.#ticker);
    for (const timer of this.#timers) clearTimeout(timer);
    // What costs us a connection only would have the server wait for us.
    this.#control?.close(error === undefined || endsSession(error) ? error : given(error));
    // What is still on its way on a stream is there already, or of no use any more.
    for (const stream of this.#streams.values()) stream.destroy();
    this.#resolve(error);
  }

  get #pingMs(): number {
    return Math.min(this.#options.pingMs ?? PING_MS, this.#options.timeoutMs / PINGS_MISSED / 2);
  }

  get #handshake(): HandshakeOptions {
    const { role, timeoutMs, signal, limit: sending, identity } = this.#options;
    const endpoint = this.#address;
    const answerMs = Math.min(ANSWER_MS, timeoutMs);
    return { endpoint, role, blocks: this.#blocks, timeoutMs: answerMs, signal, sending, identity };
  }

  async #openControl(): Promise<void> {
    const { role, purpose, streams, chunkBytes, keys = [], fresh = false } = this.#options;
    const { overwrite, preserveMode, verify, delta } = this.#options;
    const hello: Message<"HELLO"> = { agent: AGENT, role, purpose, streams, chunkBytes };
    if (keys.length > 0) hello.keys = [...keys];
    if (overwrite !== undefined) hello.overwrite = overwrite;
    if (preserveMode !== undefined) hello.preserveMode = preserveMode;
    if (verify !== undefined) hello.verify = verify;
    if (delta !== undefined) hello.delta = delta;
    if (this.#terms !== undefined) {
      hello.session = this.#terms.session;
      hello.generation = this.#terms.generation;
    } else if (fresh) hello.fresh = true;
    try {
      await openControl(this.#handshake, hello, (control, terms) => this.#onWelcome(control, terms));
    } catch (thrown) {
      // The server has lost its memory of the session, and may still know the files.
      if (hello.session === undefined || asHawserError(thrown).code !== "E_UNKNOWN_SESSION") throw thrown;
      delete hello.session;
      delete hello.generation;
      await openControl(this.#handshake, hello, (control, terms) => this.#onWelcome(control, terms));
    }
  }

  /** The first dial is repeated once, but not when it took its time to fail. */
  async #onceMore(thrown: unknown): Promise<void> {
    const { code } = asHawserError(thrown);
    const damaged = code === "E_DAMAGED" || code === "E_LOST" || code === "E_NOT_HAWSER" || code === "E_NO_ANSWER";
    if (!damaged || this.#settled || performance.now() - this.#startedMs > FIRST_REDIAL_WITHIN_MS) throw thrown;
    this.retries++;
    await this.#pause(FIRST_REDIAL_MS);
    await this.#openControl();
  }

  #onWelcome(control: Connection, terms: Terms): void {
    if (this.#settled) {
      control.destroy();
      return;
    }
    const before = this.#terms;
    this.#control = control;
    this.#broken.delete(CONTROL);
    control.events = {
      onMessage: (message) => this.#onMessage(message),
      onClosed: (error) => this.#onControlClosed(control, error),
    };
    // Whether the server has a limit is asked at the first tick.
    this.#pingedMs = performance.now() - this.#pingMs;
    this.#terms = terms;
    if (before === undefined) this.#begin(control, terms);
    else if (!isSameSession(before, terms)) this.#beginAnew(terms);
    else for (const index of this.#parked) void this.#openStream(index);
    this.#parked.clear();
    // How long the path is is seen best before there is anything on it.
    if (!this.#settled && this.#options.onPong !== undefined) this.#ask({ id: this.#pings++ });
    if (!this.#settled) this.#end?.controlOpened(control);
  }

  #begin(control: Connection, terms: Terms): void {
    // A name may stand for several addresses: the session belongs to the one that answered.
    this.#address = { host: control.remoteAddress ?? this.#address.host, port: this.#address.port };
    this.#end = this.#options.makeEnd(terms);
    this.#options.onReady(terms, this.#address);
    this.progress();
    for (let index = 0; index < terms.streams; index++) void this.#openStream(index);
  }

  /** The server remembers what is on its disk, and not which stream and which file is which. */
  #beginAnew(terms: Terms): void {
    if (this.#end?.restart === undefined) {
      this.fail(new HawserError("E_UNKNOWN_SESSION", "the server has forgotten the transfer"));
      return;
    }
    this.retries++;
    for (const stream of this.#streams.values()) stream.destroy();
    this.#streams.clear();
    this.#end.restart(terms);
    for (let index = 0; index < terms.streams; index++) void this.#openStream(index);
  }

  async #openStream(index: number): Promise<void> {
    const terms = this.#terms;
    const end = this.#end;
    if (terms === undefined || end === undefined || this.#settled) return;
    const attempt = (this.#attempts.get(index) ?? 0) + 1;
    this.#attempts.set(index, attempt);
    const { session, generation, chunkBytes } = terms;
    try {
      await openStream(this.#handshake, { session, generation, stream: index, attempt }, (stream) => {
        if (this.#settled || this.#terms !== terms || this.#attempts.get(index) !== attempt) {
          stream.destroy();
          return;
        }
        stream.chunkBytesMax = chunkBytes;
        this.#streams.set(index, stream);
        this.#broken.delete(index);
        end.streamOpened(stream, index, (error) => this.#onStreamClosed(index, stream, error));
      });
    } catch (thrown) {
      if (this.#terms === terms && this.#attempts.get(index) === attempt) {
        const error = asHawserError(thrown);
        // Who is not let in is not let in later either.
        if (error.exitCode === ERRORS.E_TOKEN.exit) this.fail(error);
        else this.#redial(index, error);
      }
    }
  }

  #onMessage(message: NamedMessage): void {
    if (this.#settled) return;
    if (message.name === "PONG") {
      this.#doing = message.body.doing;
      this.#peerRate = message.body.limit ?? null;
      this.#end?.peerReads?.(this.#peerRate);
      this.#watch.onReceived(message.body.received ?? [], performance.now());
      if (message.body.id === this.#pings - 1) this.#options.onPong?.(message.body, performance.now() - this.#askedMs);
      // Nothing is to be acknowledged: the server is at something that takes its time.
      if (!this.#options.awaitsAcknowledgement() && DOING.has(this.#doing)) this.#watch.waits(performance.now());
      // Nor is what waits for its turn, while the program that the server writes to takes its time.
      if (this.#terms?.inOrder === true && this.#doing === "writing") this.#watch.waits(performance.now());
      return;
    }
    this.#doing = undefined;
    this.progress();
    this.#end?.controlMessage(message);
  }

  #onControlClosed(control: Connection, error: HawserError | undefined): void {
    if (this.#settled || control !== this.#control) return;
    this.#control = undefined;
    if (error !== undefined && endsSession(error)) {
      this.fail(error);
      return;
    }
    this.#redial(CONTROL, error ?? new HawserError("E_LOST", "the server closed the control connection"));
  }

  #onStreamClosed(index: number, stream: Connection, error: HawserError | undefined): void {
    if (this.#settled || this.#streams.get(index) !== stream) return;
    this.#streams.delete(index);
    if (error !== undefined && endsSession(error)) {
      this.fail(error);
      return;
    }
    this.#redial(index, error ?? new HawserError("E_LOST", `the server closed stream ${index}`));
  }

  /** Dials again after a while that grows, until the transfer has gone without progress for too long. */
  #redial(index: number, error: HawserError): void {
    if (this.#settled) return;
    this.#broken.set(index, error);
    const before = this.#failures.get(index);
    // What got on in between begins to count anew.
    const count = before === undefined || before.sinceMs < this.#watch.progressMs ? 0 : before.count;
    this.#failures.set(index, { count: count + 1, sinceMs: performance.now() });
    if (count >= (this.#options.retries ?? Number.POSITIVE_INFINITY)) {
      this.#giveUp(index, error);
      return;
    }
    // Dialling in vain is no new break.
    if (count === 0) this.retries++;
    if (index === CONTROL && count === 1) this.#warn(`the server is lost, and dialled again: ${error.message}`);
    const attempt = this.#attempts.get(index);
    void this.#pause(backoffMs(count, Math.random())).then(() => {
      // A session that was begun anew has dialled all its streams anew.
      if (this.#settled || this.#attempts.get(index) !== attempt) return;
      if (index === CONTROL) void this.#openControl().catch((thrown) => this.#onRedialFailed(asHawserError(thrown)));
      // A stream is nothing without its session: that is found again first.
      else if (this.#control === undefined) this.#parked.add(index);
      else void this.#openStream(index);
    });
  }

  #onRedialFailed(error: HawserError): void {
    if (endsSession(error) && !PASSING.has(error.code)) this.fail(error);
    else this.#redial(CONTROL, error);
  }

  /** A connection is lost for good. The others go on, as long as there is one of each kind. */
  #giveUp(index: number, error: HawserError): void {
    const left = this.#streams.size;
    if (index === CONTROL) this.fail(lostError("the control connection broke and could not be opened again", error));
    else if (left === 0) this.fail(lostError("all streams broke and could not be opened again", error));
    else this.#warn(`stream ${index} is lost (${error.message}); ${left} go on`);
  }

  #warn(message: string): void {
    this.#options.onWarning(escapeText(message));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }

  #tick(): void {
    const nowMs = performance.now();
    const { timeoutMs } = this.#options;
    if (this.#wasAway(nowMs)) return;
    if (!this.#options.awaitsAcknowledgement() && this.#options.isWorking?.()) this.#watch.waits(nowMs);
    if (this.#waitsForInput) this.#watch.waits(nowMs);
    const pace = this.#paceTimes(nowMs);
    if (this.#watch.isTimedOut(nowMs, pace)) {
      this.fail(this.#timeoutError());
      return;
    }
    const silentMs = Math.max(PINGS_MISSED * this.#pingMs, timeoutMs / 2) + pace.turnMs;
    const late = (what: string) =>
      new HawserError("E_TIMEOUT", `${what} was silent for ${Math.round(silentMs / 1000)} s`);
    if (this.#control !== undefined && nowMs - this.#control.lastHeardMs > silentMs) {
      this.#control.destroy(late("the server"));
    }
    for (const [index, stream] of this.#streams) {
      if (nowMs - Math.max(stream.lastHeardMs, this.#watch.movedMsOf(index)) > silentMs)
        stream.destroy(late(`stream ${index}`));
    }
    // Where nothing moves, why is asked sooner.
    const isStill = this.#watch.stillMs(nowMs) > STILL_MS;
    if (nowMs - this.#pingedMs < (isStill ? Math.min(this.#pingMs, TICK_MS) : this.#pingMs)) return;
    this.#pingedMs = nowMs;
    const ping = { id: this.#pings++ };
    this.#ask(ping);
    for (const stream of this.#streams.values()) if (stream.state === "data") stream.send("PING", ping);
  }

  #ask(ping: Message<"PING">): void {
    this.#askedMs = performance.now();
    this.#control?.send("PING", ping);
  }

  /** What the limit explains, with as much again for what it doesn't know of. */
  #paceTimes(nowMs: number): PaceTimes {
    const rate = this.limitBytesPerSecond;
    // What was slow for another limit is not late for this one.
    if (rate !== this.#rate) this.#watch.waits(nowMs);
    this.#rate = rate;
    if (rate === null || this.#terms === undefined) return { turnMs: 0, roundMs: 0 };
    const { streams, chunkBytes } = this.#terms;
    const round = streams * chunkBytes;
    // What moves is seen at a tick.
    const turn = Math.min(round, streams * sliceBytesOf(rate, WRITE_SLICE_MS));
    return { turnMs: this.#tickMs + (2 * turn * 1000) / rate, roundMs: (2 * round * 1000) / rate };
  }

  /** Whether this program was stopped since the last tick: then nobody else is late. */
  #wasAway(nowMs: number): boolean {
    const awayMs = this.#watch.awayMs(nowMs, this.#tickMs);
    for (const connection of [this.#control, ...this.#streams.values()]) {
      if (connection !== undefined) connection.lastHeardMs += awayMs;
    }
    return awayMs > 0;
  }

  get #tickMs(): number {
    return Math.min(TICK_MS, this.#options.pingMs ?? TICK_MS, this.#options.timeoutMs / PINGS_MISSED);
  }

  #timeoutError(): HawserError {
    const after = `for ${this.#options.timeoutMs / 1000} s`;
    const lost = this.#broken.get(CONTROL);
    if (this.#control === undefined && lost !== undefined) {
      return new HawserError("E_TIMEOUT", `the server could not be reached again ${after}: ${lost.message}`);
    }
    const [broken] = this.#broken.values();
    if (this.#streams.size === 0 && broken !== undefined) {
      return new HawserError("E_TIMEOUT", `no stream could be opened again ${after}: ${broken.message}`);
    }
    const stall = this.stall;
    const what = this.#options.awaitsAcknowledgement() ? "nothing was acknowledged" : "nothing moved";
    const message = stall === undefined ? `${what} ${after}` : `${what} ${after}: waiting for ${stall.waitingFor}`;
    return new HawserError("E_TIMEOUT", message);
  }
}

/** This end gives the transfer up for now. */
function given({ message }: HawserError): HawserError {
  return new HawserError("E_INTERRUPTED", message);
}

function isSameSession(a: Terms, b: Terms): boolean {
  return a.generation === b.generation && Buffer.compare(a.session, b.session) === 0;
}

/** What the transfer failed of, said with its cause; retryable, since only connections were lost. */
function lostError(what: string, cause: HawserError): HawserError {
  const code = cause.code === "E_TIMEOUT" || cause.code === "E_UNKNOWN_SESSION" ? cause.code : "E_LOST";
  return new HawserError(code, `${what}: ${cause.message}`, { cause });
}
