/**
 * What a server under fuzzing writes to, and what must hold of it when all is over: a name shows what was there, or exactly
 * what was committed under it; nothing lies outside; no part and no descriptor is left.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import type { HawserServer, ServerEvent } from "../../src/index.ts";
import { crc32, formatCrc32 } from "../../src/protocol/crc32.ts";
import { displayName, STAGING_NAME } from "../../src/protocol/names.ts";
import { MemoryHistory } from "../../src/server/history.ts";
import { serve, serveBackend } from "../../src/server/serve.ts";
import type { ServeOptions } from "../../src/server/types.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { Committed, PartSpec } from "../../src/sink/sink.ts";
import type { Random } from "./random.ts";
import { lay, type Scenario } from "./tapes.ts";

/** Nothing that a tape sends is larger; what is made to look larger must not become memory. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;

const DURABILITIES = ["commit", "checkpoint", "strict"] as const;

const OUTSIDE = "outside.txt";

/** A memory sink that knows its names. */
class ListingSink extends MemorySink {
  readonly names = new Map<string, Buffer>();

  override publish(spec: PartSpec, content: Uint8Array): Committed {
    const committed = super.publish(spec, content);
    const name = Buffer.from(committed.name ?? spec.name);
    this.names.set(name.toString("latin1"), name);
    return committed;
  }
}

/** What a program behind the server got. */
class Collected extends Writable {
  readonly pieces: Buffer[] = [];

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.pieces.push(Buffer.from(bytes));
    done();
  }
}

export type Kind = "disk" | "memory" | "pipe";

export class Destination {
  server: HawserServer;
  readonly #options: ServeOptions;
  /** What it said that a bug of ours would make it say. */
  readonly bugs: string[] = [];
  readonly #root: string;
  readonly #sink: ListingSink | undefined;
  readonly #pipe: Collected | undefined;
  /** CRC-32s of what was committed, into the pipe. */
  readonly #piped: string[] = [];
  /** By name as it is shown: the CRC-32s of what was there or was committed, in hexadecimal. */
  readonly #known = new Map<string, Set<string>>();
  readonly #outsideBefore: string;

  private constructor(
    server: HawserServer,
    options: ServeOptions,
    root: string,
    to: { sink?: ListingSink; pipe?: Collected },
  ) {
    this.server = server;
    this.#options = options;
    this.#root = root;
    this.#sink = to.sink;
    this.#pipe = to.pipe;
    this.#outsideBefore = outsideOf(root);
  }

  /** Serves what a scenario finds there, from the disk or from memory; or a pipe. `root` is made, and empty. */
  static async open(root: string, scenario: Scenario, kind: Kind, random: Random): Promise<Destination> {
    const to = join(root, "to");
    mkdirSync(to);
    lay(to, scenario.there ?? {});
    writeFileSync(join(root, OUTSIDE), "not to be touched");
    let destination: Destination | undefined;
    const pipe = kind === "pipe" ? new Collected() : undefined;
    const options: ServeOptions = {
      ...(pipe === undefined ? { dir: to } : { output: pipe }),
      port: 0,
      durability: random.oneIn(8) ? random.pick(DURABILITIES) : "none",
      maxFileBytes: FILE_BYTES_MAX,
      // So that what a client left does not wait for it long; or is there when the next server comes.
      sessionTtlMs: random.oneIn(2) ? 1000 : 60_000,
      // The honest client's files are below these.
      ...(random.oneIn(4) ? { quotaBytes: 400_000 } : {}),
      ...(random.oneIn(4) ? { maxEntries: 8, maxDepth: 2 } : {}),
      onEvent: (event) => destination?.note(event),
    };
    const sink = kind === "memory" ? new ListingSink(FILE_BYTES_MAX) : undefined;
    if (sink !== undefined) await fill(sink, scenario);
    const server =
      sink === undefined
        ? await serve(options)
        : await serveBackend(options, {
            sink,
            store: new MemorySessionStore(),
            history: new MemoryHistory(),
            release: async () => {},
          });
    destination = new Destination(server, options, root, { ...(sink && { sink }), ...(pipe && { pipe }) });
    for (const [name, content] of destination.#files()) destination.#knows(name, content);
    return destination;
  }

  note(event: ServerEvent): void {
    if (event.type === "file" && event.file.crc32 !== null && event.file.status === "committed") {
      const { name, crc32 } = event.file;
      this.#piped.push(crc32);
      this.#known.set(name, (this.#known.get(name) ?? new Set()).add(crc32));
    }
    if ("code" in event && event.code === "E_INTERNAL") this.bugs.push(JSON.stringify(event));
    if (event.type === "warning") this.bugs.push(`a warning: ${event.message}`);
  }

  #knows(name: string, content: Uint8Array): void {
    this.#known.set(name, new Set([formatCrc32(crc32(content))]));
  }

