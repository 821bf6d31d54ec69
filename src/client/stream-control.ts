/**
 * How many streams a transfer should have, by what came of those that it had: begins with few, doubles them while the
 * total rate grows, gives back what brought nothing, and looks again now and then and when the rate changes. Told what
 * the other end has got, and when; knows no clock, no timer and no socket.
 *
 * A lost packet halves one connection and not the others, and a window bounds each by itself: there more connections
 * carry more (Mathis et al. 1997; Hacker, Athey and Noble 2002). Where a link, a processor or a limit is full they carry
 * the same. Which it is shows in the rate only, so this is a search, as in Yildirim et al. 2011.
 */

export interface StreamSample {
  readonly nowMs: number;
  /** What the other end has got over all streams, in bytes on the wire; never less than before. */
  readonly bytes: number;
  /** How many are attached, those included that are about to close. */
  readonly streams: number;
  /** Since the last sample a stream had nothing to send: the source is what is slow, or the end is near. */
  readonly isStarved: boolean;
  /** Of what is known to be there to send; infinite where no end is known. */
  readonly remainingBytes: number;
  /** null: none. */
  readonly limitBytesPerSecond: number | null;
}

export interface StreamBounds {
  /** To begin with, and the least. */
  readonly start: number;
  readonly most: number;
}

/** Who says how many streams there should be. */
export interface StreamCounter {
  readonly wanted: number;
  /** The same, but for a trial that is under way. */
  readonly held: number;
  /** Whether more than `held` were tried, and brought nothing more, or can't be had. */
  readonly knowsMost: boolean;
  /** How often a sample is of use, in milliseconds. */
  readonly everyMs: number;
  /** A round trip of the path was measured. */
  roundTrip(ms: number): void;
  /** A connection more was refused: there are `streams`. */
  refused(streams: number, nowMs: number): void;
  /** Returns how many there should be from now on. */
  sample(sample: StreamSample): number;
}

/** A trial: what was before, and which way it goes. */
interface Trial {
  readonly streams: number;
  /** In bytes a millisecond. */
  readonly rate: number;
  readonly isUp: boolean;
}

/** Round trips over which a rate is taken, that new streams may find theirs in, and the least of each for short paths. */
const SPAN_ROUNDS = 2;
const SPAN_MS = 100;
const SETTLE_ROUNDS = 3;
const SETTLE_MS = 100;
const MEASURE_ROUNDS = 4;
const MEASURE_MS = 250;
/** What still grows by so much from span to span is in slow start, and has not settled; for so long at most. */
const RISING = 1.25;
const RISING_ROUNDS = 20;
const RISING_MS = 400;
/** Each trial has so many times the streams of the one before; on long paths, where each takes long, more. */
const TIMES = 2;
const TIMES_FAR = 4;
const FAR_MS = 20;
/** Connections that are not there, or not gone, after this long are not waited for. */
const CHANGE_ROUNDS = 10;
const CHANGE_MS = 2_000;
/**
 * Twice the streams carry twice as much where nothing is shared. Still more are tried where so much of that came: less is
 * noise, or the streams that were there before becoming faster by themselves, which takes seconds on a long path.
 */
const GAIN_SHARE = 0.1;
/** So much of it is enough to go on without waiting for more. */
const EARLY_SHARE = 0.6;
/** Streams are kept, be they more or fewer, where they carry so much of what there was. */
const KEPT = 0.97;
/** Of a limit: whoever is there needs no more streams. */
const AT_LIMIT = 0.9;
/** A rate that left these bounds is that of another path, or was that of connections that had not met their losses yet. */
const FELL = 0.85;
const ROSE = 1.25;
/** One that sank to this, slowly: connections met their losses. */
const SANK = 0.93;
/** How much of a new rate counts. */
const WEIGHT = 0.3;
/** A trial wants so many times its own length to be left: it may cost something, and what it finds has to pay for it. */
const PAYBACK = 8;
const PAYBACK_FAR = 4;
/** Trials in vain wait twice as long each time. */
const LOOK_MS = 4_000;
const LOOK_MS_MAX = 64_000;
/** Who was refused more connections asks again after this long, twice as long each time. */
const REFUSED_MS = 30_000;
const REFUSED_MS_MAX = 480_000;
/** A source that has kept streams waiting for so long needs fewer. */
const STARVED_MS = 2_000;

