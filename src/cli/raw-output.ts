/** Standard output for a file's own bytes, apart from the stream that results are written to: one that can be given up. */
import { createWriteStream, fstatSync } from "node:fs";
import type { Writable } from "node:stream";
import { pipeOutput } from "../net/pipe-output.ts";

export type RawOutput = Writable & { readonly bytesWritten: number };

const STDOUT = 1;

export function rawOutput(): RawOutput {
  const found = fstatSync(STDOUT);
  if (found.isFIFO() || found.isSocket()) return pipeOutput(STDOUT);
  return createWriteStream("", { fd: STDOUT, autoClose: false });
}
