/**
 * Reading a pipe or a socket that this process was given, such as standard input, straight into the buffers where the
 * data belongs. Without the thread pool: a read there could not be given up, and would hold up the end of the program.
 */
import { Socket } from "node:net";
import { type DirectReader, onreadOf } from "./direct-read.ts";

export interface PipeEvents {
  onEnd(): void;
  onError(error: Error): void;
}

export class PipeInput {
  readonly #socket: Socket;

  /** Takes the descriptor over, and reads at once. */
  constructor(fd: number, reader: DirectReader, { onEnd, onError }: PipeEvents) {
    this.#socket = new Socket({ fd, readable: true, writable: false, onread: onreadOf(() => reader) });
    this.#socket.on("end", onEnd);
    this.#socket.on("error", onError);
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }
}
