/** What the keys of a running transfer make of its rate limit. Pure. */
import { RATE_MIN } from "./values.ts";

const RAISES = new Set(["+", "="]);
const LOWERS = new Set(["-", "_"]);

/**
 * The limit after a key, in bytes a second, null for none; undefined where the key changes nothing. Without a limit the
 * rate of this moment is what is raised or lowered.
 */
export function limitAfter(key: string, limit: number | null, bytesPerSecond: number): number | null | undefined {
  if (key === "0") return limit === null ? undefined : null;
  if (!RAISES.has(key) && !LOWERS.has(key)) return undefined;
  const from = limit ?? bytesPerSecond;
  // Nothing has moved yet: there is nothing to begin from.
  if (from <= 0) return undefined;
  return Math.max(RATE_MIN, Math.round(from * (RAISES.has(key) ? 1.25 : 0.75)));
}
