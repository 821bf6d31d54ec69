/**
 * How a hostile client comes to a server: in plain, or over TLS with a ticket that it was given. What it then says is the
 * same; HELLO and ATTACH get their proofs, which are of one connection only, when it is there.
 */
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Packr, Unpackr } from "msgpackr";
import type { Endpoint } from "../../src/index.ts";
import { channelOf } from "../../src/net/channel.ts";
import { proofOf } from "../../src/net/proof.ts";
import type { Random } from "./random.ts";
import { controlFrame, payloadOf, type WireFrame } from "./wire.ts";

const packr = new Packr({ useRecords: false, structuredClone: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, structuredClone: false, int64AsType: "number", copyBuffers: true });

export interface TicketKey {
  readonly id: Uint8Array;
  readonly key: Uint8Array;
}

export interface Target {
  readonly to: Endpoint;
  readonly localAddress?: string;
  /** Missing: in plain. */
  readonly ticket?: TicketKey;
}

export interface WayIn {
  readonly socket: Socket;
  /** Below TLS; the same in plain. */
  readonly raw: Socket;
  /** Of the TLS connection. */
  readonly exporter?: Uint8Array;
}

export function dialRaw({ to, localAddress }: Target): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ ...to, noDelay: true, ...(localAddress === undefined ? {} : { localAddress }) });
    socket.on("error", () => {});
    socket.once("connect", () => resolve(socket));
    socket.once("close", () => resolve(socket));
  });
}

/** Shakes hands over what is open; a connection that breaks meanwhile is a way in that nobody hears anything on. */
export function shakeHands(raw: Socket): Promise<WayIn> {
  return new Promise((resolve) => {
    const socket = connectTls({ socket: raw, rejectUnauthorized: false });
    socket.on("error", () => socket.destroy());
    socket.once("secureConnect", () => resolve({ socket, raw, exporter: channelOf(socket, false).exporter }));
    socket.once("close", () => resolve({ socket, raw }));
  });
}

export async function comeIn(target: Target): Promise<WayIn> {
  const raw = await dialRaw(target);
  return target.ticket === undefined || raw.destroyed ? { socket: raw, raw } : shakeHands(raw);
}

/** What must not let anybody in. */
const WRONG = ["other message", "other connection", "other ticket", "no ticket", "no proof", "no such ticket", "short"];

/** A frame with what proves the ticket on this connection, where it is one that opens it; or with what does not. */
export function proven(frame: WireFrame, { ticket }: Target, { exporter }: WayIn, wrong?: Random): WireFrame {
  const { name } = frame;
  if ((name !== "HELLO" && name !== "ATTACH") || ticket === undefined || exporter === undefined) return frame;
  let { id } = ticket;
  let [of, key, channel]: [typeof name, Uint8Array, Uint8Array] = [name, ticket.key, exporter];
  const how = wrong?.pick(WRONG);
  if (how === "other message") of = name === "HELLO" ? "ATTACH" : "HELLO";
  else if (how === "other connection") channel = Buffer.from(exporter).fill(7, 0, 1);
  else if (how === "other ticket") key = Buffer.from(key).fill(7, 0, 1);
  else if (how === "no such ticket") id = Buffer.alloc(8, 9);
  const proof = proofOf(of, key, channel);
  const shown =
    how === "no ticket"
      ? {}
      : how === "no proof"
        ? { ticket: id }
        : how === "short"
          ? { ticket: id, proof: proof.subarray(1) }
          : { ticket: id, proof };
  const body = unpackr.unpack(payloadOf(frame.bytes));
  return { name, bytes: controlFrame(name, packr.pack({ ...body, ...shown })) };
}
