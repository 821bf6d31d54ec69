/** Why a caller's signal was aborted, as an error. */
import { HawserError } from "../protocol/errors.ts";

export function abortReason(signal: AbortSignal | undefined): HawserError {
  const { reason } = signal ?? {};
  return reason instanceof HawserError ? reason : new HawserError("E_INTERRUPTED", "the transfer was interrupted");
}
