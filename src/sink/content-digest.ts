/** Reads what lies at the sink, whole, and says what it is: a part as it will be committed, or a file that is there. */
import { blake3Hasher } from "../protocol/blake3.ts";
import type { HeldFile } from "./sink.ts";

const READ_BYTES = 1024 * 1024;

/**
 * The BLAKE3 of its first `bytes`; of fewer where it ends before that, so of all of it where that is infinite. Throws
 * E_IO, and what aborted it.
 */
export async function digestOf(
  content: Pick<HeldFile, "read">,
  bytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const hasher = blake3Hasher();
  const room = Buffer.allocUnsafeSlow(Math.min(bytes, READ_BYTES));
  for (let at = 0; at < bytes; ) {
    signal.throwIfAborted();
    const count = await content.read(at, room.subarray(0, Math.min(room.length, bytes - at)));
    if (count === 0) break;
    hasher.update(room.subarray(0, count));
    at += count;
  }
  return hasher.digestBuffer();
}
