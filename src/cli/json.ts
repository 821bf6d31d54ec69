/** JSON for standard output: safe to show on a terminal, and lists that are written as they come. Pure text. */
import { isPrintableAscii, UNPRINTABLE } from "../protocol/names.ts";

/** The same value for every JSON parser, with nothing in it that a terminal obeys, or that reorders or hides text. */
export function toJson(value: unknown): string {
  const json = JSON.stringify(value);
  // Legal in JSON as they are, but not harmless on a terminal; what JSON escapes by itself is harmless already.
  return isPrintableAscii(json) ? json : json.replace(UNPRINTABLE, escaped);
}

/** Characters beyond the 16 bits of an escape have two. */
function escaped(char: string): string {
  return char.split("").reduce((text, unit) => `${text}\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`, "");
}

/** A time without digits that no clock here has. */
export const milliseconds = (ms: number) => Math.round(ms * 1000) / 1000;

/** An object whose first field is a list that need not fit in memory: one entry a line, the other fields after it. */
export class ListDocument {
  readonly #write: (text: string) => void;
  readonly #listName: string;
  #state: "unwritten" | "empty" | "filled" | "finished" = "unwritten";

  constructor(listName: string, write: (text: string) => void) {
    this.#listName = listName;
    this.#write = write;
  }

  get finished(): boolean {
    return this.#state === "finished";
  }

  add(entry: unknown): void {
    this.#separate();
    this.#write(toJson(entry));
  }

  /** An entry that ends in a list of its own, which need not fit in memory either. */
  addWithList(fields: Readonly<Record<string, unknown>>, listName: string, entries: Iterable<unknown>): void {
    this.#separate();
    this.#write(`${toJson(fields).slice(0, -1)},${toJson(listName)}:[`);
    let separator = "";
    for (const entry of entries) {
      this.#write(separator + toJson(entry));
      separator = ",";
    }
    this.#write("]}");
  }

  /** Ends the document with the other fields; once. */
  finish(fields: Readonly<Record<string, unknown>>): void {
    if (this.#state === "finished") return;
    this.#begin();
    const rest = toJson(fields).slice(1, -1);
    this.#write(`${this.#state === "filled" ? "\n" : ""}]${rest === "" ? "" : `,${rest}`}}\n`);
    this.#state = "finished";
  }

  #separate(): void {
    this.#begin();
    this.#write(this.#state === "filled" ? ",\n" : "\n");
    this.#state = "filled";
  }

  #begin(): void {
    if (this.#state !== "unwritten") return;
    this.#write(`{${toJson(this.#listName)}:[`);
    this.#state = "empty";
  }
}
