/** What is done to a live server that wants TLS and a ticket, besides conversations: broken handshakes, and wrong proofs. */
import { createServer, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { encodeMessage } from "../../src/protocol/messages.ts";
import { attachOf, HELLO } from "../helpers/conversation.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { Draft, mutate } from "./mutations.ts";
import type { Random } from "./random.ts";
import { comeIn, dialRaw, proven, shakeHands, type Target } from "./way-in.ts";
import { controlFrame } from "./wire.ts";

const GREETING = Buffer.from(encodeGreeting());

/** The first bytes of a client that shakes hands. */
export async function recordClientHello(): Promise<Buffer> {
  let heard: (bytes: Buffer) => void = () => {};
  const hello = new Promise<Buffer>((resolve) => {
    heard = resolve;
  });
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (bytes) => {
      heard(bytes as Buffer);
      socket.destroy();
      server.close();
    });
  });
  const socket = connectTls({ ...(await listenAnywhere(server)), rejectUnauthorized: false });
  socket.on("error", () => {});
  return hello;
}

/** A handshake that is cut short, trickles in, has other bytes in it, or something behind it that it should not. */
export async function brokenHandshake(target: Target, hello: Buffer, random: Random): Promise<void> {
  const socket = await dialRaw(target);
  socket.on("data", () => {});
  const draft = new Draft(8192);
  draft.set(hello);
  const times = random.below(4);
  for (let i = 0; i < times; i++) mutate(draft, random.oneIn(2) ? 0 : 5, random, [hello, GREETING]);
  if (random.oneIn(4)) draft.length = random.below(draft.length + 1);
  if (random.oneIn(8)) draft.insert(draft.length, random.oneIn(2) ? GREETING : hello);
  // The first byte is what makes a handshake of it, most often.
  if (draft.length > 0 && !random.oneIn(4)) draft.bytes[0] = 0x16;
  const bytes = Buffer.from(draft.content);
  if (random.oneIn(2)) socket.write(bytes);
  else await trickle(socket, bytes, random);
  await delay(random.below(60));
  if (random.oneIn(2)) socket.end();
  if (random.oneIn(2)) await delay(random.below(40));
  socket.destroy();
}

async function trickle(socket: Socket, bytes: Buffer, random: Random): Promise<void> {
  const step = 1 + random.below(200);
  for (let at = 0; at < bytes.length && !socket.destroyed; at += step) {
    socket.write(bytes.subarray(at, at + step));
    await delay(random.below(4));
  }
}

/** Shakes hands, in one of three ways with a byte of its records changed, and then says what is no greeting, or hardly. */
export async function garbageInside(target: Target, random: Random): Promise<void> {
  const raw = await dialRaw(target);
  if (raw.destroyed) return;
  const path = random.oneIn(3) ? new HarmedPath(raw, random.below(random.oneIn(2) ? 600 : 3000)) : raw;
  const { socket } = await Promise.race([shakeHands(path as Socket), delay(2000).then(() => ({ socket: raw }))]);
  socket.on("data", () => {});
  const bytes = Buffer.alloc(random.below(random.oneIn(8) ? 100_000 : 300));
  for (let at = 0; at < bytes.length; at++) bytes[at] = random.word();
  if (!socket.destroyed) {
    if (random.oneIn(2)) socket.write(GREETING);
    socket.write(bytes);
  }
  if (random.oneIn(2)) socket.end();
  await delay(random.below(20));
  socket.destroy();
  raw.destroy();
}

/** Changes one byte of what goes to the server, somewhere. */
class HarmedPath extends Duplex {
  readonly #raw: Socket;
  #left: number;

  constructor(raw: Socket, at: number) {
    super();
    this.#raw = raw;
    this.#left = at;
    raw.on("data", (bytes) => this.push(bytes));
    raw.on("end", () => this.push(null));
    raw.on("close", () => this.destroy());
  }

  override _read(): void {}
  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#left >= 0 && this.#left < bytes.length) bytes[this.#left] = (bytes[this.#left] as number) ^ 1;
    this.#left -= bytes.length;
    this.#raw.write(bytes, () => done());
  }
  override _final(done: () => void): void {
    this.#raw.end(() => done());
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#raw.destroy();
    done(error);
  }
}

/** Asks to be let in with what proves nothing, and goes on as if it were. Returns the frames that were sent. */
export async function wrongProof(target: Target, random: Random): Promise<number> {
  const way = await comeIn(target);
  const { socket } = way;
  socket.on("data", () => {});
  if (socket.destroyed) return 0;
  const name = random.oneIn(2) ? "HELLO" : "ATTACH";
  const payload = name === "HELLO" ? encodeMessage("HELLO", HELLO) : encodeMessage("ATTACH", attachOf(0));
  const opening = proven({ name, bytes: controlFrame(name, payload) }, target, way, random);
  const more = Array.from({ length: random.below(20) }, (_, id) => {
    return controlFrame("PING", encodeMessage("PING", { id }));
  });
  socket.write(Buffer.concat([GREETING, opening.bytes, ...more]));
  // The answer is held back; some wait for it.
  await Promise.race([new Promise((resolve) => socket.once("close", resolve)), delay(random.below(600))]);
  socket.destroy();
  return 1 + more.length;
}
