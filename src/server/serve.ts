/** The server: a listener, the sessions under way, and what they write to. */
import { randomBytes, randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { AGENT } from "../agent.ts";
import { BlockPool } from "../net/blocks.ts";
import { type Connection, farewell } from "../net/connection.ts";
import { type Listener, listen } from "../net/listen.ts";
import type { Terms } from "../net/transfer-end.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import {
  CHUNK_BYTES_MIN,
  DEFAULT_PORT,
  OPEN_FILES_MAX,
  SESSION_ID_BYTES,
  STREAMS_MAX,
  WINDOW_BYTES,
} from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import { DiscardSink } from "../sink/discard-sink.ts";
import { MemorySessionStore } from "../sink/memory-session-store.ts";
import { SinkSession } from "../sink/session.ts";
import { Admission } from "./admission.ts";
import type { Backend } from "./backend.ts";
import { LiveSession } from "./live-session.ts";
import { openDirectory } from "./open-directory.ts";
import { receive } from "./reception.ts";
import { TransferLog } from "./transfer-log.ts";
import type { HawserServer, ServeOptions, ServerEvent } from "./types.ts";

const MAX_CONNECTIONS = 1024;
const MAX_SESSIONS_PER_PEER = 64;
const SESSION_TTL_MS = 60_000;

/** A client pings every few seconds, whatever else it does. */
const SILENT_MS = 60_000;
const TICK_MS = 5_000;

