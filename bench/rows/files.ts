/** One file, from file to file: whole client processes, with the servers running already. */
import { existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileSystemOf, freeBytes } from "../lib/machine.ts";
import { run } from "../lib/processes.ts";
import { type Line, linesOf, range, ratioOf, reportTable } from "../lib/report.ts";
import { type Contender, type Measured, takeTurns } from "../lib/rounds.ts";
import { makeScratch, removeScratch, touchMemory, warm, writeRandomFile } from "../lib/scratch.ts";
import { findTool } from "../lib/tools.ts";
import {
  contestants,
  durabilities,
  encryptedContestants,
  type FileContender,
  type FileContext,
} from "./contestants.ts";
import type { Context, Goal, RowResult } from "./row.ts";

const MIB = 1024 * 1024;
const TMPFS = "/dev/shm";
const TIMES_CP_MAX = 2.2;
const TIMES_SCP_MIN = 3;
/** The source, a destination for each program, and what is touched before a run. */
const ROOM = 8.5;
/** Times the file: socket buffers and what the file system notes want memory too. */
const TOUCHED = 1.25;

export function tmpfs(context: Context): Promise<RowResult> {
  return files(context, TMPFS, false);
}

/** Encrypted on both ends. */
export function encrypted(context: Context): Promise<RowResult> {
  return inScratch(context, TMPFS, false, async (fileContext, stops) => {
    const measured = await measure(fileContext, await encryptedContestants(fileContext, stops));
    return { ...measured, title: `${measured.title}, encrypted`, baseline: "cp", goals: encryptedGoalsOf };
  });
}

export function disk(context: Context): Promise<RowResult> {
  return files(context, tmpdir(), true);
}

/** What each level of durability costs, on a disk. */
export function durability(context: Context): Promise<RowResult> {
  return inScratch(context, tmpdir(), true, async (fileContext, stops) => {
    const measured = await measure(fileContext, { contenders: await durabilities(fileContext, stops), missing: [] });
    return { ...measured, title: `${measured.title}, by --durability`, baseline: "commit", goals: () => [] };
  });
}

async function files(context: Context, parent: string, synced: boolean): Promise<RowResult> {
  return inScratch(context, parent, synced, async (fileContext, stops) => {
    const measured = await measure(fileContext, await contestants(fileContext, stops));
    return { ...measured, baseline: "cp", goals: (lines) => (synced ? [] : goalsOf(lines)) };
  });
}

interface FilesMeasured {
  readonly title: string;
  readonly measured: readonly Measured[];
  readonly missing: readonly string[];
}

/** Runs `work` with a source in a directory of its own, and makes a row of what it measured. */
async function inScratch(
  context: Context,
  parent: string,
  synced: boolean,
  work: (
    context: FileContext,
    stops: (() => Promise<void>)[],
  ) => Promise<FilesMeasured & { baseline: string; goals: (lines: readonly Line[]) => Goal[] }>,
): Promise<RowResult> {
  const { bytes } = context;
  if (!existsSync(parent) || freeBytes(parent) < bytes * ROOM) {
    const title = `${bytes / MIB} MiB from file to file in ${parent}`;
    return { title, text: "", lines: [], goals: [], missing: [`a place with room for ${ROOM} such files`] };
  }
  const scratch = makeScratch(parent);
  const stops: (() => Promise<void>)[] = [];
  try {
    const source = join(scratch, "source.bin");
    context.say("writing the source");
    writeRandomFile(source, bytes);
    const { title, measured, missing, baseline, goals } = await work({ ...context, scratch, source, synced }, stops);
    const lines = linesOf(measured, "time", baseline);
    return { title, text: reportTable(lines, baseline), lines, goals: goals(lines), missing: [...missing] };
  } finally {
    for (const stop of stops) await stop();
    removeScratch(scratch);
  }
}

async function measure(
  { scratch, source, bytes, synced, rounds, say }: FileContext,
  { contenders, missing }: { readonly contenders: readonly FileContender[]; readonly missing: readonly string[] },
): Promise<FilesMeasured> {
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
  const title = `${bytes / MIB} MiB from file to file on ${fileSystemOf(scratch)}${synced ? " (disk)" : ""}`;
  return { title, measured: await takeTurns(prepared, rounds, say), missing };
}

function encryptedGoalsOf(lines: readonly Line[]): Goal[] {
  const ratio = ratioOf(lines, "scp, aes128-gcm", "hawser send");
  if (ratio === undefined) return [];
  const text = `hawser is at least ${TIMES_SCP_MIN} times as fast as scp with aes128-gcm`;
  return [{ text: `${text}: ${ratio.median.toFixed(2)} (${range(ratio)})`, met: ratio.median >= TIMES_SCP_MIN }];
}

function goalsOf(lines: readonly Line[]): Goal[] {
  const compare = (other: string, most: number, text: string): Goal[] => {
    const ratio = ratioOf(lines, "hawser send", other);
    if (ratio === undefined) return [];
    return [{ text: `${text}: ${ratio.median.toFixed(2)} (${range(ratio)})`, met: ratio.median <= most }];
  };
  return [
    ...compare("cp", TIMES_CP_MAX, `hawser takes at most ${TIMES_CP_MAX} times as long as cp`),
    ...compare("rsync daemon", 1, "hawser's time is less than the rsync daemon's"),
  ];
}
