/** Transfers that stop half-way, at a chunk of the test's choice, and what is left of them. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Test } from "tap";
import { readSessions, type SendOptions, type TransferEvent } from "../../src/index.ts";
import { EventLog, type Sent, sendAll } from "./e2e.ts";
import { KIB, partsIn } from "./files.ts";
import { type Rule, startProxy, type TcpProxy } from "./proxy.ts";

export const CHUNK = 64 * KIB;

/** Nothing goes further on the first stream from this chunk on, until it is released. */
export const holdAtChunk = (nth: number): Rule => ({
  kind: "stream",
  ordinal: 0,
  direction: "up",
  frame: "CHUNK",
  part: "type",
  nth,
  action: "hold",
});

type Options = Pick<SendOptions, "paths"> & Partial<SendOptions>;

export interface HalfWay {
  readonly sending: Promise<Sent>;
  readonly log: EventLog<TransferEvent>;
  readonly proxy: TcpProxy;
}

/** A transfer on one stream, of which exactly these chunks have arrived. It goes on when the proxy releases its streams. */
export async function halfWay(
  t: Test,
  to: { host: string; port: number },
  chunks: number,
  options: Options,
  more: readonly Rule[] = [],
): Promise<HalfWay> {
  const proxy = await startProxy(t, to, { rules: [holdAtChunk(chunks), ...more] });
  const log = new EventLog<TransferEvent>();
  const sending = sendAll({ chunkBytes: CHUNK, ...options, to: proxy.address, streams: 1 }, log);
  const chunkBytes = options.chunkBytes ?? CHUNK;
  await Promise.race([log.until("progress", ({ bytesDone }) => bytesDone >= chunks * chunkBytes), sending]);
  return { sending, log, proxy };
}

/** A transfer whose client is gone after exactly these chunks have arrived. The server may not know it yet. */
export async function abandoned(
  t: Test,
  to: { host: string; port: number },
  chunks: number,
  options: Options,
): Promise<Sent> {
  const { sending, proxy } = await halfWay(t, to, chunks, { ...options, retries: 0 });
  proxy.harmAll("stream", "reset");
  proxy.harmAll("control", "reset");
  return sending;
}

/** Resolves when this much is recorded of what is unfinished: nobody but the database says so. */
export async function recorded(dir: string, bytes: number): Promise<void> {
  for (;;) {
    if (readSessions(dir).reduce((sum, { bytesPresent }) => sum + bytesPresent, 0) >= bytes) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The one part that there is. */
export function partOf(dir: string): string {
  const [part, ...others] = partsIn(dir);
  if (part === undefined || others.length > 0) throw new Error(`parts: ${[part, ...others].join(" ")}`);
  return join(dir, ".hawser", "parts", part);
}

/** Changes the sessions' database behind the back of a server that does not run. */
export function tamperWithRecords(dir: string, sql: string): number {
  const database = new DatabaseSync(join(dir, ".hawser", "sessions.db"));
  try {
    return Number(database.prepare(sql).run().changes);
  } finally {
    database.close();
  }
}
