/** The interface as scripts rely on it: commands, flags, variables, exit codes. A change shows here first. */
import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { CONFIGURABLE } from "../../src/commands/base.ts";
import { COMMANDS } from "../../src/commands/index.ts";

const SNAPSHOT = new URL("./interface.json", import.meta.url);

interface FlagLike {
  readonly char?: string;
  readonly aliases?: readonly string[];
  readonly type: string;
  readonly helpValue?: string;
  readonly allowNo?: boolean;
  readonly summary?: string;
}

interface CommandLike {
  readonly args: Record<string, { readonly required?: boolean; readonly multiple?: boolean }>;
  readonly flags: Record<string, FlagLike>;
}

function describeFlag(flag: FlagLike): string {
  const { char, aliases = [], type, helpValue, allowNo, summary } = flag;
  const [, notes = ""] = /\(([^()]*)\)$/.exec(summary ?? "") ?? [];
  return [
    char === undefined ? "" : `-${char}`,
    aliases.map((alias) => `--${alias}`).join(" "),
    type === "boolean" ? (allowNo === true ? "on|off" : "on") : helpValue,
    notes,
  ]
    .filter((part) => part !== "")
    .join(", ");
}

function describe(): Record<string, unknown> {
  const commands = Object.entries(COMMANDS) as unknown as [string, CommandLike][];
  return Object.fromEntries(
    commands.map(([name, { args, flags }]) => [
      name,
      {
        operands: Object.entries(args).map(
          ([key, { required, multiple }]) => `${key}${multiple === true ? "..." : ""}${required === true ? "" : "?"}`,
        ),
        flags: Object.fromEntries(Object.entries(flags).map(([flag, about]) => [`--${flag}`, describeFlag(about)])),
      },
    ]),
  );
}

t.test("commands and flags are those that were promised", async (t) => {
  const found = describe();
  if (process.env["UPDATE_INTERFACE"] === "1") writeFileSync(SNAPSHOT, `${JSON.stringify(found, null, 2)}\n`);
  t.same(found, JSON.parse(readFileSync(SNAPSHOT, "utf8")), "UPDATE_INTERFACE=1 accepts a change");
});

t.test("every command that has something to set has a section in the configuration file", async (t) => {
  const settable = Object.entries(describe() as Record<string, { flags: Record<string, string> }>)
    .filter(([, { flags }]) => Object.values(flags).some((about) => about.includes("HAWSER_")))
    .map(([name]) => name);
  t.same([...CONFIGURABLE].sort(), settable.sort());
});

t.test("every command has a summary, a description and an example that runs it", async (t) => {
  for (const [name, command] of Object.entries(COMMANDS)) {
    t.match(command.summary, /^[a-z]/, name);
    t.type(command.description, "string", name);
    t.ok(command.examples.length > 0, name);
    for (const example of command.examples) t.match(example, `<%= config.bin %> ${name}`, name);
  }
});
