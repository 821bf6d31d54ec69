/**
 * Gives back memory that nobody reads any more, in place of leaving it to the garbage collector: buffers that a cipher makes come in
 * gigabytes, and collecting them costs as much as the cipher. Freed at once, the allocator hands the same memory out again,
 * which the processor still has in its cache.
 */

/** `bytes` are empty afterwards, and so is all that shares their memory. A part of a larger buffer is left alone; again is no harm. */
export function release({ buffer, byteLength }: Uint8Array): void {
  if (byteLength > 0 && buffer.byteLength === byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
