/**
 * A socket joined to its conversation: the one place that pumps bytes between the two, with backpressure both ways. It
 * knows no files and no sessions.
 */
import type { Socket } from "node:net";
import { type ArrivedChunk, Conversation, type NamedMessage } from "../protocol/conversation.ts";
import { asHawserError, ERRORS, errorCodeOf, HawserError, PeerError, wireFailureOf } from "../protocol/errors.ts";
import { type ForeignProgram, ForeignProgramError } from "../protocol/greeting.ts";
import type { DataName, Encoded, MessageName } from "../protocol/header.ts";
import type { Message } from "../protocol/messages.ts";
import { escapeText } from "../protocol/names.ts";
import type { Role, Side, State } from "../protocol/states.ts";
import type { BlockPool } from "./blocks.ts";
import type { Carrier, Channel } from "./channel.ts";
import type { ChunkRoom } from "./chunk-room.ts";
import { ConnectionBlocks } from "./connection-blocks.ts";
import type { DirectReader } from "./direct-read.ts";
import { PacedReading } from "./paced-reading.ts";
import { PacedWriter } from "./paced-writer.ts";
import type { RateLimit, SendingLimit } from "./rate-limit.ts";

/** Unsent answers at which we stop reading what asks for more of them. */
const UNSENT_BYTES_MAX = 1024 * 1024;

/** How long a closing connection may take to hand its last bytes to the peer. */
const CLOSING_MS = 2000;

export interface ConnectionEvents {
  onGreeting?(version: number): void;
  /** Any message but PING and ERROR, which are answered here. */
  onMessage(message: NamedMessage): void;
  onChunk?(chunk: ArrivedChunk): void;
  /** Another program is at the other end; what is returned is sent to it before the connection closes. */
  onForeign?(program: ForeignProgram): Uint8Array | undefined;
  /** Called once, with what the peer said or what went wrong. Without an error it was just closed. */
  onClosed(error: HawserError | undefined): void;
}

/** What limits a connection, together with others that share it. */
export interface Limits {
  readonly sending?: SendingLimit | undefined;
  readonly reading?: RateLimit | undefined;
}

export class Connection implements DirectReader {
  readonly #conversation: Conversation;
  readonly #blocks: ConnectionBlocks;
  #events: ConnectionEvents;
  #socket: Carrier | undefined;
  /** What will become the socket, or be what it is made of. */
  #held: Socket | undefined;
  #channel: Channel | undefined;
  #error: HawserError | undefined;
  #closing = false;
  #closed = false;
  #muted = false;
  #pausedByOwner = false;
  #pausedByUnsent = false;
  readonly #limits: Limits;
  #writer: PacedWriter | undefined;
  readonly #reading: PacedReading | undefined;

  /** When the last byte came from the peer, by the monotonic clock. */
  lastHeardMs = performance.now();
  bytesReceived = 0;
  bytesSent = 0;

  /** What this end is at, for the answer to a PING. */
  status: (() => Omit<Message<"PONG">, "id">) | undefined;

  /** The answer to a PING is here; without an id: none will come any more. */
  onPong: ((id: number | undefined) => void) | undefined;

  /** What goes with the message that lets the other end in: this end's proof that it knows the ticket. */
  answerProof: Uint8Array | undefined;

  /** Called when the socket is gone, whoever owns the events by then: for whoever counts connections. */
  onSocketClosed: (() => void) | undefined;

