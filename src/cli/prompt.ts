/** A person at a terminal: a prompt, line editing with history, and ^C as an event. Results never go through here. */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";

const PROMPT = "hawser> ";

/** Where the person looks, behind everything that was said before. */
export interface Terminal {
  readonly columns: number;
  write(text: string): void;
}

export class Prompt {
  readonly #readline: Interface;
  readonly #waiting: string[] = [];
  #wake: (() => void) | undefined;
  #closed = false;
  /** Whose ^C it is while a command runs; undefined while a line is awaited. */
  #onInterrupt: (() => void) | undefined;

  constructor(input: NodeJS.ReadStream, terminal: Terminal) {
    // What is typed while bars are drawn is not echoed between them; it is still read.
    const echo = new Writable({
      write: (chunk, _encoding, done) => {
        if (this.#onInterrupt === undefined) terminal.write(String(chunk));
        done();
      },
    });
    Object.defineProperty(echo, "columns", { get: () => terminal.columns });
    this.#readline = createInterface({ input, output: echo, terminal: true, prompt: PROMPT });
    this.#readline.on("line", (line) => {
      this.#waiting.push(line);
      this.#wake?.();
    });
    this.#readline.on("close", () => {
      if (this.#wake !== undefined && !this.#closed) terminal.write("\n");
      this.#closed = true;
      this.#wake?.();
    });
    this.#readline.on("SIGINT", () => {
      if (this.#onInterrupt !== undefined) this.#onInterrupt();
      else this.#forget(terminal);
    });
  }

  /** Ends with `exit`'s cousin, ^D. */
  async *lines(): AsyncGenerator<string> {
    while (true) {
      const line = this.#waiting.shift();
      if (line !== undefined) yield line;
      else if (this.#closed) return;
      else {
        this.#readline.prompt();
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }

  /** Until `idle`, ^C is `onInterrupt`'s. */
  busy(onInterrupt: () => void): void {
    this.#onInterrupt = onInterrupt;
  }

  idle(): void {
    this.#onInterrupt = undefined;
  }

  close(): void {
    this.#readline.close();
  }

  /** ^C at the prompt drops the line, as in other shells. */
  #forget(terminal: Terminal): void {
    terminal.write("\n(exit, or ^D, leaves)\n");
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
    this.#readline.prompt();
  }
}
