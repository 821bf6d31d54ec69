/**
 * Good conversations, recorded from real transfers: what client and server say on each connection, in the order in which
 * they said it. They are what is changed when sessions are fuzzed.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { type Endpoint, type SendOptions, type ServeOptions, send, serve } from "../../src/index.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import { Random } from "./random.ts";
import { FrameCutter, type WireFrame } from "./wire.ts";

/** One thing that one end says, or that a connection ends. */
export interface Said {
  /** Counts connections of the tape. */
  readonly connection: number;
  readonly by: "client" | "server";
  /** Missing: it closes the connection. */
  readonly frame: WireFrame | undefined;
}

export interface Tape {
  readonly name: string;
  readonly said: readonly Said[];
}

const KIB = 1024;

/** What lies there, and what is sent; by name, with contents that follow from the seed. */
type Files = Readonly<Record<string, Buffer | { readonly link: string }>>;

export interface Scenario {
  readonly name: string;
  /** At the destination, before. */
  readonly there?: Files;
  readonly sent: Files;
  /** What is named of it; all that is at the top unless given. */
  readonly options?: Partial<SendOptions>;
  readonly server?: Partial<ServeOptions>;
  /** Into a pipe of the client. */
  readonly input?: Buffer;
  /** The server passes it on into a pipe. */
  readonly isInOrder?: boolean;
  /** The first run ends when so many chunks have gone up. */
  readonly cutAfterChunks?: number;
}

export function scenarios(seed: number): Scenario[] {
  const random = new Random(seed);
  const noise = (bytes: number) => Buffer.from(Array.from({ length: bytes }, () => random.word() & 0xff));
  const text = (bytes: number) => Buffer.alloc(bytes, "all work and no play makes Jack a dull boy. ");
  const holes = (bytes: number) => Buffer.concat([noise(5000), Buffer.alloc(bytes)]);
  const base = noise(140 * KIB);
  const changed = Buffer.from(base);
  changed.fill(7, 70 * KIB, 71 * KIB);
  return [
    { name: "a file", sent: { "a.bin": noise(70 * KIB) }, options: { compress: "none" } },
    {
      name: "files in chunks",
      sent: { "b.txt": text(300 * KIB), "c.img": holes(150 * KIB), "d.bin": noise(66 * KIB) },
    },
    { name: "small files", sent: Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`s${i}`, text(i * 37)])) },
    {
      name: "a tree",
      sent: {
        "tree/one": text(10),
        "tree/deep/er/two": noise(20),
        "tree/deep/three": noise(400),
        "tree/up": { link: "../.." },
        "tree/here": { link: "deep" },
        "tree/large": text(100 * KIB),
      },
      options: { preserveMode: true },
    },
    {
      name: "a tree that is there",
      there: { "tree/one": text(10), "tree/two": noise(30), up: { link: ".." }, "tree/link": { link: "../.." } },
      sent: { "tree/one": text(10), "tree/two": text(60), "tree/three": text(9), "tree/link": { link: "elsewhere" } },
      options: { overwrite: "always" },
    },
    { name: "delta", there: { "e.img": base }, sent: { "e.img": changed }, options: { delta: true } },
    { name: "renamed", there: { "f.bin": base }, sent: { "f.bin": changed }, options: { overwrite: "rename" } },
    { name: "compared", there: { "g.bin": base, g: text(5) }, sent: { "g.bin": base, g: text(6) } },
    { name: "verified", sent: { "h.bin": noise(80 * KIB), h: text(70) }, options: { verify: "full" } },
    { name: "a dry run", there: { "i.bin": base }, sent: { "i.bin": changed, i: text(5) }, options: { dryRun: true } },
    { name: "a pipe", sent: {}, input: Buffer.concat([text(90 * KIB), noise(10 * KIB)]) },
    {
      name: "compressed",
      sent: {
        "l.txt": text(200 * KIB),
        "l.img": holes(70 * KIB),
        ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`l/${i}`, text(900 + i)])),
      },
      options: { compress: "zstd" },
    },
    {
      name: "what differs",
      there: { "m/a": base, "m/b": text(70 * KIB), "m/c": text(40) },
      sent: { "m/a": changed, "m/b": text(70 * KIB), "m/c": text(41), "m/d": noise(90 * KIB) },
      options: { overwrite: "if-different", delta: true, verify: "full" },
    },
    {
      name: "afresh",
      there: { n: text(9) },
      sent: { n: { link: "elsewhere" }, "n.bin": noise(70 * KIB) },
      options: { resume: false, overwrite: "always", checksum: true },
    },
    {
      name: "into a pipe",
      sent: { "k.txt": Buffer.concat([text(200 * KIB), noise(90 * KIB)]) },
      isInOrder: true,
    },
    { name: "taken up again", sent: { "j.bin": noise(400 * KIB) }, cutAfterChunks: 3, options: { compress: "none" } },
  ];
}

