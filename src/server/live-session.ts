/**
 * A session under way: one control connection at a time, its streams, and this end's part in the transfer. It outlives
 * its connections for a while, and ends once, whatever the reason.
 */
import { randomInt } from "node:crypto";
import type { Connection } from "../net/connection.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { NamedMessage } from "../protocol/conversation.ts";
import { endsSession, HawserError } from "../protocol/errors.ts";
import type { SealCipher } from "../protocol/sealed.ts";
import type { State } from "../protocol/states.ts";

export interface LiveSessionOptions {
  readonly peer: string;
  readonly terms: Terms;
  readonly agent: string;
  /** How long it waits, with all that it remembers, for its client to come back. */
  readonly lingerMs: number;
  /** What is read of the client at most, in bytes a second; null: no limit. */
  readonly limit?: () => number | null;
  readonly makeEnd: (session: LiveSession) => TransferEnd;
  /** The receipt was given: it is no transfer under way any more. */
  readonly onFinished: () => void;
  /** It ended and its resources are let go. Without an error it was finished. */
  readonly onEnded: (session: LiveSession, error: HawserError | undefined) => Promise<void>;
}

export class LiveSession {
  readonly peer: string;
  readonly terms: Terms;
  readonly agent: string;
  readonly startedMs = Date.now();
  readonly #end: TransferEnd;
  readonly #options: LiveSessionOptions;
  readonly #streams = new Map<number, Connection>();
  #control: Connection | undefined;
  /** The dial of each stream that was taken last. */
  readonly #attempts = new Map<number, number>();
  /** Over connections that are closed. */
  readonly #receivedBefore = new Map<number, number>();
  #controlBefore = 0;
  #lingerTimer: NodeJS.Timeout | undefined;
  #ending: Promise<void> | undefined;
  readonly #opened = Promise.withResolvers<void>();
  /** The receipt was given. */
  #finished = false;
  #settled = false;
  /** Connections that took another's place. */
  retries = 0;
  /** The most streams that were attached at once. */
  streamsSeen = 0;

  constructor(options: LiveSessionOptions) {
    this.peer = options.peer;
    this.terms = options.terms;
    this.agent = options.agent;
    this.#options = options;
    this.#end = options.makeEnd(this);
  }

  /** Takes a control connection that said HELLO: the first, or one in a broken one's place. `seal`: what streams dialled under it are sealed with. */
  open(control: Connection, seal?: SealCipher): void {
    this.#opened.resolve();
    if (this.#ending !== undefined) {
      control.close(ended());
      return;
    }
    clearTimeout(this.#lingerTimer);
    if (this.#control !== undefined) {
      this.#controlBefore += this.#control.bytesReceived;
      this.retries++;
      this.#control.destroy();
    }
    this.#control = control;
    control.role = this.#end.role;
    control.status = () => {
      const limit = this.#options.limit?.() ?? null;
      const { load } = this.#end;
      return {
        ...this.#status,
        received: this.#received,
        ...(limit === null ? {} : { limit }),
        ...(load === undefined ? {} : { load }),
      };
    };
    control.events = {
      onMessage: (message) => this.#onMessage(control, message),
      onClosed: (error) => this.#onControlClosed(control, error),
    };
    control.send("WELCOME", { ...this.terms, ...proofOn(control), ...(seal === undefined ? {} : { seal }) });
    if (control.isOpen) this.#end.controlOpened(control);
    else this.#onControlClosed(control, control.error);
  }

  /** Takes a connection that said ATTACH. */
  attach(stream: Connection, index: number, attempt: number): void {
    // A connection that was slow to come must not take the place of the one that was dialled after it.
    if (this.#ending !== undefined || attempt < (this.#attempts.get(index) ?? 0)) {
      stream.close(ended());
      return;
    }
    this.#attempts.set(index, attempt);
    const before = this.#streams.get(index);
    if (before !== undefined) {
      this.retries++;
      before.destroy();
    }
    this.#streams.set(index, stream);
    this.streamsSeen = Math.max(this.streamsSeen, this.#streams.size);
    stream.role = this.#end.role;
    stream.status = () => this.#status;
    stream.chunkBytesMax = this.terms.chunkBytes;
    stream.send("ATTACHED", { stream: index, ...proofOn(stream) });
    this.#end.streamOpened(stream, index, (error) => {
      if (this.#streams.get(index) === stream) this.#streams.delete(index);
      this.#receivedBefore.set(index, (this.#receivedBefore.get(index) ?? 0) + stream.chunkBytesReceived);
      if (error !== undefined && endsSession(error)) this.end(error);
    });
  }

  get #status(): { doing?: string } {
    const { doing } = this.#end;
    return doing === undefined ? {} : { doing };
  }

  /** Bytes that came over each stream, by its number: so that a slow path is told from a dead one. */
  get #received(): number[] {
    return Array.from({ length: this.terms.streams }, (_, index) => {
      return (this.#receivedBefore.get(index) ?? 0) + (this.#streams.get(index)?.chunkBytesReceived ?? 0);
    });
  }

