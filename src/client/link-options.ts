/** What a link is told: where to, what for, and whom to ask and tell. */
import type { Endpoint } from "../net/dial.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { Message } from "../protocol/messages.ts";
import type { Role } from "../protocol/states.ts";
import type { ClientIdentity } from "./handshake.ts";
import type { StreamBounds, StreamCounter } from "./stream-control.ts";

export interface LinkOptions {
  readonly to: Endpoint;
  readonly role: Role;
  readonly purpose: Message<"HELLO">["purpose"];
  /** `auto`: as many as pay, beginning with `startStreams`. */
  readonly streams: number | "auto";
  readonly startStreams?: number;
  /** Who says how many pay (a StreamControl). */
  readonly makeControl?: (bounds: StreamBounds) => StreamCounter;
  readonly chunkBytes: number;
  /** By which the server knows what earlier runs left. */
  readonly keys?: readonly Uint8Array[];
  /** What they left is thrown away. */
  readonly fresh?: boolean;
  readonly overwrite?: Message<"HELLO">["overwrite"];
  readonly preserveMode?: boolean;
  readonly verify?: Message<"HELLO">["verify"];
  readonly delta?: boolean;
  /** Without progress for this long the transfer has failed. */
  readonly timeoutMs: number;
  /** How often a connection is dialled again, one after the other, before it is given up. */
  readonly retries?: number;
  readonly signal?: AbortSignal | undefined;
  /** What all connections together may send. */
  readonly limit?: RateLimit | undefined;
  /** Threads beside this one that have streams, where the end can have them in others (0). */
  readonly workers?: number;
  /** Missing: plain TCP. */
  readonly identity?: ClientIdentity | undefined;
  readonly makeEnd: (terms: Terms) => TransferEnd;
  /** Whether the transfer waits for bytes to be acknowledged, rather than for the other end to finish something. */
  readonly awaitsAcknowledgement: () => boolean;
  /** Whether this end is at something that moves nothing, such as reading what earlier runs sent. */
  readonly isWorking?: () => boolean;
  /** Whether this end can send nothing before it gets more itself, such as from a pipe. */
  readonly isWaitingForInput?: () => boolean;
  /** `streams`: to begin with. */
  readonly onReady: (terms: Terms, address: Endpoint, streams: number) => void;
  /** There should be so many from now on. */
  readonly onStreams?: (streams: number) => void;
  readonly onWarning: (message: string) => void;
  /** How often connections are asked whether they live, at most, in milliseconds (5,000). */
  readonly pingMs?: number;
  /** The server's answer on the control connection, and how long it took. */
  readonly onPong?: (pong: Message<"PONG">, roundTripMs: number) => void;
  /** How long the first question of any connection took to be answered. */
  readonly onAnswered?: (ms: number) => void;
}
