/** Files in memory: the disk's twin for tests, with the same contract and nothing kept. */
import { blake3 } from "@napi-rs/blake-hash";
import { HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import type { ExistingFile, Part, PartSpec, Sink, SinkCapabilities, WriterDescriptor } from "./sink.ts";

const keyOf = (name: Uint8Array) => Buffer.from(name).toString("latin1");

export class MemorySink implements Sink {
  readonly capabilities: SinkCapabilities;
  readonly #files = new Map<string, Uint8Array>();
  #parts = 0;

  constructor(fileBytesMax = 1024 * 1024 * 1024) {
    this.capabilities = { randomAccess: true, blockBytes: 1, fileBytesMax, keeps: "process" };
  }

  /** The content of a committed file. */
  read(name: Uint8Array): Uint8Array | undefined {
    return this.#files.get(keyOf(name));
  }
  get partsOpen(): number {
    return this.#parts;
  }

  find(name: Uint8Array): Promise<ExistingFile | undefined> {
    const content = this.read(name);
    return Promise.resolve(
      content && { size: content.length, digest: () => Promise.resolve(blake3(Buffer.from(content))) },
    );
  }

  reserve(spec: PartSpec): Promise<Part> {
    if ((spec.size ?? 0) > this.capabilities.fileBytesMax) {
      return Promise.reject(new HawserError("E_TOO_LARGE", `at most ${this.capabilities.fileBytesMax} bytes fit`));
    }
    this.#parts++;
    return Promise.resolve(new MemoryPart(spec, (content) => this.#end(spec.name, content)));
  }

  dropLeftovers(): Promise<number> {
    return Promise.resolve(0);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }

  #end(name: Uint8Array, content: Uint8Array | undefined): void {
    this.#parts--;
    if (content === undefined) return;
    if (this.#files.has(keyOf(name))) {
      throw new HawserError("E_EXISTS", `'${displayName(name)}' is there, and was left as it is`);
    }
    this.#files.set(keyOf(name), content);
  }
}

class MemoryPart implements Part {
  readonly #spec: PartSpec;
  readonly #end: (content: Uint8Array | undefined) => void;
  #content = new Uint8Array(0);
  #ended = false;

  constructor(spec: PartSpec, end: (content: Uint8Array | undefined) => void) {
    this.#spec = spec;
    this.#end = end;
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

  commit(size: number): Promise<void> {
    if (this.#ended) return Promise.reject(new HawserError("E_IO", "the part was dropped"));
    this.#ended = true;
    try {
      this.#end(this.#content.slice(0, size));
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  abort(): Promise<void> {
    if (!this.#ended) this.#end(undefined);
    this.#ended = true;
    return Promise.resolve();
  }
}
