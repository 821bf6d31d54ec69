/**
 * Plays the client of a recorded conversation, changed, against a real server: over sockets, in the recorded order, waiting
 * for an answer where there was one, and going on without it where none comes.
 */
import type { Socket } from "node:net";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { reset } from "../helpers/reset.ts";
import { type Mutator, sessionIn, withSession } from "./mutator.ts";
import { Patience } from "./patience.ts";
import type { Random } from "./random.ts";
import type { Said, Tape } from "./tapes.ts";
import { comeIn, proven, type Target, type WayIn } from "./way-in.ts";
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

export interface PlayOptions extends Target {
  readonly tape: Tape;
  readonly mutator: Mutator;
  readonly random: Random;
  /** How seldom something is changed; infinite: never. */
  readonly oneIn: number;
  /** Of those that open a connection, how seldom one shows a proof that is none (never). */
  readonly unprovenOneIn?: number;
  /** How long an answer is waited for; where none comes, that was enough for the whole conversation. */
  readonly patienceMs: number;
}

export class Player {
  readonly #options: PlayOptions;
  readonly #ways = new Map<number, WayIn>();
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
      const own = await this.#ownOf(said);
      const instead = oneIn === Number.POSITIVE_INFINITY ? [own] : mutator.inPlaceOf(own, oneIn, random);
      for (const one of instead) await this.#say(one);
    }
    const ways = [...this.#ways.values()];
    for (const way of ways) this.#close(way);
    await this.#patience.until(() => ways.every(({ socket }) => socket.destroyed));
    for (const { socket, raw } of ways) {
      socket.destroy();
      raw.destroy();
    }
    return this.#played;
  }

  /** With the session that this server has opened, and what proves the ticket. */
  async #ownOf(said: Said): Promise<Said> {
    const own = this.#session === undefined ? said : withSession(said, this.#session.session, this.#session.generation);
    if (own.frame === undefined || this.#options.ticket === undefined) return own;
    const { random, unprovenOneIn = Number.POSITIVE_INFINITY } = this.#options;
    const isWrong = unprovenOneIn !== Number.POSITIVE_INFINITY && random.oneIn(unprovenOneIn);
    const way = await this.#wayOf(own.connection);
    return { ...own, frame: proven(own.frame, this.#options, way, isWrong ? random : undefined) };
  }

  async #say(said: Said): Promise<void> {
    const { random } = this.#options;
    if (said.frame === undefined) {
      const way = this.#ways.get(said.connection);
      if (way !== undefined) this.#close(way);
      return;
    }
    const { frame } = said;
    const { socket } = await this.#wayOf(said.connection);
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

  #close({ socket, raw }: WayIn): void {
    const { random, oneIn } = this.#options;
    const how = oneIn === Number.POSITIVE_INFINITY ? 0 : random.below(4);
    if (how < 2) socket.end();
    // Node ends when a socket below TLS is reset.
    else if (how === 2 && socket === raw) reset(raw);
    else socket.destroy();
  }

  async #wayOf(connection: number): Promise<WayIn> {
    const open = this.#ways.get(connection);
    if (open !== undefined) return open;
    const way = await comeIn(this.#options);
    const { socket } = way;
    this.#ways.set(connection, way);
    this.#played.connections++;
    const cutter = new FrameCutter((frame) => {
      if (frame.name === "WELCOME") this.#session = sessionIn(frame.bytes);
      if (frame.name === "RECEIPT") this.#played.finished = true;
      if (isAnswer({ connection, by: "server", frame })) this.#answers++;
      this.#patience.wake();
    });
    socket.on("data", (bytes: Buffer) => cutter.push(bytes));
    socket.on("close", () => this.#patience.wake());
    if (!socket.destroyed) socket.write(GREETING);
    return way;
  }
}