  constructor(side: Side, role: Role | undefined, blocks: BlockPool, events: ConnectionEvents, limits: Limits = {}) {
    this.#blocks = new ConnectionBlocks(blocks, {
      goOn: () => this.#goOn(),
      giveWay: () => this.#giveWay(),
      comingBytes: () => (this.#pausedByOwner || this.#pausedByUnsent ? undefined : this.#conversation.comingBytes),
    });
    this.#limits = limits;
    if (limits.reading !== undefined) {
      this.#reading = new PacedReading(limits.reading, () => this.#resumeIfMay());
    }
    this.#events = events;
    this.#conversation = new Conversation({
      side,
      ...(role === undefined ? {} : { role }),
      buffers: this.#blocks,
      events: {
        onGreeting: (version) => this.#events.onGreeting?.(version),
        onMessage: (message) => this.#onMessage(message),
        onChunk: (chunk) => this.#onChunk(chunk),
      },
    });
  }

  /** Until there is a socket to take over, this one ends with the connection, and the connection with it. */
  hold(socket: Socket): void {
    this.#held = socket;
    socket.once("close", () => {
      if (this.#socket === undefined) this.#onSocketClosed();
    });
  }

  /**
   * Takes the socket over. `direct` when it was made to read through this DirectReader; `channel` when it is encrypted.
   */
  attach(socket: Carrier, direct: boolean, channel?: Channel): void {
    if (this.#closed) {
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    this.#socket = socket;
    this.#channel = channel;
    if (this.#limits.sending !== undefined) this.#writer = new PacedWriter(socket, this.#limits.sending);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.on("error", (cause) => this.#fail(lost(cause)));
    socket.on("drain", () => this.#onDrain());
    socket.on("close", () => this.#onSocketClosed());
    if (!direct) {
      socket.on("data", (bytes: Uint8Array) => {
        if (!this.#receive(bytes.length, () => this.#conversation.push(bytes))) socket.pause();
        socket.release?.(bytes);
      });
    }
    this.#reading?.begin();
    if (!this.#mayRead) socket.pause();
    else if (!direct) socket.resume();
  }

  /** Hands the connection to another owner: whoever serves the session that it turned out to belong to. */
  set events(events: ConnectionEvents) {
    this.#events = events;
  }
  set role(role: Role) {
    this.#conversation.role = role;
  }
  set chunkBytesMax(bytes: number) {
    this.#conversation.chunkBytesMax = bytes;
  }

  get state(): State {
    return this.#conversation.state;
  }
  get isOpen(): boolean {
    return !this.#closing && !this.#closed;
  }
  get remoteAddress(): string | undefined {
    return this.#socket?.remoteAddress;
  }
  get localPort(): number | undefined {
    return this.#socket?.localPort;
  }
  /** What it has to show for itself; undefined where it is plain. */
  get channel(): Channel | undefined {
    return this.#channel;
  }
  /** Payload bytes of chunks, whole or not. */
  get chunkBytesReceived(): number {
    return this.#conversation.chunkBytesReceived;
  }
  get error(): HawserError | undefined {
    return this.#error;
  }
  /** What its chunks wait for besides the socket, if there is such a limit. */
  get sendingLimit(): SendingLimit | undefined {
    return this.#limits.sending;
  }

  /** Another one from here on; only where there was one. */
  set readingLimit(limit: RateLimit) {
    this.#reading?.moveTo(limit);
  }

  target(): Uint8Array {
    const target = this.#conversation.target();
    return this.#reading === undefined ? target : this.#reading.sliceOf(target);
  }
  advance(count: number): boolean {
    return this.#receive(count, () => this.#conversation.advance(count));
  }

  /** Sends a control message; nothing when the connection is closing. */
  send<N extends MessageName>(name: N, body: Message<N>): void {
    if (this.isOpen && this.#socket !== undefined) this.#write(this.#conversation.message(name, body));
  }

  /** The same for one whose body is encoded already. */
  sendEncoded(name: MessageName, payload: Uint8Array): void {
    if (this.isOpen && this.#socket !== undefined) this.#write(this.#conversation.encodedMessage(name, payload));
  }

  #write(bytes: Uint8Array): void {
    const socket = this.#socket as Carrier;
    this.bytesSent += bytes.length;
    if (this.#writer === undefined) socket.write(bytes);
    else this.#writer.message(bytes);
    if (socket.writableLength + (this.#writer?.waitingBytes ?? 0) > UNSENT_BYTES_MAX && !this.#pausedByUnsent) {
      this.#pausedByUnsent = true;
      socket.pause();
    }
  }

  /**
   * Sends a chunk: header and payload in one write, the payload as it is. `onAccepted` is called when the system has
   * taken all of it, and the payload may be used again; also when the connection broke instead. Under a limit the payload
   * goes in slices.
   */
  sendChunk(
    file: number,
    offset: number,
    payload: Uint8Array,
    crc: number,
    onAccepted: () => void,
    name: DataName = "CHUNK",
  ): void {
    const raw = { encoding: "raw", decodedBytes: payload.length } as const;
    this.sendEncodedChunk({ name, file, offset, crc32: crc, ...raw }, [payload], onAccepted);
  }

  /** The same for a chunk that is encoded, whose payload may lie in several places. `crc` is that of the decoded one. */
  sendEncodedChunk(
    {
      name,
      file,
      offset,
      crc32: crc,
      ...encoded
    }: Encoded & {
      readonly name: DataName;
      readonly file: number;
      readonly offset: number;
      readonly crc32: number;
    },
    slices: readonly Uint8Array[],
    onAccepted: () => void,
  ): void {
    const socket = this.#socket;
    if (!this.isOpen || socket === undefined) {
      onAccepted();
      return;
    }
    const payloadBytes = slices.reduce((sum, { length }) => sum + length, 0);
    const header = this.#conversation.dataHeader(name, file, offset, payloadBytes, crc, encoded);
    this.bytesSent += header.length + payloadBytes;
    if (this.#writer?.chunk(header, slices, onAccepted)) return;
    socket.cork();
    socket.write(header);
    for (const [i, slice] of slices.entries()) socket.write(slice, i === slices.length - 1 ? onAccepted : undefined);
    socket.uncork();
  }

  /** From here on its chunks take of the room that this peer's connections have together. */
  enterRoom(room: ChunkRoom, peer: string): void {
    if (!this.#closed) this.#blocks.enterRoom(room, peer);
  }

  #goOn(): void {
    this.#feed(() => this.#conversation.goOn());
    this.#resumeIfMay();
  }

  #giveWay(): Uint8Array | undefined {
    this.destroy(new HawserError("E_TIMEOUT", "a chunk came too slowly while others waited for the memory"));
    return this.#conversation.abandon();
  }

  giveBack(block: Uint8Array): void {
    this.#blocks.give(block);
  }

  /** Stops reading until `resume`: whoever handles what arrives has enough of it. */
  pause(): void {
    this.#pausedByOwner = true;
    this.#socket?.pause();
  }
  resume(): void {
    if (!this.#pausedByOwner) return;
    this.#pausedByOwner = false;
    this.#resumeIfMay();
  }

  /** Hears nothing more, also of what came already: it is as good as closed, and its last word waits. */
  mute(): void {
    this.#muted = true;
    this.pause();
  }

  /** Ends the connection; with an error that the peer may know, after telling it. */
  close(error?: HawserError): void {
    if (!this.isOpen) return;
    this.#error ??= error;
    if (error !== undefined) this.#tell(error);
    this.#closing = true;
    this.#endSocket();
  }

  /** Lets the peer have what was sent, and reads on meanwhile, so that unread bytes don't reset the connection. */
  #endSocket(): void {
    const socket = this.#socket;
    if (socket === undefined) {
      this.#held?.destroy();
      this.#onSocketClosed();
      return;
    }
    this.#writer?.stop();
    if (!socket.writableEnded) socket.end();
    this.#pausedByOwner = false;
    this.#pausedByUnsent = false;
    this.#resumeIfMay();
    setTimeout(() => socket.destroy(), CLOSING_MS).unref();
  }

  /** Ends the connection at once. */
  destroy(error?: HawserError): void {
    this.#error ??= error;
    this.#closing = true;
    this.#writer?.stop();
    if (this.#socket !== undefined) this.#socket.destroy();
    else {
      this.#held?.destroy();
      this.#onSocketClosed();
    }
  }

  /** Bytes came; whether more may come. What goes wrong in here is the peer's doing, or a bug that is named as such. */
  #receive(count: number, feed: () => void): boolean {
    this.bytesReceived += count;
    this.lastHeardMs = performance.now();
    this.#reading?.took(count);
    this.#feed(feed);
    return this.#mayRead;
  }

  #feed(feed: () => void): void {
    if (!this.isOpen || this.#muted) return;
    try {
      feed();
    } catch (thrown) {
      if (thrown instanceof ForeignProgramError) {
        const answer = this.#events.onForeign?.(thrown.program);
        if (answer !== undefined) this.#socket?.write(answer);
      }
      if (!this.#muted) this.close(asHawserError(thrown));
    }
  }

  #onMessage(message: NamedMessage): void {
    if (!this.isOpen || this.#muted) return;
    if (message.name === "PING") this.#answerPing(message.body.id);
    else if (message.name === "ERROR") this.#onError(message.body);
    else {
      if (message.name === "PONG") this.onPong?.(message.body.id);
      this.#events.onMessage(message);
    }
  }

  #answerPing(id: number): void {
    this.send("PONG", { id, ...this.status?.() });
  }

  /** The peer says why it ends the connection; nothing more may be sent on it. `onClosed` gets its reason. */
  #onError({ code, message }: Message<"ERROR">): void {
    this.#error ??= new PeerError(errorCodeOf(code), escapeText(message));
    this.#closing = true;
    this.#endSocket();
  }

  #onChunk(chunk: ArrivedChunk): void {
    if (!this.isOpen || this.#events.onChunk === undefined) this.giveBack(chunk.block);
    else this.#events.onChunk(chunk);
  }

  #tell(error: HawserError): void {
    if (ERRORS[error.code].wire === 0 || this.state === "failed") return;
    try {
      this.send("ERROR", wireFailureOf(error));
    } catch {
      // The greeting was not even sent, or the state allows no error any more: closing says enough.
    }
  }

  #onDrain(): void {
    if (!this.#pausedByUnsent) return;
    this.#pausedByUnsent = false;
    this.#resumeIfMay();
  }

  get #mayRead(): boolean {
    if (this.isOpen && this.#conversation.isBlocked) return false;
    return !this.#pausedByOwner && !this.#pausedByUnsent && !(this.#reading?.isPaused ?? false);
  }

  #resumeIfMay(): void {
    if (this.#mayRead) this.#socket?.resume();
  }

  #fail(error: HawserError): void {
    this.#error ??= error;
  }

  #onSocketClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writer?.stop();
    this.#reading?.stop();
    this.#blocks.close(this.#conversation.abandon());
    this.onPong?.(undefined);
    this.onSocketClosed?.();
    this.#events.onClosed(this.#error);
  }
}

/** The bytes that tell a client an error and nothing else: for a connection that is not taken. */
export function farewell(error: HawserError): Uint8Array {
  const unused = { onMessage: () => {}, onChunk: () => {} };
  const conversation = new Conversation({ side: "server", buffers: { take: () => new Uint8Array(0) }, events: unused });
  return conversation.message("ERROR", wireFailureOf(error));
}

/** What a socket's error means to whoever waits for the transfer. */
function lost(cause: Error & { code?: string; reason?: string }): HawserError {
  if (cause instanceof HawserError) return cause;
  const dropped = cause.code === "ECONNRESET" || cause.code === "EPIPE";
  // What TLS has to say comes with a line of source and an address in memory.
  const why = dropped ? "the other end dropped it" : (cause.reason ?? cause.message);
  return new HawserError("E_LOST", `a connection broke: ${why}`, { cause });
}
