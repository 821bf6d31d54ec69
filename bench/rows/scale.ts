/**
 * What becomes of the rate and of memory as the work grows: with streams, with the size of a file, with clients at once. All in
 * memory, by whole processes, but the clients, which share one.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runHawser, startHawser } from "../lib/hawser.ts";
import { freeBytes } from "../lib/machine.ts";
import { run } from "../lib/processes.ts";
import { figure } from "../lib/report.ts";
import { makeScratch, removeScratch, touchMemory, writeRandomFile } from "../lib/scratch.ts";
import { medianOf } from "../lib/stats.ts";
import { type Column, table } from "../lib/table.ts";
import type { Context, Goal, RowResult } from "./row.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const TMPFS = "/dev/shm";
const STREAMS = [1, 2, 4, 8, 16, 32, 64];
const SIZES = [1, 16, 256, 1024, 4096].map((mib) => mib * MIB);
/** Bytes of all clients together, and how many clients: what a transfer costs by itself shows where each sends little. */
const CLIENTS = [
  { bytes: 800 * MIB, clients: [1, 10, 50, 200] },
  { bytes: 3200 * MIB, clients: [1, 200] },
];
const CLIENTS_BYTES_MAX = Math.max(...CLIENTS.map(({ bytes }) => bytes));
/** In chunks, and small. */
const WARM_BYTES = MIB / 2;
const MANY_CLIENTS_MIN = 0.8;
/** All come from here. */
const ONE_ADDRESS = ["--max-sessions-per-ip", "256"];
/** Resident, up to 16 streams; and for each one more. */
const SENDER_BYTES_MAX = 120 * MIB;
const RECEIVER_BYTES_MAX = 150 * MIB;
const STREAM_BYTES_MAX = MIB;
const CLIENTS_SCRIPT = fileURLToPath(new URL("../lib/clients.ts", import.meta.url));

const right = (title: string): Column => ({ title, align: "right" });

export const streams = (context: Context) => inMemory(context, 2.5 * context.bytes, byStreams);
export const sizes = (context: Context) => inMemory(context, 2.5 * Math.max(...SIZES), bySize);
export const clients = (context: Context) => inMemory(context, 2.5 * CLIENTS_BYTES_MAX, byClients);

async function inMemory(
  context: Context,
  bytes: number,
  measure: (context: Context, scratch: string) => Promise<Part>,
): Promise<RowResult> {
  if (!existsSync(TMPFS) || freeBytes(TMPFS) < bytes) {
    const missing = [`${(bytes / GIB).toFixed(1)} GiB in ${TMPFS}`];
    return { title: "As the work grows", text: "", lines: [], goals: [], missing };
  }
  const scratch = makeScratch(TMPFS);
  try {
    const { title, text, goals, found } = await measure(context, scratch);
    return { title, text, lines: [], goals, missing: [], more: { found } };
  } finally {
    removeScratch(scratch);
  }
}

interface Part {
  readonly title: string;
  readonly text: string;
  readonly goals: readonly Goal[];
  readonly found: unknown;
}

interface Sent {
  readonly seconds: number;
  readonly clientBytes: number;
  readonly serverBytes: number;
}

/** A server of its own each time: its memory is that of this one transfer. */
async function sendOnce(scratch: string, source: string, bytes: number, flags: readonly string[]): Promise<Sent> {
  const served = join(scratch, "served");
  mkdirSync(served);
  touchMemory(scratch, bytes * 1.25);
  const { server, to } = await startHawser(served, scratch);
  try {
    const args = ["send", source, "--to", to, "--quiet", ...flags];
    const { seconds, peakBytes } = await runHawser(args, scratch, { watchMemory: true });
    return { seconds, clientBytes: peakBytes ?? Number.NaN, serverBytes: server.peakBytes ?? Number.NaN };
  } finally {
    await server.stop();
    rmSync(served, { recursive: true });
  }
}

const medianBy = (sent: readonly Sent[], of: keyof Sent) => medianOf(sent.map((one) => one[of])) ?? Number.NaN;
const mostBy = (sent: readonly Sent[], of: keyof Sent) => Math.max(...sent.map((one) => one[of]));

async function byStreams({ rounds, bytes, say }: Context, scratch: string): Promise<Part> {
  const source = join(scratch, "source.bin");
  writeRandomFile(source, bytes);
  const found = STREAMS.map((streams) => ({ streams, sent: [] as Sent[] }));
  for (let round = 0; round < rounds; round++) {
    say(`streams, round ${round + 1} of ${rounds}`);
    for (const { streams, sent } of found) {
      sent.push(await sendOnce(scratch, source, bytes, ["--streams", String(streams)]));
    }
  }
  rmSync(source);
  const columns = [right("streams"), right("seconds"), right("client MiB"), right("server MiB")];
  const rows = found.map(({ streams, sent }) => [
    String(streams),
    figure(medianBy(sent, "seconds")),
    (mostBy(sent, "clientBytes") / MIB).toFixed(0),
    (mostBy(sent, "serverBytes") / MIB).toFixed(0),
  ]);
  const goals = (["clientBytes", "serverBytes"] as const).map((end): Goal => {
    const base = end === "clientBytes" ? SENDER_BYTES_MAX : RECEIVER_BYTES_MAX;
    const over = found.map(
      ({ streams, sent }) => mostBy(sent, end) - base - Math.max(0, streams - 16) * STREAM_BYTES_MAX,
    );
    const text = `the ${end === "clientBytes" ? "client" : "server"} stays within ${base / MIB} MiB, and 1 MiB more for each stream above 16`;
    return { text: `${text}: by ${(-Math.max(...over) / MIB).toFixed(0)} MiB`, met: Math.max(...over) <= 0 };
  });
  return { title: `By streams, ${bytes / MIB} MiB in ${TMPFS}`, text: table(columns, rows), goals, found };
}

