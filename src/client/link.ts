/**
 * The client's connections of one transfer: a control connection and N streams to one address. Each is dialled again when
 * it breaks, for as long as the transfer may go without progress; a server that comes back from its disk with another
 * generation of the session gets all of them anew. It does not know which role this end has.
 */
import { BlockPool } from "../net/blocks.ts";
import type { Connection } from "../net/connection.ts";
import type { Endpoint } from "../net/dial.ts";
import { sliceBytesOf, WRITE_SLICE_MS } from "../net/pace.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, ERRORS, type ErrorCode, endsSession, HawserError } from "../protocol/errors.ts";
import { STREAMS_DEFAULT } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import type { Role } from "../protocol/states.ts";
import { AutoStreams } from "./auto-streams.ts";
import { backoffMs } from "./backoff.ts";
import { Dials } from "./dials.ts";
import { type ClientIdentity, type HandshakeOptions, openControl, openStream } from "./handshake.ts";
import { helloOf } from "./hello.ts";
import { Seals } from "./seals.ts";
import { type StreamBounds, StreamControl, type StreamCounter } from "./stream-control.ts";
import { StreamNumbers } from "./stream-numbers.ts";
import { type PaceTimes, Watch } from "./watch.ts";

export interface LinkOptions {
  readonly to: Endpoint;
  readonly role: Role;
  readonly purpose: Message<"HELLO">["purpose"];
  /** `auto`: as many as pay, beginning with `startStreams`. */
  readonly streams: number | "auto";
  readonly startStreams?: number;
  /** Who says how many pay (a StreamControl). */
  readonly makeControl?: (bounds: StreamBounds) => StreamCounter;
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
  /** `streams`: to begin with. */
  readonly onReady: (terms: Terms, address: Endpoint, streams: number) => void;
  /** There should be so many from now on. */
  readonly onStreams?: (streams: number) => void;
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
  /** Which streams there should be. */
  #numbers = new StreamNumbers(0);
  #auto: AutoStreams | undefined;
  readonly #dials = new Dials();
  /** Streams that wait for the control connection. */
  readonly #parked = new Set<number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #startedMs = performance.now();
  #end: TransferEnd | undefined;
  #terms: Terms | undefined;
  #address: Endpoint;
  #control: Connection | undefined;
  readonly #seals: Seals;
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
  /** As many as were asked for; where that was left to this end, the most that were attached at once. */
  streamsUsed = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#address = options.to;
    this.#seals = new Seals(options.identity);
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
    const lost = this.#dials.whyBroken(CONTROL);
    if (control === undefined) return { ms, waitingFor: `the server to be reached again (${lost?.message ?? "lost"})` };
    const silentMs = performance.now() - control.lastHeardMs;
    if (silentMs > STALL_MS + this.#pingMs) return { ms, waitingFor: "the server to answer" };
    const doing = DOING.get(this.#doing);
    if (doing !== undefined) return { ms, waitingFor: doing };
    if (this.#streams.size === 0) return { ms, waitingFor: "streams to be opened again" };
    return { ms, waitingFor: "the path to carry data" };
  }

  /** Of the streams that are there. */
  get localPorts(): ReadonlySet<number> {
    const ports = [...this.#streams.values()].map(({ localPort }) => localPort);
    return new Set(ports.filter((port) => port !== undefined));
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
    this.#auto?.stop();
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
    // A name may have to be looked up first; streams go to the address that was found.
    const onConnected = (ms: number) => {
      this.#auto?.roundTrip(ms);
      this.#end?.roundTrip?.(ms);
    };
    return { endpoint, role, blocks: this.#blocks, timeoutMs: answerMs, signal, sending, identity, onConnected };
  }

  async #openControl(): Promise<void> {
    const hello = helloOf(this.#options, this.#terms, await this.#seals.offer());
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
    this.#seals.agreed(control, terms);
    this.#dials.came(CONTROL);
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
    if (!this.#settled && this.#options.onPong !== undefined) this.#ask();
    if (!this.#settled) this.#end?.controlOpened(control);
  }

  #begin(control: Connection, terms: Terms): void {
    // A name may stand for several addresses: the session belongs to the one that answered.
    this.#address = { host: control.remoteAddress ?? this.#address.host, port: this.#address.port };
    this.#end = this.#options.makeEnd(terms);
    const { streams, startStreams = STREAMS_DEFAULT } = this.#options;
    const bounds = { start: Math.min(startStreams, terms.streams), most: terms.streams };
    if (streams === "auto") {
      this.#auto = new AutoStreams(this.#options.makeControl?.(bounds) ?? new StreamControl(bounds), {
        ping: () => this.#ask(),
        attached: () => this.#streams.size,
        demand: () => this.#end?.demand,
        limitBytesPerSecond: () => this.limitBytesPerSecond,
        resize: (count) => this.#resize(count),
        onChanged: (count) => this.#options.onStreams?.(count),
      });
    }
    this.#numbers = new StreamNumbers(terms.streams);
    const count = this.#auto?.wanted ?? terms.streams;
    if (this.#auto === undefined) this.streamsUsed = count;
    this.#options.onReady(terms, this.#address, count);
    this.progress();
    this.#resize(count);
    this.#auto?.start();
  }

  /** There should be so many streams. */
  #resize(count: number): void {
    if (this.#settled) return;
    const { open, close } = this.#numbers.resize(count);
    for (const index of close) this.#closeStream(index);
    for (const index of open) {
      this.#dials.expect(index);
      void this.#openStream(index);
    }
  }

  /** A stream that is attached goes when all that is on it has arrived; one that is not does not come. */
  #closeStream(index: number): void {
    if (this.#streams.has(index)) this.#end?.closeStream?.(index);
    else this.#forgetStream(index);
  }

  #forgetStream(index: number): void {
    this.#dials.forget(index);
    this.#parked.delete(index);
    this.#numbers.gone(index);
  }

  /** The server remembers what is on its disk, and not which stream and which file is which. */
  #beginAnew(terms: Terms): void {
    if (this.#end?.restart === undefined) {
      this.fail(new HawserError("E_UNKNOWN_SESSION", "the server has forgotten the transfer"));
      return;
    }
    this.retries++;
    for (const [index, stream] of this.#streams) {
      stream.destroy();
      this.#numbers.gone(index);
    }
    this.#streams.clear();
    this.#end.restart(terms);
    for (const index of this.#numbers.all) void this.#openStream(index);
  }

  async #openStream(index: number): Promise<void> {
    const terms = this.#terms;
    const end = this.#end;
    if (terms === undefined || end === undefined || this.#settled) return;
    const attempt = this.#dials.begin(index);
    const { session, generation, chunkBytes } = terms;
    const sealed = this.#seals.of(index);
    try {
      await openStream({ ...this.#handshake, sealed }, { session, generation, stream: index, attempt }, (stream) => {
        if (this.#settled || this.#terms !== terms || this.#dials.current(index) !== attempt) {
          stream.destroy();
          return;
        }
        stream.chunkBytesMax = chunkBytes;
        this.#streams.set(index, stream);
        if (this.#auto !== undefined) this.streamsUsed = Math.max(this.streamsUsed, this.#streams.size);
        this.#dials.came(index);
        end.streamOpened(stream, index, (error) => this.#onStreamClosed(index, stream, error));
      });
    } catch (thrown) {
      if (this.#terms === terms && this.#dials.current(index) === attempt) {
        const error = asHawserError(thrown);
        this.#seals.failed(index, sealed);
        // Who is not let in is not let in later either.
        if (error.exitCode === ERRORS.E_TOKEN.exit) this.fail(error);
        else if (this.#isDispensable(index, error)) this.#doWithout(index);
        else this.#redial(index, error);
      }
    }
  }

  /** Where nobody said how many streams there are to be, one that is refused is none too few, nor one that was never there. */
  #isDispensable(index: number, error: HawserError): boolean {
    if (this.#auto === undefined || this.#streams.size === 0) return false;
    return this.#dials.failed(index) || error.code === "E_BUSY";
  }

  #doWithout(index: number): void {
    this.#numbers.giveUp(index);
    this.#forgetStream(index);
    this.#auto?.refused(this.#numbers.count, performance.now());
  }

  #onMessage(message: NamedMessage): void {
    if (this.#settled) return;
    if (message.name === "PONG") {
      this.#doing = message.body.doing;
      this.#peerRate = message.body.limit ?? null;
      this.#end?.peerReads?.(this.#peerRate);
      this.#watch.onReceived(message.body.received ?? [], performance.now());
      if (message.body.received !== undefined) this.#auto?.onReceived(message.body.received, performance.now());
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
    if (!this.#numbers.has(index)) {
      this.#forgetStream(index);
      // Its number may be wanted again by now.
      if (this.#auto !== undefined) this.#resize(this.#auto.wanted);
      return;
    }
    this.#redial(index, error ?? new HawserError("E_LOST", `the server closed stream ${index}`));
  }

  /** Dials again after a while that grows, until the transfer has gone without progress for too long. */
  #redial(index: number, error: HawserError): void {
    if (this.#settled) return;
    const count = this.#dials.broke(index, error, performance.now(), this.#watch.progressMs);
    if (count >= (this.#options.retries ?? Number.POSITIVE_INFINITY)) {
      this.#giveUp(index, error);
      return;
    }
    // Dialling in vain is no new break.
    if (count === 0) this.retries++;
    if (index === CONTROL && count === 1) this.#warn(`the server is lost, and dialled again: ${error.message}`);
    const attempt = this.#dials.current(index);
    void this.#pause(backoffMs(count, Math.random())).then(() => {
      // A session that was begun anew has dialled all its streams anew.
      if (this.#settled || this.#dials.current(index) !== attempt) return;
      if (index === CONTROL) void this.#openControl().catch((thrown) => this.#onRedialFailed(asHawserError(thrown)));
      // Not needed any more.
      else if (!this.#numbers.has(index)) this.#forgetStream(index);
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
    const ping = this.#ask();
    for (const stream of this.#streams.values()) if (stream.state === "data") stream.send("PING", ping);
  }

  /** How the server is, and what it has got; its answer says how long the path is. */
  #ask(): Message<"PING"> {
    const ping = { id: this.#pings++ };
    this.#askedMs = performance.now();
    this.#control?.send("PING", ping);
    return ping;
  }

  /** What the limit explains, with as much again for what it doesn't know of. */
  #paceTimes(nowMs: number): PaceTimes {
    const rate = this.limitBytesPerSecond;
    // What was slow for another limit is not late for this one.
    if (rate !== this.#rate) this.#watch.waits(nowMs);
    this.#rate = rate;
    if (rate === null || this.#terms === undefined) return { turnMs: 0, roundMs: 0 };
    const { chunkBytes } = this.#terms;
    const streams = this.#numbers.count;
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
    const lost = this.#dials.whyBroken(CONTROL);
    if (this.#control === undefined && lost !== undefined) {
      return new HawserError("E_TIMEOUT", `the server could not be reached again ${after}: ${lost.message}`);
    }
    const broken = this.#dials.whyAnyBroke;
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
