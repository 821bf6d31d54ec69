/** PROTOCOL.md, Encryption and tickets: what a client shows of a ticket over TLS, and what it wants to see. */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { crc32 } from "node:zlib";
import { type Address, Connection, type Secret } from "./connection.ts";
import { Breach } from "./errors.ts";
import type { Fields } from "./msgpack.ts";

const PREFIX = "hawser1.";
const LABEL = "EXPORTER-hawser-1";

export interface Ticket {
  readonly id: Buffer;
  readonly pin: Buffer;
  readonly token: Buffer;
  readonly port: number;
  readonly host: string;
}

export function readTicket(text: string): Ticket {
  const bytes = Buffer.from(text.slice(PREFIX.length), "base64url");
  const end = bytes.length - 4;
  if (
    !text.startsWith(PREFIX) ||
    end < 76 ||
    bytes[0] !== 1 ||
    crc32(bytes.subarray(0, end)) !== bytes.readUInt32BE(end)
  ) {
    throw new Breach("no ticket", "it can't be read");
  }
  return {
    id: bytes.subarray(1, 9),
    pin: bytes.subarray(9, 41),
    token: bytes.subarray(41, 73),
    port: bytes.readUInt16BE(73),
    host: bytes.toString("latin1", 75, end),
  };
}

export const keyOf = (token: Buffer): Buffer => Buffer.from(hkdfSync("sha256", token, "", "hawser 1 ticket key", 32));

export const proofOf = (name: string, key: Buffer, exporter: Buffer): Buffer =>
  createHmac("sha256", key)
    .update(Buffer.concat([Buffer.from(`hawser 1 ${name}`), Buffer.alloc(1), exporter]))
    .digest();

/** Of one connection, whose exporter this is. */
export function secretOf({ id, token }: Ticket, exporter: Buffer): Secret {
  const key = keyOf(token);
  return {
    prove: (name) => ({ ticket: id, proof: proofOf(name, key, exporter) }),
    isProven: (name, fields: Fields) => {
      const proof = fields["proof"] as Buffer | undefined;
      return proof?.length === 32 && timingSafeEqual(proof, proofOf(name, key, exporter));
    },
  };
}

/** A connection that has shaken hands with who has the pinned key; nothing else was sent. */
export async function dialTls(to: Address, { pin }: Ticket): Promise<TLSSocket> {
  const socket = connect({ ...to, minVersion: "TLSv1.3", rejectUnauthorized: false });
  socket.setNoDelay(true);
  await once(socket, "secureConnect");
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "der" });
  if (spki === undefined || !createHash("sha256").update(spki).digest().equals(pin)) {
    socket.destroy();
    throw new Breach("another key", "the server's key is not the pinned one");
  }
  return socket;
}

export const exporterOf = (socket: TLSSocket): Buffer => socket.exportKeyingMaterial(32, LABEL, Buffer.alloc(0));

/** Ready for HELLO or ATTACH, which get their proof. */
export async function dialWith(to: Address, ticket: Ticket): Promise<Connection> {
  const socket = await dialTls(to, ticket);
  const connection = Connection.over(socket);
  connection.secret = secretOf(ticket, exporterOf(socket));
  return connection;
}
