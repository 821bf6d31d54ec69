/**
 * Power cuts: the server writes to an ext4 of its own, which is shut down at a random moment, journal and caches lost,
 * and mounted again. Files that the client heard of must be there. The machine does not really start anew, so in half of
 * the cases the database is told that another boot wrote it.
 */
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import type { FrameName } from "../../src/protocol/header.ts";
import { MIB } from "../helpers/files.ts";
import { type Direction, TcpProxy } from "../helpers/proxy.ts";
import type { Case } from "./case.ts";
import { drawChunkBytes, makeSources } from "./files.ts";
import { Pair } from "./pair.ts";

const IMAGE_BYTES = 1024 * MIB;
const FILE_BYTES = 150 * MIB;
const CASE_BYTES = 200 * MIB;
const TIMEOUT_MS = 20_000;

const FRAMES: readonly (readonly [direction: Direction, name: FrameName, last: number | "chunks"])[] = [
  ["up", "CHUNK", "chunks"],
  ["up", "CHUNK", "chunks"],
  ["up", "CHUNK", "chunks"],
  ["up", "BUNDLE", 4],
  ["up", "BUNDLE", 20],
  ["up", "SEAL", 5],
  ["down", "OUTCOME", 5],
  ["down", "OUTCOME", 5],
  ["down", "RECEIPT", 1],
];

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: nothing that isn't on the disk gets there any more. */
const SHUTDOWN = `
import fcntl, os, struct, sys
mount = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
print("ready", flush=True)
sys.stdin.read(1)
fcntl.ioctl(mount, 0x8004587d, struct.pack("I", 2))
print("cut", flush=True)
`;

/** Why power can't be cut here; undefined where it can. */
export function whyNoCuts(): string | undefined {
  if (process.platform !== "linux") return "it needs Linux";
  if (process.getuid?.() !== 0) return "mounting needs root";
  for (const tool of ["python3", "mkfs.ext4", "losetup", "mount", "umount"]) {
    try {
      execFileSync("sh", ["-c", `command -v ${tool}`]);
    } catch {
      return `${tool} is not there`;
    }
  }
  try {
    execFileSync("losetup", ["--find"], { stdio: ["ignore", "pipe", "pipe"] });
  } catch {
    return "there is no free loop device";
  }
  return undefined;
}

/** A disk whose power can be cut. */
class Disk {
  readonly #image: string;
  readonly mount: string;
  #isMounted = false;

