/**
 * One end of one connection, without its socket: bytes in and events out, messages in and bytes out. It keeps the order
 * of things (greeting, then what the state table allows) and the bounds of what may come.
 */

import { crc32 } from "./crc32.ts";
import { type Frame, FrameDecoder, SLACK_BYTES } from "./decoder.ts";
import { HawserError, LocalProtocolError } from "./errors.ts";
import { chooseVersion, encodeGreeting, OUR_VERSIONS, type VersionRange } from "./greeting.ts";
import { type DataName, type Encoded, encodeHeader, type FrameHeader, isData, type MessageName } from "./header.ts";
import { CONTROL_PAYLOAD_BYTES_MAX, HEADER_BYTES, OPENING_PAYLOAD_BYTES_MAX } from "./limits.ts";
import { decodeMessage, encodeMessage, type Message } from "./messages.ts";
import { ConnectionState, type Role, type Side } from "./states.ts";

/** A message with its name, so that a switch over the name knows the body. */
export type NamedMessage = { [N in MessageName]: { readonly name: N; readonly body: Message<N> } }[MessageName];

/** A chunk of a file, or a bundle of whole files: then `file` is the first of them and `offset` zero. */
export interface ArrivedChunk extends Encoded {
  readonly isBundle: boolean;
  readonly file: number;
  readonly offset: number;
  readonly payload: Uint8Array;
  /** Of the payload when decoded. */
  readonly payloadCrc32: number;
  /** Whether the payload is what was sent; null of an encoded one, which has to be decoded to know. */
  readonly intact: boolean | null;
  /** The buffer to give back when the payload is of no more use. */
  readonly block: Uint8Array;
}

/** Where buffers for chunks come from; whoever gets the chunk gives its buffer back there. */
export interface ChunkBuffers {
  /**
   * One of `bytes` or more, for a payload that stands for `decodedBytes` where it is compressed; undefined where there is none
   * now: then nothing more is taken in until `goOn`.
   */
  take(bytes: number, decodedBytes?: number): Uint8Array | undefined;
}

export interface ConversationEvents {
  onGreeting?(version: number): void;
  onMessage(message: NamedMessage): void;
  onChunk(chunk: ArrivedChunk): void;
}

export interface ConversationOptions {
  readonly side: Side;
  readonly role?: Role;
  readonly versions?: VersionRange;
  readonly buffers: ChunkBuffers;
  readonly events: ConversationEvents;
}

export class Conversation {
  readonly #state: ConnectionState;
  readonly #decoder: FrameDecoder;
  readonly #versions: VersionRange;
  readonly #buffers: ChunkBuffers;
  readonly #events: ConversationEvents;
  #greeted = false;

  /** The largest chunk that may come; zero until the session is known, so that none may. */
  chunkBytesMax = 0;

