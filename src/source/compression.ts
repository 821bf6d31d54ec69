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
/**
 * Of what is sent as it is, one chunk in so many bytes is sampled, and one in so long on a path that is slower: where more
 * come by in a second, each sample costs as much of a core as some two chunks do.
 */
const SAMPLE_EVERY_BYTES = 256 * 1024 * 1024;
const SAMPLE_MS = 1000;
/** Before there is a rate nothing can be decided, but the more is known when there is one. */
const FIRST_SAMPLES = 4;
/** New samples and chunks count so much. */
const SAMPLE_WEIGHT = 0.5;
const CHUNK_WEIGHT = 0.25;
/** What compresses less than this is not compressed. */
const RATIO_MAX = 0.9;
/** The fastest of so many samples tells the speed: the others waited for something else. */
const SPEED_SAMPLES = 4;
/** Threads that moving a gigabyte a second keeps from compressing, with both ends on one machine. */
const THREADS_PER_BYTE_A_MS = 2 / 1e6;
/** A gain is tried where so much is promised, and kept where so much is seen. */
const GAIN_PROMISED = 1.3;
const GAIN_SEEN = 1.05;
/** Rates are taken over stretches of this long and so many chunks, at least. */
const STRETCH_MS = 300;
const STRETCH_CHUNKS = 8;
/**
 * On a slow path the first stretch takes long. After this the path carries no more than what is acknowledged, and what
 * may have arrived besides.
 */
const GUESS_MS = 100;
const GUESS_BYTES = 4 * 1024 * 1024;
/** After a trial in vain the next waits, twice as long each time; one that lasts makes that good. */
const WAIT_MS = 2_000;
const WAIT_MS_MAX = 64_000;
/** Threads that are at it for this part of the time are the limit, and not the path. */
const BUSY_SHARE = 0.9;
/** Then it is seen now and then what the path carries without, at growing intervals. */
const PROBE_AFTER_MS = 2_000;
const PROBE_AFTER_MS_MAX = 64_000;

interface Rates {
  /** In bytes a millisecond, as it is in files and as it went over the wire. */
  readonly file: number;
  readonly wire: number;
  /** The part of the time in which chunks were being compressed. */
  readonly busyShare: number;
}

export class Compression {
  readonly #mode: CompressMode;
  /** Threads that can compress at once. */
  readonly #workers: number;
  /** `probing`: chunks are sent as they are to see what the path carries. */
  #phase: "raw" | "compressing" | "probing" = "raw";
  #phaseSinceMs = 0;
  /** Before this compressing is not tried again. */
  #waitUntilMs = 0;
  #waitMs = WAIT_MS;
  #probeAfterMs = PROBE_AFTER_MS;
  /** Compressed bytes to bytes, smoothed; undefined until there is a sample. */
  #ratio: number | undefined;
  #samples = 0;
  #bytesSinceSample = 0;
  #sampledMs = 0;
  /** Of one thread, in bytes a millisecond, of the last samples. */
  readonly #speeds: number[] = [];
  /** What the path carries in bytes a millisecond, as far as is known. */
  #pathRate: number | undefined;
  /** What came of compressing when probing began, in bytes a millisecond. */
  #compressedRate = 0;
  #stretch: Stretch | undefined;
  /** Stretches since the phase began. */
  #stretches = 0;

  constructor(mode: CompressMode, workers: number) {
    this.#mode = mode;
    this.#workers = workers;
  }

