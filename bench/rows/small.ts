/** Many small files in a tree, from memory to memory: whole client processes, with the servers running already. */
import { randomFillSync } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../lib/processes.ts";
import { linesOf, range, ratioOf, reportTable } from "../lib/report.ts";
import { takeTurns } from "../lib/rounds.ts";
import { makeScratch, removeScratch } from "../lib/scratch.ts";
import { treeContestants } from "./contestants.ts";
import type { Context, RowResult } from "./row.ts";

const TMPFS = "/dev/shm";
const FILES_A_DIRECTORY = 100;
const BYTES_MIN = 200;
const BYTES_MAX = 20_000;
const TIMES_TAR_MAX = 1.5;

export const small = (context: Context) => trees(context, 10_000);
export const small100k = (context: Context) => trees(context, 100_000);

async function trees(context: Context, files: number): Promise<RowResult> {
  const title = `${files} files of ${BYTES_MIN} to ${BYTES_MAX} bytes in ${files / FILES_A_DIRECTORY} directories in ${TMPFS}`;
  if (!existsSync(TMPFS)) return { title, text: "", lines: [], goals: [], missing: [TMPFS] };
  const scratch = makeScratch(TMPFS);
  const stops: (() => Promise<void>)[] = [];
  try {
    const source = join(scratch, "source");
    context.say(`writing ${files} files`);
    const bytes = writeTree(source, files);
    const tree = { ...context, bytes, scratch, source, synced: false, isTree: true };
    const { contenders, missing } = await treeContestants(tree, stops);
    const prepared = contenders.map(({ target, ...rest }) => ({
      ...rest,
      prepare: () => rmSync(target, { recursive: true, force: true }),
      verify: async () => {
        await run("diff", ["-r", source, target]);
      },
    }));
    const lines = linesOf(await takeTurns(prepared, context.rounds, context.say), "time", "cp -r");
    const ratio = ratioOf(lines, "hawser send", "tar, socat, tar");
    const text = `hawser takes at most ${TIMES_TAR_MAX} times as long as tar, socat, tar`;
    const goals =
      ratio === undefined
        ? []
        : [{ text: `${text}: ${ratio.median.toFixed(2)} (${range(ratio)})`, met: ratio.median <= TIMES_TAR_MAX }];
    return { title, text: reportTable(lines, "cp -r"), lines, goals, missing };
  } finally {
    for (const stop of stops) await stop();
    removeScratch(scratch);
  }
}

/** Sizes are drawn from a generator with a fixed seed: every run has the same tree. Returns how many bytes in all. */
function writeTree(top: string, files: number): number {
  const block = randomFillSync(Buffer.allocUnsafe(BYTES_MAX));
  let total = 0;
  for (let file = 0, x = 1; file < files; file++) {
    const directory = join(top, `d${Math.floor(file / FILES_A_DIRECTORY)}`);
    if (file % FILES_A_DIRECTORY === 0) mkdirSync(directory, { recursive: true });
    // A linear congruential generator (Numerical Recipes, 7.1): sizes need no more.
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    const bytes = BYTES_MIN + (x % (BYTES_MAX - BYTES_MIN));
    writeFileSync(join(directory, `f${file}`), block.subarray(0, bytes));
    total += bytes;
  }
  return total;
}
