/**
 * Reads an OFFER as it comes in great numbers: of small files, directories and links, thousands of entries a second. One
 * pass over the bytes, in place of msgpack's decoder and then the schema, which together took a tenth of the time that a
 * server spends on a small file. It knows the plain forms only, and has no say in what is right: of anything else it
 * makes nothing, and the schema (messages.ts) decides. Pure.
 */
import { FILE_BYTES_MAX, NAME_BYTES_MAX, PAGE_ENTRIES_MAX, RESUME_KEY_BYTES } from "./limits.ts";
import type { Message, OfferedFile } from "./messages.ts";

const WORDS = [
  ...["settledBelow", "files", "file", "name", "size", "mtime", "mode", "key", "kind", "target", "whole", "quick"],
  ...["directory", "symlink"],
] as const;
type Word = (typeof WORDS)[number];

/** By length and first letter, of which no two words share both. */
const BY_SHAPE = new Map<number, { readonly word: Word; readonly bytes: Uint8Array }>();
for (const word of WORDS) {
  const bytes = new TextEncoder().encode(word);
  BY_SHAPE.set(shapeOf(bytes.length, bytes[0] as number), { word, bytes });
}

const FIXSTR = 0xa0;
const NANOSECONDS_MAX = 999_999_999;
const MODE_MAX = 0o7777;

/** What stands for a value of another form than is known here. */
const OTHER = -1;

/** The message; undefined where it is not the plain form of one that is allowed. */
export function decodePlainOffer(payload: Uint8Array): Message<"OFFER"> | undefined {
  const reader = new Reader(payload);
  if (reader.pairs() !== 2 || reader.word() !== "settledBelow") return undefined;
  const settledBelow = reader.unsigned(0xffffffff);
  if (settledBelow === OTHER || reader.word() !== "files") return undefined;
  const count = reader.items();
  if (count === OTHER || count > PAGE_ENTRIES_MAX) return undefined;
  const files: OfferedFile[] = [];
  while (files.length < count) {
    const file = readFile(reader);
    if (file === undefined) return undefined;
    files.push(file);
  }
  return reader.isAtEnd ? { settledBelow, files } : undefined;
}

function readFile(reader: Reader): OfferedFile | undefined {
  const pairs = reader.pairs();
  let [file, size, mode, seconds, nanoseconds] = [OTHER, OTHER, OTHER, OTHER, OTHER];
  let name: Uint8Array | undefined;
  const others: Pick<OfferedFile, "key" | "kind" | "target" | "whole" | "quick"> = {};
  for (let pair = 0; pair < pairs; pair++) {
    switch (reader.word()) {
      case "file":
        file = reader.unsigned(0xffffffff);
        break;
      case "name":
        name = reader.bytes(0, NAME_BYTES_MAX + 1);
        break;
      case "size":
        size = reader.unsigned(FILE_BYTES_MAX);
        break;
      case "mode":
        mode = reader.unsigned(MODE_MAX);
        break;
      case "mtime":
        if (reader.items() !== 2) return undefined;
        seconds = reader.unsigned(Number.MAX_SAFE_INTEGER);
        nanoseconds = reader.unsigned(NANOSECONDS_MAX);
        break;
      case "key":
        others.key = reader.bytes(RESUME_KEY_BYTES, RESUME_KEY_BYTES);
        if (others.key === undefined) return undefined;
        break;
      case "target":
        others.target = reader.bytes(1, NAME_BYTES_MAX);
        if (others.target === undefined) return undefined;
        break;
      case "kind": {
        const kind = reader.word();
        if (kind !== "directory" && kind !== "symlink") return undefined;
        others.kind = kind;
        break;
      }
      case "whole":
        others.whole = reader.boolean();
        if (others.whole === undefined) return undefined;
        break;
      case "quick":
        others.quick = reader.boolean();
        if (others.quick === undefined) return undefined;
        break;
      default:
        return undefined;
    }
  }
  // All of them are OTHER where they are missing.
  if (name === undefined || file < 0 || size < 0 || mode < 0 || seconds < 0 || nanoseconds < 0) return undefined;
  return { file, name, size, mtime: [seconds, nanoseconds], mode, ...others };
}

/** Reads value after value; what has another form, or ends too early, is OTHER or undefined, and nothing after it counts. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  /** A value had another form: where the next begins is not known, and what was read since is nothing. */
  #isLost = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** And all that was read was what it was taken for. */
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length && !this.#isLost;
  }

  /** How many pairs a small map has. */
  pairs(): number {
    const type = this.#next();
    return type >= 0x80 && type <= 0x8f ? type & 0x0f : OTHER;
  }

  /** How many entries a list has. */
  items(): number {
    const type = this.#next();
    if (type >= 0x90 && type <= 0x9f) return type & 0x0f;
    return type === 0xdc ? this.#number(2) : OTHER;
  }

  unsigned(max: number): number {
    const type = this.#next();
    let value = OTHER;
    if (type < 0x80) value = type;
    else if (type === 0xcc) value = this.#number(1);
    else if (type === 0xcd) value = this.#number(2);
    else if (type === 0xce) value = this.#number(4);
    if (value === OTHER || value > max) this.#isLost = true;
    return value <= max ? value : OTHER;
  }

  boolean(): boolean | undefined {
    const type = this.#next();
    return type === 0xc3 ? true : type === 0xc2 ? false : undefined;
  }

  /** A copy: what is offered outlives the payload. */
  bytes(min: number, max: number): Uint8Array | undefined {
    const type = this.#next();
    const length = type === 0xc4 ? this.#number(1) : type === 0xc5 ? this.#number(2) : OTHER;
    const end = this.#at + length;
    if (length < min || length > max || end > this.#bytes.length) {
      this.#isLost = true;
      return undefined;
    }
    const start = this.#at;
    this.#at = end;
    return this.#bytes.slice(start, end);
  }

  word(): Word | undefined {
    const length = this.#next() - FIXSTR;
    const start = this.#at;
    const known = BY_SHAPE.get(shapeOf(length, this.#bytes[start] ?? 0));
    if (known === undefined || start + length > this.#bytes.length) return undefined;
    for (let i = 1; i < length; i++) if (this.#bytes[start + i] !== known.bytes[i]) return undefined;
    this.#at += length;
    return known.word;
  }

  /** The type byte of the next value; past the end one that never is. */
  #next(): number {
    return this.#bytes[this.#at++] ?? 0xc1;
  }

  /** An unsigned number of so many bytes; OTHER where it ends too early. */
  #number(bytes: 1 | 2 | 4): number {
    const at = this.#at;
    this.#at += bytes;
    if (this.#at > this.#bytes.length) return OTHER;
    if (bytes === 1) return this.#bytes[at] as number;
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }
}

function shapeOf(length: number, first: number): number {
  return length * 256 + first;
}
