/**
 * `npm run torture`: campaigns of kills, harmful networks and power cuts, as long as one likes. Not part of the tests,
 * which are quick; what a case draws follows from the seed and its number, so that one that failed can be run again.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parseWhole } from "../../src/cli/units.ts";
import { CAMPAIGNS, type Campaign, type CaseReport, type Setting } from "./case.ts";
import { whyNoCuts } from "./cuts.ts";
import { Worker } from "./pool.ts";

const USAGE = `Usage: npm run torture -- [options]

  --kills N          kill client or server N times, at random times, frames and system calls (0)
  --schedules N      send through N networks that do harm (0)
  --cuts N           cut the server's power N times; needs root and loop devices (0)
  --seed S           of all that is drawn (1)
  --jobs J           cases at once (2)
  --only CASE        this case alone, such as kills:123
  --keep DIR         where cases that failed are kept (${join(tmpdir(), "hawser-torture")})
  --program P        dist: what the build makes of src; src: the sources as they are (dist)
`;

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What is counted towards the number that was asked for. */
const COUNTED: Record<Campaign, string> = { kills: "kills", schedules: "schedules", cuts: "cuts" };

interface Options {
  readonly wanted: Readonly<Record<Campaign, number>>;
  readonly only: { readonly campaign: Campaign; readonly number: number } | undefined;
  readonly seed: number;
  readonly jobs: number;
  readonly keep: string;
  readonly program: "dist" | "src";
}

/** Throws where it can't be understood. */
function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "0" },
      schedules: { type: "string", default: "0" },
      cuts: { type: "string", default: "0" },
      seed: { type: "string", default: "1" },
      jobs: { type: "string", default: "2" },
      only: { type: "string" },
      keep: { type: "string", default: join(tmpdir(), "hawser-torture") },
      program: { type: "string", default: "dist" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const count = (flag: "kills" | "schedules" | "cuts" | "seed" | "jobs", least: number, most: number) => {
    const value = parseWhole(values[flag]);
    if (value === undefined || value < least || value > most) {
      throw new Error(`--${flag} needs a number from ${least} to ${most}`);
    }
    return value;
  };
  const wanted = { kills: count("kills", 0, 1e9), schedules: count("schedules", 0, 1e9), cuts: count("cuts", 0, 1e9) };
  if (values.program !== "dist" && values.program !== "src") throw new Error("--program needs dist or src");
  return {
    wanted,
    only: values.only === undefined ? undefined : parseCase(values.only),
    seed: count("seed", 0, 2 ** 32 - 1),
    jobs: count("jobs", 1, 64),
    keep: values.keep,
    program: values.program,
  };
}

function parseCase(text: string): { campaign: Campaign; number: number } {
  const [name, digits = ""] = text.split(":");
  const campaign = CAMPAIGNS.find((one) => one === name);
  const number = parseWhole(digits);
  if (campaign === undefined || number === undefined) throw new Error(`there is no case '${text}'`);
  return { campaign, number };
}

const temporaries = new Set<string>();

function makeTemporary(parent: string): string {
  const path = mkdtempSync(join(parent, "hawser-torture-"));
  temporaries.add(path);
  return path;
}

function removeTemporaries(): void {
  for (const path of temporaries) {
    // A case that was ended from outside may have left its disk mounted.
    for (const name of readdirSync(path)) unmount(join(path, name, "mount"));
    rmSync(path, { recursive: true, force: true });
  }
}

function unmount(path: string): void {
  if (!existsSync(path)) return;
  try {
    execFileSync("umount", ["--lazy", path], { stdio: "ignore" });
  } catch {
    // It was not mounted.
  }
}

