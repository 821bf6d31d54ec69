/**
 * A server that is the sink, written from PROTOCOL.md alone. It keeps what it gets in memory, and takes all files that it
 * is offered. What a test wants otherwise is in its options.
 */
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:net";
import { crc32 } from "node:zlib";
import { blake3 } from "./blake3.ts";
import { type Address, Connection } from "./connection.ts";
import { readBundle } from "./content.ts";
import { Breach, CODES, type Code } from "./errors.ts";
import { greeting, type Name } from "./frames.ts";
import type { Fields, Value } from "./msgpack.ts";
import type { Frame } from "./receiver.ts";

export interface SinkOptions {
  /** What WELCOME says otherwise. */
  readonly welcome?: Fields;
  /** What it has already, by name: compared with, and replaced. */
  readonly there?: Readonly<Record<string, Buffer>>;
  /** So many data frames are taken for damaged. */
  readonly damaged?: number;
  /** false: it does not say of any data that it has come, nor of any offer what to do. */
  readonly acknowledges?: boolean;
  readonly plans?: boolean;
  /** The first chunk of each file was there before, in its CRC-32's opinion. */
  readonly hasFirstChunk?: boolean;
}

interface Offered {
  readonly name: string;
  readonly size: number | null;
  readonly whole: boolean;
  readonly chunks: Map<number, Buffer>;
  readonly kind?: string;
  readonly target?: Buffer;
  seal?: { readonly size: number; readonly crc: number };
  /** Of what it says that it has. */
  had?: number;
  outcome?: Fields;
}

const TERMS = {
  agent: "second/1",
  generation: 1,
  transfer: "a transfer to the second implementation",
  chunkBytes: 65_536,
  windowBytes: 262_144,
  splitBytes: 65_536,
  streams: 4,
  openFiles: 5,
  openSmall: 50,
  durability: "none",
};

/** Serves one session after the other. */
export class MemorySink {
  readonly files = new Map<string, Buffer>();
  readonly links = new Map<string, string>();
  readonly directories: string[] = [];
  /** What went wrong, in its own opinion. */
  readonly breaches: Breach[] = [];
  /** How often each flag of data frames came. */
  readonly flags = [0, 0, 0];
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #options: SinkOptions;
  #damaged: number;
  #session = Buffer.alloc(0);
  #terms: Fields = TERMS;
  #offered: Offered[] = [];
  #control: Connection | null = null;
  #finish: number | null = null;
  #began = 0;

