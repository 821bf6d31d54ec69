/** The server: a listener, the sessions under way, and what they write to. */
import { resolve } from "node:path";
import { BlockPool } from "../net/blocks.ts";
import { ChunkRoom } from "../net/chunk-room.ts";
import type { Connection } from "../net/connection.ts";
import { type Listener, listen } from "../net/listen.ts";
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { DEFAULT_PORT, STREAMS_DEFAULT } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import { MemorySessionStore } from "../sink/memory-session-store.ts";
import { SinkSession, type SinkSessionOptions } from "../sink/session.ts";
import { Unfinished } from "../sink/unfinished.ts";
import { Admission } from "./admission.ts";
import type { Backend } from "./backend.ts";
import { admissionLimits, chunkMemoryBytes } from "./bounds.ts";
import { Door } from "./door.ts";
import { Expiry } from "./expiry.ts";
import { GivingWay } from "./giving-way.ts";
import { LiveSession } from "./live-session.ts";
import { isMeasurement, Measurements } from "./measurements.ts";
import { openDirectory } from "./open-directory.ts";
import { openOutput } from "./open-output.ts";
import { networkOf, peerOf } from "./peer.ts";
import { PeerLimits } from "./peer-limits.ts";
import { Places } from "./places.ts";
import { receive } from "./reception.ts";
import { Sessions } from "./sessions.ts";
import { TransferLog } from "./transfer-log.ts";
import { type HawserServer, SESSION_TTL_MS, type ServeOptions, type ServerEvent } from "./types.ts";

/** A session stays in memory, as it is, for a client that lost its connections. */
const LINGER_MS = 60_000;
/** Nobody goes on with a measurement, and others wait for its place. */
const MEASUREMENT_LINGER_MS = 5_000;

/** A client pings every few seconds, whatever else it does. */
const SILENT_MS = 60_000;
const TICK_MS = 5_000;
/** How often it is looked for what has expired, at most. */
const SWEEP_MS = 60_000;

/** Serves a directory (see `openDirectory`), or one file into a stream. Throws E_CONFIG, E_DIRECTORY_IN_USE, E_ADDRESS_IN_USE, E_IO. */
export async function serve(options: ServeOptions): Promise<HawserServer> {
  const { output, maxFileBytes } = options;
  const backend = output === undefined ? await openDirectory(options) : openOutput(output, maxFileBytes);
  try {
    return await serveBackend(options, backend);
  } catch (error) {
    await backend.release();
    throw error;
  }
}

/** The same over any backend. */
export async function serveBackend(options: ServeOptions, backend: Backend): Promise<HawserServer> {
  const server = new Server(options, backend);
  await server.start();
  return server;
}

class Server implements HawserServer {
  readonly #options: ServeOptions;
  readonly #backend: Backend;
  readonly #admission: Admission;
  readonly #blocks = new BlockPool();
  readonly #chunkRoom: ChunkRoom;
  readonly #unfinished: Unfinished;
  readonly #sessions: Sessions;
  readonly #expiry: Expiry;
  readonly #limits: PeerLimits;
  readonly #door: Door;
  readonly #places: Places<Connection>;
  readonly #givingWay: GivingWay;
  readonly #measurements = new Measurements();
  #listener: Listener | undefined;
  readonly #tickers: NodeJS.Timeout[] = [];
  #draining = false;
  #closed = false;
  #onIdle: (() => void) | undefined;

