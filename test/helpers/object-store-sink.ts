/**
 * An object store as far as a sink sees one: an upload in numbered parts, each of exactly `blockBytes` but the last, a
 * completion that names them all, and a conditional put, so that nothing is replaced. Strict: whatever a real store
 * would refuse throws here.
 */
import { blake3 } from "@napi-rs/blake-hash";
import { HawserError } from "../../src/protocol/errors.ts";
import { displayName } from "../../src/protocol/names.ts";
import type {
  Committed,
  ExistingFile,
  Part,
  PartSpec,
  Sink,
  SinkCapabilities,
  WriterDescriptor,
} from "../../src/sink/sink.ts";

export const MIB = 1024 * 1024;
export const BLOCK_BYTES = 5 * MIB;
const PARTS_MAX = 10_000;

const keyOf = (name: Uint8Array) => Buffer.from(name).toString("latin1");
const refused = (why: string) => new HawserError("E_IO", `the object store refused it: ${why}`);

export interface ObjectStoreOptions {
  readonly blockBytes?: number;
  /** Waited for before each part is taken: a store is slow, and not in order. */
  readonly beforePut?: (part: number) => Promise<void>;
}

export class ObjectStoreSink implements Sink {
  readonly capabilities: SinkCapabilities;
  readonly options: ObjectStoreOptions;
  readonly #objects = new Map<string, { readonly bytes: Uint8Array; readonly tag: string }>();
  /** Uploads that were begun and neither completed nor aborted: they cost money. */
  readonly uploads = new Set<Upload>();
  /** Numbers of the parts put, in the order in which they came. */
  readonly puts: number[] = [];

  constructor(options: ObjectStoreOptions = {}) {
    this.options = options;
    const blockBytes = options.blockBytes ?? BLOCK_BYTES;
    this.capabilities = {
      randomAccess: false,
      blockBytes,
      fileBytesMax: PARTS_MAX * blockBytes,
      durability: "commit",
    };
  }

  read(name: Uint8Array): Uint8Array | undefined {
    return this.#objects.get(keyOf(name))?.bytes;
  }

  async find(name: Uint8Array): Promise<ExistingFile | undefined> {
    const object = this.read(name);
    if (object === undefined) return undefined;
    return { size: object.length, isDirectory: false, mtimeMs: 0, digest: async () => blake3(Buffer.from(object)) };
  }

  async reserve(spec: PartSpec): Promise<Part> {
    if ((spec.size ?? 0) > this.capabilities.fileBytesMax) throw new HawserError("E_TOO_LARGE", "too many parts");
    const upload = new Upload(spec, this);
    this.uploads.add(upload);
    return upload;
  }

  /** An upload can be listed and gone on with; this one isn't: what was sent of it is sent again. */
  async reopen(): Promise<undefined> {
    return undefined;
  }

  async isCommitted(name: Uint8Array, fingerprint: string, size: number): Promise<boolean> {
    const object = this.#objects.get(keyOf(name));
    return object !== undefined && object.tag === fingerprint && object.bytes.length === size;
  }

  async dropPart(id: string): Promise<void> {
    for (const upload of this.uploads) if (upload.id === id) await upload.abort();
  }

  async dropAllBut(ids: ReadonlySet<string>): Promise<number> {
    const dropped = [...this.uploads].filter(({ id }) => !ids.has(id));
    for (const upload of dropped) await upload.abort();
    return dropped.length;
  }
  async close(): Promise<void> {}

  /** The conditional put (If-None-Match: *). */
  putNew(name: Uint8Array, bytes: Uint8Array, tag: string): void {
    const key = keyOf(name);
    if (this.#objects.has(key)) throw new HawserError("E_EXISTS", `'${displayName(name)}' is there`);
    this.#objects.set(key, { bytes, tag });
  }
}

class Upload implements Part {
  readonly #spec: PartSpec;
  readonly #store: ObjectStoreSink;
  readonly #parts = new Map<number, Uint8Array>();
  #ended = false;

  constructor(spec: PartSpec, store: ObjectStoreSink) {
    this.#spec = spec;
    this.#store = store;
  }

  open(): WriterDescriptor {
    return { kind: "local", part: this };
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const { blockBytes } = this.#store.capabilities;
    const number = offset / blockBytes;
    if (this.#ended) throw refused("the upload is over");
    if (!Number.isInteger(number)) throw refused(`a part at ${offset}`);
    if (bytes.length === 0 || bytes.length > blockBytes) throw refused(`a part of ${bytes.length} bytes`);
    const { size } = this.#spec;
    const isLast = size === null || offset + bytes.length === size;
    if (bytes.length < blockBytes && !isLast) throw refused(`part ${number} of ${bytes.length} bytes in the middle`);
    await this.#store.options.beforePut?.(number);
    if (this.#ended) throw refused("the upload is over");
    this.#store.puts.push(number);
    this.#parts.set(number, bytes.slice());
  }

  written(): void {}

  /** What was put of an upload can't be read before it is completed. */
  async read(): Promise<number> {
    return 0;
  }
  async sync(): Promise<void> {}

  get id(): string {
    return this.#spec.id;
  }
  /** As an entity tag names an object. */
  get fingerprint(): string {
    return this.id;
  }

  async commit(size: number): Promise<Committed> {
    if (this.#ended) throw refused("the upload is over");
    const { blockBytes } = this.#store.capabilities;
    const count = Math.ceil(size / blockBytes);
    if (this.#parts.size !== count) throw refused(`${this.#parts.size} parts, where ${count} make ${size} bytes`);
    const parts: Uint8Array[] = [];
    for (let number = 0; number < count; number++) {
      const part = this.#parts.get(number);
      if (part === undefined) throw refused(`part ${number} is missing`);
      if (number < count - 1 && part.length !== blockBytes) throw refused(`part ${number} is too small`);
      parts.push(part);
    }
    const object = new Uint8Array(Buffer.concat(parts));
    if (object.length !== size) throw refused(`${object.length} bytes in all, where ${size} were declared`);
    this.#store.putNew(this.#spec.name, object, this.fingerprint);
    await this.abort();
    return {};
  }

  /** Nobody goes on with it, and it costs money as long as it lies. */
  close(): Promise<void> {
    return this.abort();
  }

  async abort(): Promise<void> {
    this.#ended = true;
    this.#parts.clear();
    this.#store.uploads.delete(this);
  }
}
