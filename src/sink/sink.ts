/**
 * Where received files go. A sink may be a disk, an object store or memory; what each method promises stands here, and
 * one conformance suite holds every implementation to it.
 */

export interface SinkCapabilities {
  /** Whether `write` takes any offset and length. If not, each write is one whole block of `blockBytes`, the last less. */
  readonly randomAccess: boolean;
  /** Writes start at multiples of this, in bytes: 1 where nothing is asked, else a multiple of 64 KiB. */
  readonly blockBytes: number;
  /** The largest file, in bytes. */
  readonly fileBytesMax: number;
  /** What a committed file outlives: the power going, the program ending, or nothing. */
  readonly keeps: "durable" | "process" | "nothing";
}

/** What is written: a file that isn't whole yet. */
export interface PartSpec {
  /** Unique among parts, and safe as a file name. */
  readonly id: string;
  readonly name: Uint8Array;
  /** In bytes; null while it isn't known. */
  readonly size: number | null;
  readonly mtime: readonly [seconds: number, nanoseconds: number];
  /** Permission bits, of which the sink's own mask takes away. */
  readonly mode: number;
}

/** What lies at a name already. */
export interface ExistingFile {
  /** In bytes; null for what is not a regular file (a directory, a link): nothing can be the same as that. */
  readonly size: number | null;
  /** The BLAKE3 digest of its content. */
  digest(signal: AbortSignal): Promise<Uint8Array>;
}

/** How a stream writes to a part, as plain data: a file descriptor serves every thread of the process. */
export type WriterDescriptor =
  | { readonly kind: "file"; readonly fd: number; readonly shownName: string }
  | { readonly kind: "discard" }
  /** Only on the part's own thread, by its number among the parts there. */
  | { readonly kind: "local"; readonly part: Part };

export interface Part {
  /** Makes the part ready to be written. Idempotent. Throws E_NO_SPACE, E_IO. */
  open(): WriterDescriptor;
  /**
   * Puts `bytes` at `offset`; done when it returns or its promise resolves, and `bytes` may then be used again. The same
   * range may be written again, with the same bytes. Throws E_NO_SPACE, E_IO: the part is then good for nothing but `abort`.
   */
  write(offset: number, bytes: Uint8Array): void | Promise<void>;
  /** Told of bytes that a stream wrote by itself through the descriptor. Throws E_NO_SPACE, as `write` does. */
  written(bytes: number): void;
  /**
   * Makes the part the file of its name, whole and durable as the sink's capabilities say, unless something is there:
   * E_EXISTS, and what is there stays. Of several at once for one name exactly one succeeds. `size` is the file's.
   * After it, whatever its result, the part is gone.
   */
  commit(size: number): Promise<void>;
  /** Drops the part. Idempotent; never throws. */
  abort(): Promise<void>;
}

export interface Sink {
  readonly capabilities: SinkCapabilities;
  /** What lies at `name`; undefined when nothing does. Throws E_NOT_DIRECTORY, E_IO. */
  find(name: Uint8Array): Promise<ExistingFile | undefined>;
  /**
   * Promises room for a part. Nothing is visible under its name until it is committed. Throws E_NO_SPACE, E_TOO_LARGE,
   * E_IO.
   */
  reserve(spec: PartSpec): Promise<Part>;
  /** Drops parts that earlier runs left. Returns how many. Only before the first `reserve`. */
  dropLeftovers(): Promise<number>;
  close(): Promise<void>;
}
