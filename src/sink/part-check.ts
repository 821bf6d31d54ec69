/**
 * Reads what earlier runs left of parts, and compares it with what was recorded: a record may be wrong, and a part may
 * have been changed behind the server's back. One chunk at a time, beside whatever else goes on.
 */
import { crc32 } from "../protocol/crc32.ts";
import type { ReceivedFile } from "./received-file.ts";
import type { StoredChunk } from "./session-store.ts";
import type { Part } from "./sink.ts";

export interface PartCheckEvents {
  /** An inherited chunk is not what was recorded. */
  onSpoilt(file: ReceivedFile, offset: number): void;
  /** Nothing of the file is unchecked any more. */
  onChecked(file: ReceivedFile): void;
}

export class PartCheck {
  readonly #events: PartCheckEvents;
  readonly #signal: AbortSignal;
  #running: Promise<void> = Promise.resolve();
  /** Files that wait for it, and the one under way. */
  #pending = 0;

  constructor(signal: AbortSignal, events: PartCheckEvents) {
    this.#signal = signal;
    this.#events = events;
  }

  get isRunning(): boolean {
    return this.#pending > 0;
  }

  /** Checks a file's inherited chunks when its turn comes. */
  add(file: ReceivedFile): void {
    this.#pending++;
    this.#running = this.#running.then(() => this.#check(file)).finally(() => this.#pending--);
  }

  /** Resolves when nothing is being read. */
  idle(): Promise<void> {
    return this.#running;
  }

  async #check(file: ReceivedFile): Promise<void> {
    const room = Buffer.allocUnsafeSlow(file.ledger.chunkBytes);
    for (;;) {
      if (this.#signal.aborted) return;
      const offset = file.nextUnchecked();
      if (offset === undefined) return this.#events.onChecked(file);
      if (file.phase !== "receiving" || file.part === undefined) return;
      const isSame = await matches(file.part, offset, file.ledger.bytesAt(offset), file.ledger.crcAt(offset), room);
      // It may have come anew meanwhile.
      if (!file.isUnchecked(offset)) continue;
      if (isSame) file.checked(offset);
      else this.#events.onSpoilt(file, offset);
    }
  }
}

/** Of recorded chunks, those that the part holds: what counts of them after the machine was started anew. */
export async function chunksThere(
  part: Part,
  chunks: readonly StoredChunk[],
  bytesAt: (offset: number) => number,
  signal: AbortSignal,
): Promise<StoredChunk[]> {
  const there: StoredChunk[] = [];
  let room = Buffer.alloc(0);
  for (const chunk of chunks) {
    signal.throwIfAborted();
    const bytes = bytesAt(chunk.offset);
    if (room.length < bytes) room = Buffer.allocUnsafeSlow(bytes);
    if (chunk.synced || (await matches(part, chunk.offset, bytes, chunk.crc32, room))) there.push(chunk);
  }
  return there;
}

/** A chunk that can't be read is not there. */
async function matches(
  part: Part,
  offset: number,
  bytes: number,
  expected: number | undefined,
  room: Uint8Array,
): Promise<boolean> {
  const wanted = room.subarray(0, Math.max(0, bytes));
  try {
    return (await part.read(offset, wanted)) === bytes && crc32(wanted) === expected;
  } catch {
    return false;
  }
}
