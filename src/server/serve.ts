/** The server: a listener, the sessions under way, and what they write to. */
import { resolve } from "node:path";
import { BlockPool } from "../net/blocks.ts";
import { type Connection, farewell } from "../net/connection.ts";
import { type Gate, type Listener, listen } from "../net/listen.ts";
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { DEFAULT_PORT } from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import { DiscardSink } from "../sink/discard-sink.ts";
import { MemorySessionStore } from "../sink/memory-session-store.ts";
import { descriptorsMax } from "../sink/platform.ts";
import { SinkSession, type SinkSessionOptions } from "../sink/session.ts";
import { Unfinished } from "../sink/unfinished.ts";
import { Admission } from "./admission.ts";
import type { Backend } from "./backend.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import { Expiry } from "./expiry.ts";
import { LiveSession } from "./live-session.ts";
import { openDirectory } from "./open-directory.ts";
import { openOutput } from "./open-output.ts";
import { PeerLimits } from "./peer-limits.ts";
import { receive } from "./reception.ts";
import { Sessions } from "./sessions.ts";
import type { Tickets } from "./tickets.ts";
import { TransferLog } from "./transfer-log.ts";
import { type HawserServer, SESSION_TTL_MS, type ServeOptions, type ServerEvent } from "./types.ts";

const MAX_CONNECTIONS = 1024;
const MAX_SESSIONS_PER_PEER = 64;

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
  readonly #connections = new Set<Connection>();
  /** Those that have not said what they want, oldest first. */
  readonly #undecided = new Set<Connection>();
  #listener: Listener | undefined;
  #tickets: Tickets | undefined;
  #doorkeeper = new Doorkeeper(undefined);
  /** What a client hears for whom there is no place. */
  #busy = BUSY;
  readonly #tickers: NodeJS.Timeout[] = [];
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: ServeOptions, backend: Backend) {
    const { sink, store } = backend;
    this.#options = options;
    this.#backend = backend;
    this.#admission = new Admission({
      maxConnections: Math.min(options.maxConnections ?? MAX_CONNECTIONS, Math.floor(descriptorsMax() / 2)),
      maxSessionsPerPeer: options.maxSessionsPerPeer ?? MAX_SESSIONS_PER_PEER,
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
    const gate = await this.#openGate();
    try {
      this.#listener = await listen({ host, port }, (remoteAddress) => this.#accept(remoteAddress), gate);
    } catch (error) {
      this.#tickets?.close();
      throw error;
    }
    this.#tickers.push(
      setInterval(() => {
        for (const session of this.#sessions.all) session.dropSilent(SILENT_MS);
      }, TICK_MS),
      setInterval(() => void this.#expiry.sweep(), Math.max(1, Math.min(SWEEP_MS, this.#ttlMs / 4))),
    );
    this.#emit({ type: "listening", ...this.address, dir: dir === undefined ? null : resolve(dir) });
  }

  /** What encrypts needs time to load, and is loaded where it is used. */
  async #openGate(): Promise<Gate | undefined> {
    const { secure } = this.#options;
    if (secure === undefined) return undefined;
    const [{ TLS_BUSY, tlsGate }, { Tickets }] = await Promise.all([
      import("../net/tls-server.ts"),
      import("./tickets.ts"),
    ]);
    const gate = tlsGate(secure);
    this.#tickets = Tickets.open(secure.tickets);
    this.#doorkeeper = new Doorkeeper(this.#tickets);
    this.#busy = TLS_BUSY;
    return gate;
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
    this.#listener?.close();
    for (const ticker of this.#tickers) clearInterval(ticker);
    const stopped = new HawserError("E_SHUTTING_DOWN", "the server was stopped");
    await Promise.allSettled(this.#sessions.all.map((session) => session.end(stopped)));
    for (const connection of this.#connections) connection.close();
    await this.#expiry.sweep();
    this.#tickets?.close();
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
    if (!this.#admission.connect()) return this.#busy;
    const connection = receive(remoteAddress, this.#blocks, {
      onHello: (from, address, hello) => {
        const peer = this.#admit(from, address, "HELLO", hello);
        if (peer !== undefined) this.#onHello(from, peer, hello);
      },
      onAttach: (from, address, attach) => {
        const peer = this.#admit(from, address, "ATTACH", attach);
        if (peer !== undefined) this.#onAttach(from, peer, attach);
      },
      onDecided: () => this.#undecided.delete(connection),
      limitOf: (peer) => this.#limits.enter(peer),
      onClosed: (peer) => {
        this.#limits.leave(peer);
        this.#connections.delete(connection);
        this.#admission.disconnect();
        // Its session hears of it after this.
        setImmediate(() => this.#checkIdle());
      },
      onRefused: (peer, { code, message }) => this.#emit({ type: "refused", peer, code, message }),
    });
    this.#connections.add(connection);
    this.#undecided.add(connection);
    this.#dropCrowd();
    return connection;
  }

  /** Whoever means it has spoken long before so many others have come that it would be dropped for them. */
  #dropCrowd(): void {
    for (const oldest of this.#undecided) {
      if (this.#undecided.size <= this.#admission.undecidedMax) return;
      this.#undecided.delete(oldest);
      oldest.destroy(new HawserError("E_BUSY", "too many connections say nothing"));
    }
  }

  /** The peer that asks; undefined where it was refused. */
  #admit(
    connection: Connection,
    address: string,
    question: "HELLO" | "ATTACH",
    body: Message<"HELLO"> | Message<"ATTACH">,
  ): string | undefined {
    try {
      return this.#doorkeeper.admit(connection, address, question, body, Date.now());
    } catch (thrown) {
      this.#refuse(connection, address, asHawserError(thrown));
      return undefined;
    }
  }

  #onHello(connection: Connection, peer: string, hello: Message<"HELLO">): void {
    const open =
      hello.session === undefined ? undefined : this.#sessions.find(peer, hello.session, hello.generation ?? 1);
    if (open !== undefined) open.open(connection);
    else if (this.#draining) {
      this.#refuse(connection, peer, new HawserError("E_SHUTTING_DOWN", "the server is being stopped"));
    } else void this.#openSession(connection, peer, hello);
  }

  async #openSession(connection: Connection, peer: string, hello: Message<"HELLO">): Promise<void> {
    // Nothing may be said on it before it is answered.
    connection.events = { onMessage: () => {}, onClosed: () => {} };
    try {
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
    const busy = this.#admission.openSession(peer);
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
        this.#admission.closeSession(peer);
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
    if (!session.isFinished) this.#admission.closeSession(session.peer);
    if (error !== undefined) {
      await log?.interrupted(session);
      const { code, message } = error;
      this.#emit({ type: "ended", transferId: session.terms.transfer, peer: session.peer, code, message });
    }
    this.#checkIdle();
  }

  #onAttach(connection: Connection, peer: string, attach: Message<"ATTACH">): void {
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
    this.#emit({ type: "refused", peer, code: error.code, message: error.message });
    connection.events = { onMessage: () => {}, onClosed: () => {} };
    connection.close(error);
  }

  #emit(event: ServerEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** What a client hears for whom there is no place. */
const BUSY = farewell(new HawserError("E_BUSY", "the server has as many connections as it allows"));
