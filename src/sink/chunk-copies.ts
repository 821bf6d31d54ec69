/**
 * Makes new parts from files that are there: clones one where the file system can, else copies it chunk by chunk, and says
 * of each chunk what it is, so that only what differs has to come. A few files at once, beside whatever else goes on; the
 * old file is read and never touched.
 */
import { blake3 } from "../protocol/blake3.ts";
import { crc32 } from "../protocol/crc32.ts";
import { asHawserError, type Failure } from "../protocol/errors.ts";
import { CHUNK_DIGEST_BYTES } from "../protocol/limits.ts";
import { findData } from "../protocol/sparse.ts";
import { Limiter } from "./limiter.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { HeldFile, Part } from "./sink.ts";
import { openWriter, type Writer } from "./writer.ts";

export interface ChunkCopiesOwner {
  /** More chunks of the file are there, and the source may hear of them. */
  onCopied(file: ReceivedFile, from: number, end: number): void;
  /** Nothing more is copied: what is missing has to come. */
  onDone(file: ReceivedFile): void;
  /** The part can't be written. */
  onFailed(file: ReceivedFile, failure: Failure): void;
}

/** Each reads at the disk's pace, and has room for a chunk. */
const FILES_MAX = 4;

/** What is copied before the source hears of it: soon enough that both ends work at once. */
const ANNOUNCED_BYTES = 16 * 1024 * 1024;

export class ChunkCopies {
  readonly #owner: ChunkCopiesOwner;
  readonly #signal: AbortSignal;
  readonly #limiter = new Limiter(FILES_MAX);
  readonly #files = new Set<ReceivedFile>();

  constructor(signal: AbortSignal, owner: ChunkCopiesOwner) {
    this.#signal = signal;
    this.#owner = owner;
  }

  get isRunning(): boolean {
    return this.#files.size > 0;
  }

  /** Copies from `file.base` when its turn comes; of no effect where that is so already. */
  add(file: ReceivedFile): void {
    if (this.#files.has(file)) return;
    this.#files.add(file);
    void this.#limiter.run(() => this.#run(file));
  }

  /** Resolves when nothing is being copied. */
  idle(): Promise<void> {
    return this.#limiter.idle();
  }

  async #run(file: ReceivedFile): Promise<void> {
    try {
      if (!this.#isOver(file)) await this.#copyFrom(file);
      if (!this.#isOver(file)) this.#owner.onDone(file);
    } catch (thrown) {
      if (!this.#isOver(file)) this.#owner.onFailed(file, asHawserError(thrown).toFailure());
    } finally {
      this.#files.delete(file);
    }
  }

  /** What can't be opened any more is of no use, and no failure either. */
  async #copyFrom(file: ReceivedFile): Promise<void> {
    const held = await file.base?.hold?.().catch(() => undefined);
    if (held === undefined) return;
    try {
      if (file.part !== undefined) await this.#copy(file, file.part, held);
    } finally {
      await held.close();
    }
  }

  async #copy(file: ReceivedFile, part: Part, held: HeldFile): Promise<void> {
    const { ledger } = file;
    // What an earlier run brought is in a part already.
    const { isPartNew } = file;
    // From here on there may be bytes of the old file anywhere.
    file.isPartNew = false;
    const isClone = isPartNew && (await part.cloneFrom?.(held)) === true;
    const writer = openWriter(part.open());
    const room = Buffer.allocUnsafeSlow(ledger.chunkBytes);
    let announced = 0;
    for (let offset = 0; offset < (ledger.size ?? 0) && !this.#isOver(file); offset += ledger.chunkBytes) {
      const bytes = room.subarray(0, ledger.bytesAt(offset));
      if (offset + bytes.length > held.size) break;
      if (ledger.crcAt(offset) === undefined && (await isRead(isClone ? part : held, offset, bytes))) {
        if (this.#isOver(file)) return;
        if (!isClone) await put(writer, offset, bytes, isPartNew);
        if (!isClone) part.written(bytes.length);
        file.copied(offset, crc32(bytes), blake3(bytes).subarray(0, CHUNK_DIGEST_BYTES));
      }
      const end = offset + bytes.length;
      if (end - announced < ANNOUNCED_BYTES) continue;
      this.#owner.onCopied(file, announced, end);
      announced = end;
    }
    if (!this.#isOver(file)) this.#owner.onCopied(file, announced, ledger.size ?? 0);
  }

  #isOver(file: ReceivedFile): boolean {
    return this.#signal.aborted || file.phase !== "receiving";
  }
}

/** What has holes keeps them. */
async function put(writer: Writer, offset: number, bytes: Uint8Array, fresh: boolean): Promise<void> {
  const data = findData(bytes);
  if (data === undefined) await writer.write(offset, bytes);
  else await writer.writeSparse(offset, { bytes: bytes.length, data }, fresh);
}

/** A chunk that can't be read is not there: the source sends it. */
async function isRead(from: Pick<HeldFile, "read">, offset: number, room: Uint8Array): Promise<boolean> {
  try {
    return (await from.read(offset, room)) === room.length;
  } catch {
    return false;
  }
}
