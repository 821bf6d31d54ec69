/** Files in memory: the disk's twin for tests, with the same contract and nothing kept. */
import { blake3 } from "../protocol/blake3.ts";
import { HawserError } from "../protocol/errors.ts";
import { appeared, nextName } from "./clobber.ts";
import { MemoryTree } from "./memory-tree.ts";
import type { Committed, ExistingFile, Part, PartSpec, Sink, SinkCapabilities, WriterDescriptor } from "./sink.ts";

const keyOf = (name: Uint8Array) => Buffer.from(name).toString("latin1");

export class MemorySink implements Sink {
  readonly capabilities: SinkCapabilities;
  readonly tree: MemoryTree;
  readonly #files = new Map<string, { readonly content: Uint8Array; readonly fingerprint: string; mtimeMs: number }>();
  /** By id; whether somebody has it open. */
  readonly #parts = new Map<string, { readonly part: MemoryPart; open: boolean }>();

  constructor(fileBytesMax = 1024 * 1024 * 1024) {
    this.tree = new MemoryTree(this);
    this.capabilities = { randomAccess: true, blockBytes: 1, fileBytesMax, durability: "none" };
  }

  /** The content of a committed file. */
  read(name: Uint8Array): Uint8Array | undefined {
    return this.#files.get(keyOf(name))?.content;
  }
  get partsOpen(): number {
    return [...this.#parts.values()].filter(({ open }) => open).length;
  }
  get partsKept(): number {
    return this.#parts.size;
  }

  find(name: Uint8Array): Promise<ExistingFile | undefined> {
    return Promise.resolve(this.look(name));
  }

  look(name: Uint8Array): ExistingFile | undefined {
    const file = this.#files.get(keyOf(name));
    if (file === undefined) return this.tree.look(name);
    const { content, mtimeMs } = file;
    const digest = () => Promise.resolve(blake3(Buffer.from(content)));
    const read = (offset: number, room: Uint8Array) => {
      const bytes = content.subarray(offset, offset + room.length);
      room.set(bytes);
      return Promise.resolve(bytes.length);
    };
    const hold = () => Promise.resolve({ size: content.length, read, close: () => Promise.resolve() });
    return { size: content.length, isDirectory: false, mtimeMs, digest, hold };
  }

  reserve(spec: PartSpec): Promise<Part> {
    if ((spec.size ?? 0) > this.capabilities.fileBytesMax) {
      return Promise.reject(new HawserError("E_TOO_LARGE", `at most ${this.capabilities.fileBytesMax} bytes fit`));
    }
    const part = new MemoryPart(spec, this);
    this.#parts.set(spec.id, { part, open: true });
    return Promise.resolve(part);
  }

  reopen(spec: PartSpec): Promise<Part | undefined> {
    const kept = this.#parts.get(spec.id);
    if (kept === undefined) return Promise.resolve(undefined);
    kept.open = true;
    return Promise.resolve(kept.part);
  }

  isCommitted(name: Uint8Array, fingerprint: string, size: number): Promise<boolean> {
    const file = this.#files.get(keyOf(name));
    return Promise.resolve(file?.fingerprint === fingerprint && file.content.length === size);
  }

  dropPart(id: string): Promise<void> {
    this.#parts.delete(id);
    return Promise.resolve();
  }

  dropAllBut(ids: ReadonlySet<string>): Promise<number> {
    const dropped = [...this.#parts.keys()].filter((id) => !ids.has(id));
    for (const id of dropped) this.#parts.delete(id);
    return Promise.resolve(dropped.length);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Of a part: it is the file of its name now. */
  publish({ id, name, mtime, clobber = "never" }: PartSpec, content: Uint8Array): Committed {
    if (!this.#parts.has(id)) throw new HawserError("E_IO", "the part was dropped");
    const replaced = this.look(name) !== undefined;
    if (replaced && clobber === "never") throw appeared(name);
    let free = name;
    for (let nth = 1; clobber === "rename" && this.look(free) !== undefined; nth++) free = nextName(name, nth);
    this.tree.forgetLink(free);
    const mtimeMs = mtime[0] * 1000 + mtime[1] / 1e6;
    this.#files.set(keyOf(free), { content, fingerprint: id, mtimeMs });
    this.#parts.delete(id);
    return { ...(free === name ? {} : { name: free }), ...(replaced && clobber === "replace" ? { replaced } : {}) };
  }
  forgetFile(name: Uint8Array): void {
    this.#files.delete(keyOf(name));
  }
  letGo(id: string): void {
    const kept = this.#parts.get(id);
    if (kept !== undefined) kept.open = false;
  }
}

class MemoryPart implements Part {
  readonly #spec: PartSpec;
  readonly #sink: MemorySink;
  #content = new Uint8Array(0);

  constructor(spec: PartSpec, sink: MemorySink) {
    this.#spec = spec;
    this.#sink = sink;
  }

  open(): WriterDescriptor {
    return { kind: "local", part: this };
  }

  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.#content.length) {
      const grown = new Uint8Array(Math.max(this.#spec.size ?? 0, offset + bytes.length));
      grown.set(this.#content);
      this.#content = grown;
    }
    this.#content.set(bytes, offset);
  }

  written(): void {}

  read(offset: number, room: Uint8Array): Promise<number> {
    const bytes = this.#content.subarray(offset, offset + room.length);
    room.set(bytes);
    return Promise.resolve(bytes.length);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  get fingerprint(): string {
    return this.#spec.id;
  }

  async commit(size: number): Promise<Committed> {
    return this.#sink.publish(this.#spec, this.#content.slice(0, size));
  }

  close(): Promise<void> {
    this.#sink.letGo(this.#spec.id);
    return Promise.resolve();
  }

  abort(): Promise<void> {
    return this.#sink.dropPart(this.#spec.id);
  }
}
