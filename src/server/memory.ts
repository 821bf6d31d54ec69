/** How much memory the chunks may take that are on their way in, all clients together. */
import { totalmem } from "node:os";
import { CHUNK_BYTES_MAX } from "../protocol/limits.ts";

const MIB = 1024 * 1024;
const PART = 1 / 4;
const MOST_BYTES = 1024 * MIB;
/** Two chunks of the largest size, compressed as badly as can be. */
const LEAST_BYTES = 4 * CHUNK_BYTES_MAX;

/** A quarter of what this machine, or the container, has: 1 GiB at most. */
export function defaultChunkMemoryBytes(): number {
  // Where no limit is set, the system says a number that is larger than any machine's memory, or 0.
  const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  const bytes = Math.floor(Math.min(totalmem(), constrained) * PART);
  return Math.max(LEAST_BYTES, Math.min(MOST_BYTES, bytes));
}