  constructor(options: ServeOptions, backend: Backend) {
    const { sink, store } = backend;
    this.#options = options;
    this.#backend = backend;
    this.#admission = new Admission(admissionLimits(options));
    this.#chunkRoom = new ChunkRoom(chunkMemoryBytes(options));
    this.#places = new Places(this.#admission);
    this.#door = new Door({ ...options, onEvent: (event) => this.#emit(event) });
    this.#givingWay = new GivingWay({
      ...options,
      sessions: () => this.#sessions.all,
      limit: () => this.#limits.bytesPerSecond,
    });
    this.#limits = new PeerLimits(options.bytesPerSecondPerPeer ?? null);
    this.#unfinished = new Unfinished(sink, store, (id) => this.#sessions.evict(id));
    this.#sessions = new Sessions({
      store,
      capabilities: sink.capabilities,
      make: (peer, terms, hello) => this.#makeSession(peer, terms, hello),
    });
    this.#expiry = new Expiry({
      store,
      unfinished: this.#unfinished,
      ttlMs: this.#ttlMs,
      onExpired: (session) => this.#emit({ type: "expired", ...session }),
    });
  }

  async start(): Promise<void> {
    const { host = "127.0.0.1", port = DEFAULT_PORT, dir } = this.#options;
    await this.#expiry.sweep();
    const gate = await this.#door.open();
    try {
      this.#listener = await listen({ host, port }, (remoteAddress) => this.#accept(remoteAddress), gate);
    } catch (error) {
      this.#door.close();
      throw error;
    }
    this.#tickers.push(
      setInterval(
        () => {
          for (const session of this.#sessions.all) session.dropSilent(SILENT_MS);
          this.#givingWay.note();
          this.#door.tellUntold();
        },
        Math.min(TICK_MS, this.#givingWay.everyMs),
      ),
      setInterval(() => void this.#expiry.sweep(), Math.max(1, Math.min(SWEEP_MS, this.#ttlMs / 4))),
    );
    this.#emit({ type: "listening", ...this.address, dir: dir === undefined ? null : resolve(dir) });
  }

  get #ttlMs(): number {
    return this.#options.sessionTtlMs ?? SESSION_TTL_MS;
  }

  get address(): { readonly host: string; readonly port: number } {
    if (this.#listener === undefined) throw new Error("the server was not started");
    return this.#listener.address;
  }

  setRateLimit(bytesPerSecond: number | null): void {
    this.#limits.set(bytesPerSecond);
    this.#emit({ type: "limit", bytesPerSecond });
  }

  async close({ drainMs = 0 }: { readonly drainMs?: number } = {}): Promise<void> {
    this.#draining = true;
    // Transfers under way may still need to dial, so the port stays open while they go on.
    if (this.#isBusy && drainMs > 0) await this.#idleWithin(drainMs);
    this.#closed = true;
    this.#listener?.close();
    for (const ticker of this.#tickers) clearInterval(ticker);
    await Promise.allSettled(this.#sessions.all.map((session) => session.end(stopped())));
    for (const connection of this.#places.all) connection.close();
    await this.#expiry.sweep();
    this.#door.close();
    await this.#backend.release();
  }

  /** Whether a transfer is under way. One whose client is gone can be gone on with later as well as now. */
  get #isBusy(): boolean {
    return this.#sessions.all.some((session) => session.isUnderWay);
  }

  #checkIdle(): void {
    if (!this.#isBusy) this.#onIdle?.();
  }

  #idleWithin(drainMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, drainMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #accept(remoteAddress: string): Connection | Uint8Array {
    const address = peerOf(remoteAddress);
    const network = networkOf(address);
    const turnedAway = this.#door.turnAway(address);
    if (turnedAway !== undefined) return turnedAway;
    // Until it is known who it is, its address stands for it.
    let limited = network;
    const admit = (from: Connection, question: "HELLO" | "ATTACH", body: Message<"HELLO"> | Message<"ATTACH">) => {
      const peer = this.#door.admit(from, address, question, body);
      if (peer === undefined || networkOf(peer) === limited) return peer;
      from.readingLimit = this.#limits.enter(networkOf(peer));
      this.#limits.leave(limited);
      limited = networkOf(peer);
      return peer;
    };
    const connection = receive(remoteAddress, this.#blocks, {
      onHello: (from, _, hello) => {
        const peer = admit(from, "HELLO", hello);
        if (peer === undefined) return;
        this.#onHello(from, peer, network, hello).catch((thrown) => this.#refuse(from, peer, asHawserError(thrown)));
      },
      onAttach: (from, _, attach) => {
        const peer = admit(from, "ATTACH", attach);
        if (peer !== undefined) this.#onAttach(from, peer, network, attach);
      },
      limitOf: () => this.#limits.enter(limited),
      onClosed: () => {
        this.#limits.leave(limited);
        this.#places.leave(connection);
        this.#door.forget(connection);
        // Its session hears of it after this.
        setImmediate(() => this.#checkIdle());
      },
      onRefused: (peer, error) => this.#door.tellRefused(peer, error),
    });
    this.#places.enter(connection, network);
    return connection;
  }

  /** For a connection of a session: another one's place, of this address where that has all that are its share. */
  async #makePlace(network: string, own: LiveSession | undefined): Promise<void> {
    const isForAll = this.#admission.connections >= this.#admission.connectionsMax;
    const whose = isForAll ? undefined : network;
    await this.#givingWay.makeRoom((one) => one !== own && one.connections.some((it) => this.#places.has(it, whose)));
    this.#places.retireClosing();
  }

  async #onHello(connection: Connection, peer: string, network: string, hello: Message<"HELLO">): Promise<void> {
    const find = () => hello.session && this.#sessions.find(peer, hello.session, hello.generation ?? 1);
    if (this.#places.take(connection) !== undefined) {
      // Nothing may be said on it before it is answered.
      connection.events = { onMessage: () => {}, onClosed: () => {} };
      await this.#makePlace(network, find());
      const refusal = this.#places.take(connection);
      if (refusal !== undefined) return this.#refuse(connection, peer, new HawserError(refusal.code, refusal.message));
    }
    const open = find();
    if (open !== undefined) this.#open(open, connection, hello);
    else if (this.#draining) {
      this.#refuse(connection, peer, new HawserError("E_SHUTTING_DOWN", "the server is being stopped"));
    } else await this.#openSession(connection, peer, hello);
  }

  async #openSession(connection: Connection, peer: string, hello: Message<"HELLO">): Promise<void> {
    connection.events = { onMessage: () => {}, onClosed: () => {} };
    try {
      const network = networkOf(peer);
      if (this.#admission.sessionRefusal(network) !== undefined) {
        const isOwn = this.#admission.hasAllItsSessions(network);
        await this.#givingWay.makeRoom((one) => !isOwn || networkOf(one.peer) === network);
      }
      this.#open(await this.#sessions.admit(peer, hello), connection, hello);
    } catch (thrown) {
      this.#refuse(connection, peer, asHawserError(thrown));
    }
  }

  #open(session: LiveSession, control: Connection, hello: Message<"HELLO">): void {
    session.open(control, this.#door.sealStreams(control, session.peer, session.terms.session, hello));
  }

  /** Throws E_BUSY, E_ILLEGAL, E_SHUTTING_DOWN. */
  #makeSession(peer: string, terms: Terms, hello: Message<"HELLO">): LiveSession {
    // Its place in the journal took a turn of the event loop, in which the server may have been stopped.
    if (this.#closed) throw stopped();
    const { makeSource } = this.#backend;
    if (hello.role === "sink" && makeSource === undefined) {
      throw new HawserError("E_ILLEGAL", "this server sends no files");
    }
    this.#measurements.assertMayOpen(hello.purpose, peer, this.#backend.sink);
    const busy = this.#admission.openSession(networkOf(peer));
    if (busy !== undefined) throw new HawserError(busy.code, busy.message);
    const agent = escapeText(hello.agent);
    let part: SinkSession | undefined;
    const spared = () => part ?? { bytesResumed: 0, bytesMatched: 0 };
    const log =
      hello.purpose !== "transfer"
        ? undefined
        : new TransferLog(this.#backend.history, spared, (event) => this.#emit(event));
    this.#emit({ type: "session", transferId: terms.transfer, peer, agent, resumed: terms.generation > 1 });
    const session = new LiveSession({
      peer,
      terms,
      agent,
      lingerMs: Math.min(isMeasurement(hello.purpose) ? MEASUREMENT_LINGER_MS : LINGER_MS, this.#ttlMs),
      limit: () => this.#limits.bytesPerSecond,
      makeEnd: (session) => {
        if (hello.role === "sink" && makeSource !== undefined) return makeSource(terms, session);
        part = new SinkSession({
          terms,
          peer,
          account: networkOf(peer),
          limits: { entriesMax: this.#options.maxEntries, depthMax: this.#options.maxDepth },
          fresh: hello.fresh === true,
          wishes: {
            overwrite: hello.overwrite ?? "never",
            exactMode: hello.preserveMode === true,
            dryRun: hello.purpose === "plan",
            delta: hello.delta === true,
          },
          ...this.#whereTo(hello.purpose),
          events: {
            onSettled: async (records) => log?.files(session, records),
            onFinished: async () => {
              await log?.finished(session);
              session.settled();
            },
            onReceiptSent: () => session.finished(),
            onFailed: (error) => void session.end(error),
          },
        });
        return part;
      },
      onFinished: () => {
        this.#measurements.ended(session);
        this.#admission.closeSession(networkOf(peer));
        this.#checkIdle();
      },
      onEnded: (session, error) => this.#onEnded(session, error, log),
    });
    if (isMeasurement(hello.purpose)) this.#measurements.opened(session);
    return session;
  }

  /** What is thrown away, or only planned, leaves no trace. */
  #whereTo(purpose: Message<"HELLO">["purpose"]): Pick<SinkSessionOptions, "sink" | "store" | "unfinished"> {
    const { sink, store } = this.#backend;
    if (purpose === "transfer") return { sink, store, unfinished: this.#unfinished };
    return { sink: this.#measurements.sinkFor(purpose, sink), store: new MemorySessionStore() };
  }

  async #onEnded(session: LiveSession, error: HawserError | undefined, log: TransferLog | undefined): Promise<void> {
    this.#sessions.remove(session);
    this.#measurements.ended(session);
    this.#givingWay.forget(session);
    if (!session.isFinished) this.#admission.closeSession(networkOf(session.peer));
    if (error !== undefined) {
      await log?.interrupted(session);
      const { code, message } = error;
      // Only what is a transfer has a log.
      const resumable = log !== undefined && this.#options.output === undefined;
      this.#emit({ type: "ended", transferId: session.terms.transfer, peer: session.peer, resumable, code, message });
    }
    this.#checkIdle();
  }

  #onAttach(connection: Connection, peer: string, network: string, attach: Message<"ATTACH">): void {
    const { session: id, generation, stream, attempt } = attach;
    const session = this.#sessions.find(peer, id, generation);
    const isExtra = stream >= STREAMS_DEFAULT;
    const refusal = this.#places.take(connection, isExtra);
    if (refusal !== undefined) {
      // It may have sent chunks already, and is dialled again. For one more than most have nobody has to go.
      if (session !== undefined && !isExtra) void this.#makePlace(network, session).catch(() => {});
      this.#refuse(connection, peer, new HawserError(refusal.code, refusal.message));
      return;
    }
    if (session === undefined) {
      const message = "no session of this id belongs to this client";
      this.#refuse(connection, peer, new HawserError("E_UNKNOWN_SESSION", message));
    } else if (stream < session.terms.streams) {
      // Chunks that wait for one that comes over another stream can't be waited for: there the terms bound them.
      if (session.terms.inOrder !== true) connection.enterRoom(this.#chunkRoom, networkOf(peer));
      session.attach(connection, stream, attempt);
    } else this.#refuse(connection, peer, new HawserError("E_ILLEGAL", `stream ${stream} of ${session.terms.streams}`));
  }

  /** Tells the client and the log why it gets nothing; it goes with a closed connection. */
  #refuse(connection: Connection, peer: string, error: HawserError): void {
    this.#door.tellRefused(peer, error);
    connection.events = { onMessage: () => {}, onClosed: () => {} };
    connection.close(error);
    this.#places.retire(connection);
  }

  #emit(event: ServerEvent): void {
    this.#options.onEvent?.(event);
  }
}

function stopped(): HawserError {
  return new HawserError("E_SHUTTING_DOWN", "the server was stopped");
}
