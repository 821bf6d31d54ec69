/** What a server bounds where nothing is said: places, sessions, and memory for chunks. */
import { totalmem } from "node:os";
import { CHUNK_BYTES_MAX } from "../protocol/limits.ts";
import { descriptorsMax } from "../sink/platform.ts";
import type { AdmissionLimits } from "./admission.ts";
import type { ServeOptions } from "./types.ts";

const MAX_CONNECTIONS = 1024;
const MAX_CONNECTIONS_PER_PEER = 512;
const MAX_SESSIONS = 256;
const MAX_SESSIONS_PER_PEER = 64;
/** Of the descriptors, so that those that wait to say what they want and the files have theirs as well. */
const CONNECTIONS_PART = 0.4;

export function admissionLimits(options: ServeOptions): AdmissionLimits {
  const connections = Math.floor(descriptorsMax() * CONNECTIONS_PART);
  return {
    maxConnections: Math.min(options.maxConnections ?? MAX_CONNECTIONS, connections),
    maxConnectionsPerPeer: options.maxConnectionsPerPeer ?? MAX_CONNECTIONS_PER_PEER,
    maxSessions: options.maxSessions ?? MAX_SESSIONS,
    maxSessionsPerPeer: options.maxSessionsPerPeer ?? MAX_SESSIONS_PER_PEER,
  };
}

const MIB = 1024 * 1024;
const PART = 1 / 4;
const MOST_BYTES = 1024 * MIB;
/** Two chunks of the largest size, compressed as badly as can be. */
const LEAST_BYTES = 4 * CHUNK_BYTES_MAX;

/** Memory for chunks on their way in: a quarter of what this machine, or the container, has, 1 GiB at most. */
export function chunkMemoryBytes(options: ServeOptions): number {
  if (options.chunkMemoryBytes !== undefined) return options.chunkMemoryBytes;
  // Where no limit is set, the system says a number that is larger than any machine's memory, or 0.
  const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  const bytes = Math.floor(Math.min(totalmem(), constrained) * PART);
  return Math.max(LEAST_BYTES, Math.min(MOST_BYTES, bytes));
}
