/**
 * A sink whose clients may each have so much unfinished in it (`Quota`), over one that knows no clients. Parts without an
 * account pass by uncounted, and so do small files: they are committed as they come.
 */
import type { Quota } from "./quota.ts";
import type {
  Committed,
  ExistingFile,
  HeldFile,
  Part,
  PartSpec,
  Sink,
  SinkCapabilities,
  TreeSink,
  WriterDescriptor,
} from "./sink.ts";

export interface QuotaSinkOptions {
  readonly quota: Quota;
  /** Whether a part is still there: an owner may have dropped it beside the server. */
  readonly isThere: (id: string) => boolean;
}

export class QuotaSink implements Sink {
  readonly tree?: TreeSink;
  readonly #inner: Sink;
  readonly #quota: Quota;
  readonly #isThere: QuotaSinkOptions["isThere"];

  constructor(inner: Sink, { quota, isThere }: QuotaSinkOptions) {
    this.#inner = inner;
    this.#quota = quota;
    this.#isThere = isThere;
    if (inner.tree !== undefined) this.tree = inner.tree;
  }

  get capabilities(): SinkCapabilities {
    return this.#inner.capabilities;
  }

  get isWriting(): boolean | undefined {
    return this.#inner.isWriting;
  }

  find(name: Uint8Array): Promise<ExistingFile | undefined> {
    return this.#inner.find(name);
  }

  async reserve(spec: PartSpec): Promise<Part> {
    const { account, id, size } = spec;
    if (account === undefined) return this.#inner.reserve(spec);
    this.#reserve(id, account, size ?? 0);
    try {
      return new QuotaPart(await this.#inner.reserve(spec), spec, account, 0, this.#quota);
    } catch (thrown) {
      this.#quota.release(id);
      throw thrown;
    }
  }

  async reopen(spec: PartSpec, bytesThere: number): Promise<Part | undefined> {
    const { account, id, size } = spec;
    if (account === undefined) return this.#inner.reopen(spec, bytesThere);
    this.#reserve(id, account, size ?? bytesThere);
    let part: Part | undefined;
    try {
      part = await this.#inner.reopen(spec, bytesThere);
    } finally {
      // It may not be what it should be, and still lie there.
      if (part === undefined) this.#quota.lay(id, account, bytesThere);
    }
    return part && new QuotaPart(part, spec, account, bytesThere, this.#quota);
  }

  /** What was dropped beside us is found out when it matters. */
  #reserve(id: string, account: string, bytes: number): void {
    try {
      this.#quota.reserve(id, account, bytes);
    } catch {
      for (const lying of this.#quota.lyingOf(account)) if (!this.#isThere(lying)) this.#quota.release(lying);
      this.#quota.reserve(id, account, bytes);
    }
  }

  isCommitted(name: Uint8Array, fingerprint: string, size: number): Promise<boolean> {
    return this.#inner.isCommitted(name, fingerprint, size);
  }
  async dropPart(id: string): Promise<void> {
    await this.#inner.dropPart(id);
    this.#quota.release(id);
  }
  dropAllBut(ids: ReadonlySet<string>): Promise<number> {
    return this.#inner.dropAllBut(ids);
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}

class QuotaPart implements Part {
  readonly #inner: Part;
  readonly #spec: PartSpec;
  readonly #quota: Quota;
  readonly #account: string;
  /** There so far; the same range may be written twice. */
  #bytes: number;
  /** Committed, closed or dropped. */
  #ended = false;
  readonly cloneFrom?: (file: HeldFile) => Promise<boolean>;

  constructor(inner: Part, spec: PartSpec, account: string, bytes: number, quota: Quota) {
    this.#inner = inner;
    this.#account = account;
    this.#spec = spec;
    this.#bytes = bytes;
    this.#quota = quota;
    if (inner.cloneFrom !== undefined) this.cloneFrom = (file) => inner.cloneFrom?.(file) ?? Promise.resolve(false);
  }

  open(): WriterDescriptor {
    const writer = this.#inner.open();
    return writer.kind === "local" ? { kind: "local", part: this } : writer;
  }

  write(offset: number, bytes: Uint8Array): void | Promise<void> {
    // First: a write that fails while nobody waits for it would end the program.
    this.#count(bytes.length);
    return this.#inner.write(offset, bytes);
  }
  written(bytes: number): void {
    this.#inner.written(bytes);
    this.#count(bytes);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#spec.size === null) this.#quota.grow(this.#spec.id, bytes);
  }

  read(offset: number, room: Uint8Array): Promise<number> {
    return this.#inner.read(offset, room);
  }
  sync(): Promise<void> {
    return this.#inner.sync();
  }
  get fingerprint(): string {
    return this.#inner.fingerprint;
  }

  async commit(size: number, crc32: number): Promise<Committed> {
    const committed = await this.#inner.commit(size, crc32);
    this.#ended = true;
    this.#quota.release(this.#spec.id);
    return committed;
  }
  async close(): Promise<void> {
    await this.#inner.close();
    if (this.#ended) return;
    this.#ended = true;
    this.#quota.lay(this.#spec.id, this.#account, Math.min(this.#bytes, this.#spec.size ?? this.#bytes));
  }
  async abort(): Promise<void> {
    await this.#inner.abort();
    // Another part of this id may be there by now.
    if (this.#ended) return;
    this.#ended = true;
    this.#quota.release(this.#spec.id);
  }
}
