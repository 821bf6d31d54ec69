/**
 * Plays the client of a recorded conversation, changed, against a real server: over sockets, in the recorded order, waiting
 * for an answer where there was one, and going on without it where none comes.
 */
import { connect, type Socket } from "node:net";
import type { Endpoint } from "../../src/index.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { type Mutator, sessionIn, withSession } from "./mutator.ts";
import { Patience } from "./patience.ts";
import type { Random } from "./random.ts";
import type { Said, Tape } from "./tapes.ts";
import { FrameCutter } from "./wire.ts";

/** What is written and not taken by the server: it may have stopped reading for good. */
const UNSENT_BYTES_MAX = 4 * 1024 * 1024;

const GREETING = Buffer.from(encodeGreeting());

export interface Played {
  /** Frames that were sent. */
  frames: number;
  /** Connections that were opened. */
  connections: number;
  /** Whether the receipt came. */
  finished: boolean;
}

/** What a server says that others wait for: no matter how it is grouped, and not what comes at any time. */
const isAnswer = ({ by, frame }: Said) =>
  by === "server" && frame !== undefined && frame.name !== "ACK" && frame.name !== "PONG" && frame.name !== "PING";

export interface PlayOptions {
  readonly to: Endpoint;
  readonly tape: Tape;
  readonly mutator: Mutator;
  readonly random: Random;
  /** How seldom something is changed; infinite: never. */
  readonly oneIn: number;
  readonly localAddress?: string;
  /** How long an answer is waited for; where none comes, that was enough for the whole conversation. */
  readonly patienceMs: number;
}

export class Player {
  readonly #options: PlayOptions;
  readonly #sockets = new Map<number, Socket>();
  readonly #played: Played = { frames: 0, connections: 0, finished: false };
  #answers = 0;
  #session: { readonly session: Uint8Array; readonly generation: number } | undefined;
  readonly #patience: Patience;

  constructor(options: PlayOptions) {
    this.#options = options;
    this.#patience = new Patience(options.patienceMs);
  }

  async play(): Promise<Played> {
    const { tape, mutator, random, oneIn } = this.#options;
    let expected = 0;
    for (const said of tape.said) {
      if (isAnswer(said)) expected++;
      if (said.by === "server") continue;
      await this.#patience.until(() => this.#answers >= expected);
      const own = this.#ownOf(said);
      const instead = oneIn === Number.POSITIVE_INFINITY ? [own] : mutator.inPlaceOf(own, oneIn, random);
      for (const one of instead) await this.#say(one);
    }
    for (const socket of this.#sockets.values()) this.#close(socket);
    await this.#patience.until(() => [...this.#sockets.values()].every(({ destroyed }) => destroyed));
    for (const socket of this.#sockets.values()) socket.destroy();
    return this.#played;
  }

  /** With the session that this server has opened. */
  #ownOf(said: Said): Said {
    return this.#session === undefined ? said : withSession(said, this.#session.session, this.#session.generation);
  }

  async #say(said: Said): Promise<void> {
    const { random } = this.#options;
    if (said.frame === undefined) {
      const socket = this.#sockets.get(said.connection);
      if (socket !== undefined) this.#close(socket);
      return;
    }
    const { frame } = said;
    const socket = await this.#socketOf(said.connection);
    if (socket.destroyed || socket.writableLength > UNSENT_BYTES_MAX) return;
    this.#played.frames++;
    if (random.oneIn(64) && frame.bytes.length < 2048) await this.#trickle(socket, frame.bytes);
    else socket.write(frame.bytes);
  }

  /** In pieces, each in a packet of its own. */
  async #trickle(socket: Socket, bytes: Buffer): Promise<void> {
    const step = 1 + this.#options.random.below(64);
    for (let at = 0; at < bytes.length && !socket.destroyed; at += step) {
      socket.write(bytes.subarray(at, at + step));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #close(socket: Socket): void {
    const { random, oneIn } = this.#options;
    const how = oneIn === Number.POSITIVE_INFINITY ? 0 : random.below(4);
    if (how < 2) socket.end();
    // Node loses the descriptor of a socket that is reset while it is being ended.
    else if (how === 2 && !socket.writableEnded) socket.resetAndDestroy();
    else socket.destroy();
  }

  async #socketOf(connection: number): Promise<Socket> {
    const open = this.#sockets.get(connection);
    if (open !== undefined) return open;
    const { to, localAddress } = this.#options;
    const socket = connect({ ...to, noDelay: true, ...(localAddress === undefined ? {} : { localAddress }) });
    this.#sockets.set(connection, socket);
    this.#played.connections++;
    const cutter = new FrameCutter((frame) => {
      if (frame.name === "WELCOME") this.#session = sessionIn(frame.bytes);
      if (frame.name === "RECEIPT") this.#played.finished = true;
      if (isAnswer({ connection, by: "server", frame })) this.#answers++;
      this.#patience.wake();
    });
    socket.on("data", (bytes: Buffer) => cutter.push(bytes));
    socket.on("error", () => {});
    socket.on("close", () => this.#patience.wake());
    socket.write(GREETING);
    await new Promise<void>((resolve) => {
      socket.once("connect", resolve);
      socket.once("close", () => resolve());
    });
    return socket;
  }
}
