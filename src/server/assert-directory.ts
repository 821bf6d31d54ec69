/** What is asked about a directory has to be one. */
import { statSync } from "node:fs";
import { HawserError } from "../protocol/errors.ts";

/** Throws E_CONFIG where nothing has that path, or something else; what else is the matter shows when it is used. */
export function assertDirectory(path: string): void {
  let isDirectory: boolean | undefined;
  try {
    isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOTDIR") return;
  }
  if (isDirectory === true) return;
  const message = isDirectory === false ? `'${path}' is not a directory` : `the directory '${path}' does not exist`;
  throw new HawserError("E_CONFIG", message);
}