/** Serves a directory (see `openDirectory`). Throws E_CONFIG, E_DIRECTORY_IN_USE, E_ADDRESS_IN_USE, E_IO. */
export async function serve(options: ServeOptions): Promise<HawserServer> {
  const backend = await openDirectory(options);
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
  readonly #sessions = new Map<string, LiveSession>();
  readonly #connections = new Set<Connection>();
  #listener: Listener | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: ServeOptions, backend: Backend) {
    this.#options = options;
    this.#backend = backend;
    this.#admission = new Admission({
      maxConnections: options.maxConnections ?? MAX_CONNECTIONS,
      maxSessionsPerPeer: options.maxSessionsPerPeer ?? MAX_SESSIONS_PER_PEER,
    });
  }

  async start(): Promise<void> {
    const { host = "127.0.0.1", port = DEFAULT_PORT, dir } = this.#options;
    this.#listener = await listen({ host, port }, (remoteAddress) => this.#accept(remoteAddress));
    this.#ticker = setInterval(() => {
      for (const session of this.#sessions.values()) session.dropSilent(SILENT_MS);
    }, TICK_MS);
    this.#emit({ type: "listening", ...this.address, dir: resolve(dir) });
  }

  get address(): { readonly host: string; readonly port: number } {
    if (this.#listener === undefined) throw new Error("the server was not started");
    return this.#listener.address;
  }

  async close({ drainMs = 0 }: { readonly drainMs?: number } = {}): Promise<void> {
    this.#draining = true;
    // Transfers under way may still need to dial, so the port stays open while they go on.
    if (this.#isBusy && drainMs > 0) await this.#idleWithin(drainMs);
    this.#listener?.close();
    clearInterval(this.#ticker);
    const stopped = new HawserError("E_SHUTTING_DOWN", "the server was stopped");
    await Promise.allSettled([...this.#sessions.values()].map((session) => session.end(stopped)));
    for (const connection of this.#connections) connection.close();
    await this.#backend.release();
  }

  /** Whether a transfer is under way; one that has its receipt is not. */
  get #isBusy(): boolean {
    return [...this.#sessions.values()].some((session) => !session.isFinished);
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
    if (!this.#admission.connect()) return BUSY;
    const connection = receive(remoteAddress, this.#blocks, {
      onHello: (from, peer, hello) => this.#onHello(from, peer, hello),
      onAttach: (from, peer, attach) => this.#onAttach(from, peer, attach),
      onDecided: () => this.#admission.decided(),
      onClosed: () => {
        this.#connections.delete(connection);
        this.#admission.disconnect();
      },
      onRefused: (peer, { code, message }) => this.#emit({ type: "refused", peer, code, message }),
    });
    this.#connections.add(connection);
    return connection;
  }

  #onHello(connection: Connection, peer: string, hello: Message<"HELLO">): void {
    if (hello.session !== undefined) {
      this.#findFor(connection, hello.session, peer)?.open(connection);
    } else if (this.#draining) {
      this.#refuse(connection, peer, new HawserError("E_SHUTTING_DOWN", "the server is being stopped"));
    } else {
      const busy = this.#admission.openSession(peer);
      if (busy === undefined) void this.#openSession(connection, peer, hello);
      else this.#refuse(connection, peer, new HawserError(busy.code, busy.message));
    }
  }

  async #openSession(connection: Connection, peer: string, hello: Message<"HELLO">): Promise<void> {
    const terms = this.#termsFor(hello);
    let session: LiveSession | undefined;
    try {
      session = await this.#makeSession(peer, terms, hello);
      this.#sessions.set(keyOf(terms.session), session);
      this.#emit({ type: "session", transferId: terms.transfer, peer, agent: session.agent });
      session.open(connection);
    } catch (thrown) {
      const error = asHawserError(thrown);
      if (session === undefined) this.#admission.closeSession(peer);
      else void session.end(error);
      this.#refuse(connection, peer, error);
    }
  }

  #termsFor(hello: Message<"HELLO">): Terms {
    const { randomAccess, blockBytes } = this.#backend.sink.capabilities;
    const splitBytes = randomAccess ? hello.chunkBytes : blockBytes;
    const chunkBytes = splitBytes % hello.chunkBytes === 0 ? hello.chunkBytes : CHUNK_BYTES_MIN;
    return {
      agent: AGENT,
      session: randomBytes(SESSION_ID_BYTES),
      transfer: randomUUID(),
      chunkBytes,
      windowBytes: Math.max(WINDOW_BYTES, 4 * chunkBytes),
      splitBytes,
      streams: Math.min(hello.streams, STREAMS_MAX),
      openFiles: OPEN_FILES_MAX,
      durability: hello.purpose === "discard" ? "none" : "commit",
    };
  }

  async #makeSession(peer: string, terms: Terms, hello: Message<"HELLO">): Promise<LiveSession> {
    const { makeSource, store } = this.#backend;
    if (hello.role === "sink" && makeSource === undefined) {
      throw new HawserError("E_ILLEGAL", "this server sends no files");
    }
    const discards = hello.purpose === "discard";
    if (!discards && hello.role === "source") {
      const createdMs = Date.now();
      const { chunkBytes, transfer: transferId } = terms;
      await store.create({ id: keyOf(terms.session), transferId, peer, createdMs, chunkBytes });
    }
    const log = discards ? undefined : new TransferLog(this.#backend.history, (event) => this.#emit(event));
    return new LiveSession({
      peer,
      terms,
      agent: escapeText(hello.agent),
      ttlMs: this.#options.sessionTtlMs ?? SESSION_TTL_MS,
      makeEnd: (session) => {
        if (hello.role === "sink" && makeSource !== undefined) return makeSource(terms, session);
        return new SinkSession({
          terms,
          sink: discards ? new DiscardSink() : this.#backend.sink,
          store: discards ? new MemorySessionStore() : store,
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
      },
      onFinished: () => {
        this.#admission.closeSession(peer);
        if (!this.#isBusy) this.#onIdle?.();
      },
      onEnded: (session, error) => void this.#onEnded(session, error, log),
    });
  }

  async #onEnded(session: LiveSession, error: HawserError | undefined, log: TransferLog | undefined): Promise<void> {
    this.#sessions.delete(keyOf(session.terms.session));
    if (!session.isFinished) this.#admission.closeSession(session.peer);
    if (error !== undefined) {
      await log?.interrupted(session);
      const { code, message } = error;
      this.#emit({ type: "ended", transferId: session.terms.transfer, peer: session.peer, code, message });
    }
    if (!this.#isBusy) this.#onIdle?.();
  }

  #onAttach(connection: Connection, peer: string, { session: id, stream }: Message<"ATTACH">): void {
    const session = this.#findFor(connection, id, peer);
    if (session === undefined) return;
    if (stream < session.terms.streams) session.attach(connection, stream);
    else this.#refuse(connection, peer, new HawserError("E_ILLEGAL", `stream ${stream} of ${session.terms.streams}`));
  }

  /** The session of this id, which must be the peer's own: somebody else's is as unknown as one that never was. */
  #findFor(connection: Connection, id: Uint8Array, peer: string): LiveSession | undefined {
    const session = this.#sessions.get(keyOf(id));
    if (session?.peer === peer) return session;
    this.#refuse(
      connection,
      peer,
      new HawserError("E_UNKNOWN_SESSION", "no session of this id belongs to this address"),
    );
    return undefined;
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

const keyOf = (id: Uint8Array) => Buffer.from(id).toString("hex");
