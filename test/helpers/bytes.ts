/** Bytes that differ everywhere, the same for the same seed. */
export function randomBytesOf(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer, 0, length >>> 2);
  let x = (seed * 2654435761) >>> 0 || 1;
  const next = () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
  for (let i = 0; i < words.length; i++) words[i] = next();
  for (let i = words.length * 4; i < length; i++) bytes[i] = next();
  return bytes;
}

/** The same elements in another order, the same for the same seed. */
export function scrambled<T>(items: readonly T[], seed = 1): T[] {
  const result = [...items];
  const order = new Uint32Array(randomBytesOf(4 * result.length, seed).buffer);
  for (let i = result.length - 1; i > 0; i--) {
    const j = (order[i] as number) % (i + 1);
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

export const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;

export const nameOf = (name: string) => new Uint8Array(Buffer.from(name));
