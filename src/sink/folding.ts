/**
 * Names that a file system takes for one: by letter case, by Unicode's normal forms, or by rules of its own. Nothing says
 * whether a directory does that, and ext4, say, does it by directory. So what is found is looked for once more, under a
 * name that differs in nothing else; only where that leads to the same file is the directory read, and its entry is the
 * answer. Where nothing folds, that is one look more for each directory. (A file system that rewrites names, as HFS+ does
 * with accents, has none of them as it was given.)
 */
import { type BigIntStats, lstatSync, opendirSync } from "node:fs";

/** Names of one directory that are remembered, at most; from there on they are read again. */
const KNOWN_MAX = 50_000;

export class Folding {
  readonly #pathOf: (name: Uint8Array) => Buffer;
  /** Of this directory, as far as is known. */
  #case: "unknown" | "kept" | "folded" = "unknown";
  /** Entries that were read, as text of one character a byte: each costs the whole directory. */
  readonly #known = new Set<string>();

  /** `pathOf` gives the path of an entry of the directory. */
  constructor(pathOf: (name: Uint8Array) => Buffer) {
    this.#pathOf = pathOf;
  }

  /** The name of what was found as `name`, where that is another one; undefined where it is just that. Throws what the system says. */
  ownNameOf(name: Uint8Array): Uint8Array | undefined {
    if (!this.#mayFold(name) || this.#known.has(keyOf(name))) return undefined;
    this.#read();
    return this.#known.has(keyOf(name)) ? undefined : this.#entryLike(name);
  }

  #mayFold(name: Uint8Array): boolean {
    if (this.#case === "folded") return true;
    const swapped = this.#case === "unknown" ? caseSwapped(name) : undefined;
    if (swapped !== undefined) this.#case = this.#isSame(name, swapped) ? "folded" : "kept";
    return this.#case === "folded" || otherForms(name).some((form) => this.#isSame(name, form));
  }

  #read(): void {
    this.#known.clear();
    // What is left out of a directory that is larger is taken to be there: it was found.
    for (const entry of this.#entries()) if (this.#known.size < KNOWN_MAX) this.#known.add(keyOf(entry));
  }

  /** Two names of one file are no folding: then both have been read. */
  #entryLike(name: Uint8Array): Uint8Array | undefined {
    for (const entry of this.#entries()) {
      if (Buffer.compare(entry, name) === 0) return undefined;
      if (this.#isSame(entry, name)) return entry;
    }
    return undefined;
  }

  *#entries(): Generator<Buffer> {
    const directory = opendirSync(this.#pathOf(Buffer.from(".")), { encoding: "buffer" as BufferEncoding });
    try {
      for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
        yield entry.name as unknown as Buffer;
      }
    } finally {
      directory.closeSync();
    }
  }

  #isSame(a: Uint8Array, b: Uint8Array): boolean {
    const [one, other] = [this.#look(a), this.#look(b)];
    return one !== undefined && other !== undefined && one.ino === other.ino && one.dev === other.dev;
  }

  #look(name: Uint8Array): BigIntStats | undefined {
    try {
      return lstatSync(this.#pathOf(name), { bigint: true, throwIfNoEntry: false });
    } catch {
      // Another form may be longer than a name can be: nothing has it.
      return undefined;
    }
  }
}

const keyOf = (name: Uint8Array) => Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1");

const CASE_BIT = 0x20;
const isLetter = (byte: number) => (byte | CASE_BIT) >= 0x61 && (byte | CASE_BIT) <= 0x7a;

/** With the letters of ASCII in the other case; undefined where there are none. */
function caseSwapped(name: Uint8Array): Uint8Array | undefined {
  return name.some(isLetter) ? name.map((byte) => (isLetter(byte) ? byte ^ CASE_BIT : byte)) : undefined;
}

/** The same text in Unicode's other normal forms (UAX #15), and in the other case. */
function otherForms(name: Uint8Array): Buffer[] {
  if (name.every((byte) => byte < 0x80)) return [];
  const text = Buffer.from(name).toString("utf8");
  const forms = [text.normalize("NFC"), text.normalize("NFD"), text.toUpperCase(), text.toLowerCase()];
  return [...new Set(forms)].filter((form) => form !== text).map((form) => Buffer.from(form));
}
