/** What a look at a file says of it, in the terms of an offer. Numbers, not BigInts: those cost 10% more for each file. */
import { constants, type Stats } from "node:fs";

export type FileKind = "file" | "directory" | "symlink" | "special";

/** What is neither of the three (sockets, FIFOs, devices) is never opened: that could block, or do something. */
export function kindOf({ mode }: Pick<Stats, "mode">): FileKind {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return "file";
    case constants.S_IFDIR:
      return "directory";
    case constants.S_IFLNK:
      return "symlink";
    default:
      return "special";
  }
}

/** Seconds since 1970 and nanoseconds, to the microsecond: milliseconds as a double hold a quarter of one today. */
export function mtimeOf({ mtimeMs }: Pick<Stats, "mtimeMs">): [number, number] {
  let seconds = Math.floor(mtimeMs / 1000);
  let micros = Math.round((mtimeMs - seconds * 1000) * 1000);
  if (micros === 1_000_000) {
    seconds++;
    micros = 0;
  }
  return [seconds, micros * 1000];
}
