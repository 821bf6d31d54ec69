/**
 * The client's connections of one transfer: a control connection and N streams to one address, each dialled again once
 * when it breaks, as long as the transfer gets on in between. It does not know which role this end has.
 */
import { AGENT } from "../agent.ts";
import { BlockPool } from "../net/blocks.ts";
import type { Connection } from "../net/connection.ts";
import type { Endpoint } from "../net/dial.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, endsSession, HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { Role } from "../protocol/states.ts";
import { type HandshakeOptions, openControl, openStream } from "./handshake.ts";

export interface LinkOptions {
  readonly to: Endpoint;
  readonly role: Role;
  readonly purpose: "transfer" | "discard";
  readonly streams: number;
  readonly chunkBytes: number;
  /** Without progress for this long the transfer has failed. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly makeEnd: (terms: Terms) => TransferEnd;
  /** Whether the transfer waits for bytes to be acknowledged, rather than for the other end to finish something. */
  readonly awaitsAcknowledgement: () => boolean;
  readonly onReady: (terms: Terms, address: Endpoint) => void;
  readonly onWarning: (message: string) => void;
}

/** A server answers a HELLO within a round trip, and this is more than the longest. */
const ANSWER_MS = 10_000;
const PING_MS = 5_000;
const TICK_MS = 1_000;
const REDIAL_MS = 200;
const REDIAL_WITHIN_MS = 2_000;
/** Silence is seen when it has lasted this many pings. */
const PINGS_MISSED = 3;

export class Link {
  readonly #options: LinkOptions;
  readonly #blocks = new BlockPool();
  readonly #streams = new Map<number, Connection>();
  /** Connections that are being dialled again, by stream number, and -1 for the control connection. */
  readonly #redialling = new Set<number>();
  /** When each was last dialled again: it must have got on since, to be dialled once more. */
  readonly #redialledMs = new Map<number, number>();
  #end: TransferEnd | undefined;
  #terms: Terms | undefined;
  #address: Endpoint;
  #control: Connection | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #pings = 0;
  #pingedMs = 0;
  #progressMs = performance.now();
  #settled = false;
  #resolve: (error: HawserError | undefined) => void = () => {};
  /** Resolves when the transfer is over: without an error when `finish` was called. Never rejects. */
  readonly over: Promise<HawserError | undefined>;

