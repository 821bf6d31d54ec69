/** Collects, while a transfer is under way, what its verdict is made of. */
import { type Load, type ThreadLoad, withThreads } from "../net/load.ts";
import type { Message } from "../protocol/messages.ts";
import { askSegments } from "./connection-segments.ts";
import { type Segments, segmentsBetween, segmentsNow } from "./segments.ts";
import type { RunFigures } from "./verdict.ts";

/** Connections that the system is asked of while they are there. */
export interface Connections {
  readonly localPorts: ReadonlySet<number>;
  readonly port: number;
}

/** What it asks of the end that sends. */
export interface Gauged {
  readonly load: Load;
  readonly isWaitingForInput: boolean;
}

/** And of its link. */
export interface GaugedLink {
  readonly streamsHeld: number;
  readonly knowsMostStreams: boolean;
  readonly threadLoads: readonly ThreadLoad[];
}

/** How often it is looked whether there is anything to send. */
const LOOK_MS = 50;
/** How often the system is asked of the connections, which costs a process each time. */
const ASK_MS = 500;
/** Of the round trips, the last ones: what an hour brought is not kept. */
const ROUND_TRIPS_MAX = 64;

export class Gauge {
  readonly #segments = segmentsNow();
  readonly #startedMs = performance.now();
  #endedMs = this.#startedMs;
  #committedMs: number | undefined;
  readonly #session: () => Gauged | undefined;
  readonly #timers: readonly NodeJS.Timeout[];
  #looks = 0;
  #looksInVain = 0;
  #leastMs = Number.POSITIVE_INFINITY;
  readonly #roundTrips: number[] = [];
  #peerLimit: number | null = null;
  #peerLoad: Load | undefined;

  #connectionSegments: Segments | null = null;
  #isAsking = false;

  /** From now on. Without `connections` what the system sent for all programs counts. */
  constructor(session: () => Gauged | undefined, connections?: () => Connections) {
    this.#session = session;
    const timers = [setInterval(() => this.#look(), LOOK_MS)];
    if (connections !== undefined) timers.push(setInterval(() => void this.#askSystem(connections()), ASK_MS));
    for (const timer of timers) timer.unref();
    this.#timers = timers;
  }

  async #askSystem({ localPorts, port }: Connections): Promise<void> {
    if (this.#isAsking || localPorts.size === 0) return;
    this.#isAsking = true;
    this.#connectionSegments = (await askSegments(localPorts, port)) ?? this.#connectionSegments;
    this.#isAsking = false;
  }

  #look(): void {
    const session = this.#session();
    if (session === undefined || this.#committedMs !== undefined) return;
    this.#looks++;
    if (session.isWaitingForInput) this.#looksInVain++;
  }

  acknowledged(): void {
    this.#endedMs = performance.now();
  }

  /** How long a connection's first question took to be answered: the first ones before there is any load. */
  answered(ms: number): void {
    this.#leastMs = Math.min(this.#leastMs, ms);
  }

  pong({ limit, load }: Message<"PONG">, roundTripMs: number): void {
    this.#peerLimit = limit ?? null;
    this.#peerLoad = load ?? this.#peerLoad;
    this.#leastMs = Math.min(this.#leastMs, roundTripMs);
    this.#roundTrips.push(roundTripMs);
    if (this.#roundTrips.length > ROUND_TRIPS_MAX) this.#roundTrips.shift();
  }

  receipt({ load }: Message<"RECEIPT">): void {
    this.#committedMs = performance.now();
    this.#peerLoad = load ?? this.#peerLoad;
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Of all until now; while the session is there. `bytes` as they were on the wire; undefined where nothing was begun. */
  figures(
    { streamsHeld: streams, knowsMostStreams: knowsMost, threadLoads }: GaugedLink,
    bytes: number,
    ownLimit: number | null,
  ): RunFigures | undefined {
    const session = this.#session();
    if (session === undefined) return undefined;
    const seconds = (this.#endedMs - this.#startedMs) / 1000;
    const sorted = this.#roundTrips.toSorted((a, b) => a - b);
    const medianMs = sorted[sorted.length >> 1];
    return {
      streams,
      knowsMost,
      seconds,
      bytes,
      settlingSeconds: Math.max(0, (this.#committedMs ?? this.#endedMs) - this.#endedMs) / 1000,
      inputSeconds: this.#looks === 0 ? 0 : (this.#looksInVain / this.#looks) * seconds,
      ownLimit,
      peerLimit: this.#peerLimit,
      roundTrip: medianMs === undefined ? null : { leastMs: this.#leastMs, medianMs },
      segments: this.#connectionSegments ?? segmentsBetween(this.#segments, segmentsNow()),
      isOfAllPrograms: this.#connectionSegments === null,
      sender: withThreads(session.load, threadLoads),
      receiver: this.#peerLoad ?? null,
    };
  }
}
