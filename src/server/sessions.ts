/**
 * The sessions of a server: those that are open, by id, and how a client gets one: its own again, one that an earlier run
 * left, or a new one. A session that lives is never taken from its client.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { AGENT } from "../agent.ts";
import type { Terms } from "../net/transfer-end.ts";
import { HawserError } from "../protocol/errors.ts";
import {
  CHUNK_BYTES_MIN,
  CHUNK_BYTES_STEP,
  OPEN_FILES_MAX,
  OPEN_SMALL_MAX,
  SESSION_ID_BYTES,
  STREAMS_MAX,
  WINDOW_BYTES,
} from "../protocol/limits.ts";
import type { Message } from "../protocol/messages.ts";
import { NameLocks } from "../sink/name-locks.ts";
import type { KeptSession, SessionStore } from "../sink/session-store.ts";
import type { SinkCapabilities } from "../sink/sink.ts";
import { hexOf } from "../sink/unfinished.ts";
import type { LiveSession } from "./live-session.ts";

/** A client answers within a round trip, and this is more than the longest. */
const PROBE_MS = 2000;

/** What a stream may have waiting for its turn, in chunks: it is kept in memory. */
const IN_ORDER_CHUNKS = 4;
/** More would have to have smaller chunks. */
const IN_ORDER_STREAMS_MAX = 64;
/** And what all streams of such a session may have, with the chunk that each is bringing. */
const IN_ORDER_BYTES_MAX = 256 * 1024 * 1024;

export interface SessionsOptions {
  readonly store: SessionStore;
  readonly capabilities: SinkCapabilities;
  /** Makes and keeps count of a session; throws where there may not be one more. */
  readonly make: (peer: string, terms: Terms, hello: Message<"HELLO">) => LiveSession;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #open = new Map<string, LiveSession>();
  /** One at a time opens what is stored. */
  readonly #locks = new NameLocks();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  get all(): LiveSession[] {
    return [...this.#open.values()];
  }

  /** The open session of this id and generation, which must be the peer's own. */
  find(peer: string, id: Uint8Array, generation: number): LiveSession | undefined {
    const session = this.#open.get(hexOf(id));
    return session?.peer === peer && session.terms.generation === generation ? session : undefined;
  }

  remove(session: LiveSession): void {
    this.#open.delete(hexOf(session.terms.session));
  }

  /**
   * The session for a client that said HELLO. Throws E_UNKNOWN_SESSION where it names one that is not its own or is no
   * more, E_BUSY where another client sends the same, and what `make` throws.
   */
  async admit(peer: string, hello: Message<"HELLO">): Promise<LiveSession> {
    if (hello.session !== undefined) return this.#admitAgain(peer, hello.session, hello);
    const keys = hello.purpose === "transfer" ? (hello.keys ?? []).map(hexOf) : [];
    const kept = keys.length === 0 ? undefined : await this.#options.store.find(peer, keys);
    return kept === undefined ? this.#admitNew(peer, hello) : this.#takeUp(kept, hello, true);
  }

