/**
 * The records of a sealed stream: what goes over it is sealed by AES-GCM or ChaCha20-Poly1305 (RFC 5116) under keys from
 * the TLS of its session's control connection, in records of up to 256 KiB. TLS's own are of 16 KiB, each of which
 * Node hands on by itself, and cost a receiver several times what the cipher does. PROTOCOL.md has the bytes.
 *
 * A nonce can't come twice: a key belongs to one number under one secret, one direction and one stretch of records,
 * and within it the records are counted. Pure: node:crypto is all it uses.
 */
import {
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherGCM,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { HawserError } from "../protocol/errors.ts";
import { SEALED_RECORD_BYTES_MAX, SEALED_RECORDS_PER_KEY } from "../protocol/limits.ts";
import { SEAL_KEY_BYTES, SECRET_NAME_BYTES, type SealCipher } from "../protocol/sealed.ts";

/** Label of the control connection's exporter (RFC 8446, 7.5); its context is the session's id. */
export const STREAM_SECRET_LABEL = "EXPORTER-hawser-1-streams";
export const STREAM_SECRET_BYTES = 32;

/** Who writes what is sealed. */
export type Writer = "client" | "server";

/** What both ends of one sealed connection have in common. */
export interface SealedKeys {
  readonly cipher: SealCipher;
  readonly secret: Uint8Array;
  readonly number: number;
}

const HEAD_BYTES = 4;
const TAG_BYTES = 16;
const IV_BYTES = 12;

/** What is given to the cipher at once: its output is a buffer of this size, which the allocator has at hand. */
const PIECE_BYTES = 64 * 1024;

/** What comes in less than this is put together: else a peer that trickles would have us keep a buffer for each byte. */
const SMALL_PIECE_BYTES = 16 * 1024;

/** How the client names the secret on the wire: who has the name does not have the secret. */
export function secretNameOf(secret: Uint8Array): Uint8Array {
  return derive(secret, "hawser 1 stream name", SECRET_NAME_BYTES);
}

function derive(secret: Uint8Array, info: string | Uint8Array, bytes: number): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, new Uint8Array(0), info, bytes));
}

interface RecordKey {
  readonly key: KeyObject;
  readonly iv: Uint8Array;
}

/** One direction of one sealed connection: which key and which nonce its next record has. */
class RecordKeys {
  readonly #keys: SealedKeys;
  readonly #writer: Writer;
  #records = 0;
  #current: RecordKey | undefined;

  constructor(keys: SealedKeys, writer: Writer) {
    this.#keys = keys;
    this.#writer = writer;
  }

  get cipher(): "aes-128-gcm" {
    // Both have the same calls; the types of node:crypto know that of GCM only.
    return this.#keys.cipher as "aes-128-gcm";
  }

  next(): { readonly key: KeyObject; readonly nonce: Uint8Array } {
    const count = this.#records++;
    if (count % SEALED_RECORDS_PER_KEY === 0) this.#current = this.#keyOf(count / SEALED_RECORDS_PER_KEY);
    const { key, iv } = this.#current as RecordKey;
    const nonce = Uint8Array.from(iv);
    const view = new DataView(nonce.buffer);
    // The count fits 32 bits within a stretch: exclusive-or with the last four bytes is that of RFC 8446, 5.3.
    view.setUint32(8, (view.getUint32(8) ^ (count % SEALED_RECORDS_PER_KEY)) >>> 0);
    return { key, nonce };
  }

  #keyOf(stretch: number): RecordKey {
    const { cipher, secret, number } = this.#keys;
    const info = new Uint8Array(24);
    info.set(new TextEncoder().encode("hawser 1 stream"));
    info[15] = this.#writer === "client" ? 0 : 1;
    const view = new DataView(info.buffer);
    view.setUint32(16, number);
    view.setUint32(20, stretch);
    const keyBytes = SEAL_KEY_BYTES[cipher];
    const both = derive(secret, info, keyBytes + IV_BYTES);
    return { key: createSecretKey(both.subarray(0, keyBytes)), iv: both.subarray(keyBytes) };
  }
}

/** Seals what this end writes. */
export class Sealer {
  readonly #keys: RecordKeys;

  constructor(keys: SealedKeys, writer: Writer) {
    this.#keys = new RecordKeys(keys, writer);
  }

  /** The records for these bytes, to be written one after the other. Of nothing comes nothing. */
  seal(slices: readonly Uint8Array[]): Uint8Array[] {
    let left = 0;
    for (const slice of slices) left += slice.length;
    const sealed: Uint8Array[] = [];
    let record: CipherGCM | undefined;
    let room = 0;
    for (const slice of slices) {
      for (let at = 0; at < slice.length; ) {
        if (record === undefined) {
          room = Math.min(left, SEALED_RECORD_BYTES_MAX);
          record = this.#begin(room, sealed);
        }
        const piece = slice.subarray(at, at + Math.min(room, PIECE_BYTES));
        sealed.push(record.update(piece));
        at += piece.length;
        left -= piece.length;
        room -= piece.length;
        if (room > 0) continue;
        record.final();
        sealed.push(record.getAuthTag());
        record = undefined;
      }
    }
    return sealed;
  }

