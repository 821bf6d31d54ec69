/**
 * Whether compressing makes a transfer faster: one of these for all of its streams. It is told what samples and
 * compressed chunks came to and what was acknowledged, and says of each chunk what to do. Pure: the clock is an argument.
 *
 * A path that carries P bytes a second moves P / ratio of a file where chunks are compressed, unless compressing itself
 * is slower. So it begins where samples promise a gain, and goes on where what is acknowledged shows one.
 */

/** `auto`: where it pays. `zstd`: always. `none`: never. */
export type CompressMode = "auto" | "zstd" | "none";

/** What a stream does with a chunk: send it as it is, compress a piece of it beside that, or compress it. */
export type Attempt = "no" | "sample" | "yes";

/** What compressing came to. */
export interface Compressed {
  readonly bytes: number;
  readonly compressedBytes: number;
  /** Until it was done, waiting for a thread included. */
  readonly ms: number;
}

/** A shorter chunk costs more to hand to a thread than it can save. */
const CHUNK_BYTES_MIN = 4096;
/** As it is, one chunk in so many is sampled, or one in so long on a slow path. */
const SAMPLE_CHUNKS = 32;
const SAMPLE_MS = 1000;
/** The first chunks are sampled anyway: there is no rate yet, and the more is known when there is one. */
const FIRST_SAMPLES = 4;
/** New samples and chunks count so much. */
const RATIO_WEIGHT = 0.25;
const SAMPLE_WEIGHT = 0.5;
/** What compresses less than this isn't compressed. */
const RATIO_MAX = 0.9;
/** The faster of so many samples tells the speed: the others waited for something else. */
const SPEED_SAMPLES = 4;
/** Threads are not free for compressing alone: so much of them is. */
const WORKERS_SHARE = 0.5;
/** A gain is believed before it is tried, and when it is seen, where it is at least this. */
const GAIN_EXPECTED = 1.3;
const GAIN_SEEN = 1.05;
/** Rates are taken over this long at least, and half of one is what the last one was. */
const RATE_MS = 300;
/** What is seen of compressing counts after this long: before, what was sent before it is still being acknowledged. */
const TRIAL_MS = 1000;
/** After a trial in vain the next waits, twice as long each time. */
const WAIT_MS = 2_000;
const WAIT_MS_MAX = 64_000;
/** Where compressing is what limits the rate, it is seen now and then what the path carries without. */
const PROBE_AFTER_MS = 2_000;
const PROBE_AFTER_MS_MAX = 64_000;
const PROBE_MS = 500;
/** Threads that are at it for this part of the time are the limit. */
const BUSY_SHARE = 0.9;

type Phase =
  | { readonly is: "raw"; readonly untilMs: number }
  | { readonly is: "compressing"; readonly sinceMs: number }
  /** Sends as it is for a while, to see what the path carries. */
  | { readonly is: "probing"; readonly sinceMs: number; readonly compressedRate: number };

export class Compression {
  readonly #mode: CompressMode;
  /** Threads that can compress at once. */
  readonly #workers: number;
  #phase: Phase = { is: "raw", untilMs: 0 };
  /** Compressed bytes to bytes, smoothed; undefined until there is a sample. */
  #ratio: number | undefined;
  #samples = 0;
  /** Bytes a millisecond of one thread, of the last samples. */
  #speeds: number[] = [];
  #chunksSinceSample = 0;
  #sampledMs = Number.NEGATIVE_INFINITY;
  /** What was acknowledged, as it is in files and as it went over the wire, in bytes a millisecond. */
  readonly #fileRate = new Rate();
  readonly #wireRate = new Rate();
  /** What the path carries as far as is known, in bytes a millisecond. */
  #pathRate = 0;
  #waitMs = WAIT_MS;
  #probeAfterMs = PROBE_AFTER_MS;
  /** For how long threads were at it since `#busySinceMs`, and until when that is counted. */
  #busyMs = 0;
  #busySinceMs = 0;
  #busyUntilMs = 0;

  constructor(mode: CompressMode, workers: number) {
    this.#mode = mode;
    this.#workers = workers;
  }

