/** How many worker threads a transfer's streams live in. Pure. */

/** More than these share out what a few do alone. */
export const WORKERS_MAX = 16;
/**
 * With two each has half of what one thread had, and then the server, which has one, is the slower end: more would bring
 * nothing. One alone is as busy as the main thread was.
 */
const AUTO_WORKERS = 2;
/** One for each, one for the main thread, and one for whatever else there is. */
const AUTO_CORES_MIN = 4;
/** Starting them costs what sealing this much does (docs/decisions/0035). */
const AUTO_BYTES_MIN = 256 * 1024 * 1024;

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
  const isLarge = bytes === null || bytes >= AUTO_BYTES_MIN;
  return isEncrypted && isLarge && cores >= AUTO_CORES_MIN && streams >= AUTO_WORKERS ? AUTO_WORKERS : 0;
}
