/** A client that is the source, written from PROTOCOL.md alone: one transfer of what it has in memory. */
import { crc32 } from "node:zlib";
import { blake3 } from "./blake3.ts";
import { type Address, Connection } from "./connection.ts";
import { Breach } from "./errors.ts";
import { RAW } from "./frames.ts";
import type { Fields, Value } from "./msgpack.ts";
import type { Frame } from "./receiver.ts";
import type { Secured } from "./sealed.ts";

export interface Entry {
  readonly name: string | Buffer;
  /** Missing for a directory and a link. */
  readonly content?: Buffer;
  readonly kind?: "directory" | "symlink";
  readonly target?: string;
  /** It goes in a bundle. */
  readonly whole?: boolean;
  readonly quick?: boolean;
  readonly key?: Buffer;
  /** Its size is not said before SEAL. */
  readonly sizeUnknown?: boolean;
  readonly mtime?: readonly [number, number];
  readonly mode?: number;
}

export interface SourceOptions {
  readonly streams?: number;
  readonly chunkBytes?: number;
  /** How chunks are encoded where that makes them shorter. */
  readonly encoding?: number;
  /** What else HELLO says. */
  readonly hello?: Fields;
  /** How a connection is opened, if not in plain. */
  readonly dial?: () => Promise<Connection>;
  /** Goes away when so many chunks are acknowledged. */
  readonly goneAfter?: number;
  /** In place of plain connections. */
  readonly over?: Secured;
}

export interface Sent {
  readonly welcome: Fields;
  readonly outcomes: ReadonlyMap<number, Fields>;
  /** Null where it went away. */
  readonly receipt: Fields | null;
  readonly plans: readonly string[];
  readonly chunksSent: number;
  readonly chunksHad: number;
}

/** A chunk, or a bundle of the files in `bundle`. */
interface Job {
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
  readonly bundle?: readonly number[];
}

const ENTRIES_PER_PAGE = 100;
const contentOf = ({ content = Buffer.alloc(0) }: Entry) => content;
const isSmall = ({ kind, whole }: Entry) => kind !== undefined || whole === true;
const name = (job: Job) => `${job.file}:${job.offset}`;

export class Source {
  readonly #dial: () => Promise<Connection>;
  readonly #entries: readonly Entry[];
  readonly #options: SourceOptions;
  readonly #control: Connection;
  #welcome: Fields = {};
  #chunkBytes = 0;
  #offered = 0;
  #finished = false;
  #acknowledged = 0;
  #gone = false;
  readonly #outcomes = new Map<number, Fields>();
  readonly #plans: string[] = [];
  /** Of each file: the chunks that need not be sent, and what must be acknowledged before SEAL. */
  readonly #had = new Map<number, Set<number>>();
  readonly #unsealed = new Map<number, Set<string>>();
  readonly #sending = new Set<number>();
  readonly #compared = new Set<number>();
  readonly #jobs: Job[] = [];
  readonly #streams: { readonly connection: Connection; readonly out: Map<string, Job> }[] = [];
  #chunksSent = 0;

  constructor(control: Connection, dial: () => Promise<Connection>, entries: readonly Entry[], options: SourceOptions) {
    this.#dial = dial;
    this.#entries = entries;
    this.#options = options;
    this.#control = control;
  }

