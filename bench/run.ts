/** `npm run bench`: hawser against what else is on the machine. README.md says what each row means. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseSize, parseWhole, SIZE_EXPECTED } from "../src/cli/units.ts";
import { describeMachine, machineText } from "./lib/machine.ts";
import { compress } from "./rows/compress.ts";
import { disk, durability, encrypted, tmpfs } from "./rows/files.ts";
import { loopback } from "./rows/loopback.ts";
import { memory } from "./rows/memory.ts";
import { resume } from "./rows/resume.ts";
import type { Context, Row, RowResult } from "./rows/row.ts";
import { clients, sizes, streams } from "./rows/scale.ts";
import { small, small100k } from "./rows/small.ts";
import { startUp } from "./rows/start.ts";
import { wan50, wan100, wan200 } from "./rows/wan.ts";

const ROWS: Record<string, Row> = {
  loopback,
  tmpfs,
  encrypted,
  disk,
  durability,
  memory,
  resume,
  small,
  small100k,
  compress,
  start: startUp,
  streams,
  sizes,
  clients,
  wan50,
  wan100,
  wan200,
};

const USAGE = `Usage: npm run bench -- [options]

  --only ROW[,ROW]  of ${Object.keys(ROWS).join(", ")} (default: all)
  --rounds N        counted rounds of each row (default 5)
  --size SIZE       of the file that is sent (default 1GiB)
  --streams N       connections that carry data (default 4)
  --seconds N       how long each program runs in the loopback row (default 5)
  --json FILE       write every sample, and what the machine is, to FILE
`;

const MIB = 1024 * 1024;

interface Options extends Omit<Context, "say"> {
  readonly only: readonly string[];
  readonly json: string | undefined;
}

/** Throws where it can't be understood. */
function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: Object.keys(ROWS).join(",") },
      rounds: { type: "string", default: "5" },
      size: { type: "string", default: "1GiB" },
      streams: { type: "string", default: "4" },
      seconds: { type: "string", default: "5" },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const only = values.only.split(",");
  for (const name of only) if (!Object.hasOwn(ROWS, name)) throw new Error(`there is no row '${name}'`);
  const bytes = parseSize(values.size);
  if (bytes === undefined || bytes < MIB) throw new Error(`--size needs ${SIZE_EXPECTED}, and 1MiB at least`);
  const count = (flag: "rounds" | "streams" | "seconds", most: number) => {
    const value = parseWhole(values[flag]);
    if (value === undefined || value < 1 || value > most) throw new Error(`--${flag} needs a number from 1 to ${most}`);
    return value;
  };
  return {
    only,
    bytes,
    rounds: count("rounds", 1000),
    streams: count("streams", 64),
    seconds: count("seconds", 3600),
    json: values.json,
  };
}

function rowText({ title, text, goals, missing }: RowResult): string {
  const notes = [
    ...goals.map((goal) => `- ${goal.met ? "yes" : "NO"}: ${goal.text}`),
    ...missing.map((why) => `- without ${why}`),
  ];
  return `\n### ${title}\n\n${text}${notes.length > 0 ? `\n${notes.join("\n")}\n` : ""}`;
}

async function main({ only, json, ...sizes }: Options): Promise<void> {
  const machine = describeMachine();
  process.stdout.write(`${machineText(machine)}\n`);
  const rows: Record<string, RowResult> = {};
  for (const name of only) {
    const say = (text: string) => void process.stderr.write(`bench: ${name}: ${text}\n`);
    const result = await (ROWS[name] as Row)({ ...sizes, say });
    rows[name] = result;
    process.stdout.write(rowText(result));
  }
  if (json === undefined) return;
  // The table is there for people.
  const record = Object.entries(rows).map(([name, { text: _, ...row }]) => [name, row]);
  writeFileSync(json, `${JSON.stringify({ machine, options: sizes, rows: Object.fromEntries(record) }, null, 2)}\n`);
}

let options: Options | undefined;
try {
  options = parseOptions();
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n\n${USAGE}`);
  process.exit(2);
}
if (options === undefined) process.stdout.write(USAGE);
else {
  await main(options).catch((error: Error) => {
    process.stderr.write(`bench: ${error.message}\n`);
    // At once: the servers of the row that failed must not keep this process, and 'exit' ends them.
    process.exit(1);
  });
}
