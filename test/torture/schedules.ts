/**
 * Networks that do harm, through the proxy: resets, half-closes, silence, damage to a chosen part of a chosen frame,
 * delays, slowness, one byte at a time. Most cases run client and server in this process, which is quicker; some run the
 * real programs. The same send is repeated until it succeeds; the last two tries are spared any harm.
 */
import type { HawserServer, SendOptions, ServeOptions, TransferEvent, TransferResult } from "../../src/index.ts";
import type { FrameName } from "../../src/protocol/header.ts";
import { KIB, MIB } from "../helpers/files.ts";
import {
  type Direction,
  GREETING_FIELDS,
  HEADER_FIELDS,
  type Kind,
  type Part,
  type ProxiedConnection,
  type ProxyOptions,
  type Rule,
  type Shape,
  TcpProxy,
} from "../helpers/proxy.ts";
import type { Case } from "./case.ts";
import type { Draw } from "./draw.ts";
import { Destination, makeSources, pathsOf, type SourceFile, type ToldFile } from "./files.ts";
import { Client, freePort, type Receipt, Server } from "./programs.ts";

type Api = typeof import("../../src/index.ts");

/** What goes by on a connection of each kind, each way. */
const FRAMES: readonly (readonly [kind: Kind, direction: Direction, frames: readonly FrameName[]])[] = [
  ["control", "up", ["HELLO", "OFFER", "DIGEST", "SEAL", "FINISH", "PING"]],
  ["control", "down", ["WELCOME", "HAVE", "PLAN", "OUTCOME", "RECEIPT", "PONG"]],
  ["stream", "up", ["ATTACH", "CHUNK", "CHUNK", "CHUNK", "BUNDLE", "BUNDLE"]],
  ["stream", "down", ["ATTACHED", "ACK", "ACK"]],
];

const ACTIONS = ["flip", "flip", "flip", "reset", "reset", "half-close", "stall"] as const;

/** A send may fail so while the network does harm, and be repeated. */
const PASSING = new Set([
  "E_UNREACHABLE",
  "E_NO_ANSWER",
  "E_NOT_HAWSER",
  "E_TIMEOUT",
  "E_LOST",
  "E_DAMAGED",
  "E_DAMAGED_PATH",
  "E_UNKNOWN_SESSION",
]);

const HARMED_RUNS = 4;
const RUNS = 6;
/** A transfer may be slowed down to about this long. */
const SLOWED_SECONDS = 6;
const BYTEWISE_BYTES_MAX = 20 * KIB;
const FILE_BYTES = 24 * MIB;
const CASE_BYTES = 32 * MIB;

interface Harm {
  readonly options: ProxyOptions;
  /** How often the client dials again; until its timeout unless given. */
  readonly retries: number | undefined;
  /** Something that befalls all connections of a kind at once. */
  readonly later: { readonly afterMs: number; readonly kind: Kind; readonly action: "reset" | "stall" } | undefined;
}

const keysOf = (fields: object) => Object.keys(fields) as Part[];

function drawRule(draw: Draw, streams: number): Rule {
  const [kind, direction, frames] = draw.pick(FRAMES);
  const isGreeting = draw.chance(0.1);
  const frame = draw.pick(frames);
  const part = isGreeting
    ? draw.pick(keysOf(GREETING_FIELDS))
    : draw.pick<Part>(["payload", "payload", "payload", ...keysOf(HEADER_FIELDS)]);
  return {
    kind,
    direction,
    part,
    action: draw.pick(ACTIONS),
    times: draw.whole(1, 3),
    ...(isGreeting ? {} : { frame, nth: draw.log(1, frame === "CHUNK" || frame === "ACK" ? 40 : 2) - 1 }),
    ...(draw.chance(0.35) ? { ordinal: draw.whole(0, kind === "control" ? 1 : streams) } : {}),
  };
}

