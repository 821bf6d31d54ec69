/**
 * How many chunks a stream may have at once: what it brings in a few round trips, and one more. A system that was fast
 * for a moment has buffers of megabytes ever after; what lies there of a stream that became slow nobody else can send,
 * and at the end all others wait for it. Pure: the clock is an argument.
 */

/**
 * So many round trips' worth is enough for a stream to become that much faster within one, while no chunk waits long.
 * Both ends need some time as well: acknowledgements wait for company.
 */
const ROUNDS = 4;
const HORIZON_MS = 200;
/** One is on its way, and one is there when the system takes more. */
const CHUNKS_MIN = 2;
/** What came in stretches of at least so long is a rate. */
const STRETCH_MS = 500;

interface Stretch {
  sinceMs: number;
  bytes: number;
  /** Of the stretch before, in bytes a millisecond; undefined until there was one. */
  rate: number | undefined;
}

export class StreamShares {
  readonly #chunkBytes: number;
  readonly #stretches = new Map<number, Stretch>();
  #roundTripMs: number | undefined;

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
  }

  /** The shortest that was seen counts. Until there is one nothing is limited. */
  roundTrip(ms: number): void {
    this.#roundTripMs = Math.min(ms, this.#roundTripMs ?? ms);
  }

  /** A stream is there, from now on. */
  opened(stream: number, nowMs: number): void {
    this.#stretches.set(stream, { sinceMs: nowMs, bytes: 0, rate: undefined });
  }
  closed(stream: number): void {
    this.#stretches.delete(stream);
  }

  acknowledged(stream: number, bytes: number, nowMs: number): void {
    const stretch = this.#stretches.get(stream);
    if (stretch === undefined) return;
    stretch.bytes += bytes;
    const elapsedMs = nowMs - stretch.sinceMs;
    if (elapsedMs < STRETCH_MS) return;
    stretch.rate = stretch.bytes / elapsedMs;
    stretch.sinceMs = nowMs;
    stretch.bytes = 0;
  }

  /** How many chunks it may have. */
  chunksMax(stream: number): number {
    const rate = this.#stretches.get(stream)?.rate;
    if (rate === undefined || this.#roundTripMs === undefined) return Number.POSITIVE_INFINITY;
    const bytes = rate * Math.max(HORIZON_MS, ROUNDS * this.#roundTripMs);
    return Math.max(CHUNKS_MIN, 1 + Math.ceil(bytes / this.#chunkBytes));
  }
}
