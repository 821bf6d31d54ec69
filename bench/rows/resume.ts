/** How long it takes from the command to the first chunk, when nine tenths of a large file are there. */
import { closeSync, ftruncateSync, mkdirSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runHawser, spawnHawser, startHawser } from "../lib/hawser.ts";
import { fileSystemOf, freeBytes } from "../lib/machine.ts";
import { run } from "../lib/processes.ts";
import { Relay } from "../lib/relay.ts";
import { figure, range } from "../lib/report.ts";
import { makeScratch, removeScratch } from "../lib/scratch.ts";
import { type Summary, summarise } from "../lib/stats.ts";
import { table } from "../lib/table.ts";
import type { Context, RowResult } from "./row.ts";

const GIB = 1024 ** 3;
const FILE_BYTES = 10 * GIB;
const THERE = 0.9;
/** Of what is sent anew: room for it stays promised for a while after its client is killed. */
const SMALL_BYTES = 64 * 1024 ** 2;
/** What stays free for everybody else. */
const SPARE_BYTES = 2 * GIB;

export async function resume({ rounds, streams, say }: Context): Promise<RowResult> {
  const bytes = Math.min(FILE_BYTES, Math.floor((freeBytes(tmpdir()) - SPARE_BYTES) / GIB) * GIB);
  const title = `From the command to the first chunk, ${Math.round(THERE * 100)}% of ${bytes / GIB} GiB being there`;
  if (bytes < GIB) return { title, text: "", lines: [], goals: [], missing: ["a disk with room for a GiB"] };
  const scratch = makeScratch(tmpdir());
  try {
    const source = join(scratch, "sparse.bin");
    const small = join(scratch, "small.bin");
    makeSparse(source, bytes);
    makeSparse(small, SMALL_BYTES);
    const served = join(scratch, "served");
    mkdirSync(served);
    const { server, to } = await startHawser(served, scratch);
    const relay = await Relay.start(Number(to.split(":")[1]));
    try {
      const argsFor = (path: string) => ["send", path, "--to", relay.to, "--streams", String(streams)];
      const args = argsFor(source);
      say(`sending, and stopping at ${THERE}`);
      await sendUntil(args, scratch, THERE * bytes);
      const seconds: Record<"resumed" | "anew" | "node", number[]> = { resumed: [], anew: [], node: [] };
      for (let round = 0; round <= rounds; round++) {
        say(round === 0 ? "warming up" : `round ${round} of ${rounds}`);
        const sample = {
          resumed: await firstChunk(relay, args, scratch),
          anew: await firstChunk(relay, [...argsFor(small), "--name", `anew-${round}`], scratch),
          node: (await run(process.execPath, ["-e", "0"])).seconds,
        };
        if (round > 0) for (const name of ["resumed", "anew", "node"] as const) seconds[name].push(sample[name]);
      }
      say("finishing and verifying");
      const { stdout } = await runHawser([...args, "--json"], scratch);
      const { bytesResumed } = JSON.parse(stdout) as { bytesResumed: number };
      // Otherwise it was not what the title says.
      if (bytesResumed < 0.8 * bytes) throw new Error(`only ${bytesResumed} of ${bytes} bytes were gone on with`);
      await run("cmp", [source, join(served, "sparse.bin")]);
      const summaries = Object.entries({
        "hawser send, gone on with": summarise(seconds.resumed),
        "hawser send, of a file of 64 MiB, anew": summarise(seconds.anew),
        "node -e 0, the whole of it": summarise(seconds.node),
      });
      const row = ([name, summary]: [string, Summary]) => [name, figure(summary.median), range(summary)];
      const columns = [
        { title: "program" },
        { title: "seconds, median", align: "right" as const },
        { title: "min–max", align: "right" as const },
      ];
      const text = table(columns, summaries.map(row));
      const where = `${title}, on ${fileSystemOf(scratch)}`;
      return { title: where, text, lines: [], goals: [], missing: [], more: { bytes, bytesResumed, seconds } };
    } finally {
      relay.close();
      await server.stop();
    }
  } finally {
    removeScratch(scratch);
  }
}

function makeSparse(path: string, bytes: number): void {
  const fd = openSync(path, "wx");
  ftruncateSync(fd, bytes);
  closeSync(fd);
}

/** Sends until so much is there, and is stopped as by ^C. */
async function sendUntil(args: readonly string[], scratch: string, bytes: number): Promise<void> {
  const { child, exited, out } = spawnHawser([...args, "--progress", "json"], scratch);
  let rest = "";
  child.stderr?.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    const events = lines.map((line) => JSON.parse(line) as { event: string; bytesDone?: number });
    if (events.some(({ bytesDone = 0 }) => bytesDone >= bytes)) child.kill("SIGINT");
  });
  const how = await exited;
  if (how !== 130) throw new Error(`hawser send, to be interrupted: ${how}: ${out.stderr.slice(-1000)}`);
}

/** Seconds from its start to its first chunk; then it is killed. */
async function firstChunk(relay: Relay, args: readonly string[], scratch: string): Promise<number> {
  const startedMs = performance.now();
  const { child, exited, out } = spawnHawser([...args, "--progress", "none"], scratch);
  const ended = exited.then((how) => Promise.reject(new Error(`hawser send: ${how}: ${out.stderr}`)));
  const chunkMs = await Promise.race([relay.nextChunk(), ended]);
  child.kill("SIGKILL");
  await exited;
  return (chunkMs - startedMs) / 1000;
}
