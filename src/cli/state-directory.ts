/**
 * Where this program keeps what is the user's own and secret: keys, tickets, what was paired. Small files that appear
 * whole or not at all, and that nobody else can read.
 */
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { HawserError } from "../protocol/errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** No key, certificate or ticket is larger. */
const FILE_BYTES_MAX = 1024 * 1024;

/** `hawser` in the XDG state directory; it need not exist. */
export function stateDirectory(environment: Environment): string {
  // XDG Base Directory Specification: a path that is not absolute is to be ignored.
  const configured = environment["XDG_STATE_HOME"];
  if (configured !== undefined && isAbsolute(configured)) return join(configured, "hawser");
  return join(environment["HOME"] || homedir(), ".local", "state", "hawser");
}

/** Makes it, and its parents, where it is missing. Throws E_CONFIG. */
export function makeSecretDirectory(path: string): void {
  guarded(path, "can't be made", () => {
    if (mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined) chmodSync(path, 0o700);
  });
}

/** The text of a small file; undefined where there is none. Throws E_CONFIG. */
export function readSmallFile(path: string): string | undefined {
  return guarded(path, "can't be read", () => {
    try {
      const bytes = readFileSync(path);
      if (bytes.length > FILE_BYTES_MAX) throw new Error(`it is ${bytes.length} bytes long`);
      return bytes.toString("utf8");
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw error;
    }
  });
}

/** Writes a file of mode 0600, in place of what is there. Throws E_CONFIG. */
export function writeSecretFile(path: string, text: string): void {
  withCopy(path, text, (copy) => renameSync(copy, path));
}

/** The same where there is none yet: returns what is there, this text or the one that another program was first with. */
export function writeSecretFileOnce(path: string, text: string): string {
  withCopy(path, text, (copy) => {
    try {
      linkSync(copy, path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") return;
      // Without hard links the last one wins, and both read what it wrote.
      renameSync(copy, path);
    }
  });
  return readSmallFile(path) ?? text;
}

function withCopy(path: string, text: string, place: (copy: string) => void): void {
  guarded(path, "can't be written", () => {
    const copy = `${path}.${randomBytes(6).toString("hex")}`;
    try {
      const fd = openSync(copy, "wx", 0o600);
      try {
        writeSync(fd, text);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      place(copy);
    } finally {
      rmSync(copy, { force: true });
    }
  });
}

function guarded<T>(path: string, what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new HawserError("E_CONFIG", `'${path}' ${what}: ${(cause as Error).message}`, { cause });
  }
}
