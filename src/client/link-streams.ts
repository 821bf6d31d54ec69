/**
 * The streams of a link: which there should be, which are there, in this thread or in a worker, and what becomes of one that
 * breaks.
 */
import type { Connection } from "../net/connection.ts";
import type { ThreadLoad } from "../net/load.ts";
import type { SealedDial } from "../net/sealed-client.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import { asHawserError, ERRORS, endsSession, HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import { type HandshakeOptions, openStream } from "./handshake.ts";
import type { Redials } from "./redials.ts";
import type { Seals } from "./seals.ts";
import { StreamNumbers } from "./stream-numbers.ts";
import type { StreamThread, StreamWorkers, WorkerStream } from "./stream-workers.ts";

export interface LinkStreamsOwner {
  readonly redials: Redials;
  readonly seals: Seals;
  handshake(): HandshakeOptions;
  /** When the transfer last got on. */
  progressMs(): number;
  isControlOpen(): boolean;
  /** Nobody said how many there are to be: one that is refused is none too few, nor one that was never there. */
  isDispensable(): boolean;
  /** So many are there. */
  onAttached(count: number): void;
  /** One that is not wanted any more is gone. */
  onLeft(): void;
  /** One that can't be had is not waited for. */
  onRefused(): void;
  /** One was dialled again too often. */
  onLost(index: number, error: HawserError): void;
  /** The transfer can't go on. */
  onFailed(error: HawserError): void;
}

/** A stream that is attached, as a link sees it, wherever it lives. */
type LinkStream = Pick<Connection, "localPort" | "lastHeardMs" | "state" | "destroy"> & {
  send(name: "PING", ping: Message<"PING">): void;
};

interface StreamDial {
  readonly index: number;
  readonly attempt: number;
  readonly terms: Terms;
  readonly sealed: SealedDial | undefined;
}

export class LinkStreams {
  readonly #owner: LinkStreamsOwner;
  readonly #attached = new Map<number, LinkStream>();
  #numbers = new StreamNumbers(0);
  /** Those that wait for the control connection. */
  readonly #parked = new Set<number>();
  #workers: StreamWorkers | undefined;
  #terms: Terms | undefined;
  #end: TransferEnd | undefined;
  #isStopped = false;

  constructor(owner: LinkStreamsOwner) {
    this.#owner = owner;
  }