  /** Ends the server, and begins another over what it has left. Of a disk only. */
  async reopen(): Promise<void> {
    await this.server.close();
    this.server = await serve(this.#options);
  }

  /** Ends the server, and says what is wrong. */
  async close(): Promise<string[]> {
    await this.server.close();
    const wrong = [...this.bugs];
    if (this.#pipe !== undefined && this.#piped.length > 0) {
      const crc = formatCrc32(crc32(Buffer.concat(this.#pipe.pieces)));
      if (this.#piped.join() !== crc)
        wrong.push(`${this.#piped.join()} was committed, and ${crc} came out of the pipe`);
    }
    for (const [name, content] of this.#files()) {
      const crc = formatCrc32(crc32(content));
      if (!this.#known.get(name)?.has(crc)) wrong.push(`'${name}' has the CRC-32 ${crc}, which was never committed`);
    }
    if (outsideOf(this.#root) !== this.#outsideBefore)
      wrong.push(`outside something changed: ${outsideOf(this.#root)}`);
    if (this.#sink !== undefined && this.#sink.partsOpen > 0) wrong.push(`${this.#sink.partsOpen} parts are open`);
    rmSync(this.#root, { recursive: true, force: true });
    return wrong;
  }

  *#files(): Generator<[name: string, content: Uint8Array]> {
    if (this.#sink === undefined) yield* filesIn(Buffer.from(join(this.#root, "to")), "");
    else {
      for (const name of this.#sink.names.values()) {
        const content = this.#sink.read(name);
        if (content !== undefined) yield [displayName(name), content];
      }
    }
  }
}

/** Regular files, without a step through a link. */
function* filesIn(dir: Buffer, prefix: string): Generator<[name: string, content: Uint8Array]> {
  for (const entry of readdirSync(dir, { withFileTypes: true, encoding: "buffer" })) {
    const name = entry.name as unknown as Buffer;
    if (prefix === "" && name.toString() === STAGING_NAME) continue;
    const path = Buffer.concat([dir, Buffer.from("/"), name]);
    const shown = `${prefix}${displayName(name)}`;
    if (entry.isDirectory()) yield* filesIn(path, `${shown}/`);
    else if (entry.isFile()) yield [shown, readFileSync(path)];
  }
}

/** Everything beside the served directory: names, and what the file says that lies there. */
function outsideOf(root: string): string {
  return [...readdirSync(root).sort(), readFileSync(join(root, OUTSIDE), "utf8")].join("\n");
}

async function fill(sink: ListingSink, { there = {} }: Scenario): Promise<void> {
  for (const [i, [name, content]] of Object.entries(there).entries()) {
    if (!Buffer.isBuffer(content)) continue;
    const spec: PartSpec = {
      id: `there-${i}`,
      name: Buffer.from(name),
      size: content.length,
      mtime: [1_700_000_000, 0],
      mode: 0o644,
    };
    const part = await sink.reserve(spec);
    part.open();
    if (content.length > 0) await part.write(0, content);
    await part.commit(content.length, crc32(content));
  }
}
