/** One file, from file to file: whole client processes, with the servers running already. */
import { existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileSystemOf, freeBytes } from "../lib/machine.ts";
import { run } from "../lib/processes.ts";
import { linesOf, range, ratioOf, reportTable } from "../lib/report.ts";
import { type Contender, takeTurns } from "../lib/rounds.ts";
import { makeScratch, removeScratch, touchMemory, warm, writeRandomFile } from "../lib/scratch.ts";
import { findTool } from "../lib/tools.ts";
import { contestants } from "./contestants.ts";
import type { Context, Goal, RowResult } from "./row.ts";

const MIB = 1024 * 1024;
const TMPFS = "/dev/shm";
const TIMES_CP_MAX = 2.2;
/** The source, a destination for each program, and what is touched before a run. */
const ROOM = 8.5;
/** Times the file: socket buffers and what the file system notes want memory too. */
const TOUCHED = 1.25;

export function tmpfs(context: Context): Promise<RowResult> {
  return files(context, TMPFS, false);
}

export function disk(context: Context): Promise<RowResult> {
  return files(context, tmpdir(), true);
}

async function files(context: Context, parent: string, synced: boolean): Promise<RowResult> {
  const { bytes } = context;
  const size = `${bytes / MIB} MiB`;
  if (!existsSync(parent) || freeBytes(parent) < bytes * ROOM) {
    const title = `${size} from file to file in ${parent}`;
    return { title, text: "", lines: [], goals: [], missing: [`a place with room for ${ROOM} such files`] };
  }
  const scratch = makeScratch(parent);
  const stops: (() => Promise<void>)[] = [];
  try {
    const source = join(scratch, "source.bin");
    context.say("writing the source");
    writeRandomFile(source, bytes);
    const { contenders, missing } = await contestants({ ...context, scratch, source, synced }, stops);
    const prepared = contenders.map(({ target, name, ...rest }) => ({
      ...rest,
      name,
      prepare: async () => {
        rmSync(target, { force: true });
        // Nobody pays for what another left to be written.
        if (synced) await run("sync", ["-f", scratch]);
        warm(source);
        touchMemory(scratch, bytes * TOUCHED);
      },
      verify: async () => {
        await run(findTool("cmp") ?? "cmp", [source, target]).catch((error: Error) => {
          throw new Error(`${name} delivered something else: ${error.message}`);
        });
      },
    })) satisfies Contender[];
    const lines = linesOf(await takeTurns(prepared, context.rounds, context.say), "time", "cp");
    const title = `${size} from file to file on ${fileSystemOf(scratch)}${synced ? " (disk)" : ""}`;
    const goals: Goal[] = [];
    const compare = (other: string, most: number, text: string) => {
      const ratio = ratioOf(lines, "hawser send", other);
      if (ratio === undefined) return;
      goals.push({ text: `${text}: ${ratio.median.toFixed(2)} (${range(ratio)})`, met: ratio.median <= most });
    };
    if (!synced) compare("cp", TIMES_CP_MAX, `hawser takes at most ${TIMES_CP_MAX} times as long as cp`);
    if (!synced) compare("rsync daemon", 1, "hawser's time is less than the rsync daemon's");
    return { title, text: reportTable(lines, "cp"), lines, goals, missing };
  } finally {
    for (const stop of stops) await stop();
    removeScratch(scratch);
  }
}
