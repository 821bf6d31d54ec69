/**
 * What is left out of a transfer: patterns as in a .gitignore, in the order in which they were given; the last one that
 * matches decides. Paths are relative to the tree that is sent.
 */
import ignore, { type Ignore } from "ignore";
import { type FilterRule, linesOf, readPatternFile } from "./filter-rules.ts";
import { textOf } from "./name-text.ts";

/**
 * What the library may remember before it is made to forget, in characters. It keeps the answer for every path it was ever
 * asked about and for each directory above it. A path of n characters has fewer than n / 2 of those, so n² covers them all.
 */
const REMEMBERED_CHARS_MAX = 1024 * 1024;

export class Filter {
  readonly #below: Matcher | undefined;
  readonly #named: Matcher | undefined;

  /** Reads the files that the rules name. Throws E_USAGE for a pattern that can't be one, E_CONFIG for such a file. */
  constructor(rules: readonly FilterRule[], read: (path: string) => string = readPatternFile) {
    if (rules.length === 0) return;
    const lines = rules.flatMap((rule) => linesOf(rule, read));
    const anywhere = lines.filter(matchesAnywhere);
    if (lines.length > 0) this.#below = new Matcher(lines);
    if (anywhere.length > 0) this.#named = new Matcher(anywhere);
  }

  /**
   * Whether an entry is left out; `path` is relative to the top of its tree, which itself is never left out. Below a
   * directory that is left out everything is. Never throws, whatever the name.
   */
  excludes(path: Uint8Array | string, isDirectory: boolean): boolean {
    return this.#below?.excludes(path, isDirectory) ?? false;
  }

  /**
   * Whether what was named itself is left out, by its own name, as in `send * --exclude '*.o'`. Patterns that say where
   * something lies in a tree (`/build`, `docs/*.txt`) say nothing of the tree itself.
   */
  excludesNamed(name: Uint8Array | string, isDirectory: boolean): boolean {
    return this.#named?.excludes(name, isDirectory) ?? false;
  }
}

class Matcher {
  readonly #compiled: Ignore;
  /** The same rules, and what the library remembers of paths. */
  #asked: Ignore;
  #room = REMEMBERED_CHARS_MAX;

  constructor(lines: readonly string[]) {
    this.#compiled = empty().add(lines);
    this.#asked = empty().add(this.#compiled);
  }

  excludes(path: Uint8Array | string, isDirectory: boolean): boolean {
    const text = typeof path === "string" ? path : textOf(path);
    if (text === "") return false;
    this.#room -= text.length * text.length;
    if (this.#room < 0) {
      // Shares the compiled rules, and remembers nothing.
      this.#asked = empty().add(this.#compiled);
      this.#room = REMEMBERED_CHARS_MAX;
    }
    return this.#asked.ignores(isDirectory ? `${text}/` : text);
  }
}

/** Letter case counts, as it does on the systems that names come from; '..' is a name like any other, and no error. */
function empty(): Ignore {
  return ignore({ ignoreCase: false, allowRelativePaths: true });
}

/** Whether a line matches at any depth: it has no slash but one at its end (gitignore(5)), or begins with two stars. */
function matchesAnywhere(line: string): boolean {
  const pattern = line.replace(/^!/, "");
  return pattern.startsWith("**/") ? matchesAnywhere(pattern.slice(3)) : !/\/(?! *$)/.test(pattern);
}
