/**
 * Plays the server of a recorded conversation, changed, to a real client: what it says comes in the recorded order, after
 * as much as it had heard by then.
 */
import { createServer, type Socket } from "node:net";
import type { Endpoint } from "../../src/index.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { listenAnywhere } from "../helpers/listening.ts";
import type { Mutator } from "./mutator.ts";
import { Patience } from "./patience.ts";
import type { Random } from "./random.ts";
import type { Said, Tape } from "./tapes.ts";
import { FrameCutter } from "./wire.ts";

/** Without what it waits for it goes on, and waits no more. */
const PATIENCE_MS = 60;
const GREETING = Buffer.from(encodeGreeting());

const isHeard = ({ by, frame }: Said) => by === "client" && frame !== undefined && frame.name !== "PING";

export class HostileServer {
  readonly #tape: Tape;
  readonly #mutator: Mutator;
  readonly #random: Random;
  readonly #oneIn: number;
  readonly #server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  readonly #sockets: Socket[] = [];
  #heard = 0;
  readonly #patience: Patience;
  frames = 0;

  constructor(tape: Tape, mutator: Mutator, random: Random, oneIn: number) {
    this.#tape = tape;
    this.#mutator = mutator;
    this.#random = random;
    this.#oneIn = oneIn;
    this.#patience = new Patience(oneIn === Number.POSITIVE_INFINITY ? 20_000 : PATIENCE_MS);
  }

  listen(): Promise<Endpoint> {
    return listenAnywhere(this.#server);
  }

  /** Says all that is on the tape, then drops all connections. */
  async play(): Promise<void> {
    let expected = 0;
    for (const said of this.#tape.said) {
      if (isHeard(said)) expected++;
      if (said.by === "client") continue;
      await this.#patience.until(() => this.#heard >= expected);
      for (const { connection, frame } of this.#mutator.inPlaceOf(said, this.#oneIn, this.#random)) {
        const socket = this.#sockets[connection];
        if (socket === undefined || socket.destroyed) continue;
        if (frame === undefined) socket.end();
        else {
          this.frames++;
          socket.write(frame.bytes);
        }
      }
    }
    // What it said last is heard, and perhaps answered.
    await this.#patience.until(() => this.#sockets.every(({ destroyed }) => destroyed));
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#sockets.push(socket);
    const cutter = new FrameCutter(({ name }) => {
      if (name !== "PING") this.#heard++;
      this.#patience.wake();
    });
    socket.on("data", (bytes: Buffer) => cutter.push(bytes));
    socket.on("error", () => {});
    socket.on("close", () => this.#patience.wake());
    socket.write(GREETING);
  }
}
