/**
 * Where a setting comes from: its flag, else HAWSER_* in the environment, else the user's configuration file, else its
 * default. One place for all commands; reads no file and no environment by itself.
 */
import { UsageError } from "./errors.ts";
import type { ValueKind } from "./values.ts";

export interface Setting<T> {
  /** Long, as it stands after `--`; also its key in the configuration file. */
  readonly flag: string;
  readonly char?: string;
  readonly aliases?: readonly string[];
  readonly about: string;
  /** How help shows the value: `SIZE`. Without it the flag is a switch. */
  readonly placeholder?: string;
  readonly kind: ValueKind<T>;
  readonly fallback: T;
  /** How help shows the default. */
  readonly fallbackText?: string;
  /** Belongs to one run only: neither the environment nor the file sets it. */
  readonly perRun?: boolean;
  /** A flag that may be given more than once: its kind reads them with commas between. */
  readonly repeatable?: boolean;
  /** A switch that --no-FLAG turns off again. */
  readonly negatable?: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: a table of settings of different types
export type SettingTable = Readonly<Record<string, Setting<any>>>;

export type ValuesOf<S extends SettingTable> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/** What a setting's value came from, in the words of an error. */
export interface Origin {
  readonly from: "flag" | "environment" | "file" | "default";
  /** `--streams`, `HAWSER_STREAMS`, `/home/ann/.config/hawser/config.toml: [send] streams`. */
  readonly place: string;
}

export interface Resolved<S extends SettingTable> {
  readonly values: ValuesOf<S>;
  readonly origins: { readonly [K in keyof S]: Origin };
}

/** The part of the configuration file that concerns one command. */
export interface ConfigSection {
  readonly path: string;
  readonly name: string;
  readonly entries: Readonly<Record<string, unknown>>;
}

export interface Sources {
  /** What the command line parser found, by flag: text, or true and false. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly section: ConfigSection | undefined;
}

export const variableOf = (flag: string) => `HAWSER_${flag.replaceAll("-", "_").toUpperCase()}`;

/** The default of a setting that has none: it may be left out. */
export function optional<T>(kind: ValueKind<T>): ValueKind<T | undefined> {
  return { ...kind, show: (value) => (value === undefined ? "not set" : kind.show(value)) };
}

/** Throws UsageError: E_USAGE for a flag, E_CONFIG for the environment and the file. */
export function resolveSettings<S extends SettingTable>(table: S, sources: Sources): Resolved<S> {
  const { section } = sources;
  if (section !== undefined) refuseUnknownKeys(table, section);
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  for (const [key, setting] of Object.entries(table)) {
    const found = find(setting, sources);
    values[key] = found === undefined ? setting.fallback : read(setting, found.origin, found.text);
    origins[key] = found?.origin ?? { from: "default", place: "default" };
  }
  return { values: values as ValuesOf<S>, origins: origins as Resolved<S>["origins"] };
}

function find(setting: Setting<unknown>, { flags, environment, section }: Sources) {
  const given = flags[setting.flag];
  if (given !== undefined)
    return { text: String(given), origin: { from: "flag", place: `--${setting.flag}` } as Origin };
  if (setting.perRun === true) return undefined;
  const variable = variableOf(setting.flag);
  const exported = environment[variable];
  // An empty variable is how a shell unsets one for a single command.
  if (exported !== undefined && exported !== "") {
    return { text: exported, origin: { from: "environment", place: variable } as Origin };
  }
  const entry = section?.entries[setting.flag];
  if (section === undefined || entry === undefined) return undefined;
  const place = `${section.path}: [${section.name}] ${setting.flag}`;
  if (typeof entry !== "string" && typeof entry !== "number" && typeof entry !== "boolean") {
    throw unreadable(setting, { from: "file", place }, describe(entry));
  }
  return { text: String(entry), origin: { from: "file", place } as Origin };
}

function read<T>(setting: Setting<T>, origin: Origin, text: string): T {
  const result = setting.kind.read(text);
  if (result !== undefined && "value" in result) return result.value;
  throw unreadable(setting, origin, `'${text}'`, result?.refused);
}

function unreadable(setting: Setting<unknown>, origin: Origin, shown: string, refused?: string): UsageError {
  const why = refused === undefined ? "" : `: ${refused}`;
  const message = `${origin.place} ${shown} can't be used${why}`;
  const hint = `Expected: ${setting.kind.expected}.`;
  return new UsageError(message, hint, origin.from === "flag" ? "E_USAGE" : "E_CONFIG");
}

function describe(entry: unknown): string {
  if (Array.isArray(entry)) return "(a list)";
  return entry instanceof Date ? "(a date)" : "(a table)";
}

function refuseUnknownKeys(table: SettingTable, { path, name, entries }: ConfigSection): void {
  const known = Object.values(table)
    .filter((setting) => setting.perRun !== true)
    .map((setting) => setting.flag);
  const unknown = Object.keys(entries).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new UsageError(
    `${path}: [${name}] has no setting '${unknown}'`,
    `Expected one of: ${known.join(", ")}.`,
    "E_CONFIG",
  );
}

/** One line for each setting that is not at its default: what was understood, and where it came from. */
export function describeSettings<S extends SettingTable>(table: S, { values, origins }: Resolved<S>): string[] {
  return Object.entries(table)
    .filter(([key]) => origins[key]?.from !== "default")
    .map(([key, setting]) => `${setting.flag} is ${setting.kind.show(values[key])}, from ${origins[key]?.place}`);
}
