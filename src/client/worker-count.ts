/** How many worker threads a transfer's streams live in. Pure. */

/** More than these share out what a few do alone. */
export const WORKERS_MAX = 16;
/** The most that are had unasked: the memory of each is the user's. */
const AUTO_MAX = 4;
/** A processor for the main thread, and one for the system's part of it: on fewer there is none for a worker. */
const AUTO_CORES_MIN = 3;
/** Less is sent before a worker has loaded what it needs. */
const AUTO_BYTES_MIN = 64 * 1024 * 1024;

export interface WorkerCircumstances {
  /** Processors that the process may use. */
  readonly cores: number;
  readonly isEncrypted: boolean;
  /** What comes through a pipe is kept in the main thread, and sent from there. */
  readonly isPiped: boolean;
  /** null: not known yet. */
  readonly bytes: number | null;
  /** The most streams that there will be. */
  readonly streams: number;
}

/** `wanted`: "auto" for as many as pay. */
export function workersFor(
  wanted: number | "auto",
  { cores, isEncrypted, isPiped, bytes, streams }: WorkerCircumstances,
): number {
  if (isPiped) return 0;
  if (wanted !== "auto") return Math.min(wanted, WORKERS_MAX, streams);
  if (cores < AUTO_CORES_MIN || !isEncrypted || (bytes !== null && bytes < AUTO_BYTES_MIN)) return 0;
  return Math.min(cores - 1, AUTO_MAX, streams);
}
