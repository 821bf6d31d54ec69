/** What the system says of a source that can't be read, as an error that its reader can mend. */
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";

/** Linux: PATH_MAX is 4,096 with its NUL. */
export const PATH_BYTES_MAX = 4095;

/** What is shown of a path at most: its end says which one it is. */
const SHOWN_BYTES_MAX = 400;

export function sourceError(path: Uint8Array | string, cause: NodeJS.ErrnoException): HawserError {
  const bytes = Buffer.from(path as Uint8Array);
  const shown = shownPath(bytes);
  switch (cause.code) {
    case "ENOENT":
    case "ENOTDIR":
      return new HawserError("E_SOURCE_MISSING", `'${shown}' does not exist`, { cause });
    case "EACCES":
    case "EPERM":
      return new HawserError("E_SOURCE_UNREADABLE", `'${shown}' may not be read by you`, { cause });
    case "ELOOP":
      return new HawserError("E_SOURCE_LOOP", `'${shown}' is a link that leads to itself, or over too many links`, {
        cause,
      });
    case "ENAMETOOLONG":
      return new HawserError("E_NAME", `'${shown}': its path of ${bytes.length} bytes is too long for this system`, {
        cause,
      });
    default:
      return new HawserError("E_SOURCE_IO", `'${shown}': ${reasonOf(cause)}`, { cause });
  }
}

/** A path as it may be shown, its beginning left out where it is very long. */
export function shownPath(path: Uint8Array): string {
  return path.length <= SHOWN_BYTES_MAX ? displayName(path) : `...${displayName(path.subarray(-SHOWN_BYTES_MAX))}`;
}

/** What the system says, without the path that it repeats as it is. */
export function reasonOf({ message }: Error): string {
  return message.replace(/, \w+( '.*)?$/s, "");
}
