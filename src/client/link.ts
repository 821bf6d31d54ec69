/**
 * The client's connections of one transfer: a control connection and N streams to one address. Each is dialled again when
 * it breaks, for as long as the transfer may go without progress; a server that comes back from its disk with another
 * generation of the session gets all of them anew. It does not know which role this end has.
 */
import { BlockPool } from "../net/blocks.ts";
import type { Connection } from "../net/connection.ts";
import type { Endpoint } from "../net/dial.ts";
import type { ThreadLoad } from "../net/load.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, type ErrorCode, endsSession, HawserError } from "../protocol/errors.ts";
import { STREAMS_DEFAULT } from "../protocol/limits.ts";
import { escapeText } from "../protocol/names.ts";
import { AutoStreams } from "./auto-streams.ts";
import { type HandshakeOptions, openControl } from "./handshake.ts";
import { Heartbeat } from "./heartbeat.ts";
import { helloOf } from "./hello.ts";
import type { LinkOptions } from "./link-options.ts";
import { LinkStreams } from "./link-streams.ts";
import { CONTROL, Redials } from "./redials.ts";
import { Seals } from "./seals.ts";
import { StreamControl } from "./stream-control.ts";

export type { LinkOptions };

/** A server answers a HELLO within a round trip, and this is more than the longest. */
const ANSWER_MS = 10_000;
/** The first dial is repeated at once, where damage on the way may have spoilt it. */
const FIRST_REDIAL_MS = 200;
const FIRST_REDIAL_WITHIN_MS = 2_000;
/** What a server says while it is being stopped, is full, or does not know the session: it may be otherwise soon. */
const PASSING = new Set<ErrorCode>(["E_UNREACHABLE", "E_NO_ANSWER", "E_NOT_HAWSER", "E_BUSY"]);

export class Link {
  readonly #options: LinkOptions;
  readonly #blocks = new BlockPool();
  readonly #streams: LinkStreams;
  #auto: AutoStreams | undefined;
  readonly #redials: Redials;
  readonly #startedMs = performance.now();
  #end: TransferEnd | undefined;
  #terms: Terms | undefined;
  #address: Endpoint;
  #control: Connection | undefined;
  readonly #seals: Seals;
  readonly #heartbeat: Heartbeat;
  #settled = false;
  /** Connections that are being opened are given up with it: one that is not answered would keep a program that has ended. */
  readonly #opening = new AbortController();
  readonly #mayOpen: AbortSignal;
  #resolve: (error: HawserError | undefined) => void = () => {};
  /** Resolves when the transfer is over: without an error when `finish` was called. Never rejects. */
  readonly over: Promise<HawserError | undefined>;