  /** What to do with the next chunk. */
  attempt(bytes: number, nowMs: number): Attempt {
    if (this.#mode === "none" || bytes < CHUNK_BYTES_MIN) return "no";
    if (this.#mode === "zstd") return "yes";
    this.#stretch ??= new Stretch(nowMs);
    if (this.#pathRate === undefined) this.#tryIfPromising(nowMs, this.#stretch.atMost(nowMs));
    if (this.#phase === "compressing") return "yes";
    this.#bytesSinceSample += bytes;
    const isDue =
      this.#samples < FIRST_SAMPLES ||
      this.#bytesSinceSample >= SAMPLE_EVERY_BYTES ||
      nowMs - this.#sampledMs >= SAMPLE_MS;
    if (!isDue) return "no";
    this.#samples++;
    this.#bytesSinceSample = 0;
    this.#sampledMs = nowMs;
    return "sample";
  }

  sampled({ bytes, compressedBytes, ms }: Compressed): void {
    this.#learnRatio(compressedBytes / bytes, SAMPLE_WEIGHT);
    this.#speeds.push(bytes / Math.max(ms, 0.01));
    if (this.#speeds.length > SPEED_SAMPLES) this.#speeds.shift();
  }

  compressed({ bytes, compressedBytes, ms }: Compressed, nowMs: number): void {
    this.#learnRatio(compressedBytes / bytes, CHUNK_WEIGHT);
    this.#stretch?.addBusy(ms, nowMs);
    // The data changed: that is not the path's doing, and samples tell when it changes back.
    if (this.#phase === "compressing" && this.#ratioIsPoor) this.#enter("raw", nowMs);
  }

  /** The sink has a chunk. */
  acknowledged(bytes: number, bytesOnWire: number, nowMs: number): void {
    const stretch = this.#stretch;
    if (stretch === undefined) return;
    stretch.add(bytes, bytesOnWire);
    const rates = stretch.ended(nowMs);
    if (rates === undefined) return;
    this.#stretch = new Stretch(nowMs);
    // The first of a phase tells of what was sent before.
    if (this.#stretches++ > 0 || this.#pathRate === undefined) this.#review(rates, nowMs);
  }

  #learnRatio(ratio: number, weight: number): void {
    const known = Math.min(1, ratio);
    this.#ratio = this.#ratio === undefined ? known : this.#ratio + (known - this.#ratio) * weight;
  }

  get #ratioIsPoor(): boolean {
    return this.#ratio === undefined || this.#ratio > RATIO_MAX;
  }

  #review(rates: Rates, nowMs: number): void {
    switch (this.#phase) {
      case "raw":
        this.#pathRate = rates.wire;
        this.#tryIfPromising(nowMs, rates.wire);
        break;
      case "compressing":
        this.#reviewGain(rates, nowMs);
        break;
      case "probing":
        this.#pathRate = rates.wire;
        if (this.#compressedRate < rates.wire * GAIN_SEEN) this.#giveUp(nowMs);
        else this.#enter("compressing", nowMs);
        break;
    }
  }

  #tryIfPromising(nowMs: number, pathRate: number | undefined): void {
    if (pathRate === undefined || this.#phase !== "raw" || nowMs < this.#waitUntilMs || this.#ratioIsPoor) return;
    const threads = Math.max(0, this.#workers - pathRate * THREADS_PER_BYTE_A_MS);
    const speed = Math.max(0, ...this.#speeds) * threads;
    const promised = Math.min(pathRate / (this.#ratio ?? 1), speed);
    // What compresses a little is worth a little, where compressing is no limit at all.
    const wanted = Math.min(GAIN_PROMISED * pathRate, pathRate / RATIO_MAX);
    if (promised < wanted || speed < GAIN_PROMISED * pathRate) return;
    this.#pathRate = pathRate;
    this.#enter("compressing", nowMs);
  }

  #reviewGain({ file, wire, busyShare }: Rates, nowMs: number): void {
    if (busyShare < BUSY_SHARE) {
      // The path is the limit, so this is what it carries, and the gain is what is saved.
      this.#pathRate = wire;
      this.#waitMs = WAIT_MS;
      return;
    }
    const pathRate = Math.max(this.#pathRate ?? 0, wire);
    this.#pathRate = pathRate;
    if (file < pathRate * GAIN_SEEN) this.#giveUp(nowMs);
    else if (nowMs - this.#phaseSinceMs >= this.#probeAfterMs) {
      this.#compressedRate = file;
      this.#probeAfterMs = Math.min(2 * this.#probeAfterMs, PROBE_AFTER_MS_MAX);
      this.#enter("probing", nowMs);
    }
  }

  #giveUp(nowMs: number): void {
    this.#waitUntilMs = nowMs + this.#waitMs;
    this.#waitMs = Math.min(2 * this.#waitMs, WAIT_MS_MAX);
    this.#enter("raw", nowMs);
  }

  #enter(phase: "raw" | "compressing" | "probing", nowMs: number): void {
    this.#phase = phase;
    this.#phaseSinceMs = nowMs;
    this.#stretch = new Stretch(nowMs);
    this.#stretches = 0;
  }
}

/** What came in a stretch of time. */
class Stretch {
  readonly #sinceMs: number;
  #bytes = 0;
  #bytesOnWire = 0;
  #chunks = 0;
  #busyMs = 0;
  #busyUntilMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
    this.#busyUntilMs = nowMs;
  }

  add(bytes: number, bytesOnWire: number): void {
    this.#bytes += bytes;
    this.#bytesOnWire += bytesOnWire;
    this.#chunks++;
  }

  /** Something was compressed for so long until now; what overlaps counts once. */
  addBusy(ms: number, nowMs: number): void {
    this.#busyMs += Math.max(0, nowMs - Math.max(this.#busyUntilMs, nowMs - ms));
    this.#busyUntilMs = nowMs;
  }

  /** Its rates, when it is long enough. */
  ended(nowMs: number): Rates | undefined {
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs < STRETCH_MS || this.#chunks < STRETCH_CHUNKS) return undefined;
    return {
      file: this.#bytes / elapsedMs,
      wire: this.#bytesOnWire / elapsedMs,
      busyShare: this.#busyMs / elapsedMs,
    };
  }

  /** What the path carries at most, in bytes a millisecond, where that can be guessed. */
  atMost(nowMs: number): number | undefined {
    const elapsedMs = nowMs - this.#sinceMs;
    return elapsedMs < GUESS_MS ? undefined : (this.#bytesOnWire + GUESS_BYTES) / elapsedMs;
  }
}
