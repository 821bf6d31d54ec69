/** Opening one connection to a server: dial, greet, ask, and wait for the first answer. */
import type { BlockPool } from "../net/blocks.ts";
import { Connection, type ConnectionEvents } from "../net/connection.ts";
import { dial, type Endpoint, formatEndpoint } from "../net/dial.ts";
import type { DirectReader } from "../net/direct-read.ts";
import { isProof, proofOf } from "../net/proof.ts";
import type { SendingLimit } from "../net/rate-limit.ts";
import type { SealedDial } from "../net/sealed-client.ts";
import type { ClientTrust } from "../net/tls-client.ts";
import { HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import type { Role } from "../protocol/states.ts";

/** What this client trusts, and by what it is let in. */
export interface ClientIdentity {
  readonly trust: ClientTrust;
  /** The key is what both ends keep of the ticket's token. */
  readonly ticket?: { readonly id: Uint8Array; readonly key: Uint8Array } | undefined;
  /** Each stream has a TLS handshake of its own, in place of being sealed. */
  readonly tlsStreams?: boolean | undefined;
}

export interface HandshakeOptions {
  readonly endpoint: Endpoint;
  readonly role: Role;
  readonly blocks: BlockPool;
  readonly timeoutMs: number;
  /** What limits all connections of the transfer together. */
  readonly sending?: SendingLimit | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Missing: plain TCP. */
  readonly identity?: ClientIdentity | undefined;
  /** Of a stream: sealed with keys of its control connection, in place of a TLS handshake of its own. */
  readonly sealed?: SealedDial | undefined;
  /**
   * Told how long the first question took to be answered, in milliseconds: a round trip, and what either end was busy with. That
   * TCP connected says less: a proxy may be near, and the server far.
   */
  readonly onAnswered?: (ms: number) => void;
}

/** What is asked for, and what answers it. */
interface Asking<A extends "WELCOME" | "ATTACHED"> {
  readonly answer: A;
  readonly question: "HELLO" | "ATTACH";
  ask(connection: Connection, proof: { ticket?: Uint8Array; proof?: Uint8Array }): void;
  /** The answer came; whoever takes the connection over sets its events. */
  accept(connection: Connection, body: Message<A>): void;
}

/**
 * A control connection, answered with WELCOME. Throws E_UNREACHABLE, E_NO_ANSWER, E_NOT_HAWSER, E_VERSION, E_BUSY; with an
 * identity also what `secure` does, E_TOKEN, E_REVOKED, E_EXPIRED, E_SERVER_UNPROVEN; without one E_NEEDS_TLS.
 */
export function openControl(
  options: HandshakeOptions,
  hello: Message<"HELLO">,
  accept: Asking<"WELCOME">["accept"],
): Promise<Connection> {
  const ask: Asking<"WELCOME">["ask"] = (connection, proof) => connection.send("HELLO", { ...hello, ...proof });
  return open(options, { answer: "WELCOME", question: "HELLO", ask, accept });
}

/** A stream, answered with ATTACHED. Throws the same, and E_UNKNOWN_SESSION. */
export function openStream(
  options: HandshakeOptions,
  attach: Message<"ATTACH">,
  accept: Asking<"ATTACHED">["accept"],
): Promise<Connection> {
  const ask: Asking<"ATTACHED">["ask"] = (connection, proof) => connection.send("ATTACH", { ...attach, ...proof });
  return open(options, { answer: "ATTACHED", question: "ATTACH", ask, accept });
}

async function open<A extends "WELCOME" | "ATTACHED">(
  options: HandshakeOptions,
  asking: Asking<A>,
): Promise<Connection> {
  const { endpoint, role, blocks, timeoutMs, signal, sending } = options;
  const where = formatEndpoint(endpoint);
  let askedMs = 0;
  let resolve: () => void = () => {};
  let reject: (error: HawserError) => void = () => {};
  const answered = new Promise<void>((onAnswer, onError) => {
    resolve = onAnswer;
    reject = onError;
  });
  const events: ConnectionEvents = {
    onMessage: (message) => {
      if (message.name !== asking.answer) return;
      const unproven = isUnproven(options, asking.answer, message.body as Message<A>, connection);
      if (unproven) {
        const why = `${where} has the key that it should have, and does not know the ticket; nothing was sent`;
        connection.destroy(new HawserError("E_SERVER_UNPROVEN", why));
        return;
      }
      const ms = performance.now() - askedMs;
      asking.accept(connection, message.body as Message<A>);
      options.onAnswered?.(ms);
      resolve();
    },
    onClosed: (error) => reject(closedEarly(where, connection, error)),
  };
  const connection = new Connection("client", role, blocks, events, { sending });
  await connect(connection, where, options);
  const silent = new HawserError(
    "E_NO_ANSWER",
    `${where} accepts connections, but gave no answer within ${timeoutMs / 1000} s`,
  );
  const timer = setTimeout(() => connection.destroy(silent), timeoutMs);
  const onAbort = () => connection.destroy(new HawserError("E_LOST", "it was interrupted"));
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    askedMs = performance.now();
    asking.ask(connection, proofFor(options, asking.question, connection));
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

async function connect(
  connection: Connection,
  where: string,
  { endpoint, identity, sealed, timeoutMs, signal }: HandshakeOptions,
): Promise<void> {
  const dialOptions = { timeoutMs, signal };
  const dialled = (reader?: DirectReader) => dial(endpoint, reader, dialOptions);
  if (sealed !== undefined) {
    const { openSealed } = await import("../net/sealed-client.ts");
    connection.attach(await openSealed(sealed, dialled), false, { kind: "sealed" });
  } else if (identity === undefined) connection.attach(await dialled(connection), true);
  else {
    const raw = await dialled();
    const { secure } = await import("../net/tls-client.ts");
    const { socket, channel } = await secure(raw, identity.trust, where, dialOptions);
    connection.attach(socket, false, channel);
  }
}

function proofFor(
  { identity }: HandshakeOptions,
  question: "HELLO" | "ATTACH",
  { channel }: Connection,
): { ticket?: Uint8Array; proof?: Uint8Array } {
  if (identity?.ticket === undefined || channel?.kind !== "tls") return {};
  const { id, key } = identity.ticket;
  return { ticket: id, proof: proofOf(question, key, channel.exporter) };
}

/**
 * Whoever has a ticket hears from the server that it knows it too: its key alone may have been stolen. What is sealed shows
 * it by itself.
 */
function isUnproven<A extends "WELCOME" | "ATTACHED">(
  { identity, sealed }: HandshakeOptions,
  answer: A,
  { proof }: Message<A>,
  { channel }: Connection,
): boolean {
  if (identity?.ticket === undefined || sealed !== undefined) return false;
  return channel?.kind !== "tls" || !isProof(proof, answer, identity.ticket.key, channel.exporter);
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
