/**
 * What is left out of a transfer: patterns as in a .gitignore, in the order in which they were given; the last one that
 * matches decides. Paths are relative to the tree that is sent.
 */
import ignore from "ignore";
import { type FilterRule, linesOf, readPatternFile } from "./filter-rules.ts";
import { textOf } from "./name-text.ts";

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

  /** Whether it leaves nothing out. */
  get isEmpty(): boolean {
    return this.#below === undefined;
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

/**
 * The library's rules without its memory. Its own `ignores` keeps every path that it was ever asked about; even where it is made
 * to forget, V8 collects such keys so late that millions of paths hold 200 MiB. So this asks its rules, which no type of it
 * shows: the version is pinned, and a test compares both ways.
 */
interface Rules {
  test(path: string, mode: "regex"): { readonly ignored: boolean };
}

class Matcher {
  readonly #rules: Rules;
  /** A directory that is not left out, nor is any that it lies in; ends in a slash. */
  #entered = "";

  constructor(lines: readonly string[]) {
    // Letter case counts, as it does on the systems that names come from.
    const compiled = ignore({ ignoreCase: false }).add(lines);
    this.#rules = (compiled as unknown as { readonly _rules: Rules })._rules;
  }

  excludes(path: Uint8Array | string, isDirectory: boolean): boolean {
    const text = typeof path === "string" ? path : textOf(path);
    if (text === "") return false;
    if (!this.#entered.startsWith(text.slice(0, text.lastIndexOf("/") + 1))) {
      for (let slash = text.indexOf("/"); slash !== -1; slash = text.indexOf("/", slash + 1)) {
        const above = text.slice(0, slash + 1);
        if (this.#entered.startsWith(above)) continue;
        if (this.#rules.test(above, "regex").ignored) return true;
        this.#entered = above;
      }
    }
    return this.#rules.test(isDirectory ? `${text}/` : text, "regex").ignored;
  }
}

/** Whether a line matches at any depth: it has no slash but one at its end (gitignore(5)), or begins with two stars. */
function matchesAnywhere(line: string): boolean {
  const pattern = line.replace(/^!/, "");
  return pattern.startsWith("**/") ? matchesAnywhere(pattern.slice(3)) : !/\/(?! *$)/.test(pattern);
}