  constructor(options: SinkOptions = {}) {
    this.#options = options;
    this.#damaged = options.damaged ?? 0;
    for (const [name, content] of Object.entries(options.there ?? {})) this.files.set(name, content);
    this.#server = createServer((socket) => {
      socket.write(greeting());
      const connection = new Connection(socket, { side: "server", role: "sink" }, { side: "client", role: "source" });
      this.#connections.add(connection);
      this.#serve(connection).catch((error) => this.#failed(connection, error));
    });
  }

  listen(): Promise<Address> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        const { port } = this.#server.address() as { port: number };
        resolve({ host: "127.0.0.1", port });
      });
    });
  }

  close(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.close();
  }

  #failed(connection: Connection, error: unknown): void {
    if (!(error instanceof Breach)) throw error;
    this.breaches.push(error);
    connection.send("ERROR", { code: CODES[error.code as Code] ?? CODES.E_ILLEGAL, message: error.message });
    connection.socket.end();
  }

  async #serve(connection: Connection): Promise<void> {
    const first = await connection.next();
    if (first?.name === "HELLO") this.#open(connection, first.fields);
    if (first?.name === "ATTACH") this.#attach(connection, first.fields);
    for (let frame = await connection.next(); frame !== null; frame = await connection.next()) {
      if (frame.name === "CHUNK") this.#chunk(connection, frame);
      else if (frame.name === "BUNDLE") this.#bundle(connection, frame);
      else if (frame.name !== "PONG") this.#message(frame.name, frame.fields);
      this.#settle();
    }
    this.#connections.delete(connection);
    if (connection.error) this.breaches.push(connection.error);
  }

  #open(connection: Connection, hello: Fields): void {
    const chunkBytes = hello["chunkBytes"] as number;
    this.#session = randomBytes(16);
    this.#terms = {
      ...TERMS,
      chunkBytes,
      windowBytes: 4 * chunkBytes,
      ...this.#options.welcome,
      session: this.#session,
    };
    this.#offered = [];
    this.#finish = null;
    this.#began = performance.now();
    this.#control = connection;
    connection.send("WELCOME", this.#terms);
  }

  #attach(connection: Connection, { session, generation, stream }: Fields): void {
    const known = this.#session.equals(session as Buffer) && generation === this.#terms["generation"];
    if (!known || Number(stream) >= Number(this.#terms["streams"])) throw new Breach("E_UNKNOWN_SESSION", "which one?");
    connection.receiver.chunkBytes = Number(this.#terms["chunkBytes"]);
    connection.send("ATTACHED", { stream: stream as number });
  }

  #message(name: Name, fields: Fields): void {
    if (name === "FINISH") {
      this.#finish = fields["files"] as number;
      if (this.#finish !== this.#offered.length) throw new Breach("E_ILLEGAL", "another number of files");
    }
    for (const row of (Array.isArray(fields["files"]) ? fields["files"] : []) as Fields[]) {
      const file = row["file"] as number;
      if (name === "OFFER") {
        this.#offer(row);
        continue;
      }
      const offered = this.#offered[file];
      if (offered === undefined) throw new Breach("E_ILLEGAL", `${name} of ${file}, which was not offered`);
      if (name === "SEAL") offered.seal = { size: row["size"] as number, crc: row["crc32"] as number };
      if (name === "WITHDRAW")
        offered.outcome ??= this.#tell({ file, status: "failed", error: row["error"] as Fields });
      if (name === "DIGEST") this.#compared(file, offered, row["blake3"] as Buffer);
    }
  }

  #offer(row: Fields): void {
    const file = this.#offered.length;
    if (row["file"] !== file) throw new Breach("E_ILLEGAL", `an offer of ${row["file"]}`);
    const name = String(row["name"]);
    const { size, kind, target } = row as { size: number | null; kind?: string; target?: Buffer };
    const whole = row["whole"] === true;
    const offered: Offered = { name, size, whole, chunks: new Map(), ...(kind && { kind }), ...(target && { target }) };
    this.#offered.push(offered);
    const open = this.#offered.filter((of) => !of.outcome && (of.whole || of.kind) === (whole || kind)).length;
    if (open > Number(this.#terms[whole || kind ? "openSmall" : "openFiles"]))
      throw new Breach("E_ILLEGAL", "too many");
    if (kind === "directory") this.directories.push(name);
    if (kind === "symlink") this.links.set(name, String(target));
    if (kind) offered.outcome = this.#tell({ file, status: "committed", size: 0 });
    else if (this.files.get(name)?.length === size) this.#plan(file, "compare");
    else this.#send(file, offered);
  }

  #plan(file: number, action: string): void {
    if (this.#options.plans !== false) this.#control?.send("PLAN", { files: [{ file, action }] });
  }

  /** Says that it has what `there` has of the first chunk, if it is to. */
  #send(file: number, offered: Offered): void {
    const first = this.files.get(offered.name)?.subarray(0, Number(this.#terms["chunkBytes"]));
    if (this.#options.hasFirstChunk && first && !offered.whole) {
      const crcs = Buffer.alloc(4);
      crcs.writeUInt32BE(crc32(first));
      offered.chunks.set(0, first);
      offered.had = 0;
      this.#control?.send("HAVE", { file, offset: 0, crcs });
    }
    this.#plan(file, "send");
  }

  #compared(file: number, offered: Offered, digest: Buffer): void {
    const there = this.files.get(offered.name) as Buffer;
    if (!blake3(there).equals(digest)) this.#send(file, offered);
    else offered.outcome = this.#tell({ file, status: "unchanged", size: there.length });
  }

  #tell(outcome: Fields): Fields {
    this.#control?.send("OUTCOME", { files: [outcome] });
    return outcome;
  }

  /** Whether a data frame is whole; otherwise it is asked for again. */
  #intact(connection: Connection, { file, offset, decodedBytes, content, flags }: Frame): boolean {
    this.flags[flags] = (this.flags[flags] ?? 0) + 1;
    const intact = content !== null && this.#damaged === 0;
    if (this.#damaged > 0) this.#damaged -= 1;
    if (this.#options.acknowledges === false) return false;
    connection.send(intact ? "ACK" : "RESEND", { chunks: [[file, offset, decodedBytes]] });
    return intact;
  }

  #chunk(connection: Connection, frame: Frame): void {
    const { file, offset, decodedBytes, content } = frame;
    const offered = this.#offered[file];
    const chunkBytes = Number(this.#terms["chunkBytes"]);
    if (offered === undefined) throw new Breach("E_FOREIGN_CHUNK", `a chunk of ${file}`);
    const size = offered.size ?? offset + decodedBytes;
    if (offset % chunkBytes !== 0 || decodedBytes !== Math.min(chunkBytes, size - offset)) {
      throw new Breach("E_OUT_OF_RANGE", `${decodedBytes} bytes at ${offset} of ${file}`);
    }
    if (!this.#intact(connection, frame) || content === null || offered.outcome) return;
    const before = offered.chunks.get(offset);
    if (before && offset !== offered.had && !before.equals(content)) throw new Breach("E_ILLEGAL", "two contents");
    offered.chunks.set(offset, Buffer.from(content));
  }

  #bundle(connection: Connection, frame: Frame): void {
    if (!this.#intact(connection, frame) || frame.content === null) return;
    for (const { file, content, crc } of readBundle(frame.content)) {
      const offered = this.#offered[file];
      if (offered === undefined) throw new Breach("E_FOREIGN_CHUNK", `file ${file} in a bundle`);
      if (offered.outcome) continue;
      if (!offered.whole || content.length !== offered.size || crc32(content) !== crc) {
        throw new Breach("E_ILLEGAL", `file ${file} in a bundle`);
      }
      this.files.set(offered.name, Buffer.from(content));
      offered.outcome = this.#tell({ file, status: "committed", size: content.length, crc32: crc });
    }
  }

  /** Commits what is whole, and says so when all is. */
  #settle(): void {
    this.#offered.forEach((offered, file) => {
      const { seal, outcome, chunks, name } = offered;
      if (!seal || outcome) return;
      const content = Buffer.concat([...chunks].sort(([a], [b]) => a - b).map(([, chunk]) => chunk));
      if (content.length < seal.size) return;
      if (crc32(content) !== seal.crc) throw new Breach("E_CONTENT", name);
      this.files.set(name, content);
      offered.outcome = this.#tell({ file, status: "committed", size: seal.size, crc32: seal.crc });
    });
    if (this.#finish === null || this.#offered.some(({ outcome }) => !outcome)) return;
    this.#finish = null;
    const failed = this.#offered.filter(({ outcome }) => outcome?.["status"] === "failed").length;
    const bytes = this.#offered.reduce((sum, { outcome }) => sum + Number(outcome?.["size"] ?? 0), 0);
    const durationMs: Value = performance.now() - this.#began;
    this.#control?.send("RECEIPT", { files: this.#offered.length, failed, bytes, durationMs, cpuMicros: 0 });
  }
}