  /** As many as were asked for; where that was left to this end, the most that were attached at once. */
  streamsUsed = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#address = options.to;
    this.#seals = new Seals(options.identity);
    const { signal } = options;
    this.#mayOpen = signal === undefined ? this.#opening.signal : AbortSignal.any([signal, this.#opening.signal]);
    this.#redials = new Redials(options.retries);
    this.#streams = new LinkStreams({
      redials: this.#redials,
      seals: this.#seals,
      handshake: () => this.#handshake,
      progressMs: () => this.#heartbeat.progressMs,
      isControlOpen: () => this.#control !== undefined,
      isDispensable: () => this.#auto !== undefined,
      onAttached: (count) => {
        if (this.#auto !== undefined) this.streamsUsed = Math.max(this.streamsUsed, count);
      },
      // Its number may be wanted again by now.
      onLeft: () => this.#auto !== undefined && this.#streams.resize(this.#auto.wanted),
      onRefused: () => this.#auto?.refused(this.#streams.wanted, performance.now()),
      onLost: (index, error) => this.#onStreamLost(index, error),
      onFailed: (error) => this.fail(error),
    });
    this.#heartbeat = new Heartbeat(options, {
      streams: this.#streams,
      redials: this.#redials,
      control: () => this.#control,
      terms: () => this.#terms,
      onAnswered: (pong, ms) => {
        this.#roundTrip(ms);
        this.#options.onPong?.(pong, ms);
      },
      onTimeout: (error) => this.fail(error),
    });
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** How many carried the transfer: what was tried and given up apart. */
  get streamsHeld(): number {
    return Math.min(this.#auto?.held ?? this.streamsUsed, this.streamsUsed);
  }
  /** Whether more of them would bring nothing, as far as this end has found out. */
  get knowsMostStreams(): boolean {
    return this.#auto?.knowsMost ?? false;
  }

  get retries(): number {
    return this.#redials.count;
  }

  /** Connects. What goes wrong, here or later, ends the link. */
  async start(): Promise<void> {
    try {
      await this.#startWorkers();
      await this.#openControl().catch((thrown) => this.#onceMore(thrown));
      if (!this.#settled) this.#heartbeat.start();
    } catch (thrown) {
      this.fail(asHawserError(thrown));
    }
  }

  async #startWorkers(): Promise<void> {
    const { workers: count = 0, limit } = this.#options;
    if (count === 0) return;
    const { StreamWorkers } = await import("./stream-workers.ts");
    const workers = new StreamWorkers({ count, limit, onWarning: (message) => this.#warn(message) });
    if (!this.#settled) this.#streams.use(workers);
  }

  /** The transfer got on. */
  progress(): void {
    this.#heartbeat.progress();
  }

  /** For how long nothing has moved, and what is waited for; undefined while things move. */
  get stall(): { readonly ms: number; readonly waitingFor: string } | undefined {
    return this.#settled ? undefined : this.#heartbeat.stall;
  }

  /** Of the streams that are there. */
  get localPorts(): ReadonlySet<number> {
    return this.#streams.localPorts;
  }

  /** What threads besides this one have done for it. */
  get threadLoads(): readonly ThreadLoad[] {
    return this.#streams.threadLoads;
  }

  /** The lower one of this end's limit and the server's; null where there is none. */
  get limitBytesPerSecond(): number | null {
    return this.#heartbeat.limitBytesPerSecond;
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
    this.#heartbeat.stop();
    this.#auto?.stop();
    this.#redials.stop();
    this.#opening.abort();
    // What costs us a connection only would have the server wait for us.
    this.#control?.close(error === undefined || endsSession(error) ? error : given(error));
    // What is still on its way on a stream is there already, or of no use any more.
    const ended = this.#streams.stop();
    if (ended === undefined) this.#resolve(error);
    else void ended.then(() => this.#resolve(error));
  }

  get #handshake(): HandshakeOptions {
    const { role, timeoutMs, limit: sending, identity } = this.#options;
    const signal = this.#mayOpen;
    const endpoint = this.#address;
    const answerMs = Math.min(ANSWER_MS, timeoutMs);
    const onAnswered = (ms: number) => {
      this.#roundTrip(ms);
      this.#options.onAnswered?.(ms);
    };
    return { endpoint, role, blocks: this.#blocks, timeoutMs: answerMs, signal, sending, identity, onAnswered };
  }

  /** The shortest counts: a server may be busy when it is asked, and many are asked at once. */
  #roundTrip(ms: number): void {
    this.#auto?.roundTrip(ms);
    this.#end?.roundTrip?.(ms);
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
    this.#redials.count++;
    await this.#redials.pause(FIRST_REDIAL_MS);
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
    this.#redials.dials.came(CONTROL);
    control.events = {
      onMessage: (message) => this.#onMessage(message),
      onClosed: (error) => this.#onControlClosed(control, error),
    };
    this.#heartbeat.controlCame();
    this.#terms = terms;
    if (before === undefined) this.#begin(control, terms);
    else if (!isSameSession(before, terms)) this.#beginAnew(terms);
    else this.#streams.controlCame();
    // How long the path is is seen best before there is anything on it.
    if (!this.#settled && this.#options.onPong !== undefined) this.#heartbeat.ask();
    if (!this.#settled) this.#end?.controlOpened(control);
  }

  #begin(control: Connection, terms: Terms): void {
    // A name may stand for several addresses: the session belongs to the one that answered.
    this.#address = { host: control.remoteAddress ?? this.#address.host, port: this.#address.port };
    this.#end = this.#options.makeEnd(terms);
    const { streams, startStreams = STREAMS_DEFAULT } = this.#options;
    const most = streams === "auto" ? terms.streams : Math.min(streams, terms.streams);
    const bounds = { start: Math.min(startStreams, most), most };
    if (streams === "auto") {
      this.#auto = new AutoStreams(this.#options.makeControl?.(bounds) ?? new StreamControl(bounds), {
        ping: () => this.#heartbeat.ask(),
        attached: () => this.#streams.size,
        demand: () => this.#end?.demand,
        limitBytesPerSecond: () => this.limitBytesPerSecond,
        resize: (count) => this.#streams.resize(count),
        onChanged: (count) => this.#options.onStreams?.(count),
      });
    }
    this.#streams.begin(terms, this.#end);
    const count = this.#auto?.wanted ?? most;
    if (this.#auto === undefined) this.streamsUsed = count;
    this.#options.onReady(terms, this.#address, count);
    this.progress();
    this.#streams.resize(count);
    this.#auto?.start();
  }

  /** The server remembers what is on its disk, and not which stream and which file is which. */
  #beginAnew(terms: Terms): void {
    if (this.#end?.restart === undefined) {
      this.fail(new HawserError("E_UNKNOWN_SESSION", "the server has forgotten the transfer"));
      return;
    }
    this.#redials.count++;
    this.#streams.beginAnew(terms);
    // Numbers are free again that streams had which were about to leave.
    if (this.#auto !== undefined) this.#streams.resize(this.#auto.wanted);
  }

  #onMessage(message: NamedMessage): void {
    if (this.#settled) return;
    if (message.name === "PONG") {
      this.#heartbeat.onPong(message.body);
      this.#end?.peerReads?.(this.#heartbeat.peerBytesPerSecond);
      if (message.body.received !== undefined) this.#auto?.onReceived(message.body.received, performance.now());
      return;
    }
    this.#heartbeat.heard();
    this.#end?.controlMessage(message);
  }

  #onControlClosed(control: Connection, error: HawserError | undefined): void {
    if (this.#settled || control !== this.#control) return;
    this.#control = undefined;
    if (error !== undefined && endsSession(error)) {
      this.fail(error);
      return;
    }
    this.#redialControl(error ?? new HawserError("E_LOST", "the server closed the control connection"));
  }

  #redialControl(error: HawserError): void {
    if (this.#settled) return;
    const count = this.#redials.broke(CONTROL, error, this.#heartbeat.progressMs, () => {
      void this.#openControl().catch((thrown) => this.#onRedialFailed(asHawserError(thrown)));
    });
    if (count === undefined) this.fail(lostError("the control connection broke and could not be opened again", error));
    else if (count === 1) this.#warn(`the server is lost, and dialled again: ${error.message}`);
  }

  #onRedialFailed(error: HawserError): void {
    if (endsSession(error) && !PASSING.has(error.code)) this.fail(error);
    else this.#redialControl(error);
  }

  /** A stream is lost for good. The others go on, as long as there is one. */
  #onStreamLost(index: number, error: HawserError): void {
    const left = this.#streams.size;
    if (left === 0) this.fail(lostError("all streams broke and could not be opened again", error));
    else this.#warn(`stream ${index} is lost (${error.message}); ${left} go on`);
  }

  #warn(message: string): void {
    this.#options.onWarning(escapeText(message));
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
