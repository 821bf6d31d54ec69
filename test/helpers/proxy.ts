/**
 * A TCP proxy that knows the frames that go through it and does harm by rule: resets, half-closes, swallows, flips bytes
 * of a chosen part of a chosen frame, delays, slows down, cuts into single bytes. What its rules leave open it draws
 * from a seeded generator, so that a run can be had again. It counts what it saw.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Test } from "tap";
import { FRAME_TYPES, type FrameName } from "../../src/protocol/header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";
import { randomFrom } from "./random.ts";
import { reset } from "./reset.ts";

/** `up` goes to the server. */
export type Direction = "up" | "down";
export type Kind = "control" | "stream";

/** Bytes of a header, by field: first and end. */
export const HEADER_FIELDS = {
  type: [0, 1],
  flags: [1, 2],
  reserved: [2, 4],
  file: [4, 8],
  offset: [8, 16],
  length: [16, 20],
  decodedLength: [20, 24],
  payloadCrc: [24, 28],
  headerCrc: [28, 32],
} as const;

export const GREETING_FIELDS = {
  magic: [0, 8],
  versions: [8, 12],
  greetingReserved: [12, 16],
  greetingCrc: [16, 20],
} as const;

export type Part = keyof typeof HEADER_FIELDS | keyof typeof GREETING_FIELDS | "payload";

export interface ProxiedConnection {
  readonly kind: Kind;
  /** Counts connections of its kind, from 0. */
  readonly ordinal: number;
}

export interface Rule {
  readonly kind: Kind;
  readonly direction: Direction;
  /** Of the connections of this kind, which; all unless given. */
  readonly ordinal?: number;
  /** Harm is done in this part: `flip` changes one byte of it, the others act when its first byte comes. */
  readonly part: Part;
  /** Counts only frames of this name. */
  readonly frame?: FrameName;
  /** Which of these frames on the connection, from 0 (0). */
  readonly nth?: number;
  /**
   * `stall` reads and forwards nothing more, in both directions. `hold` keeps what comes from here on of this direction
   * until `release`: what came before has gone on, whole.
   */
  readonly action: "flip" | "reset" | "half-close" | "stall" | "hold";
  /** How often at most, over all connections (1). */
  readonly times?: number;
}

export interface Shape {
  /** Before anything is forwarded, each way. */
  readonly delayMs?: number;
  /** Up, to the server. */
  readonly bytesPerSecond?: number;
  readonly oneByteAtATime?: boolean;
  /** Nothing is ever forwarded. */
  readonly stalled?: boolean;
}

export interface ProxyOptions {
  readonly seed?: number;
  readonly rules?: readonly Rule[];
  readonly shape?: (connection: ProxiedConnection) => Shape;
}

const frameNames = new Map(Object.entries(FRAME_TYPES).map(([name, type]) => [type as number, name as FrameName]));

/** What ends or stops a connection. */
type Worse = Exclude<Rule["action"], "hold" | "flip">;

interface ArmedRule {
  readonly rule: Rule;
  left: number;
}

export class TcpProxy {
  readonly seed: number;
  #target: { host: string; port: number };
  readonly #options: ProxyOptions;
  readonly #rules: ArmedRule[];
  readonly #random: () => number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #waiting = new Set<() => void>();
  #held = new Set<Kind>();