/** The program as it is now, so that a campaign of hours tests one. */
function makeProgram(from: Options["program"]): Setting["program"] {
  if (from === "src") return { script: join(ROOT, "bin", "dev.ts"), api: join(ROOT, "src", "index.ts") };
  execFileSync(process.execPath, [join(ROOT, "scripts", "build.js"), "--if-changed"], { stdio: ["ignore", 2, 2] });
  const home = makeTemporary(tmpdir());
  for (const name of ["bin", "dist", "package.json"]) cpSync(join(ROOT, name), join(home, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(home, "node_modules"));
  return { script: join(home, "bin", "run.js"), api: join(home, "dist", "index.js") };
}

function hasStrace(): boolean {
  try {
    execFileSync("strace", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Adds up what the cases of a campaign say, and shows it. */
class Summary {
  readonly counts: Record<string, number> = {};
  readonly failures: Record<string, number> = { "wrong file": 0, lost: 0, "left-over part": 0, hung: 0, other: 0 };
  #failedCases = 0;

  add({ counts, failures }: CaseReport): void {
    for (const [what, times] of Object.entries(counts)) this.counts[what] = (this.counts[what] ?? 0) + times;
    for (const { kind } of failures) this.failures[kind] = (this.failures[kind] ?? 0) + 1;
    if (failures.length > 0) this.#failedCases++;
  }

  get isClean(): boolean {
    return this.#failedCases === 0;
  }

  text(campaign: Campaign, seed: number, cases: number): string {
    const line = (what: string, times: number) => `  ${String(times).padStart(7)}  ${what}\n`;
    const counted = Object.entries(this.counts).sort(([a], [b]) => (a < b ? -1 : 1));
    const failed = Object.entries(this.failures);
    const n = this.counts[COUNTED[campaign]] ?? 0;
    const bound = this.isClean && n > 0 ? `no failure in ${n}: a rate below ${(3 / n).toPrecision(2)}, 95% sure\n` : "";
    return `${campaign}, seed ${seed}, ${cases} cases\n${counted.map(([what, times]) => line(what, times)).join("")}failures\n${failed.map(([what, times]) => line(what, times)).join("")}${bound}`;
  }
}

/** Keeps the story of a case that failed, and what it left; says how to have it again. */
function keep(options: Options, setting: Setting, campaign: Campaign, number: number, report: CaseReport): void {
  const name = `${campaign}-${number}`;
  const kept = join(options.keep, `${options.seed}-${name}`);
  mkdirSync(kept, { recursive: true });
  writeFileSync(join(kept, "story.txt"), `${report.story.join("\n")}\n`);
  for (const directory of Object.values(setting.scratch)) {
    for (const what of ["to", "trace", "copy", "image"]) {
      const path = join(directory, name, what);
      if (existsSync(path)) cpSync(path, join(kept, what), { recursive: true, preserveTimestamps: true });
    }
  }
  const again = `npm run torture -- --seed ${options.seed} --only ${campaign}:${number}`;
  for (const { kind, message } of report.failures) {
    process.stdout.write(`FAILED ${campaign}:${number}: ${kind}: ${message.trim()}\n`);
  }
  process.stdout.write(`  ${again}\n  kept in ${kept}\n`);
}

/** Told to stop: no case is begun any more, and what was counted is shown. */
let isStopping = false;

async function runCampaign(
  options: Options,
  setting: Setting,
  campaign: Campaign,
  workers: Worker[],
): Promise<boolean> {
  const { only, wanted, seed } = options;
  const summary = new Summary();
  let next = only?.number ?? 0;
  let cases = 0;
  const isEnough = () => {
    if (isStopping) return true;
    return only === undefined ? (summary.counts[COUNTED[campaign]] ?? 0) >= wanted[campaign] : cases > 0;
  };
  const work = async (worker: Worker) => {
    while (!isEnough()) {
      const number = next++;
      cases++;
      const report = await worker.run({ setting, campaign, number });
      summary.add(report);
      if (report.failures.length > 0) keep(options, setting, campaign, number, report);
      for (const directory of Object.values(setting.scratch)) {
        unmount(join(directory, `${campaign}-${number}`, "mount"));
        rmSync(join(directory, `${campaign}-${number}`), { recursive: true, force: true });
      }
    }
  };
  await Promise.all(workers.map(work));
  process.stdout.write(summary.text(campaign, seed, cases));
  return summary.isClean;
}

async function main(options: Options): Promise<void> {
  const workers = Array.from({ length: options.jobs }, () => new Worker());
  process.once("exit", () => {
    for (const worker of workers) worker.kill();
    removeTemporaries();
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1);
      isStopping = true;
      process.stderr.write("torture: the cases under way are the last; a second signal ends them\n");
    });
  }
  const memory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const setting: Setting = {
    seed: options.seed,
    scratch: { memory: makeTemporary(memory), disk: makeTemporary(tmpdir()) },
    program: makeProgram(options.program),
    traces: hasStrace(),
  };
  if (!setting.traces) process.stdout.write("without strace: nobody is killed at a system call\n");
  const campaigns = CAMPAIGNS.filter((one) => (options.only?.campaign ?? one) === one);
  let isClean = true;
  for (const campaign of campaigns) {
    if (options.only === undefined && options.wanted[campaign] === 0) continue;
    const why = campaign === "cuts" ? whyNoCuts() : undefined;
    if (why !== undefined) process.stdout.write(`no power cuts: ${why}\n`);
    else isClean = (await runCampaign(options, setting, campaign, workers)) && isClean;
  }
  process.exit(isClean ? 0 : 1);
}

let options: Options | undefined;
try {
  options = parseOptions();
} catch (thrown) {
  process.stderr.write(`torture: ${(thrown as Error).message}\n\n${USAGE}`);
  process.exit(2);
}
if (options === undefined) process.stdout.write(USAGE);
else await main(options);