  constructor(options: ConversationOptions) {
    this.#state = new ConnectionState(options.side, options.role);
    this.#versions = options.versions ?? OUR_VERSIONS;
    this.#buffers = options.buffers;
    this.#events = options.events;
    this.#decoder = new FrameDecoder({
      admit: (header) => this.#admit(header),
      onGreeting: (versions) => {
        // Chosen also where nobody wants to hear of it: a version that can't be must not be passed over.
        const version = chooseVersion(versions, this.#versions);
        this.#events.onGreeting?.(version);
      },
      onFrame: (frame) => this.#onFrame(frame),
    });
  }

  get state(): ConnectionState["current"] {
    return this.#state.current;
  }

  /** See FrameDecoder. */
  get chunkBytesReceived(): number {
    return this.#decoder.chunkBytesReceived;
  }

  set role(role: Role) {
    this.#state.role = role;
  }

  /** Where the next bytes from the peer go, and that they are there. See FrameDecoder. */
  target(): Uint8Array {
    return this.#decoder.target();
  }
  advance(count: number): void {
    this.#decoder.advance(count);
  }
  push(bytes: Uint8Array): void {
    this.#decoder.push(bytes);
  }

  /** See FrameDecoder. */
  get isBlocked(): boolean {
    return this.#decoder.isBlocked;
  }
  get comingBytes(): number | undefined {
    return this.#decoder.comingBytes;
  }
  goOn(): void {
    this.#decoder.goOn();
  }
  abandon(): Uint8Array | undefined {
    return this.#decoder.abandon();
  }

  /** The bytes to send for a message, with our greeting before the first. */
  message<N extends MessageName>(name: N, body: Message<N>): Uint8Array {
    return this.encodedMessage(name, encodeMessage(name, body));
  }

  /** The same for one whose body is encoded already. */
  encodedMessage(name: MessageName, payload: Uint8Array): Uint8Array {
    this.#state.sending(name);
    const header = encodeHeader({
      name,
      file: 0,
      offset: 0,
      payloadBytes: payload.length,
      payloadCrc32: crc32(payload),
    });
    const greeting = this.greeting();
    const frame = new Uint8Array(greeting.length + HEADER_BYTES + payload.length);
    frame.set(greeting);
    frame.set(header, greeting.length);
    frame.set(payload, greeting.length + HEADER_BYTES);
    return frame;
  }

  /** Our greeting, once; nothing after that. */
  greeting(): Uint8Array {
    if (this.#greeted) return new Uint8Array(0);
    this.#greeted = true;
    return encodeGreeting(this.#versions);
  }

  /** The header to send before a payload of files' bytes; the payload itself goes out as it is. */
  dataHeader(
    name: DataName,
    file: number,
    offset: number,
    payloadBytes: number,
    payloadCrc32: number,
    encoded: Encoded = { encoding: "raw", decodedBytes: payloadBytes },
  ): Uint8Array {
    this.#state.sending(name);
    if (!this.#greeted) throw new LocalProtocolError(`a ${name} before anything was said`);
    return encodeHeader({ name, file, offset, payloadBytes, payloadCrc32, ...encoded });
  }

  #admit(header: FrameHeader): Uint8Array | undefined {
    if (!this.#state.mayReceive(header.name)) throw this.#state.wrongState(header.name);
    if (isData(header.name)) {
      this.#checkLength(header, this.chunkBytesMax);
      const decodedBytes = header.encoding === "zstd" ? header.decodedBytes : undefined;
      return this.#buffers.take(header.payloadBytes + SLACK_BYTES, decodedBytes);
    }
    const opening = this.state === "start" || this.state === "welcoming" || this.state === "attaching";
    this.#checkLength(header, opening ? OPENING_PAYLOAD_BYTES_MAX : CONTROL_PAYLOAD_BYTES_MAX);
    return new Uint8Array(header.payloadBytes);
  }

  #checkLength(header: FrameHeader, max: number): void {
    // An encoded payload is shorter than what it stands for, and that is what room has to be made for.
    if (header.decodedBytes > max) {
      throw new HawserError(
        "E_FRAME_TOO_LARGE",
        `a ${header.name} frame declares ${header.decodedBytes} bytes, and ${max} at most may come here`,
      );
    }
    if (header.payloadBytes === 0) throw new HawserError("E_ILLEGAL", `a ${header.name} frame without a payload`);
  }

  #onFrame({ header, payload, block, intact }: Frame): void {
    this.#state.received(header.name);
    const { name, file, offset, payloadCrc32, encoding, decodedBytes } = header;
    if (isData(name)) {
      const isBundle = name === "BUNDLE";
      this.#events.onChunk({ isBundle, file, offset, payload, payloadCrc32, encoding, decodedBytes, intact, block });
      return;
    }
    if (!intact) throw new HawserError("E_DAMAGED", `a ${name} message arrived damaged`);
    const body = decodeMessage(name, payload);
    this.#events.onMessage({ name, body } as NamedMessage);
  }
}
