/** Memory to discard: what the network part costs, with no file on either end. */
import { tmpdir } from "node:os";
import { type HawserServer, runHawser, startHawser } from "../lib/hawser.ts";
import { accepts, freePort, run, runAgainst, Server } from "../lib/processes.ts";
import { linesOf, range, ratioOf, reportTable } from "../lib/report.ts";
import { type Contender, takeTurns } from "../lib/rounds.ts";
import { makeScratch, removeScratch } from "../lib/scratch.ts";
import { findTool, installHint } from "../lib/tools.ts";
import type { Context, Goal, RowResult } from "./row.ts";

const RATIO_MIN = 0.5;

export async function loopback(context: Context): Promise<RowResult> {
  const scratch = makeScratch(tmpdir());
  const servers: Server[] = [];
  const contenders: Contender[] = [];
  const missing: string[] = [];
  try {
    const hawser = await startHawser(scratch, scratch);
    servers.push(hawser.server);
    contenders.push(hawserBench(hawser, scratch, context));
    const iperf3 = findTool("iperf3");
    if (iperf3 === undefined) missing.push(`iperf3: ${installHint("iperf3")}`);
    else {
      const port = await freePort();
      const args = ["-s", "-B", "127.0.0.1", "-p", String(port)];
      const server = await Server.start(iperf3, args, () => accepts(port));
      servers.push(server);
      contenders.push(iperf3Client(iperf3, server, port, context));
    }
    const lines = linesOf(await takeTurns(contenders, context.rounds, context.say), "rate", "iperf3");
    const ratio = ratioOf(lines, "hawser bench", "iperf3");
    const goals: Goal[] = [];
    if (ratio !== undefined) {
      const text = `hawser is at least ${RATIO_MIN} of iperf3: ${ratio.median.toFixed(2)} (${range(ratio)})`;
      goals.push({ text, met: ratio.median >= RATIO_MIN });
    }
    const title = `Memory to discard over loopback, ${context.streams} streams, ${context.seconds} s each`;
    return { title, text: reportTable(lines, "iperf3"), lines, goals, missing };
  } finally {
    for (const server of servers) await server.stop();
    removeScratch(scratch);
  }
}

function hawserBench({ server, to }: HawserServer, scratch: string, { streams, seconds }: Context): Contender {
  const args = ["bench", "--to", to, "--streams", String(streams), "--seconds", String(seconds), "--json", "--quiet"];
  return {
    name: "hawser bench",
    run: async () => {
      const { stdout, cpu } = await runAgainst(server, () => runHawser(args, scratch));
      const { bytes, seconds: took } = JSON.parse(stdout) as { bytes: number; seconds: number };
      return { bytes, seconds: took, cpu };
    },
  };
}

interface Iperf3Report {
  readonly end: { readonly sum_received: { readonly bytes: number; readonly seconds: number } };
}

function iperf3Client(command: string, server: Server, port: number, { streams, seconds }: Context): Contender {
  const args = ["-c", "127.0.0.1", "-p", String(port), "-P", String(streams), "-t", String(seconds), "-J"];
  return {
    name: "iperf3",
    run: async () => {
      const { stdout, cpu } = await runAgainst(server, () => run(command, args));
      const { bytes, seconds: took } = (JSON.parse(stdout) as Iperf3Report).end.sum_received;
      return { bytes, seconds: took, cpu };
    },
  };
}