function drawShape(draw: Draw, totalBytes: number): Shape {
  const delayed = { delayMs: draw.log(1, 80) };
  const slowed = { bytesPerSecond: draw.log(Math.max(20_000, Math.floor(totalBytes / SLOWED_SECONDS)), 64 * MIB) };
  const shapes: Shape[] = [{}, {}, delayed, slowed, { ...delayed, ...slowed }, { stalled: true }];
  if (totalBytes <= BYTEWISE_BYTES_MAX) shapes.push({ oneByteAtATime: true }, { oneByteAtATime: true });
  return draw.pick(shapes);
}

function drawHarm(draw: Draw, streams: number, totalBytes: number): Harm {
  // One for all, or one for each connection of those that are dialled first.
  const common = draw.chance(0.5) ? drawShape(draw, totalBytes) : undefined;
  const own = new Map<string, Shape>();
  for (let ordinal = 0; ordinal < 2; ordinal++) own.set(`control ${ordinal}`, drawShape(draw, totalBytes));
  for (let ordinal = 0; ordinal < streams; ordinal++) own.set(`stream ${ordinal}`, drawShape(draw, totalBytes));
  const isShaped = draw.chance(0.4);
  const shape = ({ kind, ordinal }: ProxiedConnection) => common ?? own.get(`${kind} ${ordinal}`) ?? {};
  return {
    options: {
      seed: draw.whole(1, 2 ** 31),
      rules: draw.list(draw.whole(isShaped ? 0 : 2, 10), () => drawRule(draw, streams)),
      ...(isShaped ? { shape } : {}),
    },
    // One that gives up soon leaves something to be resumed.
    retries: draw.chance(0.5) ? draw.whole(0, 1) : undefined,
    later: draw.chance(0.2)
      ? {
          afterMs: draw.log(5, 1000),
          kind: draw.pick<Kind>(["control", "stream"]),
          action: draw.pick(["reset", "stall"]),
        }
      : undefined,
  };
}

interface Run {
  readonly paths: readonly string[];
  readonly port: number;
  readonly streams: number;
  readonly chunkBytes: number;
  readonly timeoutMs: number;
  readonly retries?: number;
}