  async run(): Promise<Sent> {
    const { streams = 1, chunkBytes = 65_536, hello = {}, over } = this.#options;
    const wish = {
      agent: "second/1",
      role: "source",
      purpose: "transfer",
      streams,
      chunkBytes,
      ...over?.hello,
      ...hello,
    };
    this.#control.send("HELLO", wish);
    try {
      this.#welcome = (await this.#control.until("WELCOME")).fields;
      this.#chunkBytes = this.#number("chunkBytes");
      this.#control.receiver.chunkBytes = this.#chunkBytes;
      const failed = Promise.withResolvers<never>();
      for (let i = 0; i < Math.min(streams, this.#number("streams")); i += 1) this.#stream(i).catch(failed.reject);
      this.#offer();
      const receipt = await Promise.race([this.#listen(), failed.promise]);
      const had = [...this.#had.values()].reduce((sum, { size }) => sum + size, 0);
      return {
        welcome: this.#welcome,
        outcomes: this.#outcomes,
        receipt,
        plans: this.#plans,
        chunksSent: this.#chunksSent,
        chunksHad: had,
      };
    } finally {
      this.#close();
    }
  }

  #close(): void {
    for (const { connection } of [{ connection: this.#control }, ...this.#streams]) connection.close();
  }

  #number(term: string): number {
    return this.#welcome[term] as number;
  }

  /** The RECEIPT; null where this end went away. */
  async #listen(): Promise<Fields | null> {
    for (let frame = await this.#control.next(); frame !== null; frame = await this.#control.next()) {
      if (frame.name === "RECEIPT") return frame.fields;
      this.#heard(frame);
    }
    if (this.#gone) return null;
    throw this.#control.error ?? new Breach("closed", "no RECEIPT came");
  }

  #heard({ name, fields }: Frame): void {
    if (name === "HAVE") this.#have(fields);
    if (name === "RESEND") this.#again(fields);
    const bundled: number[] = [];
    for (const row of (fields["files"] ?? []) as Fields[]) {
      const { file, count = 1 } = row as { file: number; count?: number };
      for (let index = file; index < file + count; index += 1) {
        if (name === "OUTCOME") this.#settled(index, row);
        else if (this.#outcomes.has(index)) continue;
        else if (row["action"] === "compare") this.#compare(index);
        else if (!this.#sending.has(index)) {
          this.#plans.push(`${index} send`);
          this.#sending.add(index);
          if (this.#entries[index]?.whole && !this.#compared.has(index)) bundled.push(index);
          else this.#deal(index);
        }
      }
    }
    this.#bundle(bundled);
    this.#pump();
    this.#offer();
  }

  #compare(file: number): void {
    this.#plans.push(`${file} compare`);
    this.#compared.add(file);
    this.#control.send("DIGEST", { files: [{ file, blake3: blake3(this.#content(file)) }] });
  }

  #content(file: number): Buffer {
    return contentOf(this.#entries[file] as Entry);
  }

  #settled(file: number, outcome: Fields): void {
    const { crc32: crc } = outcome as { crc32?: number };
    if (crc !== undefined && crc !== crc32(this.#content(file))) throw new Breach("E_CONTENT", `file ${file}`);
    this.#outcomes.set(file, outcome);
  }

  #chunkAt(file: number, offset: number): Buffer {
    return this.#content(file).subarray(offset, offset + this.#chunkBytes);
  }

  #job(file: number, offset: number): Job {
    return { file, offset, bytes: this.#chunkAt(file, offset).length };
  }

  #have(fields: Fields): void {
    const { file, offset, crcs, digests } = fields as { file: number; offset: number; crcs: Buffer; digests?: Buffer };
    const had = this.#had.get(file) ?? new Set<number>();
    this.#had.set(file, had);
    for (let i = 0; i < crcs.length / 4; i += 1) {
      const at = offset + i * this.#chunkBytes;
      const chunk = this.#chunkAt(file, at);
      let same = crc32(chunk) === crcs.readUInt32BE(4 * i);
      if (digests)
        same &&= blake3(chunk)
          .subarray(0, 16)
          .equals(digests.subarray(16 * i, 16 * i + 16));
      // What differs goes at once where another file has it; otherwise it waits for PLAN.
      if (same || digests) had.add(at);
      if (!same && digests) this.#need(file, at);
    }
    this.#pump();
  }

  #need(file: number, offset: number): void {
    const job = this.#job(file, offset);
    const needed = this.#unsealed.get(file) ?? new Set<string>();
    this.#unsealed.set(file, needed.add(name(job)));
    this.#jobs.push(job);
  }

  #deal(file: number): void {
    for (let at = 0; at < this.#content(file).length; at += this.#chunkBytes) {
      if (!this.#had.get(file)?.has(at)) this.#need(file, at);
    }
    this.#seal(file);
  }

  #seal(file: number): void {
    if (!this.#sending.has(file) || this.#unsealed.get(file)?.size) return;
    const content = this.#content(file);
    const digest = this.#welcome["verify"] === "full" ? { blake3: blake3(content) } : {};
    this.#control.send("SEAL", { files: [{ file, size: content.length, crc32: crc32(content), ...digest }] });
  }

  #bundle(files: readonly number[]): void {
    let some: number[] = [];
    let bytes = 4;
    const flush = () => {
      if (some.length > 0) this.#jobs.push({ file: some[0] as number, offset: 0, bytes, bundle: some });
      [some, bytes] = [[], 4];
    };
    for (const file of files) {
      const more = 12 + this.#content(file).length;
      if (some.length === 256 || bytes + more > this.#chunkBytes) flush();
      some.push(file);
      bytes += more;
    }
    flush();
  }

  /** Offers what there is room for; a directory when all before it has its outcome. */
  #offer(): void {
    const open = { small: 0, large: 0 };
    for (let i = 0; i < this.#offered; i += 1) {
      if (!this.#outcomes.has(i)) open[isSmall(this.#entries[i] as Entry) ? "small" : "large"] += 1;
    }
    const most = { large: this.#number("openFiles"), small: this.#number("openSmall") || this.#number("openFiles") };
    let page: Value[] = [];
    const settledBelow = this.#settledBelow();
    for (let entry = this.#entries[this.#offered]; entry; entry = this.#entries[this.#offered]) {
      const which = isSmall(entry) ? "small" : "large";
      if (open[which] >= most[which] || (entry.kind === "directory" && settledBelow < this.#offered)) break;
      open[which] += 1;
      page.push(this.#offerOf(entry, this.#offered));
      this.#offered += 1;
      if (page.length < ENTRIES_PER_PAGE) continue;
      this.#control.send("OFFER", { settledBelow, files: page });
      page = [];
    }
    if (page.length > 0) this.#control.send("OFFER", { settledBelow, files: page });
    if (this.#offered < this.#entries.length || this.#finished) return;
    this.#finished = true;
    this.#control.send("FINISH", { files: this.#entries.length });
  }

  #settledBelow(): number {
    let below = 0;
    while (below < this.#offered && this.#outcomes.has(below)) below += 1;
    return below;
  }

  #offerOf(entry: Entry, file: number): Fields {
    const { name, mtime = [1_700_000_000, 123_456_000], mode = 0o644, kind, target, whole, quick, key } = entry;
    return {
      file,
      name: Buffer.from(name as string),
      size: entry.sizeUnknown ? null : contentOf(entry).length,
      mtime,
      mode,
      ...(kind && { kind }),
      ...(target !== undefined && { target: Buffer.from(target) }),
      ...(whole && { whole }),
      ...(quick && { quick }),
      ...(key && { key }),
    };
  }

  async #stream(stream: number): Promise<void> {
    const connection = this.#options.over?.dial(this.#welcome) ?? (await this.#dial());
    const { session, generation } = this.#welcome as { session: Buffer; generation: number };
    connection.send("ATTACH", { session, generation, stream, attempt: 1 });
    const out = new Map<string, Job>();
    // Who has shown a ticket hears first that the server knows it, too.
    const mustWait = connection.secret !== undefined;
    if (mustWait) await connection.until("ATTACHED");
    this.#streams.push({ connection, out });
    if (this.#gone) return connection.close();
    if (!mustWait) await connection.until("ATTACHED");
    this.#pump();
    for (let frame = await connection.next(); frame !== null; frame = await connection.next()) {
      if (frame.name === "RESEND") this.#again(frame.fields, out);
      else this.#acknowledge(frame.fields, out);
      this.#pump();
    }
    if (connection.error) throw connection.error;
  }

  #acknowledge({ chunks }: Fields, out: Map<string, Job>): void {
    for (const [file, offset, length] of chunks as [number, number, number][]) {
      for (let at = offset; at < offset + length; at += this.#chunkBytes) {
        const job = out.get(`${file}:${at}`);
        if (job === undefined) throw new Breach("E_ILLEGAL", `ACK of ${file}:${at}, which was not sent here`);
        out.delete(name(job));
        this.#acknowledged += 1;
        if (job.bundle) break;
        this.#unsealed.get(file)?.delete(name(job));
        this.#seal(file);
      }
    }
    if (this.#acknowledged < (this.#options.goneAfter ?? Number.POSITIVE_INFINITY)) return;
    this.#gone = true;
    this.#close();
  }

  #again({ chunks }: Fields, out?: Map<string, Job>): void {
    for (const [file, offset] of chunks as [number, number, number][]) {
      const job = out?.get(`${file}:${offset}`);
      out?.delete(`${file}:${offset}`);
      if (job?.bundle) this.#bundle(job.bundle.filter((file) => !this.#outcomes.has(file)));
      else this.#jobs.unshift(this.#job(file, offset));
    }
  }

  /** Gives each stream what its window has room for, in turn. */
  #pump(): void {
    for (let busy = true; busy && !this.#gone; ) {
      busy = false;
      for (const { connection, out } of this.#streams) {
        const job = this.#jobs[0];
        if (job === undefined || connection.receiver.state !== "data" || out.has(name(job))) continue;
        const outstanding = [...out.values()].reduce((sum, { bytes }) => sum + bytes, 0);
        if (outstanding + job.bytes > this.#number("windowBytes")) continue;
        this.#jobs.shift();
        out.set(name(job), job);
        busy = true;
        if (job.bundle) {
          connection.bundle(
            job.file,
            job.bundle.map((file) => ({ file, content: this.#content(file) })),
          );
          continue;
        }
        this.#chunksSent += 1;
        const { encoding = RAW } = this.#options;
        connection.chunk(job.file, job.offset, this.#chunkAt(job.file, job.offset), encoding);
      }
    }
  }
}

export async function sendAll(to: Address, entries: readonly Entry[], options: SourceOptions = {}): Promise<Sent> {
  const { dial = async () => Connection.dial(to) } = options;
  return new Source(options.over?.control ?? (await dial()), dial, entries, options).run();
}
