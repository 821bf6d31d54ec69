/** One end of real connections, driven by hand: what came is kept, and can be waited for. */
import type { Test } from "tap";
import { BlockPool } from "../../src/net/blocks.ts";
import { Connection, type ConnectionEvents, type Limits } from "../../src/net/connection.ts";
import { dial, type Endpoint } from "../../src/net/dial.ts";
import { listen } from "../../src/net/listen.ts";
import type { ArrivedChunk, NamedMessage } from "../../src/protocol/conversation.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { ERRORS, type HawserError, PeerError } from "../../src/protocol/errors.ts";
import type { MessageName } from "../../src/protocol/header.ts";
import type { Message } from "../../src/protocol/messages.ts";
import type { Role } from "../../src/protocol/states.ts";
import { attachOf } from "./conversation.ts";

const PATIENCE_MS = 10_000;

/** Rejects when `promise` takes longer than anything here may. */
export async function soon<T>(promise: Promise<T>, what: string, patienceMs = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen in ${patienceMs} ms`)), patienceMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks at every turn of the event loop whether it holds: for what nobody announces. */
export async function soonHolds(what: string, holds: () => boolean): Promise<void> {
  let over = false;
  const look = async () => {
    while (!over && !holds()) await new Promise((resolve) => setImmediate(resolve));
  };
  await soon(look(), what).finally(() => {
    over = true;
  });
}

/** Events written down, and waited for. */
export class Recorder implements ConnectionEvents {
  readonly versions: number[] = [];
  readonly messages: NamedMessage[] = [];
  readonly chunks: ArrivedChunk[] = [];
  readonly closed: Promise<HawserError | undefined>;
  #close: (error: HawserError | undefined) => void = () => {};
  #waiting: (() => void)[] = [];

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  onGreeting(version: number): void {
    this.versions.push(version);
  }
  onMessage(message: NamedMessage): void {
    this.messages.push(message);
    this.#wake();
  }
  onChunk(chunk: ArrivedChunk): void {
    this.chunks.push({ ...chunk, payload: chunk.payload.slice() });
    this.#wake();
  }
  onClosed(error: HawserError | undefined): void {
    // What the peer said last is kept like any other message.
    if (error instanceof PeerError) {
      this.messages.push({ name: "ERROR", body: { code: ERRORS[error.code].wire, message: error.message } });
    }
    this.#close(error);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    while (!holds()) await soon(new Promise<void>((resolve) => this.#waiting.push(resolve)), what);
  }

  /** The body of the first message of this name that nobody has asked for yet. */
  async message<N extends MessageName>(name: N): Promise<Message<N>> {
    const find = () => this.messages.findIndex((message) => message.name === name);
    await this.until(name, () => find() >= 0);
    const [message] = this.messages.splice(find(), 1);
    return (message as NamedMessage).body as Message<N>;
  }
}

export interface WireEnd {
  readonly connection: Connection;
  readonly heard: Recorder;
  chunk(file: number, offset: number, payload: Uint8Array, crc?: number): void;
}

function endOf(connection: Connection, heard: Recorder): WireEnd {
  return {
    connection,
    heard,
    chunk: (file, offset, payload, crc = crc32(payload)) => connection.sendChunk(file, offset, payload, crc, () => {}),
  };
}

/** A client's connection to a server. */
export async function connectTo(
  t: Test,
  endpoint: Endpoint,
  role: Role = "source",
  limits: Limits = {},
): Promise<WireEnd> {
  const heard = new Recorder();
  const connection = new Connection("client", role, new BlockPool(), heard, limits);
  connection.attach(await dial(endpoint, connection, { timeoutMs: PATIENCE_MS }), true);
  t.teardown(() => connection.destroy());
  return endOf(connection, heard);
}

/** Both ends of one connection: what the client sends and the server reads may be limited. */
export async function connectedPair(
  t: Test,
  clientRole: Role = "source",
  blocks = new BlockPool(),
  { sending, reading }: Limits = {},
) {
  const heard = new Recorder();
  const connection = new Connection("server", undefined, blocks, heard, { reading });
  const listener = await listen({ host: "127.0.0.1", port: 0 }, () => connection);
  t.teardown(() => {
    listener.close();
    connection.destroy();
  });
  const client = await connectTo(t, listener.address, clientRole, { sending });
  return { client, server: endOf(connection, heard), listener };
}

/** Both ends of a stream, over which the client sends chunks of at most `chunkBytesMax`. */
export async function streamPair(t: Test, chunkBytesMax: number, blocks?: BlockPool, limits: Limits = {}) {
  const pair = await connectedPair(t, "source", blocks, limits);
  pair.client.connection.send("ATTACH", attachOf(0));
  await pair.server.heard.message("ATTACH");
  pair.server.connection.role = "sink";
  pair.server.connection.chunkBytesMax = chunkBytesMax;
  pair.server.connection.send("ATTACHED", { stream: 0 });
  await pair.client.heard.message("ATTACHED");
  return pair;
}

export const hello = (rest: Partial<Message<"HELLO">> = {}): Message<"HELLO"> => ({
  agent: "hawser/0.1.0",
  role: "source",
  purpose: "transfer",
  streams: 2,
  chunkBytes: 65_536,
  ...rest,
});