export class StreamControl implements StreamCounter {
  readonly #bounds: StreamBounds;
  #wanted: number;
  #roundTripMs = 0;
  #phase: "settling" | "measuring" | "holding" = "settling";
  /** When the phase began; of settling, when all streams were there; of holding, when its present stretch did. */
  #since: { readonly ms: number; readonly bytes: number } | undefined;
  /** When the number changed, and whether the streams have followed. */
  #changedMs: number | undefined;
  #hasChanged = false;
  #trial: Trial | undefined;
  /** Nothing was decided yet. */
  #isFirst = true;
  #knowsMost = false;
  /** Of the number of streams that is held, in bytes a millisecond: now, and when it began to be held. */
  #heldRate = 0;
  #firstRate = 0;
  #lookAtMs = 0;
  #lookMs = LOOK_MS;
  /** Whether the next look is for more. */
  #looksUp = true;
  /** Above this connections were refused, until then. */
  #refusedAbove: number | undefined;
  #refusedUntilMs = 0;
  #refusedMs = REFUSED_MS;
  #starvedSinceMs: number | undefined;
  /** Of the last spans, the oldest first. */
  #samples: StreamSample[] = [];

  constructor(bounds: StreamBounds) {
    this.#bounds = bounds;
    this.#wanted = Math.min(bounds.start, bounds.most);
  }

  get wanted(): number {
    return this.#wanted;
  }
  get held(): number {
    return this.#trial?.streams ?? this.#wanted;
  }
  get knowsMost(): boolean {
    return this.#knowsMost || this.held >= this.#bounds.most;
  }

