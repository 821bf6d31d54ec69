/**
 * A sink whose clients may each have so much unfinished in it (`Quota`), over one that knows no clients. Parts without an
 * account pass by uncounted.
 */
import type { Quota } from "./quota.ts";
import type {
  Batch,
  Committed,
  EntrySpec,
  ExistingFile,
  HeldFile,
  Part,
  PartSpec,
  Sink,
  SinkCapabilities,
  StagedOutcome,
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
    if (inner.tree !== undefined) this.tree = new QuotaTree(inner.tree, quota);
  }

  get capabilities(): SinkCapabilities {
    return this.#inner.capabilities;
  }

  find(name: Uint8Array): Promise<ExistingFile | undefined> {
    return this.#inner.find(name);
  }

  async reserve(spec: PartSpec): Promise<Part> {
    const { account, id } = spec;
    if (account === undefined) return this.#inner.reserve(spec);
    this.#assertFits(id, account, spec.size ?? 0);
    const part = await this.#inner.reserve(spec);
    this.#quota.set(id, account, 0, true);
    return new QuotaPart(part, spec, 0, this.#quota);
  }

  async reopen(spec: PartSpec, bytesThere: number): Promise<Part | undefined> {
    const { account, id } = spec;
    if (account !== undefined) this.#assertFits(id, account, spec.size ?? bytesThere);
    const part = await this.#inner.reopen(spec, bytesThere);
    if (part === undefined || account === undefined) return part;
    this.#quota.set(id, account, bytesThere, true);
    return new QuotaPart(part, spec, bytesThere, this.#quota);
  }

  /** What was dropped beside us is found out when it matters. */
  #assertFits(id: string, account: string, bytes: number): void {
    try {
      this.#quota.assertFits(id, account, bytes);
    } catch {
      for (const kept of this.#quota.keptBy(account)) if (!this.#isThere(kept)) this.#quota.release(kept);
      this.#quota.assertFits(id, account, bytes);
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
  /** Counted so far; the same range may be written twice. */
  #bytes: number;
  readonly cloneFrom?: (file: HeldFile) => Promise<boolean>;

  constructor(inner: Part, spec: PartSpec, bytes: number, quota: Quota) {
    this.#inner = inner;
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
    const writing = this.#inner.write(offset, bytes);
    this.#count(bytes.length);
    return writing;
  }
  written(bytes: number): void {
    this.#inner.written(bytes);
    this.#count(bytes);
  }

  #count(bytes: number): void {
    const more = Math.min(bytes, (this.#spec.size ?? Number.POSITIVE_INFINITY) - this.#bytes);
    this.#bytes += more;
    this.#quota.grow(this.#spec.id, more);
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
    this.#quota.release(this.#spec.id);
    return committed;
  }
  async close(): Promise<void> {
    await this.#inner.close();
    this.#quota.keep(this.#spec.id);
  }
  async abort(): Promise<void> {
    await this.#inner.abort();
    this.#quota.release(this.#spec.id);
  }
}

/** Small files count from when they are staged until they are committed; directories and links take no room. */
class QuotaTree implements TreeSink {
  readonly #inner: TreeSink;
  readonly #quota: Quota;

  constructor(inner: TreeSink, quota: Quota) {
    this.#inner = inner;
    this.#quota = quota;
  }

  get stages(): boolean {
    return this.#inner.stages;
  }
  findAll(names: readonly Uint8Array[]) {
    return this.#inner.findAll(names);
  }
  makeDirectory(spec: EntrySpec): Promise<void> {
    return this.#inner.makeDirectory(spec);
  }
  makeLink(spec: EntrySpec): Promise<Committed | "unchanged"> {
    return this.#inner.makeLink(spec);
  }

  batch(): Batch {
    const batch = this.#inner.batch();
    const staged: string[] = [];
    const quota = this.#quota;
    return {
      stage(spec: PartSpec, content: Uint8Array): void {
        const { id, account } = spec;
        if (account === undefined) {
          batch.stage(spec, content);
          return;
        }
        quota.assertFits(id, account, content.length);
        quota.set(id, account, 0, true);
        try {
          quota.grow(id, content.length);
          batch.stage(spec, content);
        } catch (thrown) {
          quota.release(id);
          throw thrown;
        }
        staged.push(id);
      },
      async commit(): Promise<StagedOutcome[]> {
        const outcomes = await batch.commit();
        for (const id of staged) quota.release(id);
        return outcomes;
      },
    };
  }
}
