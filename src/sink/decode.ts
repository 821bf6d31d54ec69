/** Makes of a chunk's payload what it stands for, and says whether that is what was read at the source. */
import { constants, zstdDecompress } from "node:zlib";
import type { ArrivedChunk } from "../protocol/conversation.ts";
import { crc32 } from "../protocol/crc32.ts";
import { decodeSparse, findData, sparseCrc32 } from "../protocol/sparse.ts";
import type { SparseChunk } from "./writer.ts";

/** What is to be written. */
export type Content = Uint8Array | SparseChunk;

export const isSparse = (content: Content): content is SparseChunk => !(content instanceof Uint8Array);

/** A frame whose window is larger than the largest chunk is none that was made for a chunk: 2^24 bytes. */
const WINDOW_LOG_MAX = 24;

/** Room for one byte more than there may be: so it is seen at once that there is too much, and no more room is made. */
const SPARE_BYTES = 1;

/**
 * Calls back with the content, with nothing where the payload is damaged: it can't be decoded, or is not as long as was
 * declared, or has another CRC-32. At once, but for zstd, which the thread pool decodes. Never makes room for more than
 * was declared.
 */
export function decode(arrived: ArrivedChunk, done: (content: Content | undefined) => void): void {
  const { payload, payloadCrc32, decodedBytes } = arrived;
  switch (arrived.encoding) {
    case "raw":
      done(arrived.intact === true ? payload : undefined);
      break;
    case "sparse": {
      const data = decodeSparse(payload, decodedBytes);
      const isRight = data !== undefined && sparseCrc32(data, decodedBytes) === payloadCrc32;
      done(isRight ? { bytes: decodedBytes, data } : undefined);
      break;
    }
    case "zstd": {
      const options = {
        maxOutputLength: decodedBytes,
        chunkSize: Math.max(constants.Z_MIN_CHUNK, decodedBytes + SPARE_BYTES),
        params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
      };
      zstdDecompress(payload, options, (error, bytes) => {
        const isRight = error === null && bytes.length === decodedBytes && crc32(bytes) === payloadCrc32;
        if (!isRight) done(undefined);
        // The files of a bundle are told apart first.
        else done(arrived.isBundle ? bytes : withoutZeros(bytes));
      });
      break;
    }
  }
}

function withoutZeros(bytes: Uint8Array): Content {
  const data = findData(bytes);
  return data === undefined ? bytes : { bytes: bytes.length, data };
}