  async #admitAgain(peer: string, id: Uint8Array, hello: Message<"HELLO">): Promise<LiveSession> {
    const open = this.#open.get(hexOf(id));
    if (open !== undefined) {
      // Somebody else's is as unknown as one that never was, and so is one that another run has taken up.
      if (open.peer !== peer || (hello.generation ?? open.terms.generation) !== open.terms.generation) throw unknown();
      return open;
    }
    const stored = hello.purpose === "transfer" ? await this.#options.store.load(hexOf(id)) : undefined;
    if (stored?.record.peer !== peer || stored.record.generation !== hello.generation) throw unknown();
    return this.#takeUp(stored.record, hello, false);
  }

  /** Ends a session whose client is gone. */
  evict(id: string): Promise<unknown> {
    return this.#locks.hold(Buffer.from(id), async () => {
      const open = this.#open.get(id);
      if (open !== undefined) await endIfSilent(open);
    });
  }

  /** Opens what is stored, one generation later, unless its client is there. */
  #takeUp({ id, peer }: KeptSession, hello: Message<"HELLO">, probes: boolean): Promise<LiveSession> {
    return this.#locks.hold(Buffer.from(id), async () => {
      const open = this.#open.get(id);
      // Between the look into the store and the turn here the same client may have been quicker.
      if (open !== undefined && (!probes || !(await endIfSilent(open)))) throw busy(open);
      const stored = await this.#options.store.open(id);
      if (stored === undefined) return this.#admitNew(peer, hello);
      const { transferId, chunkBytes, generation } = stored.record;
      const terms = this.#terms(hello, { session: Buffer.from(id, "hex"), transferId, chunkBytes, generation });
      try {
        return this.#add(peer, terms, hello);
      } catch (error) {
        await this.#options.store.close(id);
        throw error;
      }
    });
  }

  async #admitNew(peer: string, hello: Message<"HELLO">): Promise<LiveSession> {
    const session = randomBytes(SESSION_ID_BYTES);
    const chunkBytes = this.#chunkBytesFor(hello);
    const terms = this.#terms(hello, { session, transferId: randomUUID(), chunkBytes, generation: 1 });
    if (hello.purpose === "transfer" && hello.role === "source") {
      const { transfer: transferId } = terms;
      await this.#options.store.create({ id: hexOf(session), transferId, peer, createdMs: Date.now(), chunkBytes });
    }
    try {
      return this.#add(peer, terms, hello);
    } catch (error) {
      await this.#options.store.drop(hexOf(session));
      throw error;
    }
  }

  #add(peer: string, terms: Terms, hello: Message<"HELLO">): LiveSession {
    const session = this.#options.make(peer, terms, hello);
    this.#open.set(hexOf(terms.session), session);
    return session;
  }

  #chunkBytesFor({ chunkBytes: asked, streams, purpose }: Message<"HELLO">): number {
    const { randomAccess, blockBytes, inOrder } = this.#options.capabilities;
    if (inOrder === true && purpose === "transfer") {
      const most = IN_ORDER_BYTES_MAX / (Math.min(streams, IN_ORDER_STREAMS_MAX) * (IN_ORDER_CHUNKS + 1));
      return Math.max(CHUNK_BYTES_MIN, Math.min(asked, Math.floor(most / CHUNK_BYTES_STEP) * CHUNK_BYTES_STEP));
    }
    return randomAccess || blockBytes % asked === 0 ? asked : CHUNK_BYTES_MIN;
  }

  #terms(
    hello: Message<"HELLO">,
    kept: { session: Uint8Array; transferId: string; chunkBytes: number; generation: number },
  ): Terms {
    const { randomAccess, blockBytes, durability, inOrder } = this.#options.capabilities;
    const { session, transferId, chunkBytes, generation } = kept;
    const verifies = hello.verify === "full" && hello.role === "source" && hello.purpose !== "discard";
    const streamed = inOrder === true && hello.purpose === "transfer";
    return {
      agent: AGENT,
      session,
      generation,
      transfer: transferId,
      chunkBytes,
      windowBytes: streamed ? IN_ORDER_CHUNKS * chunkBytes : Math.max(WINDOW_BYTES, 4 * chunkBytes),
      splitBytes: randomAccess ? chunkBytes : blockBytes,
      streams: Math.min(hello.streams, streamed ? IN_ORDER_STREAMS_MAX : STREAMS_MAX),
      openFiles: OPEN_FILES_MAX,
      openSmall: OPEN_SMALL_MAX,
      durability: hello.purpose === "discard" ? "none" : durability,
      ...(streamed ? { inOrder: true } : {}),
      // What takes whole blocks only, or goes on to somebody else, gives nothing back before it is committed.
      ...(verifies && randomAccess && inOrder !== true ? { verify: "full" } : {}),
    };
  }
}

/** Returns whether it was, and has ended. */
async function endIfSilent(session: LiveSession): Promise<boolean> {
  if (await session.probe(PROBE_MS)) return false;
  await session.end(new HawserError("E_LOST", "another run took the transfer up"));
  return true;
}

function unknown(): HawserError {
  return new HawserError("E_UNKNOWN_SESSION", "no session of this id belongs to this client");
}

function busy({ agent, terms }: LiveSession): HawserError {
  return new HawserError("E_BUSY", `another transfer from this address (${agent}, ${terms.transfer}) sends the same`);
}
