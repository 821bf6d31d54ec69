/**
 * Arguments in bytes that are not UTF-8: Node puts U+FFFD in their place, and what was meant can't be seen any more. A file
 * would be looked for, or come to be, under a name that nobody gave.
 */
import { readFileSync } from "node:fs";
import { UsageError } from "./errors.ts";

const REPLACEMENT = "\ufffd";

/** Throws UsageError for the first such argument. `readCommandLine`: as /proc/self/cmdline has it (proc_pid_cmdline(5)). */
export function assertArgumentsAreText(
  argv: readonly string[],
  readCommandLine = () => readFileSync("/proc/self/cmdline"),
): void {
  if (!argv.some((argument) => argument.includes(REPLACEMENT))) return;
  let raw: Buffer;
  try {
    raw = readCommandLine();
  } catch {
    // Not Linux: whoever wrote the character itself is believed.
    return;
  }
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let at = 0; at < raw.length; ) {
    const end = raw.indexOf(0, at);
    const bytes = raw.subarray(at, end === -1 ? raw.length : end);
    at += bytes.length + 1;
    try {
      decoder.decode(bytes);
    } catch {
      const shown = bytes.toString();
      if (!argv.includes(shown)) continue;
      const hint =
        "Give names like that by --files-from, where they are bytes, or send the directory that they are in.";
      throw new UsageError(`'${shown}' holds bytes that are not UTF-8, and is no argument`, hint);
    }
  }
}
