/** Other people's programs: which are here, and how to get those that are not. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Administrators' programs, which are not on everybody's PATH. */
const MORE_PLACES = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/** Its full name: sshd insists on being started by that. */
export function findTool(name: string): string | undefined {
  const places = [...(process.env["PATH"] ?? "").split(delimiter), ...MORE_PLACES];
  return places.map((place) => join(place, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** `packages` as Debian calls them. */
export function installHint(packages: string): string {
  return `not installed: apt install ${packages}, or what your system has for it`;
}
