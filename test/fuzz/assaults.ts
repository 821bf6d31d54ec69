/** What is done to a live server besides conversations: garbage, silence, trickles, crowds, and very many frames. */
import { setTimeout as delay } from "node:timers/promises";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import { HELLO } from "../helpers/conversation.ts";
import type { Mutator } from "./mutator.ts";
import type { Random } from "./random.ts";
import { comeIn, dialRaw, proven, type Target } from "./way-in.ts";
import { controlFrame, FrameCutter, type WireFrame } from "./wire.ts";

const GREETING = Buffer.from(encodeGreeting());

async function open(target: Target) {
  const socket = await dialRaw(target);
  socket.on("data", () => {});
  return socket;
}

/** What other programs say first, and noise. */
const OPENINGS = [
  Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
  Buffer.from("SSH-2.0-OpenSSH_9.6\r\n"),
  Buffer.from([0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3]),
  GREETING,
  GREETING.subarray(0, 19),
  Buffer.alloc(64),
];

export async function garbage(target: Target, random: Random): Promise<void> {
  const socket = await open(target);
  socket.write(random.pick(OPENINGS));
  const bytes = Buffer.alloc(random.below(random.oneIn(8) ? 200_000 : 300));
  for (let at = 0; at < bytes.length; at++) bytes[at] = random.word();
  socket.write(bytes);
  if (random.oneIn(2)) socket.end();
  await delay(random.below(20));
  socket.destroy();
}

/** A byte now and then, or none, from connections that then hang for a while; some close their half. */
export async function crowd(target: Target, random: Random): Promise<number> {
  const size = 1 + random.below(150);
  const sockets = await Promise.all(Array.from({ length: size }, () => open(target)));
  const opening = random.pick(OPENINGS);
  for (let at = 0; at < 4; at++) {
    for (const socket of sockets) {
      if (socket.destroyed) continue;
      if (random.oneIn(2)) socket.write(opening.subarray(at, at + 1));
      if (random.oneIn(16)) socket.end();
    }
    await delay(20 + random.below(80));
  }
  for (const socket of sockets) socket.destroy();
  return size;
}

const control = <N extends "OFFER" | "SEAL" | "WITHDRAW" | "DIGEST" | "PING" | "PONG">(
  name: N,
  body: Message<N>,
): WireFrame => ({ name, bytes: controlFrame(name, encodeMessage(name, body)) });

/** Frames of a source that a sink takes, for files that are not open, or once. */
function* harmless(random: Random): Generator<WireFrame> {
  for (let i = 0; ; i++) {
    const file = random.below(20);
    switch (random.below(8)) {
      case 0:
        yield control("PONG", { id: i, doing: "x", received: [1, 2] });
        break;
      case 1:
        yield control("SEAL", { files: [{ file: 1000 + file, size: 5, crc32: 7 }] });
        break;
      case 2:
        yield control("WITHDRAW", { files: [{ file: 1000 + file, error: { code: 401, message: "gone" } }] });
        break;
      case 3:
        yield control("DIGEST", { files: [{ file: 1000 + file, blake3: new Uint8Array(32) }] });
        break;
      case 4:
        yield control("OFFER", { settledBelow: 0, files: [] });
        break;
      default:
        yield control("PING", { id: random.word() });
    }
  }
}

/** Opens a session and says very much at once, most of it harmless, in writes as large as they come. */
export async function flood(target: Target, mutator: Mutator, random: Random): Promise<number> {
  const way = await comeIn(target);
  const { socket, raw } = way;
  if (socket.destroyed) return 0;
  const cutter = new FrameCutter(({ name }) => {
    if (name === "WELCOME") welcomed();
  });
  let welcomed = () => {};
  const welcome = new Promise<void>((resolve) => {
    welcomed = resolve;
    socket.once("close", () => resolve());
  });
  socket.on("data", (bytes: Buffer) => cutter.push(bytes));
  const hello: WireFrame = { name: "HELLO", bytes: controlFrame("HELLO", encodeMessage("HELLO", HELLO)) };
  socket.write(Buffer.concat([GREETING, proven(hello, target, way).bytes]));
  await Promise.race([welcome, delay(2000)]);
  const count = 100 + random.below(1500);
  const frames: Buffer[] = [];
  const source = harmless(random);
  while (frames.length < count) {
    const { value } = source.next();
    const said = { connection: 0, by: "client" as const, frame: value as WireFrame };
    // What is illegal ends it all; so it comes late, as a rule.
    const isWrong = frames.length > count / 2 && random.oneIn(200);
    for (const { frame } of isWrong ? mutator.inPlaceOf(said, 1, random) : [said]) {
      if (frame !== undefined) frames.push(frame.bytes);
    }
  }
  if (socket.destroyed) return 0;
  socket.write(Buffer.concat(frames));
  // Everything that was said is heard before it ends.
  socket.end();
  await Promise.race([new Promise((resolve) => socket.once("close", resolve)), delay(3000)]);
  socket.destroy();
  raw.destroy();
  return frames.length;
}
