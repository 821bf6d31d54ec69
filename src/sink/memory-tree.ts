/** Directories, links and small files in memory: the disk's twin, for `MemorySink`. */
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { componentsOf } from "../protocol/names.ts";
import { alreadyThere, nextName, notDirectory } from "./clobber.ts";
import type { MemorySink } from "./memory-sink.ts";
import type { Batch, EntrySpec, ExistingFile, PartSpec, StagedOutcome, TreeSink } from "./sink.ts";

const keyOf = (name: Uint8Array) => Buffer.from(name).toString("latin1");
const NO_DIGEST = () => Promise.reject(new HawserError("E_IO", "it is not a file"));

interface MemoryStaged {
  readonly spec: PartSpec;
  readonly content: Uint8Array;
}

export class MemoryTree implements TreeSink {
  readonly stages = true;
  readonly #sink: MemorySink;
  readonly directories = new Map<string, { mode: number; readonly mtimeMs: number }>();
  readonly links = new Map<string, { readonly target: Uint8Array; readonly mtimeMs: number }>();

  constructor(sink: MemorySink) {
    this.#sink = sink;
  }

  look(name: Uint8Array): ExistingFile | undefined {
    const found = this.directories.get(keyOf(name)) ?? this.links.get(keyOf(name));
    if (found === undefined) return undefined;
    const target = "target" in found ? found.target : undefined;
    return { size: null, isDirectory: target === undefined, target, mtimeMs: found.mtimeMs, digest: NO_DIGEST };
  }

  forgetLink(name: Uint8Array): void {
    this.links.delete(keyOf(name));
  }

  findAll(names: readonly Uint8Array[]): (ExistingFile | undefined)[] {
    return names.map((name) => this.#sink.look(name));
  }

  batch(): Batch {
    const staged: MemoryStaged[] = [];
    return {
      stage: (spec, content) => {
        if (content.length > this.#sink.capabilities.fileBytesMax) {
          throw new HawserError("E_TOO_LARGE", "it does not fit");
        }
        staged.push({ spec, content: Uint8Array.from(content) });
      },
      commit: () => Promise.all(staged.map((file) => this.#commit(file))),
    };
  }

  async #commit({ spec, content }: MemoryStaged): Promise<StagedOutcome> {
    try {
      const there = this.#sink.read(spec.name);
      if (there !== undefined && spec.clobber !== "replace" && Buffer.compare(there, content) === 0) return "unchanged";
      this.#makeParents(spec.name);
      const part = await this.#sink.reserve(spec);
      await part.write(0, content);
      try {
        return await part.commit(content.length, 0);
      } finally {
        await part.abort();
      }
    } catch (thrown) {
      return asHawserError(thrown);
    }
  }

  async makeDirectory({ name, mode, mtime }: EntrySpec): Promise<void> {
    const there = this.#sink.look(name);
    if (there !== undefined && !there.isDirectory) throw notDirectory(name);
    this.#makeParents(name);
    this.directories.set(keyOf(name), { mode, mtimeMs: mtime[0] * 1000 + mtime[1] / 1e6 });
  }

  async makeLink({ name, target = new Uint8Array(0), mtime, clobber }: EntrySpec) {
    for (let nth = 0; ; nth++) {
      const chosen = nth === 0 ? name : nextName(name, nth);
      const there = this.#sink.look(chosen);
      if (there?.target !== undefined && Buffer.compare(there.target, target) === 0) return "unchanged" as const;
      if (there !== undefined && clobber === "rename") continue;
      if (there !== undefined && (clobber !== "replace" || there.isDirectory)) throw alreadyThere(name, there);
      this.#makeParents(chosen);
      this.#sink.forgetFile(chosen);
      this.links.set(keyOf(chosen), { target, mtimeMs: mtime[0] * 1000 + mtime[1] / 1e6 });
      return { ...(nth === 0 ? {} : { name: chosen }), ...(there === undefined ? {} : { replaced: true }) };
    }
  }

  #makeParents(name: Uint8Array): void {
    const components = componentsOf(name);
    for (let depth = 1; depth < components.length; depth++) {
      const parent = Buffer.from(components.slice(0, depth).map(keyOf).join("/"), "latin1");
      const there = this.#sink.look(parent);
      if (there !== undefined && !there.isDirectory) throw notDirectory(parent);
      if (there === undefined) this.directories.set(keyOf(parent), { mode: 0o755, mtimeMs: 0 });
    }
  }
}