async function bySize({ rounds, streams, say }: Context, scratch: string): Promise<Part> {
  const found: { bytes: number; seconds: number; sent: Sent[] }[] = [];
  for (const bytes of SIZES) {
    const source = join(scratch, "source.bin");
    writeRandomFile(source, bytes);
    const sent: Sent[] = [];
    for (let round = 0; round < rounds; round++) {
      say(`${bytes / MIB} MiB, round ${round + 1} of ${rounds}`);
      sent.push(await sendOnce(scratch, source, bytes, ["--streams", String(streams)]));
    }
    rmSync(source);
    found.push({ bytes, seconds: medianBy(sent, "seconds"), sent });
  }
  // What every transfer costs is not the work's.
  const start = found[0]?.seconds ?? 0;
  const columns = [right("MiB"), right("seconds"), right("seconds a GiB, without the start")];
  const rows = found.map(({ bytes, seconds }, i) => [
    String(bytes / MIB),
    figure(seconds),
    i === 0 ? "" : figure((seconds - start) / (bytes / GIB)),
  ]);
  return { title: `By size, ${streams} streams, in ${TMPFS}`, text: table(columns, rows), goals: [], found };
}

interface ManySent {
  readonly seconds: number;
  readonly client: number;
  readonly server: number | null;
}

async function byClients({ rounds, say }: Context, scratch: string): Promise<Part> {
  const found = CLIENTS.flatMap(({ bytes, clients }) => {
    return clients.map((count) => ({ bytes, clients: count, sent: [] as ManySent[] }));
  });
  const served = join(scratch, "served");
  const warm = join(scratch, "warm.bin");
  mkdirSync(served);
  writeRandomFile(warm, WARM_BYTES);
  const { server, to } = await startHawser(served, scratch, ONE_ADDRESS);
  try {
    for (let round = 0; round <= rounds; round++) {
      say(round === 0 ? "clients, warming up" : `clients, round ${round} of ${rounds}`);
      for (const { bytes, clients, sent } of found) {
        const source = join(scratch, "source.bin");
        writeRandomFile(source, bytes / clients);
        touchMemory(scratch, bytes * 1.25);
        const args = [CLIENTS_SCRIPT, to, source, String(clients), String(server.pid), warm];
        const { stdout } = await run(process.execPath, args);
        if (round > 0) sent.push(JSON.parse(stdout));
        for (const name of readdirSync(served)) if (!name.startsWith(".")) rmSync(join(served, name));
        rmSync(source);
      }
    }
    const rates = found.map(({ bytes, clients, sent }) => {
      const alone = found.find((one) => one.bytes === bytes)?.sent ?? [];
      const perGib = (end: "client" | "server") =>
        (medianOf(sent.map((one) => one[end] ?? Number.NaN)) ?? Number.NaN) / (bytes / GIB);
      return {
        bytes,
        clients,
        mibPerSecond: bytes / MIB / (medianOf(sent.map(({ seconds }) => seconds)) ?? Number.NaN),
        ratio: medianOf(sent.map(({ seconds }, i) => (alone[i]?.seconds ?? Number.NaN) / seconds)) ?? Number.NaN,
        cpuSecondsPerGib: { client: perGib("client"), server: perGib("server") },
      };
    });
    const columns = ["MiB in all", "clients", "MiB/s in all", "÷ one client's", "clients' CPU s/GiB", "server's"].map(
      right,
    );
    const rows = rates.map(({ bytes, clients, mibPerSecond, ratio, cpuSecondsPerGib: { client, server } }) => [
      ...[bytes / MIB, clients].map(String),
      mibPerSecond.toFixed(0),
      ...[ratio, client, server].map(figure),
    ]);
    const goals = CLIENTS.map(({ bytes, clients }): Goal => {
      const most = Math.max(...clients);
      const ratio = rates.find((one) => one.bytes === bytes && one.clients === most)?.ratio ?? Number.NaN;
      const text = `${most} clients with ${bytes / MIB / most} MiB each get at least ${MANY_CLIENTS_MIN} of one client's rate: ${figure(ratio)}`;
      return { text, met: ratio >= MANY_CLIENTS_MIN };
    });
    const peak = `The server held ${((server.peakBytes ?? Number.NaN) / MIB).toFixed(0)} MiB at most.`;
    const title = `By clients at once, in ${TMPFS}, one stream each`;
    const text = `${table(columns, rows)}\n${peak}\n`;
    return { title, text, goals, found: { rates, serverBytes: server.peakBytes } };
  } finally {
    await server.stop();
  }
}
