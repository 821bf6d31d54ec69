/**
 * What is read once and in order: a descriptor that this process was given, such as standard input, or a stream of its
 * own. It is read into buffers of its reader's choice, and no faster than its reader lets it.
 */
import { close as closeFd, fstatSync, read, readFileSync, type Stats } from "node:fs";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import type { DirectReader } from "../net/direct-read.ts";
import { PipeInput } from "../net/pipe-input.ts";
import { HawserError } from "../protocol/errors.ts";

/** `target` is never empty; after `advance` has returned false nothing comes until `resume`. */
export interface InputReader extends DirectReader {
  /** Nothing more comes, and all that there was has come. */
  onEnd(): void;
  onFailed(error: HawserError): void;
}

export interface Input {
  /** Begins to read. Once. */
  start(reader: InputReader): void;
  resume(): void;
  /** Reads no more: whoever writes to it hears of it as soon as this process lets it go. Safe to call again. */
  close(): void;
}

const readAsync = promisify(read);

/** Standard input, output and error stay open as long as the process. */
const isStandard = (fd: number) => fd <= 2;

/** An input over a descriptor or a stream. Throws E_SOURCE_IO, E_SOURCE_SPECIAL. */
export function openInput(from: number | Readable): Input {
  if (typeof from !== "number") return new StreamInput(from);
  let found: Stats;
  try {
    found = fstatSync(from);
  } catch (cause) {
    throw inputError(cause as Error);
  }
  if (found.isDirectory()) throw new HawserError("E_SOURCE_SPECIAL", "the input is a directory");
  if (found.isFIFO() || found.isSocket()) return new DescriptorPipe(from);
  return new DescriptorFile(from);
}

/** Whether a standard descriptor was closed: Node opens the null device in its place, to read and to write. */
export function isClosed(fd: 0 | 1): boolean {
  if (process.platform !== "linux") return false;
  try {
    const found = fstatSync(fd);
    if (!found.isCharacterDevice() || found.rdev !== LINUX_NULL_DEVICE) return false;
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1] ?? "0";
    return (Number.parseInt(flags, 8) & ACCESS_MODE) === READ_AND_WRITE;
  } catch {
    return false;
  }
}

/** Major 1, minor 3 (Linux, Documentation/admin-guide/devices.txt). */
const LINUX_NULL_DEVICE = 0x103;
/** O_ACCMODE and O_RDWR. */
const ACCESS_MODE = 3;
const READ_AND_WRITE = 2;

/**
 * The producer's end may come of the same ^C that this process is about to hear of: its signal is there by the time that
 * the pipe has closed, and this is more than enough to see it first.
 */
const END_DELAY_MS = 20;

class DescriptorPipe implements Input {
  readonly #fd: number;
  #endTimer: NodeJS.Timeout | undefined;
  #pipe: PipeInput | undefined;
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  start(reader: InputReader): void {
    if (this.#closed) return;
    this.#pipe = new PipeInput(this.#fd, reader, {
      onEnd: () => {
        if (!this.#closed) this.#endTimer = setTimeout(() => reader.onEnd(), END_DELAY_MS);
      },
      onError: (cause) => reader.onFailed(inputError(cause)),
    });
  }
  resume(): void {
    this.#pipe?.resume();
  }
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#endTimer);
    if (this.#pipe !== undefined) this.#pipe.close();
    else if (!isStandard(this.#fd)) closeFd(this.#fd, () => {});
  }
}

/** A regular file or a device: it is read in the thread pool, where it lasts as long as a disk takes. */
class DescriptorFile implements Input {
  readonly #fd: number;
  #reader: InputReader | undefined;
  #reading = false;
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  start(reader: InputReader): void {
    this.#reader = reader;
    void this.#run(reader);
  }
  resume(): void {
    if (this.#reader !== undefined && !this.#reading) void this.#run(this.#reader);
  }
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#reading) this.#letGo();
  }

  async #run(reader: InputReader): Promise<void> {
    this.#reading = true;
    try {
      for (let mayGoOn = true; mayGoOn && !this.#closed; ) {
        const target = reader.target();
        const { bytesRead } = await readAsync(this.#fd, target, 0, target.length, null);
        if (this.#closed) break;
        if (bytesRead === 0) {
          reader.onEnd();
          break;
        }
        mayGoOn = reader.advance(bytesRead);
      }
    } catch (cause) {
      if (!this.#closed) reader.onFailed(inputError(cause as Error));
    } finally {
      this.#reading = false;
      if (this.#closed) this.#letGo();
    }
  }

  #letGo(): void {
    if (!isStandard(this.#fd)) closeFd(this.#fd, () => {});
  }
}

class StreamInput implements Input {
  readonly #stream: Readable;
  #goOn: (() => void) | undefined;
  #closed = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    // Whoever reads it hears of an error, also of one that came before.
    stream.on("error", () => {});
  }

  start(reader: InputReader): void {
    void this.#run(reader).catch((cause) => {
      if (!this.#closed) reader.onFailed(inputError(cause as Error));
    });
  }
  resume(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }
  close(): void {
    this.#closed = true;
    this.resume();
    this.#stream.destroy();
  }

  async #run(reader: InputReader): Promise<void> {
    for await (const piece of this.#stream) {
      const bytes: Uint8Array = typeof piece === "string" ? Buffer.from(piece) : piece;
      for (let at = 0; at < bytes.length && !this.#closed; ) {
        const target = reader.target();
        const count = Math.min(target.length, bytes.length - at);
        target.set(bytes.subarray(at, at + count));
        at += count;
        if (reader.advance(count)) continue;
        await new Promise<void>((resolve) => {
          this.#goOn = resolve;
        });
      }
      if (this.#closed) return;
    }
    if (!this.#closed) reader.onEnd();
  }
}

function inputError(cause: Error): HawserError {
  return new HawserError("E_SOURCE_IO", `the input can't be read: ${cause.message}`, { cause });
}
