/** Reading from a descriptor, in the thread pool. */
import { read } from "node:fs";
import { promisify } from "node:util";
import { ioError } from "./io-error.ts";

const readAsync = promisify(read);

/** Reads until `room` is full or the file ends; `shown` says what that is. Returns how many bytes. Throws E_IO. */
export async function readFully(fd: number, offset: number, room: Uint8Array, shown: string): Promise<number> {
  let count = 0;
  try {
    while (count < room.length) {
      const { bytesRead } = await readAsync(fd, room, count, room.length - count, offset + count);
      if (bytesRead === 0) break;
      count += bytesRead;
    }
    return count;
  } catch (thrown) {
    throw ioError(`reading ${shown}`, thrown);
  }
}
