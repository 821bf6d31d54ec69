/** How much memory either end needs for a file that is far larger than what it may use. */
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runHawser, startHawser } from "../lib/hawser.ts";
import { fileSystemOf, freeBytes } from "../lib/machine.ts";
import { run } from "../lib/processes.ts";
import { makeScratch, removeScratch, writeRandomFile } from "../lib/scratch.ts";
import { table } from "../lib/table.ts";
import type { Context, RowResult } from "./row.ts";

const MIB = 1024 * 1024;
const FILE_BYTES = 5 * 1024 * MIB;
const PEAK_BYTES_MAX = 150 * MIB;
/** What stays free for everybody else. */
const SPARE_BYTES = 2 * 1024 * MIB;

export async function memory({ streams, say }: Context): Promise<RowResult> {
  const title = "Peak memory of either end, for a file of 5 GiB";
  // On tmpfs the file itself would take memory: only where the disk has no room.
  const parent = [tmpdir(), "/dev/shm"].find(
    (place) => existsSync(place) && freeBytes(place) > 2 * FILE_BYTES + SPARE_BYTES,
  );
  if (parent === undefined) {
    return { title, text: "", lines: [], goals: [], missing: ["a place with room for it"] };
  }
  const scratch = makeScratch(parent);
  try {
    const source = join(scratch, "source.bin");
    say("writing the source");
    writeRandomFile(source, FILE_BYTES);
    const served = join(scratch, "served");
    mkdirSync(served);
    const { server, to } = await startHawser(served, scratch);
    try {
      say("sending");
      const args = ["send", source, "--to", to, "--streams", String(streams)];
      const client = await runHawser(args, scratch, { watchMemory: true });
      const peaks = { client: client.peakBytes, server: server.peakBytes };
      say("verifying");
      await run("cmp", [source, join(served, "source.bin")]);
      const rows = Object.entries(peaks).map(([end, bytes]) => [end, bytes === null ? "unknown" : mib(bytes)]);
      const goals = Object.entries(peaks).flatMap(([end, bytes]) => {
        if (bytes === null) return [];
        const text = `the ${end} stays below ${mib(PEAK_BYTES_MAX)} MiB: ${mib(bytes)} MiB`;
        return [{ text, met: bytes < PEAK_BYTES_MAX }];
      });
      const columns = [{ title: "end" }, { title: "peak MiB resident", align: "right" as const }];
      const where = `${title}, on ${fileSystemOf(scratch)}`;
      return { title: where, text: table(columns, rows), lines: [], goals, missing: [], more: { peakBytes: peaks } };
    } finally {
      await server.stop();
    }
  } finally {
    removeScratch(scratch);
  }
}

const mib = (bytes: number) => (bytes / MIB).toFixed(0);
