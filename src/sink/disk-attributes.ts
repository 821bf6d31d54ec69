/** Times and permission bits, as the disk takes them from Node. */
import type { PartSpec } from "./sink.ts";

/** Who may read, write and run; never setuid and its kind, since nobody's ownership comes along. */
const PERMISSION_BITS = 0o777;
const UMASK = process.umask();

/** The bits that a file gets: all that it had, or what our mask leaves of them. */
export function modeOf({ mode, exactMode = false }: Pick<PartSpec, "mode" | "exactMode">): number {
  return mode & PERMISSION_BITS & (exactMode ? PERMISSION_BITS : ~UMASK);
}

/** Seconds, as exactly as a double holds them. Node takes negative ones for 'now', and a Date for what it says. */
export function timeOf([seconds, nanoseconds]: PartSpec["mtime"]): number | Date {
  const time = seconds + nanoseconds / 1e9;
  return time >= 0 ? time : new Date(time * 1000);
}
