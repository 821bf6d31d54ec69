/**
 * Long paths: hawser with the number of streams left to it, and with fixed ones, over wide-area links that `wanem` makes
 * of two network namespaces. A path limits the rate and not the machine, so what counts is the part of the link.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type HawserServer, runHawser, startHawser } from "../lib/hawser.ts";
import { run, runAgainst, Server } from "../lib/processes.ts";
import { type Line, linesOf, range, ratioOf } from "../lib/report.ts";
import type { Contender, Measured } from "../lib/rounds.ts";
import { makeScratch, removeScratch, writeRandomFile } from "../lib/scratch.ts";
import { medianOf, summarise } from "../lib/stats.ts";
import { table } from "../lib/table.ts";
import { findTool, installHint } from "../lib/tools.ts";
import { buildWanem, SERVER_HOST, through, Wan, type WanPath, whyNoWan } from "../lib/wan.ts";
import type { Context, Goal, RowResult } from "./row.ts";

const TMPFS = "/dev/shm";
const MIB = 1024 * 1024;
const FIXED = [4, 8, 16, 32, 64];
const OF_BEST_MIN = 0.9;
const IPERF3_SECONDS = 10;
const IPERF3_PORT = 5201;
const RSYNC_PORT = 8730;
/** Its last word: the time, and the rate that was received. (Its JSON has a page for each connection.) */
const IPERF3_RECEIVED = /^\[SUM\]\s+[\d.]+-([\d.]+)\s+sec.*?([\d.]+) Kbits\/sec\s+receiver/m;
/** One connection: at 10 to 20 Mbit/s this takes some ten seconds. */
const RSYNC_BYTES = 16 * MIB;

interface Case extends WanPath {
  readonly name: string;
  /** Some 17 to 20 seconds at the link's rate: slow start and the search for the number are a small part of it. */
  readonly bytes: number;
  /** Where so many streams and more are expected to fill the link; fewer get a file that takes them about as long. */
  readonly fills: number;
  readonly partMin: number;
}

const LOSSY: Case = {
  name: "500 Mbit/s, 50 ms, 0.05% lost",
  ...{ mbit: 500, roundTripMs: 50, lossPercent: 0.05 },
  ...{ bytes: 1024 * MIB, fills: 32, partMin: 0.85 },
};
const LOSSIER: Case = {
  name: "500 Mbit/s, 100 ms, 0.1% lost",
  ...{ mbit: 500, roundTripMs: 100, lossPercent: 0.1 },
  ...{ bytes: 1024 * MIB, fills: 64, partMin: 0.7 },
};
const CLEAN: Case = {
  name: "200 Mbit/s, 200 ms, clean",
  ...{ mbit: 200, roundTripMs: 200, lossPercent: 0 },
  ...{ bytes: 1024 * MIB, fills: 1, partMin: 0.9 },
};

export const wan50 = (context: Context) => wan(LOSSY, context);
export const wan100 = (context: Context) => wan(LOSSIER, context);
export const wan200 = (context: Context) => wan(CLEAN, context);

async function wan(one: Case, context: Context): Promise<RowResult> {
  const title = `Long path of ${one.name}: the part of the link that is used`;
  const lacks = existsSync(TMPFS) ? whyNoWan() : TMPFS;
  if (lacks !== undefined) return { title, text: "", lines: [], goals: [], missing: [lacks] };
  const missing = ["iperf3", "rsync"].filter((tool) => findTool(tool) === undefined);
  const scratch = makeScratch(TMPFS);
  try {
    const lines = linesOf(await onPath(one, await buildWanem(scratch), scratch, context), "rate", "auto");
    const hints = missing.map((tool) => `${tool}: ${installHint(tool)}`);
    return { title, text: partTable(one, lines), lines, goals: goalsOf(one, lines), missing: hints };
  } finally {
    removeScratch(scratch);
  }
}

/** Everybody takes turns; none is warmed up, since it would take minutes and the first round trip is part of the path. */
async function onPath(one: Case, wanem: string, scratch: string, context: Context): Promise<Measured[]> {
  const served = join(scratch, "served");
  const stops: (() => Promise<void>)[] = [];
  mkdirSync(served);
  try {
    const path = await Wan.start(wanem, one);
    stops.unshift(() => path.stop());
    const server = await startHawser(served, scratch, [], { via: path.atServer, host: SERVER_HOST });
    stops.unshift(() => server.server.stop());
    const counts = ["auto", ...FIXED.map(String)];
    const contenders = counts.map((streams) => hawser(streams, server, { path, served, scratch }, one));
    if (findTool("iperf3") !== undefined) contenders.push(...[8, 32].map((count) => iperf3(count, path)));
    if (findTool("rsync") !== undefined) contenders.push(await rsync({ path, served, scratch }, stops));
    const measured = contenders.map(({ name }) => ({ name, samples: [] as Measured["samples"][number][] }));
    for (let round = 0; round < context.rounds; round++) {
      for (let turn = 0; turn < contenders.length; turn++) {
        const at = (turn + round) % contenders.length;
        const contender = contenders[at] as Contender;
        context.say(`${one.name}: ${contender.name}, round ${round + 1} of ${context.rounds}`);
        measured[at]?.samples.push(await contender.run());
      }
    }
    return measured;
  } finally {
    for (const stop of stops) await stop();
  }
}

