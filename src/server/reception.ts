/**
 * What happens to a connection before it belongs to a session: one deadline over everything it has to say, answers to
 * programs that are not hawser, and the hand-over to whoever opens or knows the session.
 */

import type { BlockPool } from "../net/blocks.ts";
import { Connection, type ConnectionEvents } from "../net/connection.ts";
import type { RateLimit } from "../net/rate-limit.ts";
import { HawserError } from "../protocol/errors.ts";
import type { ForeignProgram } from "../protocol/greeting.ts";
import type { Message } from "../protocol/messages.ts";
import { peerOf } from "./peer.ts";

export interface ReceptionOwner {
  /** What limits all connections of this peer together; asked for once. */
  limitOf?(peer: string): RateLimit;
  /** A client asks for a session, or to join its own again. */
  onHello(connection: Connection, peer: string, hello: Message<"HELLO">): void;
  /** A client brings a stream to its session. */
  onAttach(connection: Connection, peer: string, attach: Message<"ATTACH">): void;
  onClosed(peer: string): void;
  onRefused(peer: string, error: HawserError): void;
}

/** A client says what it wants with its first bytes; on the longest of paths that is a round trip. */
const OPENING_MS = 10_000;

/** Takes a new connection in. Of what comes before it is decided, at most one frame of 4 KiB is kept. */
export function receive(remoteAddress: string, blocks: BlockPool, owner: ReceptionOwner): Connection {
  const peer = peerOf(remoteAddress);
  const events: ConnectionEvents = {
    onForeign: answerTo,
    onMessage: (message) => {
      clearTimeout(deadline);
      if (message.name === "HELLO") owner.onHello(connection, peer, message.body);
      else if (message.name === "ATTACH") owner.onAttach(connection, peer, message.body);
    },
    onClosed: (error) => {
      clearTimeout(deadline);
      if (error !== undefined && error.code !== "E_LOST") owner.onRefused(peer, error);
    },
  };
  const connection = new Connection("server", undefined, blocks, events, { reading: owner.limitOf?.(peer) });
  connection.onSocketClosed = () => owner.onClosed(peer);
  // Made when it is needed: an error with its stack costs more than the timer.
  const deadline = setTimeout(() => connection.close(tooLate()), OPENING_MS);
  return connection;
}

const tooLate = () => new HawserError("E_TIMEOUT", `nothing was asked for within ${OPENING_MS / 1000} s`);

/** A browser shows text; a TLS client shows what an alert says (RFC 8446, 6: fatal, handshake_failure). */
function answerTo(program: ForeignProgram): Uint8Array | undefined {
  if (program === "TLS") return Uint8Array.of(0x15, 3, 1, 0, 2, 2, 40);
  if (program !== "HTTP") return undefined;
  const text = "This is a hawser server, not a web server. Send files to it with: hawser send FILE --to HOST:PORT\n";
  const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n`;
  return Buffer.from(head + text);
}
