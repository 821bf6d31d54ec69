/** PROTOCOL.md, Chunks and bundles: what data frames carry, made and taken apart. */
import { crc32, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { Breach } from "./errors.ts";
import { FRAMES, type Header, RAW, rawFrame, SPARSE, ZSTD } from "./frames.ts";

const BLOCK_BYTES = 4096;

/** The table of what is not zero, and that. */
export function sparse(content: Buffer): Buffer {
  const extents: [start: number, end: number][] = [];
  for (let at = 0; at < content.length; at += BLOCK_BYTES) {
    const end = Math.min(at + BLOCK_BYTES, content.length);
    if (content.subarray(at, end).every((byte) => byte === 0)) continue;
    const last = extents.at(-1);
    if (last?.[1] === at) last[1] = end;
    else extents.push([at, end]);
  }
  const table = Buffer.alloc(2 + 8 * extents.length);
  table.writeUInt16BE(extents.length, 0);
  extents.forEach(([start, end], i) => {
    table.writeUInt32BE(start, 2 + 8 * i);
    table.writeUInt32BE(end - start, 6 + 8 * i);
  });
  return Buffer.concat([table, ...extents.map(([start, end]) => content.subarray(start, end))]);
}

function unsparse(payload: Buffer, decodedBytes: number): Buffer | null {
  const content = Buffer.alloc(decodedBytes);
  if (payload.length < 2) return null;
  const count = payload.readUInt16BE(0);
  let data = 2 + 8 * count;
  let before = 0;
  if (data > payload.length) return null;
  for (let i = 0; i < count; i += 1) {
    const [start, length] = [payload.readUInt32BE(2 + 8 * i), payload.readUInt32BE(6 + 8 * i)];
    if (start < before || length === 0 || start + length > decodedBytes || data + length > payload.length) return null;
    payload.copy(content, start, data, data + length);
    data += length;
    before = start + length;
  }
  return data === payload.length ? content : null;
}

/** A CHUNK frame, encoded if that makes it shorter. */
export function chunk(file: number, offset: number, content: Buffer, flags = RAW): Buffer {
  const place = { type: FRAMES.CHUNK, file, offset };
  const payload = flags === ZSTD ? zstdCompressSync(content) : flags === SPARSE ? sparse(content) : content;
  if (flags === RAW || payload.length >= content.length) return rawFrame(content, place);
  return rawFrame(payload, { ...place, flags, decodedBytes: content.length, crc: crc32(content) });
}

/** What a data frame stands for; null where it is damaged. */
export function decodeContent({ flags, decodedBytes, crc }: Header, payload: Buffer): Buffer | null {
  let content: Buffer | null = payload;
  if (flags === SPARSE) content = unsparse(payload, decodedBytes);
  if (flags === ZSTD) {
    try {
      content = zstdDecompressSync(payload, { maxOutputLength: decodedBytes });
    } catch {
      content = null;
    }
  }
  return content?.length === decodedBytes && crc32(content) === crc ? content : null;
}

export interface Whole {
  readonly file: number;
  readonly content: Buffer;
  /** For what a table should not say. */
  readonly length?: number;
  readonly crc?: number;
}

export function bundlePayload(files: readonly Whole[], count = files.length): Buffer {
  const table = Buffer.alloc(4 + 12 * files.length);
  table.writeUInt32BE(count, 0);
  files.forEach(({ file, content, length = content.length, crc = crc32(content) }, i) => {
    table.writeUInt32BE(file, 4 + 12 * i);
    table.writeUInt32BE(length, 8 + 12 * i);
    table.writeUInt32BE(crc, 12 + 12 * i);
  });
  return Buffer.concat([table, ...files.map(({ content }) => content)]);
}

export const bundle = (number: number, files: readonly Whole[], count?: number): Buffer =>
  rawFrame(bundlePayload(files, count), { type: FRAMES.BUNDLE, file: number });

export function readBundle(payload: Buffer): (Whole & { readonly crc: number })[] {
  const count = payload.length < 4 ? 0 : payload.readUInt32BE(0);
  let at = 4 + 12 * count;
  if (count < 1 || count > 256 || at > payload.length) throw new Breach("E_ILLEGAL", `a bundle of ${count}`);
  const files = Array.from({ length: count }, (_, i) => {
    const length = payload.readUInt32BE(8 + 12 * i);
    at += length;
    const content = payload.subarray(at - length, at);
    return { file: payload.readUInt32BE(4 + 12 * i), content, crc: payload.readUInt32BE(12 + 12 * i) };
  });
  if (at !== payload.length) throw new Breach("E_ILLEGAL", "a bundle that ends elsewhere");
  return files;
}