  /** Connections of each kind so far, and frames by name. */
  readonly connections: Record<Kind, number> = { control: 0, stream: 0 };
  readonly frames: Record<Direction, Map<FrameName, number>> = { up: new Map(), down: new Map() };
  /** How often each chunk went up, by 'file:offset'. */
  readonly chunks = new Map<string, number>();
  #era = 0;
  #chunksOfEra = 0;
  /** Harm done, in its order. */
  readonly harm: string[] = [];
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 };
  /** The longest chain of question and answer on control connections: each link takes a whole round trip. */
  roundTrips = 0;

  constructor(target: { host: string; port: number }, options: ProxyOptions) {
    this.#target = target;
    this.#options = options;
    this.seed = options.seed ?? 1;
    this.#random = randomFrom(this.seed);
    this.#rules = (options.rules ?? []).map((rule) => ({ rule, left: rule.times ?? 1 }));
    this.#server = createServer({ pauseOnConnect: true }, (client) => this.#accept(client));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  }

  get address(): { host: string; port: number } {
    return { host: "127.0.0.1", port: (this.#server.address() as AddressInfo).port };
  }

  framesOf(direction: Direction, name: FrameName): number {
    return this.frames[direction].get(name) ?? 0;
  }

  /**
   * CHUNK frames that went up on connections which were opened since `beginEra`: what a dead program left in the
   * system's buffers still comes through on the ones before.
   */
  get chunksOfEra(): number {
    return this.#chunksOfEra;
  }
  get era(): number {
    return this.#era;
  }
  beginEra(): void {
    this.#era++;
    this.#chunksOfEra = 0;
  }
  countChunk(key: string, era: number): void {
    this.chunks.set(key, (this.chunks.get(key) ?? 0) + 1);
    if (era === this.#era) this.#chunksOfEra++;
  }

  /** Connections that come from now on go to another server; to none where nothing listens there. */
  retarget(target: { host: string; port: number }): void {
    this.#target = target;
  }

  /** Keeps connections of this kind from forwarding anything, until `release`. */
  hold(kind: Kind): void {
    this.#held.add(kind);
  }
  release(kind: Kind): void {
    this.#held.delete(kind);
    for (const pair of this.#pairs) if (pair.kind === kind) pair.continue();
  }
  isHeld(kind: Kind): boolean {
    return this.#held.has(kind);
  }

  /** Drops connections of this kind now: `stall` lets them hang instead. */
  harmAll(kind: Kind, action: "reset" | "stall"): void {
    for (const pair of this.#pairs) if (pair.kind === kind) pair.suffer(action);
  }

  /**
   * Drops the client's side of connections of this kind, and lets the server's lie open, as a path does that lost the
   * reset. Returns what delivers to the server what was held, late.
   */
  orphanAll(kind: Kind): () => void {
    const orphans = [...this.#pairs].filter((pair) => pair.kind === kind);
    for (const pair of orphans) pair.orphan();
    return () => {
      for (const pair of orphans) pair.continue();
    };
  }

  /** Resolves when what the proxy has seen is such. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  close(): Promise<void> {
    for (const pair of this.#pairs) pair.suffer("reset");
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: Socket): void {
    const server = connect({ ...this.#target, noDelay: true });
    client.setNoDelay(true);
    const pair = new Pair(this, client, server, {
      shape: (connection) => this.#options.shape?.(connection) ?? {},
      rules: this.#rules,
      random: this.#random,
      onClosed: () => this.#pairs.delete(pair),
      onSeen: () => {
        for (const look of [...this.#waiting]) look();
      },
    });
    this.#pairs.add(pair);
  }
}

interface PairOptions {
  readonly shape: (connection: ProxiedConnection) => Shape;
  readonly rules: ArmedRule[];
  readonly random: () => number;
  readonly onClosed: () => void;
  readonly onSeen: () => void;
}

/** Where one direction stands in the stream of frames. */
interface Track {
  greetingAt: number;
  headerAt: number;
  readonly header: Buffer;
  name: FrameName | undefined;
  payloadLeft: number;
  payloadAt: number;
  readonly counts: Map<FrameName, number>;
}

const newTrack = (): Track => ({
  greetingAt: 0,
  headerAt: 0,
  header: Buffer.alloc(HEADER_BYTES),
  name: undefined,
  payloadLeft: 0,
  payloadAt: 0,
  counts: new Map(),
});

/** Bytes on their way, and the round trip they belong to. */
interface Packet {
  readonly bytes: Buffer;
  readonly dueMs: number;
  readonly round: number;
  /** Behind a `hold`. */
  readonly held: boolean;
}

/** How much time's worth a slowed connection forwards at once. */
const SLICE_MS = 10;
const QUEUED_BYTES_MAX = 64 * 1024;

class Pair {
  readonly #proxy: TcpProxy;
  readonly #era: number;
  readonly #options: PairOptions;
  readonly #sockets: Record<Direction, { from: Socket; to: Socket }>;
  readonly #tracks = { up: newTrack(), down: newTrack() };
  readonly #queues: Record<Direction, Packet[]> = { up: [], down: [] };
  readonly #queuedBytes = { up: 0, down: 0 };
  /** Until when the path is busy with what was forwarded. */
  readonly #freeMs = { up: 0, down: 0 };
  readonly #ended = { up: false, down: false };
  /** The round trips of what each end has got. */
  readonly #round = { client: 0, server: 0 };
  #timers = new Set<NodeJS.Timeout>();
  #opening: Buffer = Buffer.alloc(0);
  #connection: ProxiedConnection | undefined;
  #shape: Shape = {};
  #stalled = false;
  #orphaned = false;
  #gone = false;
  readonly #holds = { up: false, down: false };
  /** Of the bytes that are being looked at, from where on they are held. */
  #heldFrom: number | undefined;

  constructor(proxy: TcpProxy, client: Socket, server: Socket, options: PairOptions) {
    this.#proxy = proxy;
    this.#era = proxy.era;
    this.#options = options;
    this.#sockets = { up: { from: client, to: server }, down: { from: server, to: client } };
    for (const direction of ["up", "down"] as const) {
      const { from, to } = this.#sockets[direction];
      from.on("error", () => {});
      from.on("data", (bytes: Buffer) => this.#onData(direction, bytes));
      from.on("end", () => {
        this.#ended[direction] = true;
        this.#pump(direction);
      });
      // One side dropped: so is the other.
      from.on("close", (failed) => {
        if (this.#stalled || this.#orphaned) return;
        if (failed) reset(to);
        this.#closed();
      });
      to.on("drain", () => this.#pump(direction));
    }
    client.resume();
  }

  get kind(): Kind | undefined {
    return this.#connection?.kind;
  }

  continue(): void {
    this.#holds.up = false;
    this.#holds.down = false;
    this.#pump("up");
    this.#pump("down");
  }

  orphan(): void {
    this.#orphaned = true;
    reset(this.#sockets.up.from);
  }

  suffer(action: Worse): void {
    const { from: client, to: server } = this.#sockets.up;
    if (action === "stall") {
      this.#stalled = true;
      client.pause();
      server.pause();
    } else if (action === "half-close") server.end();
    else {
      this.#stalled = true;
      reset(client);
      reset(server);
      this.#closed(true);
    }
  }

  #closed(force = false): void {
    const { from: client, to: server } = this.#sockets.up;
    if (this.#gone || !(force || (client.destroyed && server.destroyed))) return;
    this.#gone = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#options.onClosed();
  }

  #onData(direction: Direction, bytes: Buffer): void {
    if (this.#stalled) return;
    this.#proxy.bytes[direction] += bytes.length;
    if (direction === "up" && this.#connection === undefined) {
      // The byte after the greeting tells what the connection is.
      this.#opening = Buffer.concat([this.#opening, bytes]);
      const type = this.#opening[GREETING_BYTES];
      if (type === undefined) return;
      const kind = type === FRAME_TYPES.ATTACH ? "stream" : "control";
      this.#connection = { kind, ordinal: this.#proxy.connections[kind]++ };
      this.#shape = this.#options.shape(this.#connection);
      if (this.#shape.stalled) {
        this.suffer("stall");
        this.#options.onSeen();
        return;
      }
      bytes = this.#opening;
    }
    const copy = Buffer.from(bytes);
    const harmed = this.#follow(direction, bytes, copy);
    // What came before the harm goes on its way first.
    const end = harmed?.at ?? copy.length;
    const held = this.#heldFrom;
    this.#heldFrom = undefined;
    this.#enqueue(direction, copy.subarray(0, held ?? end));
    if (held !== undefined) {
      this.#holds[direction] = true;
      this.#enqueue(direction, copy.subarray(held, end));
    }
    if (harmed !== undefined) {
      if (harmed.action === "reset") setImmediate(() => this.suffer("reset"));
      else this.suffer(harmed.action);
    }
    this.#options.onSeen();
  }

  /** Walks along the frames, and flips in `copy` what is to be flipped. Returns where something worse is to happen. */
  #follow(direction: Direction, bytes: Buffer, copy: Buffer): { at: number; action: Worse } | undefined {
    const track = this.#tracks[direction];
    for (let at = 0; at < bytes.length; ) {
      let spot: { fields: Record<string, readonly [number, number]>; index: number } | undefined;
      if (track.greetingAt < GREETING_BYTES) {
        spot = { fields: GREETING_FIELDS, index: track.greetingAt++ };
      } else if (track.payloadLeft === 0) {
        const byte = bytes[at] as number;
        if (track.headerAt === 0) track.name = frameNames.get(byte);
        track.header[track.headerAt] = byte;
        spot = { fields: HEADER_FIELDS, index: track.headerAt++ };
      }
      if (spot !== undefined) {
        const { fields, index } = spot;
        const part = Object.keys(fields).find((name) => {
          const [start, end] = fields[name] as readonly [number, number];
          return index >= start && index < end;
        }) as Part;
        const worse = this.#apply(direction, part, index === (fields[part] as readonly [number, number])[0], copy, at);
        if (worse !== undefined) return { at, action: worse };
        at++;
        if (track.headerAt === HEADER_BYTES) this.#onHeader(direction, track);
        continue;
      }
      const count = Math.min(track.payloadLeft, bytes.length - at);
      const worse = this.#apply(direction, "payload", track.payloadAt === 0, copy, at, count);
      if (worse !== undefined) return { at, action: worse };
      track.payloadAt += count;
      track.payloadLeft -= count;
      at += count;
      if (track.payloadLeft === 0) this.#onFrameEnd(track);
    }
    return undefined;
  }

  #onHeader(direction: Direction, track: Track): void {
    track.headerAt = 0;
    track.payloadAt = 0;
    track.payloadLeft = track.header.readUInt32BE(16);
    const { name } = track;
    if (name === undefined) return;
    const frames = this.#proxy.frames[direction];
    frames.set(name, (frames.get(name) ?? 0) + 1);
    if (name === "CHUNK" && direction === "up") {
      const key = `${track.header.readUInt32BE(4)}:${track.header.readBigUInt64BE(8)}`;
      this.#proxy.countChunk(key, this.#era);
    }
  }

  #onFrameEnd(track: Track): void {
    if (track.name !== undefined) track.counts.set(track.name, (track.counts.get(track.name) ?? 0) + 1);
  }

  #apply(direction: Direction, part: Part, isFirst: boolean, copy: Buffer, at: number, count = 1): Worse | undefined {
    const track = this.#tracks[direction];
    const connection = this.#connection;
    if (!isFirst || connection === undefined) return undefined;
    for (const armed of this.#options.rules) {
      const { rule } = armed;
      if (armed.left === 0 || rule.kind !== connection.kind || rule.direction !== direction || rule.part !== part)
        continue;
      if (rule.ordinal !== undefined && rule.ordinal !== connection.ordinal) continue;
      if (rule.frame !== undefined && rule.frame !== track.name) continue;
      const nth = track.name === undefined ? 0 : (track.counts.get(track.name) ?? 0);
      if (rule.nth !== undefined && nth !== rule.nth) continue;
      armed.left--;
      this.#proxy.harm.push(
        `${rule.action} ${connection.kind} ${connection.ordinal} ${direction} ${track.name} ${part}`,
      );
      if (rule.action === "hold") {
        this.#heldFrom ??= at;
        continue;
      }
      if (rule.action !== "flip") return rule.action;
      const spot = at + Math.floor(this.#options.random() * count);
      copy[spot] = (copy[spot] as number) ^ (1 << Math.floor(this.#options.random() * 8));
    }
    return undefined;
  }

  #enqueue(direction: Direction, bytes: Buffer): void {
    const round = direction === "up" ? this.#round.client + 1 : this.#round.server;
    if (this.kind === "control") this.#proxy.roundTrips = Math.max(this.#proxy.roundTrips, round);
    const dueMs = performance.now() + (this.#shape.delayMs ?? 0);
    const slice = this.#shape.oneByteAtATime ? 1 : bytes.length;
    for (let at = 0; at < bytes.length; at += slice) {
      const held = this.#holds[direction];
      this.#queues[direction].push({ bytes: bytes.subarray(at, at + slice), dueMs, round, held });
    }
    this.#queuedBytes[direction] += bytes.length;
    this.#pump(direction);
  }

  #pump(direction: Direction): void {
    const { from, to } = this.#sockets[direction];
    const queue = this.#queues[direction];
    const kind = this.kind;
    if (this.#stalled || (kind !== undefined && this.#proxy.isHeld(kind))) return;
    const rate = direction === "up" ? this.#shape.bytesPerSecond : undefined;
    while (queue.length > 0 && to.writableLength < QUEUED_BYTES_MAX) {
      const packet = queue[0] as Packet;
      if (packet.held && this.#holds[direction]) break;
      const nowMs = performance.now();
      const waitMs = Math.max(packet.dueMs, this.#freeMs[direction]) - nowMs;
      if (waitMs > 0) {
        this.#later(direction, waitMs);
        break;
      }
      queue.shift();
      let { bytes } = packet;
      if (rate !== undefined) {
        const count = Math.max(1, Math.floor((rate * SLICE_MS) / 1000));
        if (bytes.length > count) queue.unshift({ ...packet, bytes: bytes.subarray(count) });
        bytes = bytes.subarray(0, count);
        this.#freeMs[direction] = Math.max(this.#freeMs[direction], nowMs - SLICE_MS) + (bytes.length / rate) * 1000;
      }
      this.#queuedBytes[direction] -= bytes.length;
      const end = direction === "up" ? "server" : "client";
      this.#round[end] = Math.max(this.#round[end], packet.round);
      to.write(bytes);
    }
    // A delay needs room for what is on its way; otherwise the sender is to feel how slow this is.
    const room = this.#shape.delayMs === undefined ? QUEUED_BYTES_MAX : 64 * QUEUED_BYTES_MAX;
    if (this.#queuedBytes[direction] >= room) from.pause();
    else if (!this.#stalled && !from.destroyed) from.resume();
    if (queue.length === 0 && this.#ended[direction]) to.end();
  }

  readonly #sleeping = { up: false, down: false };

  #later(direction: Direction, ms: number): void {
    if (this.#sleeping[direction]) return;
    this.#sleeping[direction] = true;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#sleeping[direction] = false;
      this.#pump(direction);
    }, ms);
    this.#timers.add(timer);
  }
}

/** A proxy before `target` until the test ends. */
export async function startProxy(
  t: Test,
  target: { host: string; port: number },
  options: ProxyOptions = {},
): Promise<TcpProxy> {
  const proxy = new TcpProxy(target, options);
  await proxy.listen();
  t.teardown(() => proxy.close());
  return proxy;
}