  /**
   * What the client brought, in bytes: of files, and on the control connection, where links and directories come. Answers
   * on streams that only say that it is there don't count.
   */
  get movedBytes(): number {
    const control = this.#controlBefore + (this.#control?.bytesReceived ?? 0);
    return this.#received.reduce((sum, bytes) => sum + bytes, control);
  }
  /** All that it has now, whatever addresses they come from. */
  get connections(): Connection[] {
    return [...(this.#control === undefined ? [] : [this.#control]), ...this.#streams.values()];
  }
  /** Whether this end is at something that the client waits for. */
  get isWorking(): boolean {
    const { doing } = this.#end;
    return doing !== undefined && doing !== "receiving";
  }
  get isEnding(): boolean {
    return this.#ending !== undefined;
  }

  /** All is settled and in history: from here on the transfer is complete, whether or not the client hears of it. */
  settled(): void {
    this.#settled = true;
  }

  /** This end gave or got the receipt: what remains is for the client to close. */
  finished(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#options.onFinished();
  }
  get isFinished(): boolean {
    return this.#finished;
  }
  /** Whether a client is on it, and without its receipt. */
  get isUnderWay(): boolean {
    return !this.#finished && (this.#control !== undefined || this.#streams.size > 0);
  }

  /** Drops a control connection that has been silent for too long. */
  dropSilent(silentMs: number): void {
    const control = this.#control;
    if (control?.isOpen && performance.now() - control.lastHeardMs > silentMs) {
      control.destroy(new HawserError("E_TIMEOUT", "the client was silent for too long"));
    }
  }

  /** Whether the client is there: it answers on some connection. What is still on its way from one that is gone is none. */
  async probe(withinMs: number): Promise<boolean> {
    if (this.#ending !== undefined) return false;
    // Where it was just admitted, its connection is about to be handed over.
    await this.#opened.promise;
    if (this.#ending !== undefined) return false;
    const open = [this.#control, ...this.#streams.values()].filter((one) => one?.isOpen && PINGABLE.has(one.state));
    const id = randomInt(2 ** 32);
    const answers = open.map(async (connection) => {
      if (connection === undefined || !(await pong(connection, id, withinMs))) throw ended();
    });
    return Promise.any(answers).then(
      () => true,
      () => false,
    );
  }

  /** Ends the session, and tells the client why. */
  end(error?: HawserError): Promise<void> {
    this.#ending ??= this.#doEnd(error);
    return this.#ending;
  }

  async #doEnd(error: HawserError | undefined): Promise<void> {
    clearTimeout(this.#lingerTimer);
    this.#opened.resolve();
    if (this.#control?.isOpen) {
      // Who gets the receipt closes all by itself: a stream that ended before it was read would be one that broke.
      if (this.#finished) await closed(this.#control);
      else this.#control.close(error);
    }
    for (const stream of this.#streams.values()) stream.close(error);
    try {
      await this.#end.dispose();
    } finally {
      await this.#options.onEnded(this, this.#finished || this.#settled ? undefined : error);
    }
  }

  #onMessage(control: Connection, message: NamedMessage): void {
    if (control !== this.#control || this.#ending !== undefined) return;
    if (message.name !== "PONG") this.#end.controlMessage(message);
  }

  #onControlClosed(control: Connection, error: HawserError | undefined): void {
    if (control !== this.#control || this.#ending !== undefined) return;
    this.#controlBefore += control.bytesReceived;
    this.#control = undefined;
    if (this.#finished && error === undefined) void this.end();
    else if (error !== undefined && endsSession(error)) void this.end(error);
    else {
      // It may only have broken: for a while its client finds all as it was, and after that what is on the disk.
      const gone = new HawserError("E_LOST", "the client went away");
      const lingerMs = this.#finished ? Math.min(FINISHED_LINGER_MS, this.#options.lingerMs) : this.#options.lingerMs;
      this.#lingerTimer = setTimeout(() => void this.end(gone), lingerMs);
    }
  }
}

/** A client that may have missed its receipt asks again soon, or never. */
const FINISHED_LINGER_MS = 10_000;

/** A timer this late says that the event loop stood still. */
const HELD_UP_MS = 100;

/** Where a PING may be sent. */
const PINGABLE = new Set<State>(["open", "finishing", "done", "data"]);

function pong(connection: Connection, id: number, withinMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (isThere: boolean) => {
      clearTimeout(timer);
      if (connection.onPong === onPong) connection.onPong = before;
      resolve(isThere);
    };
    // Timers run before sockets are read: an answer may lie there, the more so when this program was held up itself.
    const decide = (dueMs: number) => {
      if (performance.now() - dueMs > HELD_UP_MS) timer = setTimeout(() => setImmediate(() => answer(false)), withinMs);
      else setImmediate(() => answer(false));
    };
    let timer = setTimeout(decide, withinMs, performance.now() + withinMs);
    // An earlier probe may still wait here, for another connection to answer first.
    const before = connection.onPong;
    const onPong = (answered: number | undefined) => {
      before?.(answered);
      if (answered === undefined || answered === id) answer(answered === id);
    };
    connection.onPong = onPong;
    connection.send("PING", { id });
  });
}

/** Closes it, and resolves when it is gone; what the other end has to say to that is not heard. */
function closed(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    connection.events = { onMessage: () => {}, onClosed: () => resolve() };
    connection.close();
  });
}

function ended(): HawserError {
  return new HawserError("E_UNKNOWN_SESSION", "the session has ended");
}

function proofOn({ answerProof }: Connection): { proof?: Uint8Array } {
  return answerProof === undefined ? {} : { proof: answerProof };
}