/** Makes files under `root`, as old as one another. */
export function lay(root: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true });
    if (!Buffer.isBuffer(content)) symlinkSync(content.link, path);
    else {
      writeFileSync(path, content);
      utimesSync(path, 1_700_000_000, 1_700_000_000);
    }
  }
}

/** What stands in memory where there is such a place: no disk is to be waited for. */
export function scratchParent(): string {
  try {
    rmSync(mkdtempSync("/dev/shm/hawser-fuzz-"), { recursive: true });
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}

export interface Layout {
  readonly from: string;
  readonly to: string;
  readonly paths: readonly string[];
}

export function layScenario(root: string, { there = {}, sent }: Scenario): Layout {
  const layout = { from: join(root, "from"), to: join(root, "to"), paths: [] as string[] };
  for (const path of [layout.from, layout.to]) mkdirSync(path, { recursive: true });
  lay(layout.from, sent);
  lay(layout.to, there);
  const tops = new Set(Object.keys(sent).map((name) => name.split("/")[0] as string));
  layout.paths = [...tops].map((name) => join(layout.from, name));
  return layout;
}

/** How a scenario is sent. */
export function sendOptionsOf({ options, input }: Scenario, { paths }: Layout, to: Endpoint): SendOptions {
  const what = input === undefined ? { paths } : { input: Readable.from([input]), name: "piped" };
  return { ...what, to, streams: 2, chunkBytes: 64 * KIB, timeoutMs: 20_000, ...options };
}

export async function recordTapes(seed: number): Promise<Tape[]> {
  const root = mkdtempSync(join(scratchParent(), "hawser-fuzz-"));
  try {
    const tapes: Tape[] = [];
    for (const [i, scenario] of scenarios(seed).entries()) tapes.push(await record(join(root, `${i}`), scenario));
    return tapes;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function record(root: string, scenario: Scenario): Promise<Tape> {
  const layout = layScenario(root, scenario);
  const to = scenario.isInOrder ? { output: new PassThrough().resume() } : { dir: layout.to };
  const server = await serve({ ...to, port: 0, durability: "none", ...scenario.server });
  const relay = new Relay(server.address, scenario.cutAfterChunks);
  const endpoint = await relay.listen();
  try {
    const run = () => send(sendOptionsOf(scenario, layout, endpoint));
    if (scenario.cutAfterChunks !== undefined) await send({ ...sendOptionsOf(scenario, layout, endpoint), retries: 0 });
    const { error } = await run();
    if (error !== null && error.code !== "E_PARTIAL") throw new Error(`${scenario.name}: ${error.message}`);
  } finally {
    relay.close();
    await server.close();
  }
  return { name: scenario.name, said: relay.said };
}

/** Stands between client and server, and writes down what both say. */
class Relay {
  readonly said: Said[] = [];
  readonly #target: Endpoint;
  readonly #server = createServer((client) => this.#accept(client));
  readonly #sockets = new Set<Socket>();
  #connections = 0;
  /** How many chunks may go up until all connections break, once. */
  #chunksLeft: number;

  constructor(target: Endpoint, cutAfterChunks = Number.POSITIVE_INFINITY) {
    this.#target = target;
    this.#chunksLeft = cutAfterChunks;
  }

  listen(): Promise<Endpoint> {
    return listenAnywhere(this.#server);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #accept(client: Socket): void {
    const connection = this.#connections++;
    const server = connect({ ...this.#target, noDelay: true });
    client.setNoDelay(true);
    this.#follow(connection, "client", client, server);
    this.#follow(connection, "server", server, client);
  }

  #follow(connection: number, by: "client" | "server", from: Socket, to: Socket): void {
    const cutter = new FrameCutter((frame) => {
      this.said.push({ connection, by, frame });
      if (frame.name === "CHUNK" && --this.#chunksLeft === 0) this.#cut();
    });
    this.#sockets.add(from);
    from.on("data", (bytes: Buffer) => {
      cutter.push(bytes);
      if (!from.destroyed) to.write(bytes);
    });
    from.on("end", () => to.end());
    from.on("error", () => {});
    from.on("close", () => {
      this.#sockets.delete(from);
      if (by === "client") this.said.push({ connection, by, frame: undefined });
      to.destroy();
    });
  }

  /** What has gone up by now is there; nothing else of it comes through. */
  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
