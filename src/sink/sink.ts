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
  /** What a committed file outlives, and what is synced on the way: see `Durability`. */
  readonly durability: Durability;
}

/**
 * `none`: nothing is synced. `commit`: the whole is, before it gets its name; on the way parts outlive this program, and
 * not a power cut. `checkpoint`: on the way as well, from time to time. `strict`: and the whole is read back from the disk.
 */
export type Durability = "none" | "commit" | "checkpoint" | "strict";

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
   * The bytes at `offset`, put into `room`: how many, fewer than fit where the part ends. Where nothing was written, up to
   * its size, may be zeros. Throws E_IO.
   */
  read(offset: number, room: Uint8Array): Promise<number>;
  /** What was written before it was called outlives a power cut when it resolves. Throws SyncError. */
  sync(): Promise<void>;
  /** What `isCommitted` knows the part by when it has its name; empty where the sink can't tell. */
  readonly fingerprint: string;
  /**
   * Makes the part the file of its name, whole and durable as the sink's capabilities say, unless something is there:
   * E_EXISTS, and what is there stays. Of several at once for one name exactly one succeeds. `size` is the file's, and so is `crc32`, which
   * a strict sink compares with what it reads back.
   * After it the part is gone. Where it throws, the part is as it was; after a SyncError nothing that was not synced
   * before may be trusted.
   */
  commit(size: number, crc32: number): Promise<void>;
  /** Lets the part lie, for `reopen`. Never throws. */
  close(): Promise<void>;
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
  /**
   * Takes up a part that was closed, or that an earlier run left, with `bytesThere` of it written; undefined where there
   * is none, or where such a sink has no parts that last. Throws as `reserve` does.
   */
  reopen(spec: PartSpec, bytesThere: number): Promise<Part | undefined>;
  /** Whether what lies at `name` is the part of this fingerprint, committed with this size. */
  isCommitted(name: Uint8Array, fingerprint: string, size: number): Promise<boolean>;
  /** Drops a part that nobody has open. */
  dropPart(id: string): Promise<void>;
  /** Drops all parts but these. Returns how many. Only while none is open. */
  dropAllBut(ids: ReadonlySet<string>): Promise<number>;
  close(): Promise<void>;
}
