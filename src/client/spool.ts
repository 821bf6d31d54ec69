/**
 * A copy of what is read once, on a disk of this machine, so that a transfer of it can go on after an interruption: it is
 * made whole before anything is sent, and goes when it is committed.
 */
import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32, formatCrc32 } from "../protocol/crc32.ts";
import { asHawserError, HawserError } from "../protocol/errors.ts";
import { displayName } from "../protocol/names.ts";
import { type Input, type InputReader, openInput } from "../source/input.ts";
import { reasonOf } from "../source/source-error.ts";
import { abortReason } from "./abort.ts";
import { nameOfInput } from "./plan.ts";
import { ProgressReporter } from "./progress.ts";
import { ResultBuilder } from "./result.ts";
import type { SendOptions, TransferResult } from "./types.ts";

/** Room to read into: what is written at once. */
const ROOM_BYTES = 1024 * 1024;

/** Copies the input, and has `send` send the copy. */
export async function sendSpooled(
  options: SendOptions,
  send: (options: SendOptions) => Promise<TransferResult>,
): Promise<TransferResult> {
  const { input, spool: directory = "", expectBytes, expectCrc32, ...others } = options;
  const results = new ResultBuilder();
  const progress = new ProgressReporter({ files: 1, bytes: expectBytes ?? null }, (event) => options.onEvent?.(event));
  const copying = new Copying(directory, options, (bytes) => progress.copied(bytes));
  let path: string;
  progress.copied(0);
  try {
    nameOfInput(options);
    path = await copying.run(openInput(input ?? 0));
  } catch (thrown) {
    const error = asHawserError(thrown);
    if (typeof input === "object") input.destroy();
    if (error.code === "E_INTERNAL") throw thrown;
    return results.build(error, 0);
  } finally {
    progress.stop();
  }
  options.onEvent?.({ type: "spooled", path, bytes: copying.bytes });
  const result = await send({ ...others, paths: [path] });
  if (!result.ok) return { ...result, spooled: path };
  try {
    unlinkSync(path);
    return result;
  } catch (cause) {
    options.onEvent?.({ type: "warning", message: `'${path}' can't be removed: ${(cause as Error).message}` });
    return { ...result, spooled: path };
  }
}

class Copying implements InputReader {
  readonly #path: string;
  readonly #expectBytes: number | undefined;
  readonly #expectCrc32: number | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onCopied: (bytes: number) => void;
  readonly #room = Buffer.allocUnsafeSlow(ROOM_BYTES);
  readonly #over = Promise.withResolvers<void>();
  #filled = 0;
  #crc = 0;
  #fd = -1;
  bytes = 0;

  constructor(directory: string, { expectBytes, expectCrc32, signal }: SendOptions, onCopied: (bytes: number) => void) {
    this.#path = join(directory, `hawser-${process.pid}-${randomBytes(4).toString("hex")}.spool`);
    this.#expectBytes = expectBytes;
    this.#expectCrc32 = expectCrc32;
    this.#signal = signal;
    this.#onCopied = onCopied;
  }

  /** Returns where the copy is. Where it throws, there is none. */
  async run(input: Input): Promise<string> {
    const { O_CREAT, O_EXCL, O_WRONLY } = constants;
    const onAbort = () => this.#over.reject(abortedWhileCopying(this.#signal));
    const remove = () => unlinkSync(this.#path);
    try {
      this.#fd = this.#writing(() => openSync(this.#path, O_CREAT | O_EXCL | O_WRONLY, 0o600));
    } catch (thrown) {
      input.close();
      throw thrown;
    }
    // A second signal ends the process at once.
    process.once("exit", remove);
    this.#signal?.addEventListener("abort", onAbort, { once: true });
    try {
      if (this.#signal?.aborted) onAbort();
      else input.start(this);
      await this.#over.promise;
      this.#assertExpected();
      return this.#path;
    } catch (thrown) {
      unlinkSync(this.#path);
      throw thrown;
    } finally {
      process.off("exit", remove);
      this.#signal?.removeEventListener("abort", onAbort);
      input.close();
      closeSync(this.#fd);
    }
  }

  target(): Uint8Array {
    return this.#room.subarray(this.#filled);
  }

  advance(count: number): boolean {
    this.#filled += count;
    this.bytes += count;
    this.#onCopied(this.bytes);
    try {
      if (this.#filled === this.#room.length) this.#flush();
      if (this.#expectBytes === undefined || this.bytes <= this.#expectBytes) return true;
      this.#over.reject(unexpected(`has more than the ${this.#expectBytes} bytes that were expected`));
    } catch (thrown) {
      this.#over.reject(thrown);
    }
    // It is over: where the next bytes would go does not matter any more, but that there is room.
    this.#filled = 0;
    return false;
  }

  onEnd(): void {
    try {
      this.#flush();
      this.#over.resolve();
    } catch (thrown) {
      this.#over.reject(thrown);
    }
  }

  onFailed(error: HawserError): void {
    this.#over.reject(error);
  }

  /** At once, as the sink writes: the page cache takes it. */
  #flush(): void {
    const bytes = this.#room.subarray(0, this.#filled);
    if (this.#expectCrc32 !== undefined) this.#crc = crc32(bytes, this.#crc);
    this.#writing(() => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at);
    });
    this.#filled = 0;
  }

  #writing<T>(write: () => T): T {
    try {
      return write();
    } catch (thrown) {
      const cause = thrown as NodeJS.ErrnoException;
      const isFull = cause.code === "ENOSPC" || cause.code === "EDQUOT" || cause.code === "EFBIG";
      const shown = displayName(Buffer.from(this.#path));
      if (isFull) {
        const message = `there is no room for '${shown}': the copy was removed, and nothing was sent`;
        throw new HawserError("E_NO_SPACE", message, { cause });
      }
      const why = cause.code === "ENOENT" ? "its directory does not exist" : reasonOf(cause);
      throw new HawserError("E_IO", `'${shown}' can't be written: ${why}`, { cause });
    }
  }

  #assertExpected(): void {
    const { bytes } = this;
    if (this.#expectBytes !== undefined && bytes !== this.#expectBytes) {
      throw unexpected(`ended after ${bytes} bytes, and ${this.#expectBytes} were expected`);
    }
    if (this.#expectCrc32 !== undefined && this.#crc !== this.#expectCrc32) {
      const expected = formatCrc32(this.#expectCrc32);
      throw unexpected(`has the CRC-32 ${formatCrc32(this.#crc)}, and ${expected} was expected`);
    }
  }
}

const unexpected = (what: string) => new HawserError("E_CONTENT", `the input ${what}`);

function abortedWhileCopying(signal: AbortSignal | undefined): HawserError {
  const { code, message } = abortReason(signal);
  return new HawserError(code, `${message} while the input was copied: the copy was removed, and nothing was sent`);
}
