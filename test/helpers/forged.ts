/** Other bytes with the same CRC-32. */
import { crc32 } from "node:zlib";

/**
 * `content` with its last four bytes such that its CRC-32 is `wanted`. A CRC is linear: what each of their 32 bits does to
 * it is measured, and the equations are solved.
 */
export function forgeCrc32(content: Buffer, wanted: number): Buffer {
  const forged = Buffer.from(content);
  const at = forged.length - 4;
  const crcWith = (word: number) => {
    forged.writeUInt32LE(word >>> 0, at);
    return crc32(forged);
  };
  const base = crcWith(0);
  /** By their highest bit: what of the CRC a set of bits changes, and which bits these are. */
  const rows = new Map<number, readonly [effect: number, bits: number]>();
  for (let bit = 0; bit < 32; bit++) {
    const [effect, bits] = reduced((crcWith(1 << bit) ^ base) >>> 0, (1 << bit) >>> 0, rows);
    if (effect !== 0) rows.set(Math.clz32(effect), [effect, bits]);
  }
  const [left, word] = reduced((wanted ^ base) >>> 0, 0, rows);
  if (left !== 0 || crcWith(word) !== wanted) throw new Error("the equations have no solution");
  return forged;
}

function reduced(effect: number, bits: number, rows: ReadonlyMap<number, readonly [number, number]>): [number, number] {
  let [left, word] = [effect, bits];
  for (let high = 0; high < 32; high++) {
    const row = rows.get(high);
    if (row === undefined || ((left >>> (31 - high)) & 1) === 0) continue;
    left = (left ^ row[0]) >>> 0;
    word = (word ^ row[1]) >>> 0;
  }
  return [left, word];
}