  /** How many are there. */
  get size(): number {
    return this.#attached.size;
  }
  /** How many there should be. */
  get wanted(): number {
    return this.#numbers.count;
  }
  /** By their numbers. */
  get attached(): ReadonlyMap<number, LinkStream> {
    return this.#attached;
  }
  get localPorts(): ReadonlySet<number> {
    const ports = [...this.#attached.values()].map(({ localPort }) => localPort);
    return new Set(ports.filter((port) => port !== undefined));
  }

  /** What the workers have done. */
  get threadLoads(): readonly ThreadLoad[] {
    return this.#workers?.loads ?? [];
  }

  /** They live in these from now on. */
  use(workers: StreamWorkers): void {
    this.#workers = workers;
    workers.start();
  }

  begin(terms: Terms, end: TransferEnd): void {
    this.#terms = terms;
    this.#end = end;
    this.#numbers = new StreamNumbers(terms.streams);
  }

  /** There should be so many. */
  resize(count: number): void {
    if (this.#isStopped) return;
    const { open, close } = this.#numbers.resize(count);
    for (const index of close) this.#close(index);
    for (const index of open) {
      this.#owner.redials.dials.expect(index);
      void this.#open(index);
    }
  }

  /** The control connection is there again: a stream is nothing without its session, and that was found first. */
  controlCame(): void {
    for (const index of this.#parked) void this.#open(index);
    this.#parked.clear();
  }

  /** The server remembers what is on its disk, and not which stream and which file is which. */
  beginAnew(terms: Terms): void {
    for (const [index, stream] of this.#attached) {
      stream.destroy();
      this.#numbers.gone(index);
    }
    this.#attached.clear();
    this.#parked.clear();
    this.#terms = terms;
    this.#end?.restart?.(terms);
    for (const index of this.#numbers.all) void this.#open(index);
  }

  /** The transfer is over. Where workers have to end first, returns what resolves when they have. */
  stop(): Promise<void> | undefined {
    this.#isStopped = true;
    // What is still on its way is there already, or of no use any more.
    for (const stream of this.#attached.values()) stream.destroy();
    return this.#workers?.end();
  }

  /** One that is attached goes when all that is on it has arrived; one that is not does not come. */
  #close(index: number): void {
    if (this.#attached.has(index)) this.#end?.closeStream?.(index);
    else this.#forget(index);
  }

  #forget(index: number): void {
    this.#owner.redials.dials.forget(index);
    this.#parked.delete(index);
    this.#numbers.gone(index);
  }

  async #open(index: number): Promise<void> {
    const [terms, end] = [this.#terms, this.#end];
    const { redials, seals } = this.#owner;
    if (terms === undefined || end === undefined || this.#isStopped) return;
    const attempt = redials.dials.begin(index);
    const isCurrent = () => this.#terms === terms && redials.dials.current(index) === attempt;
    const sealed = seals.of(index);
    const worker = end.distantOpened === undefined ? undefined : this.#workers?.of(index);
    /** Whether the stream is still wanted; `onClosed` is to hear of its end then. */
    const attach = (stream: LinkStream): boolean => {
      if (this.#isStopped || !isCurrent()) {
        stream.destroy();
        return false;
      }
      this.#attached.set(index, stream);
      this.#owner.onAttached(this.#attached.size);
      redials.dials.came(index);
      return true;
    };
    try {
      await this.#dial(
        worker,
        { index, attempt, terms, sealed },
        {
          here: (stream) => {
            stream.chunkBytesMax = terms.chunkBytes;
            if (attach(stream)) end.streamOpened(stream, index, (error) => this.#onClosed(index, stream, error));
          },
          distant: (stream) => {
            if (attach(stream)) end.distantOpened?.(stream, index, (error) => this.#onClosed(index, stream, error));
          },
        },
      );
    } catch (thrown) {
      if (!isCurrent()) return;
      const error = asHawserError(thrown);
      // A worker that is gone says nothing of the path.
      if (worker?.isAlive !== false) seals.failed(index, sealed, error.code);
      // Who is not let in is not let in later either.
      if (error.exitCode === ERRORS.E_TOKEN.exit) this.#owner.onFailed(error);
      else if (this.#isDispensable(index, error)) {
        this.#numbers.giveUp(index);
        this.#forget(index);
        this.#owner.onRefused();
      } else this.#redial(index, error);
    }
  }

  async #dial(
    worker: StreamThread | undefined,
    { index, attempt, terms, sealed }: StreamDial,
    to: { here(stream: Connection): void; distant(stream: WorkerStream): void },
  ): Promise<void> {
    const { session, generation, windowBytes, chunkBytes, streams } = terms;
    const attach = { session, generation, stream: index, attempt };
    const handshake = this.#owner.handshake();
    if (worker === undefined) {
      await openStream({ ...handshake, sealed }, attach, to.here);
      return;
    }
    const { endpoint, role, timeoutMs, identity, onAnswered = () => {} } = handshake;
    const plain = { endpoint, role, timeoutMs, identity, sealed };
    const how = { handshake: plain, attach, limits: { windowBytes, chunkBytes, streams } };
    await worker.dial(how, { onAnswered, onAttached: to.distant });
  }

  #isDispensable(index: number, error: HawserError): boolean {
    if (!this.#owner.isDispensable() || this.#attached.size === 0) return false;
    // One that was there has a place that the server may not have seen the end of.
    return this.#owner.redials.dials.failed(index, error.code === "E_BUSY");
  }

  #onClosed(index: number, stream: LinkStream, error: HawserError | undefined): void {
    if (this.#isStopped || this.#attached.get(index) !== stream) return;
    this.#attached.delete(index);
    if (error !== undefined && endsSession(error)) this.#owner.onFailed(error);
    else if (this.#numbers.has(index)) {
      this.#redial(index, error ?? new HawserError("E_LOST", `the server closed stream ${index}`));
    } else {
      this.#forget(index);
      this.#owner.onLeft();
    }
  }

  #redial(index: number, error: HawserError): void {
    if (this.#isStopped) return;
    const count = this.#owner.redials.broke(index, error, this.#owner.progressMs(), () => {
      // Not needed any more.
      if (!this.#numbers.has(index)) this.#forget(index);
      else if (!this.#owner.isControlOpen()) this.#parked.add(index);
      else void this.#open(index);
    });
    if (count === undefined) this.#owner.onLost(index, error);
  }
}
