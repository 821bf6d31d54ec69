/**
 * SIGKILL for the client, the server or both: at a random time, when the nth frame of a kind goes by, or at the nth
 * system call of a kind. What is left must be whole files and nothing, and the same command must bring the rest.
 */
import type { FrameName } from "../../src/protocol/header.ts";
import { MIB } from "../helpers/files.ts";
import { type Direction, TcpProxy } from "../helpers/proxy.ts";
import type { Case } from "./case.ts";
import type { Draw } from "./draw.ts";
import { drawChunkBytes, makeSources } from "./files.ts";
import { Pair } from "./pair.ts";
import type { CallMoment, Exit, Program } from "./programs.ts";

type Victim = "client" | "server" | "both";

type Moment =
  | { readonly kind: "time"; readonly ms: number }
  | { readonly kind: "frame"; readonly direction: Direction; readonly name: FrameName; readonly nth: number }
  | ({ readonly kind: "call"; readonly of: "client" | "server" } & CallMoment);

interface Kill {
  readonly victim: Victim;
  readonly moment: Moment;
}

/**
 * Calls at which a program is killed, and which of them: those of its start, and those of a transfer behind them. Calls
 * come before they are done, so that a kill at unlink comes between link and unlink. `chunks` stands for as many as the
 * case has.
 */
const CALLS: Record<
  "client" | "server",
  readonly (readonly [calls: string, first: number, last: number | "chunks"])[]
> = {
  server: [
    ["pwrite64", 1, 80],
    ["pwrite64", 20, "chunks"],
    ["pwrite64", 20, "chunks"],
    ["pwrite64", 20, "chunks"],
    ["pread64", 1, 150],
    ["openat", 1, 20],
    ["openat", 320, 420],
    ["link,linkat", 2, 8],
    ["link,linkat", 2, 800],
    ["unlink,unlinkat", 1, 16],
    ["unlink,unlinkat", 3, 16],
    ["unlink,unlinkat", 3, 800],
    ["openat", 320, 2000],
    ["pwrite64", 20, 1000],
    ["fsync", 1, 14],
    ["fsync", 1, 14],
    ["fdatasync", 1, 6],
    ["ftruncate", 1, 8],
    ["utimensat", 1, 7],
    ["fchmod", 1, 7],
    ["mkdir", 1, 3],
    ["mkdir", 1, 40],
    ["write", 30, 150],
    ["writev", 1, 60],
    ["sendto", 1, 2],
  ],
  client: [
    ["pread64", 20, "chunks"],
    ["pread64", 20, "chunks"],
    ["openat", 280, 360],
    ["openat", 280, 2000],
    ["writev", 1, "chunks"],
    ["writev", 1, "chunks"],
    ["write", 30, 200],
    ["sendto", 1, 2],
  ],
};

const FRAMES: readonly (readonly [direction: Direction, name: FrameName, last: number | "chunks"])[] = [
  ["up", "HELLO", 1],
  ["up", "ATTACH", 16],
  ["up", "OFFER", 1],
  ["up", "CHUNK", "chunks"],
  ["up", "CHUNK", "chunks"],
  ["up", "CHUNK", "chunks"],
  ["up", "CHUNK", "chunks"],
  ["up", "BUNDLE", 4],
  ["up", "BUNDLE", 12],
  ["up", "BUNDLE", 30],
  ["up", "DIGEST", 3],
  ["up", "SEAL", 6],
  ["up", "FINISH", 1],
  ["down", "WELCOME", 1],
  ["down", "ATTACHED", 16],
  ["down", "HAVE", 3],
  ["down", "PLAN", 2],
  ["down", "ACK", "chunks"],
  ["down", "ACK", "chunks"],
  ["down", "OUTCOME", 6],
  ["down", "RECEIPT", 1],
];

/** A program has said hello by then. */
const STARTED_MS = 250;
const FILE_BYTES = 200 * MIB;
const CASE_BYTES = 256 * MIB;
const TIMEOUT_MS = 15_000;

/** What kills depend on. */
interface Course {
  readonly chunks: number;
  readonly isProxied: boolean;
  /** About how long a transfer takes, its start included. */
  readonly ms: number;
  readonly traces: boolean;
}

function drawKill(draw: Draw, { chunks, isProxied, ms, traces }: Course): Kill {
  const victim = draw.pick<Victim>(["client", "server", "both"]);
  const kind = draw.whole(0, 9);
  const nthOf = (first: number, last: number | "chunks") => {
    const most = last === "chunks" ? first + chunks : last;
    return draw.chance(0.5) ? draw.whole(first, most) : draw.log(first, most);
  };
  if (isProxied && kind < 5) {
    const [direction, name, last] = draw.pick(FRAMES);
    return { victim, moment: { kind: "frame", direction, name, nth: nthOf(1, last) } };
  }
  if (kind < 7 - 5 * Number(!isProxied) || !traces) {
    return { victim, moment: { kind: "time", ms: draw.whole(0, ms) } };
  }
  const of = draw.chance(0.7) ? "server" : "client";
  const [calls, first, last] = draw.pick(CALLS[of]);
  return { victim: victim === "both" ? victim : of, moment: { kind: "call", of, calls, nth: nthOf(first, last) } };
}

