/** The server: a listener, the sessions under way, and what they write to. */
import { resolve } from "node:path";
import { BlockPool } from "../net/blocks.ts";
import { type Connection, farewell } from "../net/connection.ts";
import { type Listener, listen } from "../net/listen.ts";
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError, type Failure, HawserError } from "../protocol/errors.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import { DiscardSink } from "../sink/discard-sink.ts";
import { MemorySessionStore } from "../sink/memory-session-store.ts";
import { descriptorsMax } from "../sink/platform.ts";
import { SinkSession, type SinkSessionOptions } from "../sink/session.ts";
import { Unfinished } from "../sink/unfinished.ts";
import { AddressRules } from "./address-rules.ts";
import { Admission } from "./admission.ts";
import type { Backend } from "./backend.ts";
import { Expiry } from "./expiry.ts";
import { LeastProgress } from "./least-progress.ts";
import { LiveSession } from "./live-session.ts";
import { openDirectory } from "./open-directory.ts";
import { openOutput } from "./open-output.ts";
import { networkOf, peerOf } from "./peer.ts";
import { PeerLimits } from "./peer-limits.ts";
import { receive } from "./reception.ts";
import { RefusalLog } from "./refusal-log.ts";
import { Sessions } from "./sessions.ts";
import { TransferLog } from "./transfer-log.ts";
import { type HawserServer, SESSION_TTL_MS, type ServeOptions, type ServerEvent } from "./types.ts";
import { WaitingRoom } from "./waiting-room.ts";

const MAX_CONNECTIONS = 1024;
const MAX_CONNECTIONS_PER_PEER = 512;
const MAX_SESSIONS = 256;
const MAX_SESSIONS_PER_PEER = 64;
/** Of the descriptors, so that those that wait to say what they want and the files have theirs as well. */
const CONNECTIONS_PART = 0.4;

/** Slower than any modem, and than what rate limits allow. */
const MIN_BYTES_PER_SECOND = 1024;
const MIN_RATE_OVER_MS = 60_000;

