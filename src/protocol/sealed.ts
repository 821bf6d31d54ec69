/**
 * How a sealed stream begins: a connection whose keys come from the control connection's TLS in place of a handshake of
 * its own. It says, in the clear, which control connection, and which of the connections dialled under it.
 *
 * offset  bytes  field
 *      0      8  magic: 0x8A 'H' 'A' 'W' 'S' 'E' 'A' 'L'
 *      8     16  name of the control connection's stream secret
 *     24      4  number of this connection, of those dialled under the secret
 *     28      4  CRC-32 of bytes 0 to 27
 *
 * Its first byte tells it from a greeting (0x89), from TLS (0x16) and from text. Pure.
 */
import { crc32 } from "./crc32.ts";
import { HawserError } from "./errors.ts";
import { SEALED_NUMBERS_WINDOW } from "./limits.ts";

/** What a stream can be sealed with, by its name on the wire: the length of its key in bytes. */
export const SEAL_KEY_BYTES = { "aes-128-gcm": 16, "chacha20-poly1305": 32 } as const;

export type SealCipher = keyof typeof SEAL_KEY_BYTES;

export const SECRET_NAME_BYTES = 16;
export const SEALED_OPENING_BYTES = 32;

const MAGIC = Uint8Array.of(0x8a, 0x48, 0x41, 0x57, 0x53, 0x45, 0x41, 0x4c);

/** The first byte that a client sends on a sealed stream. */
export const SEALED_FIRST_BYTE = 0x8a;

export interface SealedOpening {
  /** 16 bytes. */
  readonly secretName: Uint8Array;
  /** 0 to 2^32 - 1. */
  readonly number: number;
}

export function encodeSealedOpening({ secretName, number }: SealedOpening): Uint8Array {
  const bytes = new Uint8Array(SEALED_OPENING_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  bytes.set(secretName, 8);
  view.setUint32(24, number);
  view.setUint32(28, crc32(bytes.subarray(0, 28)));
  return bytes;
}

/** Decodes the 32 bytes of an opening. Throws E_NOT_HAWSER, E_DAMAGED. */
export function decodeSealedOpening(bytes: Uint8Array): SealedOpening {
  if (MAGIC.some((byte, i) => byte !== bytes[i])) {
    throw new HawserError("E_NOT_HAWSER", "a connection began like a sealed stream, and is none");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, SEALED_OPENING_BYTES);
  if (view.getUint32(28) !== crc32(bytes.subarray(0, 28))) {
    throw new HawserError("E_DAMAGED", "the opening of a sealed stream arrived damaged");
  }
  return { secretName: new Uint8Array(bytes.subarray(8, 24)), number: view.getUint32(24) };
}

/**
 * Numbers that were used, each once: a sealed connection that is played again has a number that was. As the window of
 * RFC 4303, 3.4.3, does it: what lies too far behind the highest counts as used.
 */
export class NumbersUsed {
  readonly #used = new Uint8Array(SEALED_NUMBERS_WINDOW);
  #highest = -1;

  has(number: number): boolean {
    if (number > this.#highest) return false;
    return number <= this.#highest - SEALED_NUMBERS_WINDOW || this.#used[number % SEALED_NUMBERS_WINDOW] === 1;
  }

  /** Whether it was free; it is used from now on. */
  use(number: number): boolean {
    if (this.has(number)) return false;
    const skipped = Math.min(number - this.#highest - 1, SEALED_NUMBERS_WINDOW);
    for (let i = 0; i < skipped; i++) this.#used[(number - 1 - i) % SEALED_NUMBERS_WINDOW] = 0;
    this.#used[number % SEALED_NUMBERS_WINDOW] = 1;
    this.#highest = Math.max(this.#highest, number);
    return true;
  }
}
