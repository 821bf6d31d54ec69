/** What every command costs before it does anything: whole processes, one byte to a running server, beside an empty program. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Encryption, runHawser, startHawser } from "../lib/hawser.ts";
import { type Finished, run, type Server } from "../lib/processes.ts";
import { linesOf, range, ratioOf, reportTable } from "../lib/report.ts";
import { type Contender, type Sample, takeTurns } from "../lib/rounds.ts";
import { makeScratch, removeScratch } from "../lib/scratch.ts";
import type { Context, Goal, RowResult } from "./row.ts";

const TMPFS = "/dev/shm";
const NODE = "node -e 0";
const SEND = "hawser send, 1 byte, --insecure";
const VERSION = "hawser --version";
/** Times what an empty program takes. */
const GOALS: Record<string, number> = { [SEND]: 2, [VERSION]: 1.5 };
/** They are short: more rounds cost little. */
const ROUNDS_TIMES = 5;

export async function startUp({ rounds, say }: Context): Promise<RowResult> {
  // A disk's sync would be most of it.
  const scratch = makeScratch(existsSync(TMPFS) ? TMPFS : tmpdir());
  const servers: Server[] = [];
  try {
    const source = join(scratch, "one-byte");
    writeFileSync(source, "1");
    const sender = async (name: string, encryption: Encryption): Promise<Contender> => {
      const served = join(scratch, encryption);
      mkdirSync(served);
      const { server, to } = await startHawser(served, scratch, [], { encryption });
      servers.push(server);
      const args = ["send", source, "--to", to, "--quiet"];
      return {
        name,
        prepare: () => rmSync(join(served, "one-byte"), { force: true }),
        run: async () => {
          return sample(await runHawser(args, scratch, {}, { encryption }));
        },
      };
    };
    const contenders: Contender[] = [
      { name: NODE, run: async () => sample(await run(process.execPath, ["-e", "0"])) },
      {
        name: VERSION,
        run: async () => sample(await runHawser(["--version"], scratch, {}, { encryption: "encrypted" })),
      },
      await sender(SEND, "plain"),
      await sender("hawser send, 1 byte", "encrypted"),
    ];
    return await measured(contenders, rounds * ROUNDS_TIMES, say);
  } finally {
    for (const server of servers) await server.stop();
    removeScratch(scratch);
  }
}

/** CPU seconds a GiB say nothing of one byte. */
const sample = ({ seconds }: Finished): Sample => ({ seconds, bytes: 1, cpu: { client: null, server: null } });

async function measured(contenders: readonly Contender[], rounds: number, say: Context["say"]): Promise<RowResult> {
  const lines = linesOf(await takeTurns(contenders, rounds, say), "time", NODE);
  const goals = Object.entries(GOALS).flatMap(([name, most]): Goal[] => {
    const ratio = ratioOf(lines, name, NODE);
    if (ratio === undefined) return [];
    const text = `${name} takes at most ${most} times as long as ${NODE}`;
    return [{ text: `${text}: ${ratio.median.toFixed(2)} (${range(ratio)})`, met: ratio.median <= most }];
  });
  return { title: "Start of a command", text: reportTable(lines, NODE), lines, goals, missing: [] };
}
