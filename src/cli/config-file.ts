/** The user's configuration file: `hawser/config.toml` in the XDG configuration directory. Reads that one file. */
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { UsageError } from "./errors.ts";
import type { ConfigSection } from "./settings.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Settings are a few lines; anything larger is not a configuration file. */
const FILE_BYTES_MAX = 1024 * 1024;

/** Where the file would be. */
export function configPath(environment: Environment): string {
  // XDG Base Directory Specification: a path that is not absolute is to be ignored.
  const configured = environment["XDG_CONFIG_HOME"];
  if (configured !== undefined && isAbsolute(configured)) return join(configured, "hawser", "config.toml");
  const home = environment["HOME"] || homedir();
  return join(home, ".config", "hawser", "config.toml");
}

/** The section for `command`; undefined without a file or without that section. Throws E_CONFIG. */
export async function readConfigSection(
  command: string,
  commands: readonly string[],
  environment: Environment,
): Promise<ConfigSection | undefined> {
  const path = configPath(environment);
  const text = readText(path);
  if (text === undefined) return undefined;
  // The parser is loaded only where there is a file to parse.
  const { parse } = await import("smol-toml");
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (cause) {
    const [first = ""] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    const { line, column } = cause as { line?: number; column?: number };
    const where = line === undefined ? path : `${path}:${line}:${column}`;
    throw new UsageError(
      `${where} is not TOML: ${first}`,
      "Expected lines such as [send] and streams = 8.",
      "E_CONFIG",
    );
  }
  for (const [name, section] of Object.entries(document)) {
    const expected = `Expected sections named after commands: ${commands.map((known) => `[${known}]`).join(", ")}.`;
    if (!commands.includes(name)) throw new UsageError(`${path}: '${name}' is not known`, expected, "E_CONFIG");
    if (typeof section !== "object" || section === null || Array.isArray(section) || section instanceof Date) {
      throw new UsageError(`${path}: '${name}' is not a section`, expected, "E_CONFIG");
    }
  }
  const entries = document[command];
  return entries === undefined ? undefined : { path, name: command, entries: entries as Record<string, unknown> };
}

function readText(path: string): string | undefined {
  try {
    const stats = statSync(path);
    if (!stats.isFile() || stats.size > FILE_BYTES_MAX) {
      const what = stats.isFile() ? `${stats.size} bytes long` : "no regular file";
      throw new UsageError(`${path} is ${what}: not a configuration file`, "Remove it.", "E_CONFIG");
    }
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    // A missing file, or a parent that is a file: there is no configuration.
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new UsageError(`${path} can't be read: ${message}`, "Make it readable, or remove it.", "E_CONFIG");
  }
}