/** A session stays in memory, as it is, for a client that lost its connections. */
const LINGER_MS = 60_000;

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
  readonly #unfinished: Unfinished;
  readonly #sessions: Sessions;
  readonly #expiry: Expiry;
  readonly #limits: PeerLimits;
  readonly #rules: AddressRules;
  readonly #connections = new Set<Connection>();
  /** Every connection is in one of these: it waits to say what it wants, or to be closed; or it has a place. */
  readonly #waiting: WaitingRoom<Connection>;
  readonly #placed = new Map<Connection, string>();
  readonly #progress: LeastProgress<LiveSession>;
  readonly #refusals = new RefusalLog();
  #listener: Listener | undefined;
  readonly #tickers: NodeJS.Timeout[] = [];
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: ServeOptions, backend: Backend) {
    const { sink, store } = backend;
    this.#options = options;
    this.#backend = backend;
    this.#admission = new Admission({
      maxConnections: Math.min(
        options.maxConnections ?? MAX_CONNECTIONS,
        Math.floor(descriptorsMax() * CONNECTIONS_PART),
      ),
      maxConnectionsPerPeer: options.maxConnectionsPerPeer ?? MAX_CONNECTIONS_PER_PEER,
      maxSessions: options.maxSessions ?? MAX_SESSIONS,
      maxSessionsPerPeer: options.maxSessionsPerPeer ?? MAX_SESSIONS_PER_PEER,
    });
    const { undecidedMax, undecidedMaxPerPeer } = this.#admission;
    this.#waiting = new WaitingRoom({ max: undecidedMax, maxPerNetwork: undecidedMaxPerPeer });
    this.#rules = new AddressRules(options.allow, options.deny);
    this.#progress = new LeastProgress({
      bytesPerSecond: options.minBytesPerSecond === undefined ? MIN_BYTES_PER_SECOND : options.minBytesPerSecond,
      overMs: this.#minRateOverMs,
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
    this.#listener = await listen({ host, port }, (remoteAddress) => this.#accept(remoteAddress));
    this.#tickers.push(
      setInterval(
        () => {
          for (const session of this.#sessions.all) session.dropSilent(SILENT_MS);
          this.#noteProgress();
          this.#tellUntold();
        },
        Math.min(TICK_MS, this.#minRateOverMs / 4),
      ),
      setInterval(() => void this.#expiry.sweep(), Math.max(1, Math.min(SWEEP_MS, this.#ttlMs / 4))),
    );
    this.#emit({ type: "listening", ...this.address, dir: dir === undefined ? null : resolve(dir) });
  }

  get #ttlMs(): number {
    return this.#options.sessionTtlMs ?? SESSION_TTL_MS;
  }

  get #minRateOverMs(): number {
    return this.#options.minRateOverMs ?? MIN_RATE_OVER_MS;
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
    this.#listener?.close();
    for (const ticker of this.#tickers) clearInterval(ticker);
    const stopped = new HawserError("E_SHUTTING_DOWN", "the server was stopped");
    await Promise.allSettled(this.#sessions.all.map((session) => session.end(stopped)));
    for (const connection of this.#connections) connection.close();
    await this.#expiry.sweep();
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
    if (!this.#rules.admits(address)) {
      this.#tellRefused(address, { code: "E_ADDRESS_REFUSED", message: "its address may not come" });
      return NOT_ADMITTED;
    }
    const connection = receive(remoteAddress, this.#blocks, {
      onHello: (from, peer, hello) => {
        this.#onHello(from, peer, network, hello).catch((thrown) => this.#refuse(from, peer, asHawserError(thrown)));
      },
      onAttach: (from, peer, attach) => this.#onAttach(from, peer, network, attach),
      limitOf: (peer) => this.#limits.enter(peer),
      onClosed: (peer) => {
        this.#limits.leave(peer);
        this.#connections.delete(connection);
        this.#waiting.leave(network, connection);
        this.#leavePlace(connection);
        // Its session hears of it after this.
        setImmediate(() => this.#checkIdle());
      },
      onRefused: (peer, error) => this.#tellRefused(peer, error),
    });
    this.#connections.add(connection);
    this.#waiting.enter(network, connection)?.destroy(new HawserError("E_BUSY", "too many connections say nothing"));
    return connection;
  }

  /** From here on a connection counts as one of a transfer; or there is no place, and why. */
  #takePlace(connection: Connection, network: string): Failure | undefined {
    if (!connection.isOpen) return { code: "E_LOST", message: "it is gone" };
    const refusal = this.#admission.connect(network);
    if (refusal !== undefined) return refusal;
    this.#waiting.leave(network, connection);
    this.#placed.set(connection, network);
    return undefined;
  }

  #leavePlace(connection: Connection): void {
    const network = this.#placed.get(connection);
    if (network === undefined) return;
    this.#placed.delete(connection);
    this.#admission.disconnect(network);
  }

  /** The same, with what is too slow giving way where that helps. */
  async #findPlace(connection: Connection, network: string): Promise<Failure | undefined> {
    const refusal = this.#takePlace(connection, network);
    if (refusal === undefined || refusal.code !== "E_BUSY") return refusal;
    // Nothing may be said on it before it is answered.
    connection.events = { onMessage: () => {}, onClosed: () => {} };
    await this.#giveWayTo(network);
    return this.#takePlace(connection, network);
  }

  /** For a connection: of this address, where that has all that are its share. */
  #giveWayTo(network: string): Promise<void> {
    const isForAll = this.#admission.connections >= this.#admission.connectionsMax;
    return this.#giveWay((session) => isForAll || networkOf(session.peer) === network);
  }

  /** Ends the transfer that has moved too little for longest, if there is one. */
  async #giveWay(isCandidate: (session: LiveSession) => boolean): Promise<void> {
    this.#noteProgress();
    const session = this.#progress.slowest(performance.now(), (one) => !one.isEnding && isCandidate(one));
    if (session === undefined) return;
    await session.end(new HawserError("E_GAVE_WAY", "it moved next to nothing, and others wanted its place"));
    // Its connections are given their last words, and wait with the others for being closed.
    for (const [connection, network] of this.#placed) {
      if (connection.isOpen) continue;
      this.#leavePlace(connection);
      this.#waiting.enter(network, connection)?.destroy();
    }
  }

  #noteProgress(): void {
    const nowMs = performance.now();
    const limit = this.#limits.bytesPerSecond;
    for (const session of this.#sessions.all) {
      // Who is kept back by this server is not slow.
      const isExcused = session.isWorking || (limit !== null && limit < SLOW_LIMIT_BYTES_PER_SECOND);
      if (isExcused) this.#progress.excuse(session, session.movedBytes, nowMs);
      else this.#progress.note(session, session.movedBytes, nowMs);
    }
  }

  async #onHello(connection: Connection, peer: string, network: string, hello: Message<"HELLO">): Promise<void> {
    const refusal = this.#takePlace(connection, network) && (await this.#findPlace(connection, network));
    if (refusal !== undefined) {
      this.#refuse(connection, peer, new HawserError(refusal.code, refusal.message));
      return;
    }
    const open =
      hello.session === undefined ? undefined : this.#sessions.find(peer, hello.session, hello.generation ?? 1);
    if (open !== undefined) open.open(connection);
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
        await this.#giveWay((session) => !isOwn || networkOf(session.peer) === network);
      }
      const session = await this.#sessions.admit(peer, hello);
      session.open(connection);
    } catch (thrown) {
      this.#refuse(connection, peer, asHawserError(thrown));
    }
  }

  /** Throws E_BUSY, E_ILLEGAL. */
  #makeSession(peer: string, terms: Terms, hello: Message<"HELLO">): LiveSession {
    const { makeSource } = this.#backend;
    if (hello.role === "sink" && makeSource === undefined) {
      throw new HawserError("E_ILLEGAL", "this server sends no files");
    }
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
    return new LiveSession({
      peer,
      terms,
      agent,
      lingerMs: Math.min(LINGER_MS, this.#ttlMs),
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
        this.#admission.closeSession(networkOf(peer));
        this.#checkIdle();
      },
      onEnded: (session, error) => this.#onEnded(session, error, log),
    });
  }

  /** What is thrown away, or only planned, leaves no trace. */
  #whereTo(purpose: Message<"HELLO">["purpose"]): Pick<SinkSessionOptions, "sink" | "store" | "unfinished"> {
    const { sink, store } = this.#backend;
    if (purpose === "transfer") return { sink, store, unfinished: this.#unfinished };
    return { sink: purpose === "discard" ? new DiscardSink() : sink, store: new MemorySessionStore() };
  }

  async #onEnded(session: LiveSession, error: HawserError | undefined, log: TransferLog | undefined): Promise<void> {
    this.#sessions.remove(session);
    this.#progress.forget(session);
    if (!session.isFinished) this.#admission.closeSession(networkOf(session.peer));
    if (error !== undefined) {
      await log?.interrupted(session);
      const { code, message } = error;
      this.#emit({ type: "ended", transferId: session.terms.transfer, peer: session.peer, code, message });
    }
    this.#checkIdle();
  }

  #onAttach(connection: Connection, peer: string, network: string, attach: Message<"ATTACH">): void {
    const refusal = this.#takePlace(connection, network);
    if (refusal !== undefined) {
      // It may have sent chunks already, and is dialled again.
      if (refusal.code === "E_BUSY") void this.#giveWayTo(network).catch(() => {});
      this.#refuse(connection, peer, new HawserError(refusal.code, refusal.message));
      return;
    }
    const { session: id, generation, stream, attempt } = attach;
    const session = this.#sessions.find(peer, id, generation);
    if (session === undefined) {
      const message = "no session of this id belongs to this address";
      this.#refuse(connection, peer, new HawserError("E_UNKNOWN_SESSION", message));
    } else if (stream < session.terms.streams) session.attach(connection, stream, attempt);
    else this.#refuse(connection, peer, new HawserError("E_ILLEGAL", `stream ${stream} of ${session.terms.streams}`));
  }

  /** Tells the client and the log why it gets nothing; it goes with a closed connection. */
  #refuse(connection: Connection, peer: string, error: HawserError): void {
    this.#tellRefused(peer, error);
    connection.events = { onMessage: () => {}, onClosed: () => {} };
    connection.close(error);
  }

  #tellRefused(peer: string, { code, message }: Failure): void {
    this.#tellUntold();
    if (!this.#refusals.tells(networkOf(peer), performance.now())) return;
    this.#emit({ type: "refused", peer, code, message });
  }

  #tellUntold(): void {
    const count = this.#refusals.takeUntold(performance.now());
    if (count > 0) this.#emit({ type: "warning", message: `${count} more refusals in a minute were not logged` });
  }

  #emit(event: ServerEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** What a client hears whose address may not come: before a byte of it is read. */
const NOT_ADMITTED = farewell(
  new HawserError("E_ADDRESS_REFUSED", "this server does not take transfers from your address"),
);

/** Where this server lets each client have less than this, nobody can be told to be slow. */
const SLOW_LIMIT_BYTES_PER_SECOND = 64 * MIN_BYTES_PER_SECOND;