  get everyMs(): number {
    if (this.#starvedSinceMs !== undefined) return STARVED_MS / 2;
    return this.#phase === "holding" ? this.#measureMs / 2 : Math.max(SPAN_MS / 2, this.#roundTripMs / 2);
  }

  /** The shortest counts, since the others waited in queues. */
  roundTrip(ms: number): void {
    this.#roundTripMs = this.#roundTripMs === 0 ? ms : Math.min(ms, this.#roundTripMs);
  }

  /** No more are tried for a while. */
  refused(streams: number, nowMs: number): void {
    this.#knowsMost = true;
    this.#refusedAbove = Math.max(1, streams);
    if (nowMs >= this.#refusedUntilMs) {
      this.#refusedUntilMs = nowMs + this.#refusedMs;
      this.#refusedMs = Math.min(2 * this.#refusedMs, REFUSED_MS_MAX);
    }
    this.#wanted = Math.min(this.#wanted, this.#refusedAbove);
    // Nothing came of it.
    if (this.#trial?.isUp === true && this.#wanted <= this.#trial.streams) {
      this.#holdAt(this.#trial.rate, nowMs);
      this.#trial = undefined;
    }
  }

  sample(sample: StreamSample): number {
    const { nowMs, streams } = sample;
    this.#samples.push(sample);
    const oldestMs = nowMs - 3 * this.#spanMs;
    while ((this.#samples[1]?.nowMs ?? nowMs) < oldestMs) this.#samples.shift();
    // Until something has arrived nothing is known of the path.
    if (sample.bytes === 0) return this.#wanted;
    this.#changedMs ??= nowMs;
    if (this.#isStarved(sample)) return this.#wanted;
    if (!this.#hasChanged) {
      const waitedMs = nowMs - this.#changedMs;
      if (streams !== this.#wanted && waitedMs < this.#rounds(CHANGE_ROUNDS, CHANGE_MS)) return this.#wanted;
      this.#hasChanged = true;
      this.#since = { ms: nowMs, bytes: sample.bytes };
    }
    if (this.#phase === "settling") this.#settle(sample);
    else if (this.#phase === "measuring") this.#measure(sample);
    else this.#hold(sample);
    return this.#wanted;
  }

  get #spanMs(): number {
    return this.#rounds(SPAN_ROUNDS, SPAN_MS);
  }
  get #measureMs(): number {
    return this.#rounds(MEASURE_ROUNDS, MEASURE_MS);
  }
  #rounds(rounds: number, leastMs: number): number {
    return Math.max(rounds * this.#roundTripMs, leastMs);
  }

  /** What a source that is slow shows says nothing of the path. */
  #isStarved(sample: StreamSample): boolean {
    const { nowMs, bytes, isStarved } = sample;
    if (!isStarved) {
      this.#starvedSinceMs = undefined;
      return false;
    }
    this.#starvedSinceMs ??= nowMs;
    if (this.#trial !== undefined) {
      const { streams } = this.#trial;
      this.#trial = undefined;
      if (streams < this.#wanted) this.#change(streams, nowMs);
    }
    if (nowMs - this.#starvedSinceMs >= STARVED_MS && this.#wanted > this.#bounds.start) {
      this.#starvedSinceMs = nowMs;
      this.#change(Math.max(this.#bounds.start, Math.ceil(this.#wanted / 2)), nowMs);
    }
    this.#since = { ms: nowMs, bytes };
    return true;
  }

  #settle(sample: StreamSample): void {
    const { nowMs, bytes } = sample;
    const settledMs = nowMs - (this.#since?.ms ?? nowMs);
    const span = this.#rateOver(this.#spanMs, 0);
    const trial = this.#trial;
    if (trial?.isUp === true && settledMs >= this.#spanMs && span >= gained(trial, this.#wanted, EARLY_SHARE)) {
      this.#decide(sample, span);
      return;
    }
    if (settledMs < this.#rounds(SETTLE_ROUNDS, SETTLE_MS)) return;
    const isRising = span > RISING * this.#rateOver(this.#spanMs, this.#spanMs);
    if (isRising && settledMs < this.#rounds(RISING_ROUNDS, RISING_MS)) return;
    if (this.#isFirst && this.#roundTripMs >= FAR_MS) {
      // What the first few carry only shows where to go on from.
      this.#decide(sample, span);
      return;
    }
    this.#phase = "measuring";
    this.#since = { ms: nowMs, bytes };
  }

  #measure(sample: StreamSample): void {
    const rate = this.#rateSince(sample);
    if (rate !== undefined) this.#decide(sample, rate);
  }

  #hold(sample: StreamSample): void {
    const { nowMs, bytes } = sample;
    const rate = this.#rateSince(sample);
    if (rate === undefined) return;
    this.#since = { ms: nowMs, bytes };
    const hasLeapt = rate < FELL * this.#heldRate || rate > ROSE * this.#heldRate;
    if (hasLeapt) this.#heldRate = rate;
    else this.#heldRate += (rate - this.#heldRate) * WEIGHT;
    const hasMoved = hasLeapt || this.#heldRate < SANK * this.#firstRate;
    if (hasMoved) this.#firstRate = this.#heldRate;
    const isAtLimit = this.#isAtLimit(sample, rate);
    if (hasMoved && !isAtLimit) this.#tryMore(sample, this.#heldRate);
    else if (nowMs >= this.#lookAtMs) {
      const isUp = !isAtLimit && (this.#looksUp || this.#wanted <= this.#bounds.start);
      this.#looksUp = !isUp;
      if (isUp) this.#tryMore(sample, this.#heldRate);
      else if (this.#wanted > this.#bounds.start) this.#try(this.#fewer, this.#heldRate, nowMs);
    }
  }

  /** A rate was measured with the number of streams that is wanted now. */
  #decide(sample: StreamSample, rate: number): void {
    const { nowMs } = sample;
    const trial = this.#trial;
    this.#trial = undefined;
    this.#isFirst = false;
    if (trial === undefined) {
      this.#holdAt(rate, nowMs);
      if (!this.#isAtLimit(sample, rate)) this.#tryMore(sample, rate);
      return;
    }
    const isGain = trial.isUp && rate >= gained(trial, this.#wanted, GAIN_SHARE);
    const isKept = rate >= KEPT * trial.rate;
    if (trial.isUp) this.#knowsMost = !isGain;
    // Who was let in is not refused any more.
    if (isGain) this.#refusedMs = REFUSED_MS;
    if (isGain) this.#lookMs = LOOK_MS;
    else if (trial.isUp || !isKept) this.#lookMs = Math.min(2 * this.#lookMs, LOOK_MS_MAX);
    if (!isKept) {
      this.#change(trial.streams, nowMs);
      this.#holdAt(trial.rate, nowMs);
      return;
    }
    this.#holdAt(rate, nowMs);
    if (this.#isAtLimit(sample, rate)) return;
    if (isGain) this.#tryMore(sample, rate);
    else if (!trial.isUp && this.#wanted > this.#bounds.start) this.#try(this.#fewer, trial.rate, nowMs);
    // More that bring nothing stay for now, where they cost nothing: to close them at once would cost what they carry.
    else if (trial.isUp) {
      this.#looksUp = false;
      this.#lookAtMs = nowMs + LOOK_MS;
    }
  }

  #holdAt(rate: number, nowMs: number): void {
    this.#phase = "holding";
    this.#heldRate = rate;
    this.#firstRate = rate;
    this.#lookAtMs = nowMs + this.#lookMs;
    this.#since = undefined;
  }

  #tryMore({ nowMs, remainingBytes }: StreamSample, rate: number): void {
    const isFar = this.#roundTripMs >= FAR_MS;
    const times = isFar ? TIMES_FAR : TIMES;
    const payback = isFar ? PAYBACK_FAR : PAYBACK;
    const more = Math.min(times * this.#wanted, this.#mostNow(nowMs));
    const trialMs = this.#rounds(SETTLE_ROUNDS, SETTLE_MS) + this.#measureMs;
    if (more > this.#wanted && remainingBytes > rate * payback * trialMs) this.#try(more, rate, nowMs);
    else this.#lookAtMs = nowMs + this.#lookMs;
  }

  #try(streams: number, rate: number, nowMs: number): void {
    this.#trial = { streams: this.#wanted, rate, isUp: streams > this.#wanted };
    this.#change(streams, nowMs);
    this.#phase = "settling";
  }

  #change(streams: number, nowMs: number): void {
    this.#wanted = streams;
    this.#changedMs = nowMs;
    this.#hasChanged = false;
    this.#since = undefined;
  }

  get #fewer(): number {
    return Math.max(this.#bounds.start, Math.ceil(this.#wanted * 0.75) - (this.#wanted < 4 ? 1 : 0));
  }

  #mostNow(nowMs: number): number {
    const { most } = this.#bounds;
    return nowMs < this.#refusedUntilMs ? Math.min(most, this.#refusedAbove ?? most) : most;
  }

  #isAtLimit({ limitBytesPerSecond: limit }: StreamSample, rate: number): boolean {
    return limit !== null && rate * 1000 >= AT_LIMIT * limit;
  }

  /** Since the phase began; undefined while that is too short. */
  #rateSince({ nowMs, bytes }: StreamSample): number | undefined {
    this.#since ??= { ms: nowMs, bytes };
    const elapsedMs = nowMs - this.#since.ms;
    return elapsedMs < this.#measureMs ? undefined : (bytes - this.#since.bytes) / elapsedMs;
  }

  /** Over so long, until so long ago. 0 before that. */
  #rateOver(spanMs: number, agoMs: number): number {
    const nowMs = this.#samples[this.#samples.length - 1]?.nowMs ?? 0;
    const to = this.#sampleAt(nowMs - agoMs);
    const from = to && this.#sampleAt(to.nowMs - spanMs);
    if (to === undefined || from === undefined || to.nowMs <= from.nowMs) return 0;
    return (to.bytes - from.bytes) / (to.nowMs - from.nowMs);
  }

  /** The last one that is as old as that. */
  #sampleAt(ms: number): StreamSample | undefined {
    return this.#samples.findLast(({ nowMs }) => nowMs <= ms);
  }
}

/** The rate where such a share has come of what so many streams could gain. */
function gained({ streams, rate }: Trial, wanted: number, share: number): number {
  return rate * (1 + share * (wanted / streams - 1));
}
