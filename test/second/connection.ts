/** One TCP connection of the second implementation, of either end: what is sent, and the frames that come. */
import { createConnection, type Socket } from "node:net";
import { bundle, chunk, type Whole } from "./content.ts";
import { Breach, codeOf } from "./errors.ts";
import { FRAMES, greeting, message, type Name, RAW } from "./frames.ts";
import type { Fields } from "./msgpack.ts";
import { type Frame, Receiver } from "./receiver.ts";
import { after, type End } from "./states.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

const NAME_OF = Object.fromEntries(Object.entries(FRAMES).map(([name, type]) => [type, name])) as Record<number, Name>;

/** What two ends with a ticket show each other (tickets.ts). */
export interface Secret {
  /** What goes with the message. */
  prove(name: "HELLO" | "ATTACH"): Fields;
  isProven(name: "WELCOME" | "ATTACHED", fields: Fields): boolean;
}

/** Far more than any end of a connection takes; a test that waits in vain is to say so. */
const ENDING_MS = 20_000;

export class Connection {
  readonly socket: Socket;
  readonly receiver: Receiver;
  readonly #me: End;
  readonly #frames: Frame[] = [];
  readonly #waiting: ((frame: Frame | null) => void)[] = [];
  #ended = false;
  /** What the other end said in ERROR, or what this end found wrong with what it sent. */
  error: Breach | null = null;
  /** Of a connection with a ticket. */
  secret: Secret | undefined;
  /** Pings are answered, unless a test has it otherwise. */
  answersPings = true;

  constructor(socket: Socket, me: End, peer: End) {
    this.socket = socket;
    this.#me = me;
    this.receiver = new Receiver(peer);
    socket.on("data", (bytes) => this.#take(bytes as Buffer));
    socket.on("error", () => this.#end());
    // Half an end is the end.
    socket.on("end", () => {
      this.#end();
      socket.end();
    });
    socket.on("close", () => this.#end());
  }

  /** Greets with the first thing that is sent. */
  static dial(to: Address, role: "source" | "sink" = "source"): Connection {
    return Connection.over(createConnection({ ...to, noDelay: true, allowHalfOpen: true }), role);
  }

  /** The same over a socket that is open, or will be. */
  static over(socket: Socket, role: "source" | "sink" = "source"): Connection {
    const other = role === "source" ? "sink" : "source";
    const connection = new Connection(socket, { side: "client", role }, { side: "server", role: other });
    socket.write(greeting());
    return connection;
  }

  /** Sends bytes as they are. The state follows what they are, where it is a frame that may be sent. */
  raw(bytes: Buffer): this {
    const name = bytes.length < 32 ? undefined : NAME_OF[bytes[0] as number];
    const next = name && after(this.receiver.state, name, this.#me);
    if (next) this.receiver.state = next;
    if (!this.socket.destroyed) this.socket.write(bytes);
    return this;
  }

  send(name: Name, fields: Fields): this {
    const isOpening = name === "HELLO" || name === "ATTACH";
    const proof = isOpening && this.secret ? this.secret.prove(name) : {};
    return this.raw(message(name, { ...fields, ...proof }));
  }

  chunk(file: number, offset: number, content: Buffer, flags = RAW): this {
    return this.raw(chunk(file, offset, content, flags));
  }

  bundle(number: number, files: readonly Whole[]): this {
    return this.raw(bundle(number, files));
  }

  /** The next frame but PING; null when there will be none. */
  next(): Promise<Frame | null> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next frame of this name; others are passed over. Throws the ERROR that comes instead. */
  async until(name: Name, matches: (frame: Frame) => boolean = () => true): Promise<Frame> {
    for (let frame = await this.next(); frame !== null; frame = await this.next()) {
      if (frame.name === name && matches(frame)) return frame;
    }
    throw this.error ?? new Breach("closed", `the connection ended, and no ${name} came`);
  }

  /** How it ended: the code of the ERROR that came, or "closed"; "still open" when it has not for a long time. */
  async ending(): Promise<string> {
    const late = setTimeout(() => {
      this.error = new Breach("still open", `nothing ended it within ${ENDING_MS / 1000} s`);
      this.close();
    }, ENDING_MS);
    while ((await this.next()) !== null);
    clearTimeout(late);
    return this.error?.code ?? "closed";
  }

  close(): void {
    this.socket.destroy();
  }

  #take(bytes: Buffer): void {
    if (this.#ended) return;
    this.receiver.add(bytes);
    try {
      for (let frame = this.receiver.next(); frame !== null; frame = this.receiver.next()) this.#got(frame);
    } catch (error) {
      if (!(error instanceof Breach)) throw error;
      this.error = error;
      this.close();
      this.#end();
    }
  }

  #got(frame: Frame): void {
    if (frame.name === "PING" && this.answersPings) this.send("PONG", { id: frame.fields["id"] as number });
    if (frame.name === "PING") return;
    if (frame.name === "ERROR") {
      const { code, message } = frame.fields as { code: number; message: string };
      this.error = new Breach(codeOf(code), message);
      this.#end();
      this.socket.end();
      return;
    }
    const isAnswer = frame.name === "WELCOME" || frame.name === "ATTACHED";
    if (this.secret && isAnswer && !this.secret.isProven(frame.name as "WELCOME", frame.fields)) {
      throw new Breach("the server is not proven", `its ${frame.name} has no proof, or a wrong one`);
    }
    const waiting = this.#waiting.shift();
    if (waiting) waiting(frame);
    else this.#frames.push(frame);
  }

  #end(): void {
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting(null);
  }
}