export async function runKills(it: Case): Promise<void> {
  const { draw } = it;
  const chunkBytes = drawChunkBytes(draw);
  const sources = makeSources(it, { count: draw.whole(1, 6), chunkBytes, most: FILE_BYTES, total: CASE_BYTES });
  const totalBytes = sources.reduce((sum, { bytes }) => sum + bytes, 0);
  const streams = draw.whole(1, 16);
  const pair = await Pair.make(it, {
    served: it.directory("to"),
    sources,
    durability: draw.pick(["none", "none", "commit", "commit", "commit", "checkpoint", "checkpoint", "strict"]),
    streams,
    chunkBytes,
    timeoutMs: TIMEOUT_MS,
    trustsMtime: draw.chance(0.15),
  });
  // Some take their time: what was received is recorded every second.
  const seconds = draw.pick([0, 0, 1, 2, 3]);
  const bytesPerSecond = Math.max(MIB, totalBytes / Math.max(1, seconds)) / streams;
  let proxy: TcpProxy | undefined;
  if (seconds > 0 || draw.chance(0.3)) {
    const shape = () => (seconds > 0 ? { bytesPerSecond } : {});
    proxy = new TcpProxy({ host: "127.0.0.1", port: pair.port }, { shape });
    await proxy.listen();
    it.atEnd(() => proxy?.close());
    pair.dialled = proxy.address.port;
  }
  const chunks = sources.reduce((sum, { bytes }) => sum + Math.ceil(bytes / chunkBytes), 0);
  const ms = STARTED_MS + Math.max(350, seconds * 1000);
  const course: Course = { chunks, isProxied: proxy !== undefined, ms, traces: it.setting.traces };
  const kills = draw.list(draw.whole(2, 6), () => drawKill(draw, course));
  for (const kill of kills) await runOne(it, pair, kill, proxy);
  await pair.finish();
}

async function runOne(it: Case, pair: Pair, kill: Kill, proxy: TcpProxy | undefined): Promise<void> {
  it.note(`to kill ${kill.victim}: ${JSON.stringify(kill.moment)}`);
  const killed = await killAt(pair, kill, proxy);
  if (killed === undefined) {
    it.note("nobody was killed: all was over before");
    return;
  }
  const { whom, when } = killed;
  it.note(`killed: ${whom}, at ${when}`);
  it.count("kills");
  it.count(`kills of ${whom}`);
  it.count(`kills at ${when}`);
  pair.check(`after the kill of ${whom} at ${when}`);
}

interface Killed {
  readonly whom: Victim;
  readonly when: string;
}

/** Returns who was killed, which may be nobody. */
async function killAt(pair: Pair, { victim, moment }: Kill, proxy: TcpProxy | undefined): Promise<Killed | undefined> {
  // Only a program that is traced from its start dies at its nth call.
  const traced = moment.kind === "call" ? moment.of : undefined;
  if (traced === "server") await pair.killServer();
  if (traced === "client") await pair.killClient();
  const server = pair.server ?? (await pair.startServer(callIn(moment, "server")));
  if (pair.server === undefined) return { whom: "server", when: `server, starting: ${server.lastCall}` };
  const client = pair.client ?? pair.startClient(callIn(moment, "client"));
  await Promise.race([comes(moment, proxy), client.exited, server.exited]);
  if (client.exit !== undefined && client.exit.signal === null) {
    pair.clientEnded(client.exit);
    if (traced !== "server") return undefined;
    const isKilled = await pair.stopServer();
    return isKilled ? { whom: "server", when: `server: ${server.lastCall}` } : undefined;
  }
  await Promise.all([
    ...(victim === "server" ? [] : [pair.killClient()]),
    ...(victim === "client" ? [] : [pair.killServer()]),
  ]);
  const whom = whoIsDead(client.exit, server.exit);
  if (client.exit?.signal === null) pair.clientEnded(client.exit);
  return whom && { whom, when: whenText(moment, traced === "server" ? server : client) };
}

function whoIsDead(client: Exit | undefined, server: Exit | undefined): Victim | undefined {
  if (server !== undefined && server.signal !== "SIGKILL")
    throw new Error(`the server ended by itself: ${server.code}`);
  if (client?.signal === "SIGKILL") return server === undefined ? "client" : "both";
  return server === undefined ? undefined : "server";
}

function whenText(moment: Moment, traced: Program): string {
  if (moment.kind === "time") return "a time";
  if (moment.kind === "frame") return `a frame: ${moment.name} ${moment.direction}`;
  return `${moment.of}: ${traced.lastCall}`;
}

function callIn(moment: Moment, of: "client" | "server"): CallMoment | undefined {
  return moment.kind === "call" && moment.of === of ? moment : undefined;
}

/** Resolves when the moment is there; a program that is to die at a call does so by itself. */
function comes(moment: Moment, proxy: TcpProxy | undefined): Promise<void> {
  if (moment.kind === "time") return new Promise((resolve) => setTimeout(resolve, moment.ms));
  if (moment.kind === "call" || proxy === undefined) return new Promise(() => {});
  const { direction, name, nth } = moment;
  const before = proxy.framesOf(direction, name);
  return proxy.until(() => proxy.framesOf(direction, name) >= before + nth);
}
