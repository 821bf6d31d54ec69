/**
 * What a stream reads chunks with. A descriptor says what to read, as plain data, and each stream makes its own reader
 * of it: a file descriptor's number serves every thread of the process.
 */
import { readSync } from "node:fs";
import { HawserError } from "../protocol/errors.ts";
import type { Feed } from "./feed.ts";

export type ReaderDescriptor =
  | { readonly kind: "file"; readonly fd: number; readonly shownName: string }
  /** What was read once: only on the feed's own thread. */
  | { readonly kind: "kept"; readonly feed: Feed }
  /** Bytes made up on the spot, for measuring. */
  | { readonly kind: "pattern" }
  /** The whole chunks of a file, again and again, for measuring the disk that it is on. */
  | { readonly kind: "loop"; readonly fd: number; readonly shownName: string; readonly fileBytes: number };

export interface Reader {
  /**
   * The bytes at [offset, offset + bytes), in `room` or elsewhere; fewer where the file ends. Throws E_SOURCE_IO.
   * Reads at once, without the thread pool: on two cores that costs a tenth less.
   */
  read(offset: number, bytes: number, room: Uint8Array): Uint8Array;
}

export function openReader(descriptor: ReaderDescriptor): Reader {
  switch (descriptor.kind) {
    case "file":
      return new FileReader(descriptor.fd, descriptor.shownName);
    case "kept":
      return new KeptReader(descriptor.feed);
    case "pattern":
      return new PatternReader();
    case "loop":
      return new LoopReader(descriptor.fd, descriptor.shownName, descriptor.fileBytes);
  }
}

/** Copies, so that a chunk may be let go while the system still sends it. Nothing of one that the sink has already. */
class KeptReader implements Reader {
  readonly #feed: Feed;

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  read(offset: number, bytes: number, room: Uint8Array): Uint8Array {
    const kept = this.#feed.chunk(offset)?.subarray(0, bytes) ?? new Uint8Array(0);
    room.set(kept);
    return room.subarray(0, kept.length);
  }
}

class FileReader implements Reader {
  readonly #fd: number;
  readonly #shownName: string;

  constructor(fd: number, shownName: string) {
    this.#fd = fd;
    this.#shownName = shownName;
  }

  read(offset: number, bytes: number, room: Uint8Array): Uint8Array {
    let count = 0;
    try {
      while (count < bytes) {
        const read = readSync(this.#fd, room, count, bytes - count, offset + count);
        if (read === 0) break;
        count += read;
      }
    } catch (cause) {
      throw new HawserError("E_SOURCE_IO", `reading '${this.#shownName}' failed: ${(cause as Error).message}`, {
        cause,
      });
    }
    return room.subarray(0, count);
  }
}

class LoopReader implements Reader {
  readonly #file: FileReader;
  readonly #fileBytes: number;

  constructor(fd: number, shownName: string, fileBytes: number) {
    this.#file = new FileReader(fd, shownName);
    this.#fileBytes = fileBytes;
  }

  read(offset: number, bytes: number, room: Uint8Array): Uint8Array {
    return this.#file.read(offset % (Math.floor(this.#fileBytes / bytes) * bytes), bytes, room);
  }
}

/** One block of bytes that no disk and no compressor makes anything of, the same every time. */
let pattern = new Uint8Array(0);

class PatternReader implements Reader {
  read(_offset: number, bytes: number): Uint8Array {
    if (pattern.length < bytes) {
      pattern = Buffer.allocUnsafeSlow(bytes);
      const words = new Uint32Array(pattern.buffer, 0, pattern.length >>> 2);
      // xorshift32 (Marsaglia, Xorshift RNGs, 2003).
      for (let i = 0, x = 2463534242; i < words.length; i++) {
        x ^= x << 13;
        x ^= x >>> 17;
        x ^= x << 5;
        words[i] = x;
      }
    }
    return pattern.subarray(0, bytes);
  }
}
