/** Small files that a flag names: keys, certificates, tickets. What is wrong with one is said before anything is dialled or served. */
import { authorities } from "../net/channel.ts";
import { UsageError } from "./errors.ts";
import { readSmallFile } from "./state-directory.ts";

/** Its text. Throws E_CONFIG. */
export function needed(path: string): string {
  const text = readSmallFile(path);
  if (text === undefined) throw new UsageError(`'${path}' does not exist`, "Correct the path.", "E_CONFIG");
  return text;
}

/** Of one that says whom to believe: there must be somebody in it. Throws E_CONFIG. */
export function neededAuthorities(path: string): string {
  try {
    return authorities(needed(path));
  } catch (thrown) {
    if (thrown instanceof UsageError) throw thrown;
    throw new UsageError(`'${path}' holds no certificate that can be read`, "It has to be in PEM.", "E_CONFIG");
  }
}
