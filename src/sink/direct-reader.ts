/**
 * Reads a file from the disk itself and not from the kernel's memory (O_DIRECT, open(2)), for those who want to know
 * what a power cut would leave. The kernel asks for memory at multiples of the disk's block size, and Node says of no
 * buffer where it lies; so one is tried at every place where it could begin.
 */
import { close, closeSync, constants, openSync, read, readSync } from "node:fs";
import { promisify } from "node:util";

const readAsync = promisify(read);

/** What is said of memory at a place that doesn't suit, or of files that can't be read so. */
const REFUSED = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP"]);

/** What disks ask for, at most. */
const ALIGNMENT_BYTES = 4096;
/** What allocators keep to, at least. */
const STEP_BYTES = 16;

export class DirectReader {
  readonly #fd: number;
  readonly #room: Uint8Array;

  private constructor(fd: number, room: Uint8Array) {
    this.#fd = fd;
    this.#room = room;
  }

  /** Throws what reading throws. undefined where the platform or the file system reads through its memory only (tmpfs, some network ones). */
  static open(path: Buffer, roomBytes: number): DirectReader | undefined {
    if (constants.O_DIRECT === undefined || roomBytes % ALIGNMENT_BYTES !== 0) return undefined;
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
    } catch {
      return undefined;
    }
    const block = Buffer.allocUnsafeSlow(roomBytes + ALIGNMENT_BYTES);
    for (let at = 0; at < ALIGNMENT_BYTES; at += STEP_BYTES) {
      const room = block.subarray(at, at + roomBytes);
      try {
        readSync(fd, room, 0, ALIGNMENT_BYTES, 0);
        return new DirectReader(fd, room);
      } catch (thrown) {
        // What the disk itself says is not to be asked of the kernel's memory.
        if (!REFUSED.has((thrown as NodeJS.ErrnoException).code ?? "")) {
          closeSync(fd);
          throw thrown;
        }
      }
    }
    closeSync(fd);
    return undefined;
  }

  /** The bytes from `offset` on, a multiple of 4,096; fewer than fit where the file ends. Good until the next call. */
  async read(offset: number): Promise<Uint8Array> {
    const { bytesRead } = await readAsync(this.#fd, this.#room, 0, this.#room.length, offset);
    return this.#room.subarray(0, bytesRead);
  }

  close(): Promise<void> {
    return promisify(close)(this.#fd);
  }
}
