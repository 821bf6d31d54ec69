/**
 * Transfers that are begun and then idle, in a process of its own: each with all its streams, a file of which one chunk
 * came, and a sign of life now and then. Its argument: where to, how many sessions, and how many streams each.
 */
import { randomBytes } from "node:crypto";
import { CHUNK_BYTES_MIN, RESUME_KEY_BYTES } from "../../src/protocol/limits.ts";
import { offered, openSession, openStream, type RawClient } from "./raw-client.ts";

export type SessionsEvent = { readonly type: "here"; readonly sessions: number };

const AT_ONCE = 8;
const PING_MS = 20_000;

const { host, port, sessions, streams } = JSON.parse(process.argv[2] ?? "{}") as {
  host: string;
  port: number;
  sessions: number;
  streams: number;
};
const to = { host, port };
const chunk = randomBytes(CHUNK_BYTES_MIN);
const controls: RawClient[] = [];

async function open(index: number): Promise<void> {
  const { control, terms } = await openSession(to, { streams });
  const raws: RawClient[] = [];
  for (let stream = 0; stream < streams; stream++) raws.push(await openStream(to, terms.session, stream));
  const file = {
    ...offered(0, `idle-${index}`, 16 * chunk.length),
    key: new Uint8Array(randomBytes(RESUME_KEY_BYTES)),
  };
  control.say("OFFER", { settledBelow: 0, files: [file] });
  await control.next("PLAN");
  raws[0]?.chunk(0, 0, chunk);
  await raws[0]?.next("ACK");
  controls.push(control);
}

let next = 0;
const worker = async () => {
  while (next < sessions) await open(next++);
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));
process.stdout.write(`${JSON.stringify({ type: "here", sessions: controls.length })}\n`);
let id = 0;
setInterval(() => {
  id++;
  for (const control of controls) control.say("PING", { id });
}, PING_MS);
