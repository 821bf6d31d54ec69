/** What a failed system call means to both ends: a full disk is not any other fault. */
import { HawserError } from "../protocol/errors.ts";

const NO_SPACE = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
/** SQLite's result code for 'database or disk is full'. */
const SQLITE_FULL = 13;

/** An error of the table for a failed call; `doing` says what was being done. */
export function ioError(doing: string, thrown: unknown): HawserError {
  if (thrown instanceof HawserError) return thrown;
  const { code, message, errcode = 0 } = thrown as NodeJS.ErrnoException & { readonly errcode?: number };
  // The low byte is the primary code (sqlite.org/rescode.html).
  const isSqlite = errcode !== 0;
  if (NO_SPACE.has(code ?? "") || (errcode & 0xff) === SQLITE_FULL) {
    return new HawserError("E_NO_SPACE", `no space on the destination while ${doing} (${isSqlite ? message : code})`, {
      cause: thrown,
    });
  }
  return new HawserError("E_IO", `${doing} failed on the destination: ${isSqlite ? message : (code ?? message)}`, {
    cause: thrown,
  });
}
