/**
 * The shell's commands: a line in, words out, and now and then a transfer. Knows no terminal: the command reads the lines
 * and gives it where to write and how to send.
 */
import type { TransferResult } from "../client/types.ts";
import { type Endpoint, formatEndpoint } from "../net/dial.ts";
import { HawserError } from "../protocol/errors.ts";
import { escapeText } from "../protocol/names.ts";
import { formatFailure } from "./errors.ts";
import { formatBytes, formatDuration } from "./format.ts";
import { endpoint, wholeNumber } from "./values.ts";

/** What a committed transfer prints: scripts wait for exactly this. */
export const SUCCESS = "Your file has been uploaded successfully!";

export interface ShellOptions {
  readonly to: Endpoint;
  readonly streams: number | "auto";
  readonly streamsMax: number;
  /** Sends the file; failures are in the result. */
  readonly transfer: (path: string, to: Endpoint, streams: number | "auto") => Promise<TransferResult>;
  /** Whether there is something of this name to send; why not, otherwise. */
  readonly lookAt: (path: string) => Promise<string | undefined>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

interface ShellCommand {
  readonly usage: string;
  readonly about: string;
  run(argument: string): Promise<void> | void;
}

export class ShellSession {
  readonly #options: ShellOptions;
  readonly #commands: Readonly<Record<string, ShellCommand>>;
  #path: string | undefined;
  #streams: number | "auto";
  /** undefined after an address that could not be read: sending to the one before would be a surprise. */
  #to: Endpoint | undefined;
  #last: TransferResult | undefined;
  #exitCode = 0;
  #ended = false;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#streams = options.streams;
    this.#to = options.to;
    const threads = wholeNumber(1, options.streamsMax);
    this.#commands = {
      file_name: { usage: "file_name NAME", about: "the file to send", run: (name) => this.#setFile(name) },
      count_threads: {
        usage: "count_threads N",
        about: `over how many connections, ${threads.expected.replace("a whole number ", "")}`,
        run: (count) => this.#setStreams(count),
      },
      server_url: {
        usage: "server_url HOST[:PORT]",
        about: "where to; an IPv6 address stands in brackets",
        run: (address) => this.#setServer(address),
      },
      transfer_file: { usage: "transfer_file", about: "send it now", run: () => this.#transfer() },
      status: { usage: "status", about: "what is set, and how the last transfer ended", run: () => this.#status() },
      help: { usage: "help", about: "this list", run: () => this.#help() },
      exit: { usage: "exit", about: "leave; the end of input does the same", run: () => this.#exit() },
    };
  }

  /** `exit` was given. */
  get ended(): boolean {
    return this.#ended;
  }

  /** 0 when the last transfer succeeded or none was asked for, else that transfer's. */
  get exitCode(): number {
    return this.#exitCode;
  }

  async run(line: string): Promise<void> {
    const [, name = "", argument = ""] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(line) ?? [];
    if (name === "" || name.startsWith("#")) return;
    const command = Object.hasOwn(this.#commands, name) ? this.#commands[name] : undefined;
    if (command === undefined) {
      this.#complain(`there is no command '${name}'`, `Expected one of: ${Object.keys(this.#commands).join(", ")}.`);
      return;
    }
    const takesOne = command.usage.includes(" ");
    if (takesOne && argument === "") return this.#complain(`${name} needs a value`, `Expected: ${command.usage}`);
    if (!takesOne && argument !== "") return this.#complain(`${name} takes no value`, `Expected: ${command.usage}`);
    await command.run(argument);
  }

  async #setFile(argument: string): Promise<void> {
    // Quotes keep spaces at the ends; a name with spaces inside needs none.
    const path = /^(["'])(.+)\1$/s.exec(argument)?.[2] ?? argument;
    this.#path = path;
    const problem = await this.#options.lookAt(path);
    if (problem !== undefined)
      this.#complain(problem, "Expected: the name of an existing file. Check it, or make it first.");
  }

  #setStreams(argument: string): void {
    const kind = wholeNumber(1, this.#options.streamsMax);
    const result = kind.read(argument);
    if (result !== undefined && "value" in result) {
      this.#streams = result.value;
      return;
    }
    this.#complain(`'${argument}' can't be used; it stays ${this.#streams}`, `Expected: ${kind.expected}.`);
  }

  #setServer(argument: string): void {
    const result = endpoint.read(argument);
    this.#to = result !== undefined && "value" in result ? result.value : undefined;
    if (this.#to === undefined) {
      this.#complain(`'${argument}' is no address; no server is set now`, `Expected: ${endpoint.expected}.`);
    }
  }

  async #transfer(): Promise<void> {
    const [path, to] = [this.#path, this.#to];
    if (path === undefined) return this.#refuseTransfer("no file is set", "Give its name first: file_name NAME");
    if (to === undefined) return this.#refuseTransfer("no server is set", "Give it first: server_url HOST[:PORT]");
    const result = await this.#options.transfer(path, to, this.#streams);
    this.#last = result;
    this.#exitCode = result.exitCode;
    if (result.ok) this.#options.out(`${SUCCESS}\n`);
  }

  #refuseTransfer(message: string, hint: string): void {
    this.#exitCode = new HawserError("E_USAGE", message).exitCode;
    this.#last = undefined;
    this.#complain(message, hint);
  }

  #status(): void {
    const rows = [
      ["file_name", this.#path === undefined ? "not set" : escapeText(this.#path)],
      ["count_threads", String(this.#streams)],
      ["server_url", this.#to === undefined ? "not set" : formatEndpoint(this.#to)],
      ["last transfer", lastText(this.#last)],
    ];
    for (const [label = "", value = ""] of rows) this.#options.err(`${label.padEnd(14)} ${value}\n`);
  }

  #help(): void {
    for (const { usage, about } of Object.values(this.#commands)) this.#options.err(`${usage.padEnd(23)} ${about}\n`);
  }

  #exit(): void {
    this.#ended = true;
  }

  #complain(message: string, hint: string): void {
    this.#options.err(formatFailure({ code: "E_USAGE", message, hint }));
  }
}

function lastText(result: TransferResult | undefined): string {
  if (result === undefined) return "none";
  if (result.error !== null) return `failed: ${escapeText(result.error.message)} (${result.error.code})`;
  return `committed, ${formatBytes(result.bytes)} in ${formatDuration(result.durationMs)}`;
}
