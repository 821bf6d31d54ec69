/** Reads a part back, whole: what it holds is what will be committed, whatever the streams say that they wrote. */
import { Blake3Hasher } from "@napi-rs/blake-hash";
import type { Part } from "./sink.ts";

const READ_BYTES = 1024 * 1024;

/** The BLAKE3 of its first `size` bytes; of fewer where it ends before that. Throws E_IO, and what aborted it. */
export async function digestOfPart(part: Part, size: number, signal: AbortSignal): Promise<Uint8Array> {
  const hasher = new Blake3Hasher();
  const room = Buffer.allocUnsafeSlow(Math.min(size, READ_BYTES));
  for (let at = 0; at < size; ) {
    signal.throwIfAborted();
    const count = await part.read(at, room.subarray(0, Math.min(room.length, size - at)));
    if (count === 0) break;
    hasher.update(room.subarray(0, count));
    at += count;
  }
  return hasher.digestBuffer();
}