  /** What to do with the next chunk. */
  attempt(bytes: number, nowMs: number): Attempt {
    if (this.#mode === "none" || bytes < CHUNK_BYTES_MIN) return "no";
    if (this.#mode === "zstd") return "yes";
    this.#fileRate.begin(nowMs);
    this.#wireRate.begin(nowMs);
    this.#review(nowMs);
    if (this.#phase.is === "compressing") return "yes";
    this.#chunksSinceSample++;
    const isDue =
      this.#samples < FIRST_SAMPLES || this.#chunksSinceSample >= SAMPLE_CHUNKS || nowMs - this.#sampledMs >= SAMPLE_MS;
    if (!isDue || this.#phase.is === "probing") return "no";
    this.#samples++;
    this.#chunksSinceSample = 0;
    this.#sampledMs = nowMs;
    return "sample";
  }

  sampled({ bytes, compressedBytes, ms }: Compressed): void {
    this.#learnRatio(compressedBytes / bytes, SAMPLE_WEIGHT);
    this.#speeds.push(bytes / Math.max(ms, 0.01));
    if (this.#speeds.length > SPEED_SAMPLES) this.#speeds.shift();
  }

  compressed({ bytes, compressedBytes, ms }: Compressed, nowMs: number): void {
    this.#learnRatio(Math.min(1, compressedBytes / bytes), RATIO_WEIGHT);
    this.#busyMs += nowMs - Math.max(this.#busyUntilMs, nowMs - ms);
    this.#busyUntilMs = nowMs;
  }

  /** The sink has a chunk. */
  acknowledged(bytes: number, bytesOnWire: number, nowMs: number): void {
    if (this.#mode !== "auto") return;
    this.#fileRate.add(bytes, nowMs);
    this.#wireRate.add(bytesOnWire, nowMs);
  }

  #learnRatio(ratio: number, weight: number): void {
    this.#ratio = this.#ratio === undefined ? ratio : this.#ratio + (ratio - this.#ratio) * weight;
  }

  #review(nowMs: number): void {
    const phase = this.#phase;
    const wireRate = this.#wireRate.latest;
    if (this.#ratio === undefined || wireRate === undefined) return;
    switch (phase.is) {
      case "raw":
        this.#pathRate = wireRate;
        if (nowMs >= phase.untilMs && this.#promisesGain()) this.#compress(nowMs);
        break;
      case "compressing":
        this.#reviewGain(phase.sinceMs, this.#ratio, nowMs);
        break;
      case "probing":
        if (nowMs - phase.sinceMs < PROBE_MS) break;
        this.#pathRate = this.#wireRate.since(nowMs) ?? wireRate;
        if (phase.compressedRate < this.#pathRate * GAIN_SEEN) this.#giveUp(nowMs);
        else this.#compress(nowMs);
        break;
    }
  }

  #promisesGain(): boolean {
    const ratio = this.#ratio ?? 1;
    if (ratio > RATIO_MAX) return false;
    const speed = Math.max(0, ...this.#speeds) * this.#workers * WORKERS_SHARE;
    return Math.min(this.#pathRate / ratio, speed) > this.#pathRate * Math.min(GAIN_EXPECTED, 1 / RATIO_MAX);
  }

  #reviewGain(sinceMs: number, ratio: number, nowMs: number): void {
    const fileRate = this.#fileRate.latest ?? 0;
    if (ratio > RATIO_MAX) {
      // The data changed: no fault of the path's, and samples will tell when it changes back.
      this.#phase = { is: "raw", untilMs: nowMs };
      return;
    }
    if (nowMs - sinceMs < TRIAL_MS) return;
    this.#pathRate = Math.max(this.#pathRate, this.#wireRate.latest ?? 0);
    if (fileRate < this.#pathRate * GAIN_SEEN) this.#giveUp(nowMs);
    else if (nowMs - sinceMs >= this.#probeAfterMs) {
      const isLimit = this.#busyMs > BUSY_SHARE * (nowMs - this.#busySinceMs);
      if (isLimit) {
        this.#phase = { is: "probing", sinceMs: nowMs, compressedRate: fileRate };
        this.#restartRates(nowMs);
        this.#probeAfterMs = Math.min(2 * this.#probeAfterMs, PROBE_AFTER_MS_MAX);
      } else {
        this.#waitMs = WAIT_MS;
        this.#countBusyFrom(nowMs);
      }
    }
  }

  #compress(nowMs: number): void {
    this.#phase = { is: "compressing", sinceMs: nowMs };
    this.#restartRates(nowMs);
    this.#countBusyFrom(nowMs);
  }

  #giveUp(nowMs: number): void {
    this.#phase = { is: "raw", untilMs: nowMs + this.#waitMs };
    this.#waitMs = Math.min(2 * this.#waitMs, WAIT_MS_MAX);
    this.#restartRates(nowMs);
  }

  #countBusyFrom(nowMs: number): void {
    this.#busyMs = 0;
    this.#busySinceMs = nowMs;
    this.#busyUntilMs = nowMs;
  }

  #restartRates(nowMs: number): void {
    this.#fileRate.restart(nowMs);
    this.#wireRate.restart(nowMs);
  }
}

/** Bytes a millisecond, smoothed over a few stretches. */
class Rate {
  /** undefined until there is one. */
  latest: number | undefined;
  #bytes = 0;
  #sinceMs: number | undefined;

  begin(nowMs: number): void {
    this.#sinceMs ??= nowMs;
  }

  add(bytes: number, nowMs: number): void {
    if (this.#sinceMs === undefined) return;
    this.#bytes += bytes;
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs < RATE_MS) return;
    const rate = this.#bytes / elapsedMs;
    this.latest = this.latest === undefined ? rate : (this.latest + rate) / 2;
    this.#bytes = 0;
    this.#sinceMs = nowMs;
  }

  /** What came since the last stretch began, where that is long enough to tell. */
  since(nowMs: number): number | undefined {
    const elapsedMs = nowMs - (this.#sinceMs ?? nowMs);
    return elapsedMs > 0 && this.#bytes > 0 ? Math.max(this.#bytes / elapsedMs, this.latest ?? 0) : this.latest;
  }

  /** What was before says nothing of what comes. The last rate stands until there is another. */
  restart(nowMs: number): void {
    this.#bytes = 0;
    this.#sinceMs = nowMs;
  }
}
