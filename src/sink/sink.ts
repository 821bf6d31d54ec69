/**
 * Where received files go. A sink may be a disk, an object store or memory; what each method promises stands here, and
 * one conformance suite holds every implementation to it.
 */

import type { HawserError } from "../protocol/errors.ts";

export interface SinkCapabilities {
  /** Whether `write` takes any offset and length. If not, each write is one whole block of `blockBytes`, the last less. */
  readonly randomAccess: boolean;
  /** Writes start at multiples of this, in bytes: 1 where nothing is asked, else a multiple of 64 KiB. */
  readonly blockBytes: number;
  /** The largest file, in bytes. */
  readonly fileBytesMax: number;
  /** What a committed file outlives, and what is synced on the way: see `Durability`. */
  readonly durability: Durability;
  /**
   * A part is written from its beginning to its end: what comes early waits, and its `write` is done when it is its turn.
   * There is one part, and none can be gone on with.
   */
  readonly inOrder?: boolean;
  /** Nothing that is written goes anywhere. */
  readonly keepsNothing?: boolean;
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
  /** Unless `mode` is to be set as it is. */
  readonly exactMode?: boolean | undefined;
  /** Whose room it takes up; nobody's where there is no quota. */
  readonly account?: string | undefined;
  /** What a commit does where something has the name by then: nothing (`never`), unless given. */
  readonly clobber?: Clobber | undefined;
}

/**
 * `never`: E_EXISTS, and what is there stays. `replace`: it gives way, at once; not a directory. `rename`: the new file
 * gets another name (see `nextName`).
 */
export type Clobber = "never" | "replace" | "rename";

/** What a commit came to. */
export interface Committed {
  /** Where the file is, if not under its own name. */
  readonly name?: Uint8Array;
  /** Something gave way to it. */
  readonly replaced?: boolean;
}

/** What lies at a name already. */
export interface ExistingFile {
  /** In bytes; null for what is not a regular file (a directory, a link): nothing can be the same as that. */
  readonly size: number | null;
  /** Whether it is a directory: nothing takes its place. */
  readonly isDirectory: boolean;
  /** Of a symbolic link: what it says. */
  readonly target?: Uint8Array | undefined;
  /** Its own name, the last component, where that is another, and the file system takes both for one (see folding.ts). */
  readonly ownName?: Uint8Array | undefined;
  /** Milliseconds since 1970, to less than a microsecond. */
  readonly mtimeMs: number;
  /** The BLAKE3 digest of its content. */
  digest(signal: AbortSignal): Promise<Uint8Array>;
  /** Opens its content to be read; missing where only the whole can be had. Throws E_IO. */
  hold?(): Promise<HeldFile>;
}

/** A file that is held open: it is what it was when another takes its name. */
export interface HeldFile {
  readonly size: number;
  /** By which this process can have it cloned; undefined where it can't. */
  readonly path?: string | undefined;
  /** As `Part.read`. */
  read(offset: number, room: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** How a stream writes to a part. A file descriptor is plain data, and serves every thread of the process. */
export type WriterDescriptor =
  | { readonly kind: "file"; readonly fd: number; readonly shownName: string }
  | { readonly kind: "discard" }
  /** The part itself: only on its own thread. */
  | { readonly kind: "local"; readonly part: Part };

export interface Part {
  /** Makes the part ready to be written. Idempotent. Throws E_NO_SPACE, E_IO. */
  open(): WriterDescriptor;
  /**
   * Puts `bytes` at `offset`; done when it returns or its promise resolves, and `bytes` may then be used again. The same
   * range may be written again, with the same bytes. Throws E_NO_SPACE, E_IO: the part is then good for nothing but `abort`.
   */
  write(offset: number, bytes: Uint8Array): void | Promise<void>;
  /**
   * Makes the part begin as a copy of this file that shares its blocks, before it is opened. Returns false where that
   * can't be, and nothing was done; missing where it never can.
   */
  cloneFrom?(file: HeldFile): Promise<boolean>;
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
   * Makes the part the file of its name, whole and durable as the sink's capabilities say. Where something is there, its
   * spec's `clobber` says what becomes of that; of several at once for one name exactly one succeeds, or the last does.
   * `size` is the file's, and so is `crc32`, which a strict sink compares with what it reads back.
   * After it the part is gone. Where it throws, the part is as it was; after a SyncError nothing that was not synced
   * before may be trusted.
   */
  commit(size: number, crc32: number): Promise<Committed>;
  /** Lets the part lie, for `reopen`. Never throws. */
  close(): Promise<void>;
  /** Drops the part. Idempotent; never throws. */
  abort(): Promise<void>;
}

/** Small files that are committed together. */
export interface Batch {
  /** Writes the part of one, whole; its content is of no more use then. Throws E_NO_SPACE, E_TOO_LARGE, E_IO. */
  stage(spec: PartSpec, content: Uint8Array): void;
  /**
   * Commits what was staged as `Part.commit` does, each for itself, but syncs once for all of them. The outcomes are in
   * the order of staging. Once; never rejects.
   */
  commit(): Promise<StagedOutcome[]>;
}

/** A directory, or a link and what it says. */
export interface EntrySpec extends Pick<PartSpec, "name" | "mtime" | "mode" | "exactMode"> {
  readonly target?: Uint8Array | undefined;
  readonly clobber?: Clobber | undefined;
}

/** What a sink that has directories can do besides, with many things at once. */
export interface TreeSink {
  /** Whether small files may be staged; if not, each has a part of its own. */
  readonly stages: boolean;
  /** What lies at each name, in their order; an error where that can't be said. */
  findAll(names: readonly Uint8Array[]): (ExistingFile | HawserError | undefined)[];
  /** Begins a batch of small files; where `stages` says so. */
  batch(): Batch;
  /**
   * Makes a directory where there is none, and gives it time and mode, durably as capabilities say. Throws E_EXISTS,
   * E_NOT_DIRECTORY, E_IO.
   */
  makeDirectory(spec: EntrySpec): Promise<void>;
  /** Makes a link; `unchanged` where the same is there. Throws E_EXISTS, E_NOT_DIRECTORY, E_IO. */
  makeLink(spec: EntrySpec): Promise<Committed | "unchanged">;
}

/** `unchanged`: what has the name has the same content, and stays. */
export type StagedOutcome = Committed | "unchanged" | HawserError;

export interface Sink {
  readonly capabilities: SinkCapabilities;
  /** Missing where there are neither directories nor links. */
  readonly tree?: TreeSink;
  /** Whether what it writes to holds it up; missing where that is so as long as anything is being written. */
  readonly isWriting?: boolean | undefined;
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
