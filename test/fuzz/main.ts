/**
 * `npm run fuzz`: what no honest program sends, for as long as one likes. Not part of the tests, which sit for seconds only
 * (fuzz.test.ts). What a case does follows from the seed and its number, so that one that found something can be run again.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { parseWhole } from "../../src/cli/units.ts";
import { CAMPAIGNS, type CampaignName, type Count, type Finding, type Sitting } from "./campaign.ts";

const USAGE = `Usage: npm run fuzz -- [options]

  --minutes M    how long, all campaigns together (1)
  --seed S       of all that is drawn (a random one, which is shown)
  --only C       frames, sessions, live or tls alone; or one case of it, such as frames:123
  --count N      frames of each campaign at most (no limit)
`;

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly count: number;
  readonly campaigns: readonly CampaignName[];
  readonly number: number | undefined;
}

/** Throws where it can't be understood. */
function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string" },
      only: { type: "string" },
      count: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const minutes = Number(values.minutes);
  if (!(minutes > 0 && minutes <= 100_000)) throw new Error("--minutes needs a number above 0");
  const seed = values.seed === undefined ? randomInt(2 ** 32) : parseWhole(values.seed);
  if (seed === undefined || seed >= 2 ** 32) throw new Error("--seed needs a number from 0 to 4294967295");
  const count = values.count === undefined ? Number.POSITIVE_INFINITY : parseWhole(values.count);
  if (count === undefined || count < 1) throw new Error("--count needs a number of frames");
  const [name, digits] = values.only?.split(":") ?? [];
  const campaigns = CAMPAIGNS.filter((one) => name === undefined || one === name);
  const number = digits === undefined ? undefined : parseWhole(digits);
  if (campaigns.length === 0 || (digits !== undefined && number === undefined)) {
    throw new Error(`there is no case '${values.only}'`);
  }
  return { minutes, seed, count, campaigns, number };
}

const RUNS: Record<CampaignName, () => Promise<(sitting: Sitting) => Promise<Count>>> = {
  frames: async () => (await import("./frames-campaign.ts")).fuzzFrames,
  sessions: async () => (await import("./sessions-campaign.ts")).fuzzSessions,
  live: async () => (await import("./live-campaign.ts")).fuzzLive,
  tls: async () => (await import("./live-campaign.ts")).fuzzTls,
};

function show({ campaign, number, what }: Finding, seed: number): void {
  process.stdout.write(`FAILED ${campaign}:${number}: ${what}\n`);
  process.stdout.write(`  npm run fuzz -- --seed ${seed} --only ${campaign}:${number}\n`);
}

function summary(campaign: CampaignName, seed: number, count: Count, seconds: number): string {
  const { frames, cases, findings } = count;
  const rate = Math.round(frames / seconds).toLocaleString("en");
  const lines = [
    `${campaign}, seed ${seed}: ${frames.toLocaleString("en")} frames in ${cases.toLocaleString("en")} cases, ${rate} a second`,
  ];
  for (const [what, times] of Object.entries(count.more).sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(`  ${times.toLocaleString("en").padStart(14)}  ${what}`);
  }
  if (findings > 0) lines.push(`  ${String(findings).padStart(14)}  FAILED`);
  else if (frames > 0) lines.push(`no failure in ${frames}: a rate below ${(3 / frames).toPrecision(2)}, 95% sure`);
  return `${lines.join("\n")}\n`;
}

async function main({ minutes, seed, count: frames, campaigns, number }: Options): Promise<void> {
  let isClean = true;
  for (const [i, campaign] of campaigns.entries()) {
    const startMs = performance.now();
    const untilMs = startMs + (minutes * 60_000) / campaigns.length;
    const run = await RUNS[campaign]();
    process.stdout.write(`${i > 0 ? "\n" : ""}${campaign}, seed ${seed}\n`);
    const onFinding = (finding: Finding) => show(finding, seed);
    const count = await run({ seed, untilMs, frames, only: number, onFinding });
    process.stdout.write(summary(campaign, seed, count, (performance.now() - startMs) / 1000));
    isClean &&= count.findings === 0;
  }
  process.exit(isClean ? 0 : 1);
}

let options: Options | undefined;
try {
  options = parseOptions();
} catch (thrown) {
  process.stderr.write(`fuzz: ${(thrown as Error).message}\n\n${USAGE}`);
  process.exit(2);
}
if (options === undefined) process.stdout.write(USAGE);
else await main(options);
