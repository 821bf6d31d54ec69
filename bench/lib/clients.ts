/**
 * Many clients in one process, all at once, as an ingest server sees them: `node clients.ts HOST:PORT FILE COUNT SERVER_PID WARM_FILE`.
 * Each sends FILE under a name of its own, over one stream. Prints, as JSON, the seconds from the first connection to the last receipt,
 * and the CPU seconds that both ends took for it. Before that 200 of them send WARM_FILE: each client is a program of its own where
 * there are many, and what this one does for the first time it does for all.
 */
import { type SendOptions, send } from "../../src/index.ts";
import { cpuSecondsOf } from "./processes.ts";

const WARMING = 200;

const [to = "", path = "", count = "1", serverPid = "", warmPath = ""] = process.argv.slice(2);
const at = to.lastIndexOf(":");
const endpoint = { host: to.slice(0, at), port: Number(to.slice(at + 1)) };

async function sendAll(file: string, prefix: string, clients: number): Promise<void> {
  const results = await Promise.all(
    Array.from({ length: clients }, (_, i) => {
      const how: Pick<SendOptions, "overwrite" | "compress"> = { overwrite: "always", compress: "none" };
      return send({ paths: [file], to: endpoint, name: `${prefix}-${i}`, streams: 1, ...how });
    }),
  );
  const failed = results.find(({ ok }) => !ok);
  if (failed !== undefined) throw new Error(failed.error?.message);
}

await sendAll(warmPath, "warm", WARMING);
const serverBefore = cpuSecondsOf(Number(serverPid));
const before = process.cpuUsage();
const startedMs = performance.now();
await sendAll(path, "client", Number(count));
const seconds = (performance.now() - startedMs) / 1000;
const { user, system } = process.cpuUsage(before);
const serverAfter = cpuSecondsOf(Number(serverPid));
const server = serverAfter === null || serverBefore === null ? null : serverAfter - serverBefore;
process.stdout.write(JSON.stringify({ seconds, client: (user + system) / 1e6, server }));
