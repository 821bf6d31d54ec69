/** Where the patterns of a filter come from: what the user said, and the files that it names, as lines of a .gitignore. */
import { closeSync, openSync, readSync } from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { textOf } from "./name-text.ts";
import { reasonOf } from "./source-error.ts";

export type FilterRule =
  | { readonly exclude: string }
  | { readonly include: string }
  /** A file of patterns, one a line, as in a .gitignore. */
  | { readonly excludeFrom: string };

/** Thousands of patterns; not what a mistaken name (/dev/zero, a disk image) would give. */
const PATTERN_FILE_BYTES_MAX = 1024 * 1024;

/** The lines that a rule stands for. Throws E_USAGE, and what `read` throws. */
export function linesOf(rule: FilterRule, read: (path: string) => string): string[] {
  if ("excludeFrom" in rule)
    return read(rule.excludeFrom)
      .replace(/^\ufeff/, "")
      .split(/\r?\n/);
  if ("include" in rule) return [`!${literalEnds("--include", rule.include)}`];
  return [literalEnds("--exclude", rule.exclude)];
}

/** A pattern that stands by itself, as a line that means the same: '#' is no comment there, a space at the end is one. */
function literalEnds(flag: string, pattern: string): string {
  const body = flag === "--exclude" ? pattern.replace(/^!/, "") : pattern;
  if (body === "")
    throw new HawserError("E_USAGE", `${flag} needs a pattern, and '${displayName(Buffer.from(pattern))}' is none`);
  if (/(^|[^\\])(\\\\)*\\$/.test(body)) {
    const shown = displayName(Buffer.from(pattern));
    throw new HawserError("E_USAGE", `${flag} '${shown}' ends in a backslash that has nothing to stand before`);
  }
  return pattern.replace(/^#/, "\\#").replace(/(?<!\\) +$/, (spaces) => "\\ ".repeat(spaces.length));
}

/** The text of a file of patterns. Throws E_CONFIG. */
export function readPatternFile(path: string): string {
  const shown = displayName(Buffer.from(path));
  if (path === "-") {
    throw new HawserError("E_USAGE", "--exclude-from reads a file, not standard input; a file named '-' is ./-");
  }
  const room = Buffer.allocUnsafe(PATTERN_FILE_BYTES_MAX + 1);
  let bytes = 0;
  try {
    const fd = openSync(path, "r");
    try {
      while (bytes < room.length) {
        const count = readSync(fd, room, bytes, room.length - bytes, null);
        if (count === 0) break;
        bytes += count;
      }
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw new HawserError("E_CONFIG", `--exclude-from '${shown}' can't be read: ${whyUnreadable(cause)}`, { cause });
  }
  if (bytes > PATTERN_FILE_BYTES_MAX) {
    throw new HawserError("E_CONFIG", `--exclude-from '${shown}' is larger than 1 MiB, which no list of patterns is`);
  }
  return textOf(room.subarray(0, bytes));
}

function whyUnreadable(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return "it does not exist";
  if (code === "EISDIR") return "it is a directory";
  if (code === "EACCES" || code === "EPERM") return "you may not";
  return reasonOf(cause as Error);
}
