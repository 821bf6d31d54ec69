/** Standard output for a file's own bytes, apart from the stream that results are written to: one that can be given up. */
import { fstatSync, write } from "node:fs";
import { Writable } from "node:stream";
import { pipeOutput } from "../net/pipe-output.ts";

export type RawOutput = Writable & { readonly bytesWritten: number };

const STDOUT = 1;

export function rawOutput(): RawOutput {
  const found = fstatSync(STDOUT);
  return found.isFIFO() || found.isSocket() ? pipeOutput(STDOUT) : new DescriptorOutput(STDOUT);
}

/**
 * Writes to a file that this process was given, and leaves it open whatever happens: a stream of Node's closes it when it
 * is destroyed, and standard output is still wanted then.
 */
export class DescriptorOutput extends Writable {
  readonly #fd: number;
  bytesWritten = 0;

  constructor(fd: number) {
    super();
    this.#fd = fd;
  }

  override _write(bytes: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    write(this.#fd, bytes, 0, bytes.length, null, (error, count) => {
      if (error !== null) return done(error);
      this.bytesWritten += count;
      if (count < bytes.length) this._write(bytes.subarray(count), _encoding, done);
      else done();
    });
  }
}