interface Places {
  readonly path: Wan;
  readonly served: string;
  readonly scratch: string;
}

function hawser(streams: string, { server, to }: HawserServer, at: Places, { bytes: most, fills }: Case): Contender {
  const bytes = streams === "auto" ? most : most * Math.min(1, Number(streams) / fills);
  const name = `${bytes / MIB}MiB.bin`;
  const source = join(at.scratch, name);
  if (!existsSync(source)) writeRandomFile(source, bytes);
  const args = ["send", source, "--to", to, "--streams", streams, "--quiet"];
  return {
    name: streams,
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () =>
        runHawser(args, at.scratch, {}, { via: at.path.atClient }),
      );
      rmSync(join(at.served, name));
      return { seconds, bytes, cpu };
    },
  };
}

/** Its own clock, and what was received. */
function iperf3(count: number, path: Wan): Contender {
  const port = ["-p", String(IPERF3_PORT)];
  return {
    name: `iperf3 -P ${count}`,
    run: async () => {
      const [command, args] = through(path.atServer, "iperf3", "-s", "--forceflush", ...port);
      const server = await Server.start(command, args, ({ stdout }) => stdout.includes("listening"));
      try {
        const what = ["-c", SERVER_HOST, ...port, "-P", String(count), "-t", String(IPERF3_SECONDS), "-f", "k"];
        const client = through(path.atClient, "iperf3", ...what);
        const { stdout, cpu } = await runAgainst(server, () => run(...client));
        const [, until = "", kbits = ""] = IPERF3_RECEIVED.exec(stdout) ?? [];
        const seconds = Number(until);
        return { bytes: (Number(kbits) * 1000 * seconds) / 8, seconds, cpu };
      } finally {
        await server.stop();
      }
    },
  };
}

async function rsync(at: Places, stops: (() => Promise<void>)[]): Promise<Contender> {
  const source = join(at.scratch, "small.bin");
  const config = join(at.scratch, "rsyncd.conf");
  rmSync(source, { force: true });
  writeRandomFile(source, RSYNC_BYTES);
  writeFileSync(config, `use chroot = no\nuid = root\n[bench]\npath = ${at.served}\nread only = no\n`);
  const options = ["--daemon", "--no-detach", `--config=${config}`, `--port=${RSYNC_PORT}`];
  const [command, args] = through(at.path.atServer, "rsync", ...options);
  const server = await Server.start(command, args, () => knocks(at.path));
  stops.unshift(() => server.stop());
  const to = `rsync://${SERVER_HOST}:${RSYNC_PORT}/bench/`;
  const client = through(at.path.atClient, "rsync", "--whole-file", source, to);
  return {
    name: "rsync daemon",
    run: async () => {
      const { seconds, cpu } = await runAgainst(server, () => run(...client));
      rmSync(join(at.served, "small.bin"));
      return { seconds, bytes: RSYNC_BYTES, cpu };
    },
  };
}

/** Whether the daemon answers, from where its clients are. */
async function knocks(path: Wan): Promise<boolean> {
  return run(...through(path.atClient, "rsync", `rsync://${SERVER_HOST}:${RSYNC_PORT}/`)).then(
    () => true,
    () => false,
  );
}

const partOf = ({ mbit }: WanPath, { bytes, seconds }: Measured["samples"][number]) =>
  (bytes * 8) / 1e6 / seconds / mbit;

function partTable(path: WanPath, lines: readonly Line[]): string {
  const columns = ["streams, or program", "part of the link, median", "min–max", "÷ auto, median", "min–max"];
  const rows = lines.map(({ name, samples, ratio }) => {
    const part = summarise(samples.map((sample) => partOf(path, sample)));
    const than = ratio === undefined ? ["1", ""] : [ratio.median.toFixed(2), range(ratio)];
    return [name, part.median.toFixed(2), range(part), ...than];
  });
  return table(
    columns.map((it, i) => (i === 0 ? { title: it } : { title: it, align: "right" as const })),
    rows,
  );
}

function goalsOf(path: Case, lines: readonly Line[]): Goal[] {
  const auto = lines.find(({ name }) => name === "auto");
  if (auto === undefined) return [];
  const part = medianOf(auto.samples.map((sample) => partOf(path, sample))) ?? 0;
  const text = `auto uses at least ${path.partMin} of ${path.name}: ${part.toFixed(2)}`;
  const ofBest = Math.min(...FIXED.map((count) => ratioOf(lines, "auto", String(count))?.median ?? 1));
  return [
    { text, met: part >= path.partMin },
    { text: `and ${OF_BEST_MIN} of the best fixed count: ${ofBest.toFixed(2)}`, met: ofBest >= OF_BEST_MIN },
  ];
}
