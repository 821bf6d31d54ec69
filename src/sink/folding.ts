/**
 * Names that a file system takes for one: by letter case, by Unicode's normal forms, or by rules of its own. Nothing says
 * whether a directory does that, and ext4, say, does it by directory. So what is found is looked for once more, under a
 * name that differs in nothing else; only where that leads to the same file is the directory read, and its entry is the
 * answer. Where nothing folds, that is one look more for each directory. (A file system that rewrites names, as HFS+ does
 * with accents, has none of them as it was given.)
 */
import { type BigIntStats, lstatSync, opendirSync } from "node:fs";

/**
 * What names may take that are remembered, of all directories together: those of the directory that was read first go first.
 * Enough for a million of a usual length.
 */
const KNOWN_BYTES_MAX = 128 * 1024 * 1024;
/** What an entry takes besides its name. */
const ENTRY_BYTES = 64;

/** For how long, after the directory was read: a batch is a matter of seconds, and a directory may be held for as long as a server runs. */
const KNOWN_MS = 60_000;

/** Directories whose names are remembered, in the order in which they were read. */
const remembering = new Set<Folding>();

/** For tests: the bytes that all take together. */
export const rememberedBytes = (): number => [...remembering].reduce((sum, { knownBytes }) => sum + knownBytes, 0);

export class Folding {
  readonly #pathOf: (name: Uint8Array) => Buffer;
  /** Of this directory, as far as is known. */
  #case: "unknown" | "kept" | "folded" = "unknown";
  /** Entries that were read, as text of one character a byte, by what most file systems would take for the same; undefined for several. */
  readonly #known = new Map<string, string | undefined>();

  /** What these take. */
  knownBytes = 0;
  #forgetting: NodeJS.Timeout | undefined;

  /** `pathOf` gives the path of an entry of the directory. */
  constructor(pathOf: (name: Uint8Array) => Buffer) {
    this.#pathOf = pathOf;
  }

  /** The name of what was found as `name`, where that is another one; undefined where it is just that. Throws what the system says. */
  ownNameOf(name: Uint8Array): Uint8Array | undefined {
    if (!this.#mayFold(name)) return undefined;
    const own = this.#remembered(name) ?? this.#read(name);
    return own === undefined || Buffer.compare(own, name) === 0 ? undefined : own;
  }

  /** Nothing is asked any more, or not soon. */
  forget(): void {
    clearTimeout(this.#forgetting);
    this.#known.clear();
    this.knownBytes = 0;
    remembering.delete(this);
  }

  #mayFold(name: Uint8Array): boolean {
    if (this.#case === "folded") return true;
    const swapped = this.#case === "unknown" ? caseSwapped(name) : undefined;
    if (swapped !== undefined) this.#case = this.#isSame(name, swapped) ? "folded" : "kept";
    return this.#case === "folded" || otherForms(name).some((form) => this.#isSame(name, form));
  }

  #remembered(name: Uint8Array): Uint8Array | undefined {
    const known = this.#known.get(foldedOf(name));
    if (known === undefined) return undefined;
    const entry = Buffer.from(known, "latin1");
    return Buffer.compare(entry, name) === 0 || this.#isSame(entry, name) ? entry : undefined;
  }

  /** Finds the entry that is meant, and remembers all. Two names of one file are no folding: then both are there. */
  #read(name: Uint8Array): Uint8Array | undefined {
    this.forget();
    this.#forgetting = setTimeout(() => this.forget(), KNOWN_MS).unref();
    remembering.add(this);
    const folded = foldedOf(name);
    let isThere = false;
    let like: Uint8Array | undefined;
    for (const entry of this.#entries()) {
      const text = foldedOf(entry);
      this.#remember(text, entry);
      if (text !== folded) continue;
      if (Buffer.compare(entry, name) === 0) isThere = true;
      else if (this.#isSame(entry, name)) like = entry;
    }
    this.#makeRoom();
    return isThere ? name : (like ?? this.#entryLike(name));
  }

  #remember(folded: string, entry: Buffer): void {
    const text = entry.toString("latin1");
    // Most often both are one text, which then is there once.
    const known = text === folded ? folded : text;
    const bytes = ENTRY_BYTES + folded.length + (known === folded ? 0 : text.length);
    if (this.knownBytes + bytes > KNOWN_BYTES_MAX) return;
    this.knownBytes += bytes;
    this.#known.set(folded, this.#known.has(folded) ? undefined : known);
  }

  #makeRoom(): void {
    let known = rememberedBytes();
    for (const one of remembering) {
      if (known <= KNOWN_BYTES_MAX) return;
      known -= one.knownBytes;
      one.forget();
    }
  }

  /** By rules of the file system's own: each entry is looked at. */
  #entryLike(name: Uint8Array): Uint8Array | undefined {
    for (const entry of this.#entries()) if (this.#isSame(entry, name)) return entry;
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

const foldedOf = (name: Uint8Array) => Buffer.from(name).toString("utf8").normalize("NFC").toLowerCase();

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
