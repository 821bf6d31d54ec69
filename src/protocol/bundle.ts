/**
 * The payload of a BUNDLE: small files, whole, many in one frame. A table of what is in it stands first, so that its
 * reader knows where each begins; the contents follow, back to back and in the table's order. Pure.
 *
 * offset  bytes  field; all numbers unsigned and big-endian
 *      0      4  how many files: 1 to BUNDLE_FILES_MAX
 *      4     12  for each: file (4), length in bytes (4), CRC-32 of its content (4)
 *   then         the contents
 */
import { HawserError } from "./errors.ts";
import { BUNDLE_FILES_MAX } from "./limits.ts";

const COUNT_BYTES = 4;
const ENTRY_BYTES = 12;

export interface BundledFile {
  readonly file: number;
  readonly bytes: number;
  readonly crc32: number;
}

/** Where in the payload a file's content lies. */
export interface BundledContent extends BundledFile {
  readonly start: number;
}

/** Bytes that the table of so many files takes. */
export function bundleTableBytes(files: number): number {
  return COUNT_BYTES + ENTRY_BYTES * files;
}

/** Writes the table to the start of `payload`; the contents are to follow it. */
export function encodeBundleTable(files: readonly BundledFile[], payload: Uint8Array): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  view.setUint32(0, files.length);
  let at = COUNT_BYTES;
  for (const { file, bytes, crc32 } of files) {
    view.setUint32(at, file);
    view.setUint32(at + 4, bytes);
    view.setUint32(at + 8, crc32);
    at += ENTRY_BYTES;
  }
}

/** The files in a payload whose CRC was right. Throws E_ILLEGAL for one that is no bundle. */
export function decodeBundle(payload: Uint8Array): BundledContent[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const count = payload.length < COUNT_BYTES ? 0 : view.getUint32(0);
  let start = bundleTableBytes(count);
  if (count < 1 || count > BUNDLE_FILES_MAX || start > payload.length) throw illegal(`a table of ${count} files`);
  const files: BundledContent[] = [];
  for (let at = COUNT_BYTES; files.length < count; at += ENTRY_BYTES) {
    const [file, bytes, crc32] = [view.getUint32(at), view.getUint32(at + 4), view.getUint32(at + 8)];
    files.push({ file, bytes, crc32, start });
    start += bytes;
  }
  if (start !== payload.length) throw illegal(`${payload.length} bytes where its table speaks of ${start}`);
  return files;
}

function illegal(what: string): HawserError {
  return new HawserError("E_ILLEGAL", `a BUNDLE frame with ${what}`);
}