  #begin(bytes: number, sealed: Uint8Array[]): CipherGCM {
    const head = new Uint8Array(HEAD_BYTES);
    new DataView(head.buffer).setUint32(0, bytes);
    sealed.push(head);
    const { key, nonce } = this.#keys.next();
    const record = createCipheriv(this.#keys.cipher, key, nonce, { authTagLength: TAG_BYTES });
    record.setAAD(head);
    return record;
  }
}

/** Opens what the other end sealed. */
export class Opener {
  readonly #keys: RecordKeys;
  readonly #head = new Uint8Array(HEAD_BYTES);
  readonly #tag = new Uint8Array(TAG_BYTES);
  #record: DecipherGCM | undefined;
  #headBytes = 0;
  #tagBytes = 0;
  /** Of the record's bytes those that have not come. */
  #missing = 0;
  /** Opened, and not vouched for before the tag is here. */
  #held: Uint8Array[] = [];
  /** The last of these while small pieces are put together in it, up to `#gatheredBytes`. */
  #gathered: Uint8Array | undefined;
  #gatheredBytes = 0;
  /** What a record may hold. */
  #bytesMax: number;

  /** The first record may hold `firstBytesMax`. */
  constructor(keys: SealedKeys, writer: Writer, firstBytesMax = SEALED_RECORD_BYTES_MAX) {
    this.#keys = new RecordKeys(keys, writer);
    this.#bytesMax = firstBytesMax;
  }

  /**
   * Takes the next bytes of the connection, in any pieces. Returns what of it is whole, and as it was sealed. The bytes may be
   * used again afterwards. Throws E_DAMAGED; the connection is of no use then.
   */
  open(bytes: Uint8Array): Uint8Array[] {
    const opened: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.#record === undefined) at += this.#takeHead(bytes, at);
      else if (this.#missing > 0) {
        const room = this.#gathered === undefined ? PIECE_BYTES : this.#gathered.length - this.#gatheredBytes;
        const piece = bytes.subarray(at, at + Math.min(this.#missing, room));
        this.#hold(this.#record.update(piece));
        this.#missing -= piece.length;
        at += piece.length;
      } else {
        const taken = bytes.subarray(at, at + TAG_BYTES - this.#tagBytes);
        this.#tag.set(taken, this.#tagBytes);
        this.#tagBytes += taken.length;
        at += taken.length;
        if (this.#tagBytes === TAG_BYTES) this.#finish(this.#record, opened);
      }
    }
    return opened;
  }

  #hold(opened: Uint8Array): void {
    if (this.#gathered === undefined) {
      if (opened.length === this.#missing || opened.length >= SMALL_PIECE_BYTES) {
        this.#held.push(opened);
        return;
      }
      this.#gathered = new Uint8Array(Math.min(PIECE_BYTES, this.#missing));
      this.#gatheredBytes = 0;
      this.#held.push(this.#gathered);
    }
    this.#gathered.set(opened, this.#gatheredBytes);
    this.#gatheredBytes += opened.length;
    if (this.#gatheredBytes === this.#gathered.length) this.#gathered = undefined;
  }

  #takeHead(bytes: Uint8Array, at: number): number {
    const taken = bytes.subarray(at, at + HEAD_BYTES - this.#headBytes);
    this.#head.set(taken, this.#headBytes);
    this.#headBytes += taken.length;
    if (this.#headBytes < HEAD_BYTES) return taken.length;
    this.#missing = new DataView(this.#head.buffer).getUint32(0);
    if (this.#missing === 0 || this.#missing > this.#bytesMax) throw unopened();
    const { key, nonce } = this.#keys.next();
    this.#record = createDecipheriv(this.#keys.cipher, key, nonce, { authTagLength: TAG_BYTES });
    this.#record.setAAD(this.#head);
    return taken.length;
  }

  #finish(record: DecipherGCM, opened: Uint8Array[]): void {
    try {
      record.setAuthTag(this.#tag);
      record.final();
    } catch {
      throw unopened();
    }
    this.#bytesMax = SEALED_RECORD_BYTES_MAX;
    opened.push(...this.#held);
    this.#held = [];
    this.#record = undefined;
    this.#headBytes = 0;
    this.#tagBytes = 0;
  }
}

function unopened(): HawserError {
  return new HawserError("E_DAMAGED", "a sealed record does not open: it was damaged, or is not the other end's");
}
