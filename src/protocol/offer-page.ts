/**
 * The payload of an OFFER, written entry by entry: the very bytes that `encodeMessage` would make of the same body. A tree of
 * small files offers each of them, and this costs a fifth of making objects to be encoded. Pure.
 */
import type { ByteText } from "./byte-text.ts";
import { CONTROL_PAYLOAD_BYTES_MAX, PAGE_BYTES, PAGE_ENTRIES_MAX } from "./limits.ts";
import type { OfferedFile } from "./messages.ts";

/** What is offered; what is undefined is left out. */
export interface Offer {
  readonly file: number;
  readonly name: Uint8Array | ByteText;
  readonly size: number | null;
  readonly mtime: readonly [number, number];
  readonly mode: number;
  readonly key: Uint8Array | undefined;
  readonly kind: OfferedFile["kind"];
  readonly target: Uint8Array | undefined;
  readonly whole: boolean | undefined;
  readonly quick: boolean | undefined;
}

/** What an entry takes besides name and target, at most: ten fields' names, seven numbers, a key. */
const ENTRY_BYTES = 160;
/** What stands before the entries, at most. */
const HEAD_BYTES = 32;
/** A map's and an array's fields or entries are in its first byte, up to so many. */
const FIX_MAX = 15;

/** A field's name, as a msgpack string of up to 31 characters. */
const fieldName = (name: string) => Buffer.from([0xa0 + name.length, ...Buffer.from(name)]);
const [SETTLED_BELOW, FILES] = [fieldName("settledBelow"), fieldName("files")] as const;
const [FILE, NAME, SIZE] = [fieldName("file"), fieldName("name"), fieldName("size")] as const;
/** With the head of the array of two that follows it. */
const MTIME = Buffer.concat([fieldName("mtime"), Buffer.from([0x92])]);
const [MODE, KEY, KIND] = [fieldName("mode"), fieldName("key"), fieldName("kind")] as const;
const [TARGET, WHOLE, QUICK] = [fieldName("target"), fieldName("whole"), fieldName("quick")] as const;
const [FALSE, TRUE, NIL] = [0xc2, 0xc3, 0xc0] as const;

/** One page after another, in the same memory. */
export class OfferPage {
  readonly #bytes = Buffer.allocUnsafeSlow(CONTROL_PAYLOAD_BYTES_MAX);
  #at = HEAD_BYTES;
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Returns false where there is no room for it. */
  add(offer: Offer): boolean {
    const { file, name, size, mtime, mode, key, kind, target, whole, quick } = offer;
    const bytesMost = ENTRY_BYTES + name.length + (target?.length ?? 0);
    const isFull = this.#count === PAGE_ENTRIES_MAX || this.#at + bytesMost > HEAD_BYTES + PAGE_BYTES;
    if (isFull && this.#count > 0) return false;
    this.#count++;
    let fields = 5;
    if (key !== undefined) fields++;
    if (kind !== undefined) fields++;
    if (target !== undefined) fields++;
    if (whole !== undefined) fields++;
    if (quick !== undefined) fields++;
    this.#byte(0x80 + fields);
    this.#raw(FILE);
    this.#number(file);
    this.#raw(NAME);
    this.#bin(name);
    this.#raw(SIZE);
    if (size === null) this.#byte(NIL);
    else this.#number(size);
    this.#raw(MTIME);
    this.#number(mtime[0]);
    this.#number(mtime[1]);
    this.#raw(MODE);
    this.#number(mode);
    if (kind !== undefined) {
      this.#raw(KIND);
      this.#raw(fieldName(kind));
    }
    if (target !== undefined) {
      this.#raw(TARGET);
      this.#bin(target);
    }
    if (whole !== undefined) this.#boolean(WHOLE, whole);
    if (quick !== undefined) this.#boolean(QUICK, quick);
    if (key !== undefined) {
      this.#raw(KEY);
      this.#bin(key);
    }
    return true;
  }

  /** The payload, which is good until something is added: that begins the next page. */
  take(settledBelow: number): Uint8Array {
    const end = this.#at;
    // The head ends where the entries begin, however long it is.
    this.#at = 0;
    this.#byte(0x82);
    this.#raw(SETTLED_BELOW);
    this.#number(settledBelow);
    this.#raw(FILES);
    if (this.#count <= FIX_MAX) this.#byte(0x90 + this.#count);
    else this.#two(0xdc, this.#count);
    const start = HEAD_BYTES - this.#at;
    this.#bytes.copyWithin(start, 0, this.#at);
    this.#at = HEAD_BYTES;
    this.#count = 0;
    return this.#bytes.subarray(start, end);
  }

  #byte(value: number): void {
    this.#bytes[this.#at++] = value;
  }

  #raw(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #boolean(name: Uint8Array, value: boolean): void {
    this.#raw(name);
    this.#byte(value ? TRUE : FALSE);
  }

  #bin(bytes: Uint8Array | ByteText): void {
    const { length } = bytes;
    if (length < 0x100) {
      this.#byte(0xc4);
      this.#byte(length);
    } else this.#two(0xc5, length);
    if (typeof bytes === "string") this.#at += this.#bytes.write(bytes, this.#at, "latin1");
    else this.#raw(bytes);
  }

  /** An integer in the fewest bytes; one of more than 32 bits as a double, which holds it as well. */
  #number(value: number): void {
    if (value >= 0 && value < 0x80) this.#byte(value);
    else if (value >= 0 && value < 0x100) {
      this.#byte(0xcc);
      this.#byte(value);
    } else if (value >= 0 && value < 0x1_0000) this.#two(0xcd, value);
    else if (value >= 0 && value < 0x1_0000_0000) this.#four(0xce, value);
    else if (value < 0 && value >= -0x20) this.#byte(value);
    else if (value < 0 && value >= -0x80) {
      this.#byte(0xd0);
      this.#byte(value);
    } else if (value < 0 && value >= -0x8000) this.#two(0xd1, value);
    else if (value < 0 && value >= -0x8000_0000) this.#four(0xd2, value);
    else {
      this.#byte(0xcb);
      this.#at = this.#bytes.writeDoubleBE(value, this.#at);
    }
  }

  // Stores of single bytes: Node's own writers check more than they write.

  #two(type: number, value: number): void {
    this.#byte(type);
    this.#byte(value >> 8);
    this.#byte(value);
  }

  #four(type: number, value: number): void {
    this.#byte(type);
    this.#byte(value >> 24);
    this.#byte(value >> 16);
    this.#byte(value >> 8);
    this.#byte(value);
  }
}
