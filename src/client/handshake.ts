/** Opening one connection to a server: dial, greet, ask, and wait for the first answer. */
import type { BlockPool } from "../net/blocks.ts";
import { Connection, type ConnectionEvents } from "../net/connection.ts";
import { dial, type Endpoint, formatEndpoint } from "../net/dial.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import { HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { Role } from "../protocol/states.ts";

export interface HandshakeOptions {
  readonly endpoint: Endpoint;
  readonly role: Role;
  readonly blocks: BlockPool;
  readonly timeoutMs: number;
  /** What limits all connections of the transfer together. */
  readonly sending?: RateLimit | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is asked for, and what answers it. */
interface Asking<A extends "WELCOME" | "ATTACHED"> {
  readonly answer: A;
  ask(connection: Connection): void;
  /** The answer came; whoever takes the connection over sets its events. */
  accept(connection: Connection, body: Message<A>): void;
}

/** A control connection, answered with WELCOME. Throws E_UNREACHABLE, E_NO_ANSWER, E_NOT_HAWSER, E_VERSION, E_BUSY. */
export function openControl(
  options: HandshakeOptions,
  hello: Message<"HELLO">,
  accept: Asking<"WELCOME">["accept"],
): Promise<Connection> {
  return open(options, { answer: "WELCOME", ask: (connection) => connection.send("HELLO", hello), accept });
}

/** A stream, answered with ATTACHED. Throws the same, and E_UNKNOWN_SESSION. */
export function openStream(
  options: HandshakeOptions,
  attach: Message<"ATTACH">,
  accept: Asking<"ATTACHED">["accept"],
): Promise<Connection> {
  return open(options, { answer: "ATTACHED", ask: (connection) => connection.send("ATTACH", attach), accept });
}

async function open<A extends "WELCOME" | "ATTACHED">(
  options: HandshakeOptions,
  asking: Asking<A>,
): Promise<Connection> {
  const { endpoint, role, blocks, timeoutMs, signal, sending } = options;
  const where = formatEndpoint(endpoint);
  let resolve: () => void = () => {};
  let reject: (error: HawserError) => void = () => {};
  const answered = new Promise<void>((onAnswer, onError) => {
    resolve = onAnswer;
    reject = onError;
  });
  const events: ConnectionEvents = {
    onMessage: (message) => {
      if (message.name !== asking.answer) return;
      asking.accept(connection, message.body as Message<A>);
      resolve();
    },
    onClosed: (error) => reject(closedEarly(where, connection, error)),
  };
  const connection = new Connection("client", role, blocks, events, { sending });
  connection.attach(await dial(endpoint, connection, { timeoutMs, signal }), true);
  const silent = new HawserError(
    "E_NO_ANSWER",
    `${where} accepts connections, but gave no answer within ${timeoutMs / 1000} s`,
  );
  const timer = setTimeout(() => connection.destroy(silent), timeoutMs);
  const onAbort = () => connection.destroy(new HawserError("E_LOST", "it was interrupted"));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    asking.ask(connection);
    await answered;
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function closedEarly(where: string, connection: Connection, error: HawserError | undefined): HawserError {
  if (error !== undefined && error.code !== "E_LOST") {
    const message = error.message.startsWith(where) ? error.message : `${where}: ${error.message}`;
    return new HawserError(error.code, message, { cause: error });
  }
  if (connection.bytesReceived === 0) {
    return new HawserError("E_NO_ANSWER", `${where} accepts connections, and closed this one without a word`);
  }
  return error ?? new HawserError("E_LOST", `${where} closed the connection before it answered`);
}