  retries = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#address = options.to;
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Connects. What goes wrong, here or later, ends the link. */
  async start(): Promise<void> {
    try {
      await this.#openControl().catch((thrown) => this.#onceMore(thrown));
      if (this.#settled) return;
      this.#ticker = setInterval(() => this.#tick(), Math.min(TICK_MS, this.#options.timeoutMs / PINGS_MISSED));
      const count = this.#terms?.streams ?? 0;
      for (let index = 0; index < count; index++) void this.#openStream(index);
    } catch (thrown) {
      this.fail(asHawserError(thrown));
    }
  }

  /** The transfer got on. */
  progress(): void {
    this.#progressMs = performance.now();
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
    this.#control?.close(error);
    // What is still on its way on a stream is there already, or of no use any more.
    for (const stream of this.#streams.values()) stream.destroy();
    this.#resolve(error);
  }

  get #handshake(): HandshakeOptions {
    const { role, timeoutMs, signal } = this.#options;
    const endpoint = this.#address;
    return { endpoint, role, blocks: this.#blocks, timeoutMs: Math.min(ANSWER_MS, timeoutMs), signal };
  }

  async #openControl(): Promise<void> {
    const { role, purpose, streams, chunkBytes } = this.#options;
    const hello: Message<"HELLO"> = { agent: AGENT, role, purpose, streams, chunkBytes };
    if (this.#terms !== undefined) hello.session = this.#terms.session;
    await openControl(this.#handshake, hello, (control, terms) => this.#onWelcome(control, terms));
  }

  /** The first dial is repeated when damage on the way may have spoilt it; not what took its time to fail. */
  async #onceMore(thrown: unknown): Promise<void> {
    const { code } = asHawserError(thrown);
    const damaged = code === "E_DAMAGED" || code === "E_LOST" || code === "E_NOT_HAWSER" || code === "E_NO_ANSWER";
    if (!damaged || this.#settled || performance.now() - this.#progressMs > REDIAL_WITHIN_MS) throw thrown;
    this.retries++;
    await new Promise((resolve) => setTimeout(resolve, REDIAL_MS));
    await this.#openControl();
  }

  #onWelcome(control: Connection, terms: Terms): void {
    if (this.#settled) {
      control.destroy();
      return;
    }
    this.#control = control;
    control.events = {
      onMessage: (message) => this.#onMessage(message),
      onClosed: (error) => this.#onControlClosed(control, error),
    };
    this.#pingedMs = performance.now();
    if (this.#terms === undefined) {
      this.#terms = terms;
      // A name may stand for several addresses: the session belongs to the one that answered.
      this.#address = { host: control.remoteAddress ?? this.#address.host, port: this.#address.port };
      this.#end = this.#options.makeEnd(terms);
      this.#options.onReady(terms, this.#address);
      this.progress();
    }
    this.#end?.controlOpened(control);
  }

  async #openStream(index: number): Promise<void> {
    const terms = this.#terms;
    const end = this.#end;
    if (terms === undefined || end === undefined || this.#settled) return;
    try {
      await openStream(this.#handshake, { session: terms.session, stream: index }, (stream) => {
        stream.chunkBytesMax = terms.chunkBytes;
        this.#streams.set(index, stream);
        if (this.#settled) stream.destroy();
        end.streamOpened(stream, index, (error) => this.#onStreamClosed(index, stream, error));
      });
      this.#redialling.delete(index);
    } catch (thrown) {
      this.#onStreamClosed(index, undefined, asHawserError(thrown));
    }
  }

  #onMessage(message: NamedMessage): void {
    if (this.#settled || message.name === "PONG") return;
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
    const lost = error ?? new HawserError("E_LOST", "the server closed the control connection");
    void this.#redial(-1, lost, () => this.#openControl().then(() => this.#redialling.delete(-1)));
  }

  #onStreamClosed(index: number, stream: Connection | undefined, error: HawserError | undefined): void {
    if (stream !== undefined && this.#streams.get(index) === stream) this.#streams.delete(index);
    if (this.#settled) return;
    if (stream !== undefined && error !== undefined && endsSession(error)) {
      this.fail(error);
      return;
    }
    const lost = error ?? new HawserError("E_LOST", `the server closed stream ${index}`);
    if (this.#redialling.delete(index)) this.#giveUp(index, lost);
    else void this.#redial(index, lost, () => this.#openStream(index));
  }

  /** Dials again, unless that was done before and nothing came of it. */
  async #redial(index: number, lost: HawserError, open: () => Promise<unknown>): Promise<void> {
    const lastMs = this.#redialledMs.get(index);
    if (lastMs !== undefined && lastMs >= this.#progressMs) {
      this.#giveUp(index, lost);
      return;
    }
    this.#redialling.add(index);
    this.retries++;
    await new Promise((resolve) => setTimeout(resolve, REDIAL_MS));
    if (this.#settled) return;
    this.#redialledMs.set(index, performance.now());
    try {
      await open();
    } catch (thrown) {
      this.#redialling.delete(index);
      this.#giveUp(index, asHawserError(thrown));
    }
  }

  /** A connection is lost for good. The others go on, as long as there is one of each kind. */
  #giveUp(index: number, error: HawserError): void {
    if (this.#settled) return;
    const left = this.#streams.size + [...this.#redialling].filter((other) => other >= 0).length;
    if (index === -1) this.fail(lostError("the control connection broke and could not be opened again", error));
    else if (left === 0) this.fail(lostError("all streams broke and could not be opened again", error));
    else this.#options.onWarning(`stream ${index} is lost (${error.message}); ${left} go on`);
  }

  #tick(): void {
    const nowMs = performance.now();
    const { timeoutMs } = this.#options;
    const control = this.#control;
    if (this.#options.awaitsAcknowledgement() && nowMs - this.#progressMs > timeoutMs) {
      this.fail(new HawserError("E_TIMEOUT", `nothing was acknowledged for ${timeoutMs / 1000} s`));
    } else if (control === undefined) {
      // It is being dialled again.
    } else if (nowMs - control.lastHeardMs > timeoutMs) {
      control.destroy(new HawserError("E_TIMEOUT", `the server was silent for ${timeoutMs / 1000} s`));
    } else if (nowMs - this.#pingedMs >= Math.min(PING_MS, timeoutMs / PINGS_MISSED)) {
      this.#pingedMs = nowMs;
      control.send("PING", { id: this.#pings++ });
    }
  }
}

/** What the transfer failed of, said with its cause; retryable, since only connections were lost. */
function lostError(what: string, cause: HawserError): HawserError {
  const code = cause.code === "E_TIMEOUT" || cause.code === "E_UNKNOWN_SESSION" ? cause.code : "E_LOST";
  return new HawserError(code, `${what}: ${cause.message}`, { cause });
}
