/**
 * Standard output and standard error as the commands use them: results go out, everything else goes to err. A reader that
 * closed its pipe is not an error: what is written after that is dropped, and who cares can ask.
 */
import { HawserError } from "../protocol/errors.ts";
import { redactTickets } from "../protocol/ticket.ts";

export interface Output {
  /** Results. */
  out(text: string): void;
  /** Everything else. */
  err(text: string): void;
  /** The same, with what else is said in this turn of the event loop: for what many things may say at once. */
  errSoon(text: string): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  readonly outClosed: boolean;
  /** Whether there was a result, or a part of one. */
  readonly outUsed: boolean;
  /** Runs once, when the reader of results has gone. */
  onOutClosed(listener: () => void): void;
  /** Resolves when what was written has left this process. Throws E_IO when it can't: a full disk, say; not EPIPE. */
  drained(): Promise<void>;
}

/** The process's own streams. One of these in a process: it watches their errors. */
export function processOutput(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Output {
  let outClosed = false;
  let errClosed = false;
  let failure: HawserError | undefined;
  const listeners: (() => void)[] = [];
  stdout.on("error", (cause: NodeJS.ErrnoException) => {
    // A terminal that hung up is a reader that has gone too.
    if (cause.code !== "EPIPE" && !(stdout.isTTY === true && cause.code === "EIO")) {
      failure ??= new HawserError("E_IO", `standard output can't be written: ${cause.message}`, { cause });
    }
    if (outClosed) return;
    outClosed = true;
    for (const listener of listeners.splice(0)) listener();
  });
  // With nobody to tell, there is nothing to say.
  stderr.on("error", () => {
    errClosed = true;
  });
  // What is written in one turn of the event loop leaves in one piece: a line for each of ten thousand files is many.
  let waiting = "";
  let outUsed = false;
  const flush = () => {
    const text = waiting;
    waiting = "";
    if (text !== "" && !outClosed) stdout.write(text);
  };
  let waitingErr = "";
  const flushErr = () => {
    const text = waitingErr;
    waitingErr = "";
    // On a terminal both are one.
    flush();
    if (text !== "" && !errClosed) stderr.write(redactTickets(text));
  };
  process.once("exit", flushErr);
  return {
    out(text) {
      if (waiting === "") setImmediate(flush);
      outUsed ||= text !== "";
      waiting += text;
      if (waiting.length > WAITING_MAX) flush();
    },
    err(text) {
      if (text === "") return;
      waitingErr += text;
      flushErr();
    },
    errSoon(text) {
      if (text === "") return;
      if (waitingErr === "") setImmediate(flushErr);
      waitingErr += text;
      if (waitingErr.length > WAITING_MAX) flushErr();
    },
    outIsTerminal: stdout.isTTY === true,
    errIsTerminal: stderr.isTTY === true,
    get outClosed() {
      return outClosed;
    },
    get outUsed() {
      return outUsed;
    },
    onOutClosed(listener) {
      if (outClosed) listener();
      else listeners.push(listener);
    },
    async drained() {
      flush();
      if (!outClosed) await new Promise<void>((resolve) => stdout.write("", () => resolve()));
      // The stream reports its error after the callbacks of its writes.
      await new Promise((resolve) => setImmediate(resolve));
      if (failure !== undefined) throw failure;
    },
  };
}

/** Characters that wait to be written, at most. */
const WAITING_MAX = 64 * 1024;

let standard: Output | undefined;

/** This process's output; made when it is first asked for. */
export function standardOutput(): Output {
  standard ??= processOutput(process.stdout, process.stderr);
  return standard;
}
