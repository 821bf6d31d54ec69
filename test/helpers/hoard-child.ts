/**
 * Clients that make a server hold as much as it lets them, in a process of its own: sessions with the largest chunks that there
 * are, of which each stream brings one but for its last byte. Its argument: where to, how many sessions of how many
 * streams, from how many addresses each.
 */
import { CHUNK_BYTES_MAX, STREAMS_MAX } from "../../src/protocol/limits.ts";
import { chunkHeader, HELLO, offered, openStream, RawClient } from "./raw-client.ts";

export type HoardEvent = { readonly type: "here"; readonly sessions: number; readonly streams: number };

const { host, port, sessions, addresses } = JSON.parse(process.argv[2] ?? "{}") as {
  host: string;
  port: number;
  sessions: number;
  addresses: number;
};
const to = { host, port };
const payload = new Uint8Array(CHUNK_BYTES_MAX).fill(7);
const begun = payload.subarray(0, -1);
const counts = { sessions: 0, streams: 0 };

async function hoard(from: string): Promise<void> {
  const control = await RawClient.connect(to, from);
  control.greet().say("HELLO", { ...HELLO, streams: STREAMS_MAX, chunkBytes: CHUNK_BYTES_MAX });
  const { session, chunkBytes, streams } = await control.next("WELCOME");
  control.say("OFFER", { settledBelow: 0, files: [offered(0, `hoard-${from}-${counts.sessions}`, null)] });
  await control.next("PLAN");
  counts.sessions++;
  for (let i = 0; i < streams; i++) {
    const stream = await openStream(to, session, i, from);
    counts.streams++;
    stream.socket.write(chunkHeader(0, i * chunkBytes, payload));
    stream.socket.write(begun);
  }
  let id = 0;
  setInterval(() => control.say("PING", { id: id++ }), 10_000);
}

for (let address = 0; address < addresses; address++) {
  // What is refused, since there are as many connections as there may be, is the end of it for this address.
  for (let session = 0; session < sessions; session++) await hoard(`127.2.0.${1 + address}`).catch(() => {});
}
process.stdout.write(`${JSON.stringify({ type: "here", ...counts })}\n`);
