/** BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs), unkeyed, 32 bytes: slow, short and our own. */
const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const MIXES = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
] as const;
const [CHUNK_START, CHUNK_END, PARENT, ROOT] = [1, 2, 4, 8] as const;
const CHUNK_BYTES = 1024;
const BLOCK_BYTES = 64;

const rotate = (word: number, by: number) => (word >>> by) | (word << (32 - by));

/** The first eight words of the compression function's output. */
function compress(before: readonly number[], block: number[], counter: number, bytes: number, flags: number): number[] {
  const s = [...before, ...IV.slice(0, 4), counter | 0, Math.floor(counter / 2 ** 32), bytes, flags];
  let m = block;
  for (let round = 0; round < 7; round += 1) {
    MIXES.forEach(([a, b, c, d], i) => {
      const at = (j: number) => s[j] as number;
      for (const [word, first, second] of [
        [m[2 * i] as number, 16, 12],
        [m[2 * i + 1] as number, 8, 7],
      ] as const) {
        s[a] = (at(a) + at(b) + word) | 0;
        s[d] = rotate(at(d) ^ at(a), first);
        s[c] = (at(c) + at(d)) | 0;
        s[b] = rotate(at(b) ^ at(c), second);
      }
    });
    m = ORDER.map((j) => m[j] as number);
  }
  return s.slice(0, 8).map((word, i) => word ^ (s[i + 8] as number));
}

function wordsOf(block: Uint8Array): number[] {
  const padded = Buffer.alloc(BLOCK_BYTES);
  padded.set(block);
  return Array.from({ length: 16 }, (_, i) => padded.readInt32LE(4 * i));
}

/** The chaining value of the subtree over `content`, whose first chunk has this number. */
function subtree(content: Uint8Array, firstChunk: number, root: number): number[] {
  if (content.length > CHUNK_BYTES) {
    // The left side is the largest power of two of whole chunks that leaves something for the right one.
    let left = CHUNK_BYTES;
    while (left * 2 < content.length) left *= 2;
    const both = [
      ...subtree(content.subarray(0, left), firstChunk, 0),
      ...subtree(content.subarray(left), firstChunk + left / CHUNK_BYTES, 0),
    ];
    return compress(IV, both, 0, BLOCK_BYTES, PARENT | root);
  }
  let value: number[] = IV;
  const blocks = Math.max(1, Math.ceil(content.length / BLOCK_BYTES));
  for (let i = 0; i < blocks; i += 1) {
    const block = content.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    const flags = (i === 0 ? CHUNK_START : 0) | (i === blocks - 1 ? CHUNK_END | root : 0);
    value = compress(value, wordsOf(block), firstChunk, block.length, flags);
  }
  return value;
}

export function blake3(content: Uint8Array): Buffer {
  const digest = Buffer.alloc(32);
  subtree(content, 0, ROOT).forEach((word, i) => {
    digest.writeInt32LE(word, 4 * i);
  });
  return digest;
}
