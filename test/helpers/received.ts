/** Files that are being received, made by hand: their offers, parts and places in a store. */
import { crc32 } from "../../src/protocol/crc32.ts";
import type { OfferedFile } from "../../src/protocol/messages.ts";
import { ReceivedFile } from "../../src/sink/received-file.ts";
import type { SessionStore, StoredChunk } from "../../src/sink/session-store.ts";
import type { Sink } from "../../src/sink/sink.ts";
import { hexOf, type Owner } from "../../src/sink/unfinished.ts";
import { nameOf, randomBytesOf } from "./bytes.ts";

export const CHUNK = 65_536;
export const PEER = "192.0.2.1";

/** A key as long as they are, the same for the same word. */
export const keyOf = (word: string) => new Uint8Array(Buffer.alloc(16, word));

export const ownerOf = (sessionId: string, rest: Partial<Owner> = {}): Owner => ({
  sessionId,
  peer: PEER,
  chunkBytes: CHUNK,
  fresh: false,
  ...rest,
});

export function offerOf(name: string, size: number | null, rest: Partial<OfferedFile> = {}): OfferedFile {
  return { file: 0, name: nameOf(name), size, mtime: [1, 0], mode: 0o644, key: keyOf(name), ...rest };
}

export const receivedFile = (offer: OfferedFile) => new ReceivedFile(offer, CHUNK);

/** The chunks of `content`, as they are recorded. */
export function chunksOf(content: Uint8Array, file = 0, synced = false): StoredChunk[] {
  const chunks: StoredChunk[] = [];
  for (let offset = 0; offset < content.length; offset += CHUNK) {
    chunks.push({ file, offset, crc32: crc32(content.subarray(offset, offset + CHUNK)), synced });
  }
  return chunks;
}

export interface Left {
  readonly id: number;
  readonly partId: string;
  readonly content: Uint8Array;
}

/** What an earlier run leaves of a file: its part with these chunks of it, and its rows; in a session that is closed. */
export async function leave(
  sink: Sink,
  store: SessionStore,
  sessionId: string,
  offer: OfferedFile,
  { chunks, synced = false, chunkBytes = CHUNK }: { chunks?: number; synced?: boolean; chunkBytes?: number } = {},
): Promise<Left> {
  const content = randomBytesOf(offer.size ?? 0);
  const partId = `${sessionId}-${Buffer.from(offer.name)}`;
  if ((await store.load(sessionId)) === undefined) {
    await store.create({ id: sessionId, transferId: `t-${sessionId}`, peer: PEER, createdMs: Date.now(), chunkBytes });
  }
  const { name, size, mtime, mode, key } = offer;
  const [id = 0] = await store.addFiles(sessionId, [
    { key: key === undefined ? null : hexOf(key), name, size, mtime, mode, partId },
  ]);
  const part = await sink.reserve({ id: partId, name, size, mtime, mode });
  part.open();
  const recorded = chunksOf(content, id, synced).slice(0, chunks);
  for (const { offset } of recorded) await part.write(offset, content.subarray(offset, offset + CHUNK));
  await store.recordChunks(recorded);
  await part.close();
  await store.close(sessionId);
  return { id, partId, content };
}