  constructor(it: Case) {
    this.#image = join(it.dir, "image");
    this.mount = it.directory("mount");
    writeFileSync(this.#image, "");
    truncateSync(this.#image, IMAGE_BYTES);
    execFileSync("mkfs.ext4", ["-q", "-F", this.#image]);
    it.atEnd(() => {
      if (this.#isMounted) execFileSync("umount", ["--lazy", this.mount]);
    });
  }

  plugIn(): void {
    execFileSync("mount", ["-o", "loop", this.#image, this.mount]);
    this.#isMounted = true;
  }

  /** When nobody has anything open on it any more. */
  unplug(): void {
    execFileSync("umount", [this.mount]);
    this.#isMounted = false;
  }
}

/** Stands by to cut the power at once. */
class Switch {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(it: Case, mount: string) {
    this.#child = spawn("python3", ["-c", SHUTDOWN, mount], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    it.atEnd(() => void this.#child.kill("SIGKILL"));
  }

  async ready(): Promise<void> {
    await this.#expect("ready");
  }

  async cut(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end("!");
    await this.#expect("cut");
    await exited;
  }

  async #expect(word: string): Promise<void> {
    const { value } = await this.#lines.next();
    if (value !== word) throw new Error(`the power switch says '${value}' and not '${word}'`);
  }
}

type Moment =
  | { readonly kind: "time"; readonly ms: number }
  | { readonly kind: "frame"; readonly direction: Direction; readonly name: FrameName; readonly nth: number };

interface Cut {
  readonly moment: Moment;
  /** Between the cut and the server's death, in which it meets a disk that is gone. */
  readonly agonyMs: number;
  readonly killsClient: boolean;
  readonly changesBoot: boolean;
}

function drawCut({ draw }: Case, chunks: number, seconds: number): Cut {
  const [direction, name, last] = draw.pick(FRAMES);
  const most = last === "chunks" ? Math.max(1, chunks) : last;
  return {
    moment: draw.chance(0.4)
      ? { kind: "time", ms: draw.whole(200, 300 + 1000 * seconds) }
      : { kind: "frame", direction, name, nth: draw.whole(1, most) },
    agonyMs: draw.chance(0.5) ? 0 : draw.log(1, 300),
    killsClient: draw.chance(0.6),
    changesBoot: draw.chance(0.5),
  };
}

export async function runCuts(it: Case): Promise<void> {
  const { draw } = it;
  const chunkBytes = drawChunkBytes(draw);
  const disk = new Disk(it);
  disk.plugIn();
  const served = join(disk.mount, "to");
  mkdirSync(served);
  execFileSync("sync", ["-f", disk.mount]);
  const durability = draw.pick(["commit", "checkpoint", "checkpoint", "strict"]);
  const streams = draw.whole(1, 8);
  const sources = makeSources(it, { count: draw.whole(1, 5), chunkBytes, most: FILE_BYTES, total: CASE_BYTES });
  const totalBytes = sources.reduce((sum, { bytes }) => sum + bytes, 0);
  const pair = await Pair.make(it, {
    served,
    sources,
    durability,
    streams,
    chunkBytes,
    timeoutMs: TIMEOUT_MS,
    passing: ["E_PARTIAL", "E_IO", "E_DESTINATION", "E_NO_SPACE"],
  });
  // Slow enough that there are checkpoints, which are made every second.
  const seconds = draw.whole(1, 4);
  const bytesPerSecond = Math.max(MIB, totalBytes / seconds) / streams;
  const proxy = new TcpProxy({ host: "127.0.0.1", port: pair.port }, { shape: () => ({ bytesPerSecond }) });
  await proxy.listen();
  it.atEnd(() => proxy.close());
  pair.dialled = proxy.address.port;
  const chunks = sources.reduce((sum, { bytes }) => sum + Math.ceil(bytes / chunkBytes), 0);
  const cuts = draw.list(draw.whole(1, 3), () => drawCut(it, chunks, seconds));
  for (const cut of cuts) await cutOnce(it, { pair, disk, proxy, served }, cut);
  await pair.finish();
}

interface Bench {
  readonly pair: Pair;
  readonly disk: Disk;
  readonly proxy: TcpProxy;
  readonly served: string;
}

async function cutOnce(it: Case, { pair, disk, proxy, served }: Bench, cut: Cut): Promise<void> {
  it.note(`to cut: ${JSON.stringify(cut)}`);
  if (pair.server === undefined) await pair.startServer();
  const power = new Switch(it, disk.mount);
  await power.ready();
  const client = pair.client ?? pair.startClient();
  await Promise.race([comes(cut.moment, proxy), client.exited]);
  await power.cut();
  it.note("cut");
  if (cut.killsClient) await pair.killClient();
  if (cut.agonyMs > 0) await delay(cut.agonyMs);
  await pair.killServer();
  disk.unplug();
  disk.plugIn();
  it.count("cuts");
  it.count(client.exit?.code === 0 ? "cuts after the receipt" : `cuts at ${whenText(cut.moment)}`);
  pair.afterCut();
  pair.check("after the cut");
  if (client.exit?.signal === null) pair.clientEnded(client.exit);
  const synced = syncedChunks(it, served);
  it.note(`${synced} chunks of unfinished files are recorded as synced`);
  pair.expectsResumed = client.exit?.signal === "SIGKILL" && synced > 0;
  if (cut.changesBoot) changeBoot(served);
}

function comes(moment: Moment, proxy: TcpProxy): Promise<void> {
  if (moment.kind === "time") return delay(moment.ms);
  const { direction, name, nth } = moment;
  const before = proxy.framesOf(direction, name);
  return proxy.until(() => proxy.framesOf(direction, name) >= before + nth);
}

function whenText(moment: Moment): string {
  return moment.kind === "time" ? "a time" : `a frame: ${moment.name} ${moment.direction}`;
}

const databaseIn = (served: string) => join(served, ".hawser", "sessions.db");

/**
 * Chunks that were recorded as synced before the cut, of files that are still parts. What the database says of files that
 * were committed since may be older. Read from a copy: opening a database changes it.
 */
function syncedChunks(it: Case, served: string): number {
  const copy = it.directory("copy");
  rmSync(copy, { recursive: true });
  mkdirSync(copy);
  for (const suffix of ["", "-wal"]) {
    const path = databaseIn(served) + suffix;
    if (existsSync(path)) copyFileSync(path, join(copy, `sessions.db${suffix}`));
  }
  const database = new DatabaseSync(join(copy, "sessions.db"));
  try {
    if (!hasTable(database, "chunk")) return 0;
    const sql = "SELECT part, count(*) AS chunks FROM chunk JOIN file ON file.id = file WHERE synced = 1 GROUP BY part";
    return database
      .prepare(sql)
      .all()
      .filter(({ part }) => existsSync(join(served, ".hawser", "parts", `${part}.part`)))
      .reduce((sum, { chunks }) => sum + Number(chunks), 0);
  } finally {
    database.close();
  }
}

function hasTable(database: DatabaseSync, name: string): boolean {
  return database.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?").get(name) !== undefined;
}

/** As if the machine had been started again. */
function changeBoot(served: string): void {
  const path = databaseIn(served);
  if (!existsSync(path)) return;
  const database = new DatabaseSync(path);
  try {
    if (hasTable(database, "file")) database.exec("UPDATE file SET boot = 'another boot'");
  } finally {
    database.close();
  }
}
