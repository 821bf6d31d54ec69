/** What the main thread and a worker that has streams say to each other: plain data, many of them in one message. */
import type { LimitRequest } from "../net/distant-limit.ts";
import type { ThreadLoad } from "../net/load.ts";
import type { Failure } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { SourceOrder, SourceReport } from "../source/stream.ts";
import type { HandshakeOptions } from "./handshake.ts";

/** What one stream is dialled with, and made with when the server has answered. */
export interface DistantDial {
  readonly handshake: Pick<HandshakeOptions, "endpoint" | "role" | "timeoutMs" | "identity" | "sealed">;
  readonly attach: Message<"ATTACH">;
  readonly limits: { readonly windowBytes: number; readonly chunkBytes: number; readonly streams: number };
}

/** `dial` is a number that each dial has for itself, over all workers. */
export type ToWorker =
  | { readonly type: "dial"; readonly dial: number; readonly how: DistantDial }
  | { readonly type: "order"; readonly dial: number; readonly order: SourceOrder }
  | { readonly type: "ping"; readonly dial: number; readonly ping: Message<"PING"> }
  | { readonly type: "destroy"; readonly dial: number; readonly failure: Failure | null }
  /** What all streams together may send, in bytes a second. */
  | { readonly type: "rate"; readonly bytesPerSecond: number | null }
  /** A turn that was asked for has come. */
  | { readonly type: "granted"; readonly bytes: number };

export type FromWorker =
  | { readonly type: "answered"; readonly dial: number; readonly ms: number }
  | { readonly type: "attached"; readonly dial: number; readonly localPort: number | undefined }
  | { readonly type: "report"; readonly dial: number; readonly report: SourceReport }
  /** The server has answered a PING. */
  | { readonly type: "heard"; readonly dial: number }
  /** Of one that was attached, and of one that was not. */
  | { readonly type: "closed" | "refused"; readonly dial: number; readonly failure: Failure | null }
  | { readonly type: "limit"; readonly request: LimitRequest }
  /** What it has done so far. */
  | { readonly type: "load"; readonly load: ThreadLoad };

/** Gathers what is said until whoever speaks is done, and sends it in one message: each costs some microseconds. */
export class Outbox<M> {
  readonly #send: (messages: readonly M[]) => void;
  #messages: M[] = [];

  constructor(send: (messages: readonly M[]) => void) {
    this.#send = send;
  }

  post(message: M): void {
    if (this.#messages.length === 0) queueMicrotask(() => this.#flush());
    this.#messages.push(message);
  }

  #flush(): void {
    const messages = this.#messages;
    this.#messages = [];
    this.#send(messages);
  }
}
