/**
 * Bytes as text: one character for each, U+0000 to U+00FF (latin1). V8 makes, keeps and frees such text far more cheaply
 * than a Uint8Array, which is an object with a buffer of its own: 10,000 names of a tree take 7 ms as text and 20 as bytes.
 * Different bytes are different text; it is not what a name shows. Pure.
 */

/** To be told from text that is text. */
export type ByteText = string;

export function byteTextOf(bytes: Uint8Array): ByteText {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString("latin1");
}

export function bytesOf(text: ByteText): Buffer {
  return Buffer.from(text, "latin1");
}

/** Whether it says the same as text, since its bytes are UTF-8 of one byte each. */
export function isAscii(text: ByteText): boolean {
  return !NOT_ASCII.test(text);
}

const NOT_ASCII = /[\x80-\xff]/;