/** The two ends, in this process or in their own. */
interface Ends {
  readonly port: number;
  send(run: Run, onFile: (file: ToldFile) => void): Promise<Receipt>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function runSchedule(it: Case): Promise<void> {
  const { draw } = it;
  const served = it.directory("to");
  const streams = draw.whole(1, 8);
  // Small ones, so that there are many frames.
  const chunkBytes = draw.pick([64, 64, 128, 256, 1024]) * KIB;
  const most = draw.chance(0.25) ? BYTEWISE_BYTES_MAX / 4 : FILE_BYTES;
  const sources = makeSources(it, { count: draw.whole(1, 4), chunkBytes, most, total: CASE_BYTES });
  const totalBytes = sources.reduce((sum, { bytes }) => sum + bytes, 0);
  const durability = draw.pick(["none", "commit", "commit", "checkpoint"] as const);
  const areProcesses = draw.chance(0.2);
  const ends = areProcesses ? await processes(it, served, durability) : await inProcess(it, served, durability);
  it.count(areProcesses ? "schedules with processes" : "schedules in one process");
  const destination = new Destination(it, served, "", sources);
  const timeoutMs = draw.whole(1500, 4000);
  for (let run = 1; ; run++) {
    const harm = run <= HARMED_RUNS ? drawHarm(draw, streams, totalBytes) : undefined;
    const restarts = run > 1 && draw.chance(0.2);
    if (restarts) await ends.restart();
    const receipt = await runOnce(it, ends, harm, { sources, streams, chunkBytes, timeoutMs, destination });
    destination.check(`after run ${run}`);
    if (receipt.ok) {
      destination.checkComplete(receipt.files);
      it.count("transfers");
      if (receipt.bytesResumed > 0) it.count("transfers that resumed bytes");
      break;
    }
    const code = receipt.error?.code ?? "no error";
    it.count(`runs that failed with ${code}`);
    if (harm === undefined || !PASSING.has(code)) {
      it.fail("other", `run ${run} failed with ${JSON.stringify(receipt.error)}${harm ? "" : " without any harm"}`);
    }
    if (run === RUNS) break;
  }
  await ends.stop();
  it.count("schedules");
}

interface Sending {
  readonly sources: readonly SourceFile[];
  readonly streams: number;
  readonly chunkBytes: number;
  readonly timeoutMs: number;
  readonly destination: Destination;
}

async function runOnce(it: Case, ends: Ends, harm: Harm | undefined, sending: Sending): Promise<Receipt> {
  const { sources, streams, chunkBytes, timeoutMs, destination } = sending;
  it.note(`run with ${JSON.stringify(harm) ?? "no harm"}`);
  const proxy = new TcpProxy({ host: "127.0.0.1", port: ends.port }, harm?.options ?? {});
  await proxy.listen();
  const later = harm?.later;
  const timer = later && setTimeout(() => proxy.harmAll(later.kind, later.action), later.afterMs);
  const { port } = proxy.address;
  const paths = pathsOf(sources);
  try {
    const retries = harm?.retries === undefined ? {} : { retries: harm.retries };
    return await ends.send({ paths, port, streams, chunkBytes, timeoutMs, ...retries }, (file) =>
      destination.heard(file),
    );
  } finally {
    clearTimeout(timer);
    await proxy.close();
    for (const what of proxy.harm) it.note(`harm: ${what}`);
    it.count("harms by rule", proxy.harm.length);
  }
}

async function inProcess(it: Case, dir: string, durability: NonNullable<ServeOptions["durability"]>): Promise<Ends> {
  const api = (await import(it.setting.program.api)) as Api;
  const port = await freePort();
  const start = () =>
    api.serve({ dir, port, durability, onEvent: (event) => it.note(`serve: ${JSON.stringify(event)}`) });
  let server: HawserServer | undefined = await start();
  const stop = async () => {
    const stopped = server;
    server = undefined;
    await stopped?.close();
  };
  it.atEnd(stop);
  return {
    port,
    send: (run, onFile) => sendHere(it, api, run, onFile),
    restart: async () => {
      await stop();
      server = await start();
    },
    stop,
  };
}

async function sendHere(it: Case, api: Api, run: Run, onFile: (file: ToldFile) => void): Promise<Receipt> {
  const { port, ...rest } = run;
  const files: ToldFile[] = [];
  const onEvent = (event: TransferEvent) => {
    if (event.type !== "progress") it.note(`send: ${JSON.stringify(event)}`);
    if (event.type !== "file") return;
    files.push(event.file);
    onFile(event.file);
  };
  const options: SendOptions = { ...rest, to: { host: "127.0.0.1", port }, onEvent };
  const result: TransferResult = await api.send(options);
  it.note(`send ended: ${JSON.stringify(result)}`);
  const { ok, bytesResumed, error } = result;
  return { ok, bytesResumed, files, ...(error === null ? {} : { error }) };
}

async function processes(it: Case, dir: string, durability: string): Promise<Ends> {
  const port = await freePort();
  let server: Server;
  const start = async () => {
    server = new Server(it, { dir, port, durability });
    if (!(await server.listening)) throw new Error(`the server did not start: ${server.errors}`);
  };
  const stop = async () => {
    const { code } = await server.stop();
    if (code !== 0) it.fail("other", `serve ended with ${code}: ${server.errors}`);
  };
  await start();
  return {
    port,
    send: async (run, onFile) => {
      const client = new Client(it, { ...run, into: "" }, onFile);
      const { code, signal } = await client.exited;
      const { receipt } = client;
      if (receipt.ok !== (code === 0)) it.fail("other", `send ended with ${signal ?? code}: ${client.errors}`);
      return receipt;
    },
    restart: async () => {
      await stop();
      await start();
    },
    stop,
  };
}
