/** How far a transfer is, told a few times a second. */
import type { SourceSession } from "../source/session.ts";
import { etaMs, RateMeter } from "./rate.ts";
import type { TransferEvent } from "./types.ts";

/** Often enough to look alive, seldom enough to cost nothing. */
const EVERY_MS = 200;

type Stall = NonNullable<Extract<TransferEvent, { type: "progress" }>["stall"]>;

export class ProgressReporter {
  readonly #emit: (event: TransferEvent) => void;
  readonly #meter = new RateMeter(performance.now());
  readonly #startedMs = performance.now();
  readonly #limit: () => number | null;
  /** Found so far; all of them are known, and counted, from the beginning or when all are found. */
  #filesTotal = 0;
  #bytesFound: number | null = 0;
  #areAllFound: boolean;
  readonly #streamBytes: number[] = [];
  readonly #timer: NodeJS.Timeout;
  #session: SourceSession | undefined;
  #stall: () => Stall | undefined = () => undefined;
  /** Of files that are not settled, what was there when they were planned. */
  #inheritedBytes = 0;
  #acknowledgedBytes = 0;
  /** Files that are settled count whole, whatever was sent of them. */
  #settledBytes = 0;
  /** Of these, the ones of which nothing was acknowledged or inherited. */
  #unsentBytes = 0;
  /** All that was acknowledged: never less than before, whatever the server has forgotten. */
  #carriedBytes = 0;
  #filesDone = 0;
  #copiedBytes: number | undefined;

  /** `totals`: where all is known beforehand. */
  constructor(
    totals: { files: number; bytes: number | null } | undefined,
    emit: (event: TransferEvent) => void,
    limit: () => number | null = () => null,
  ) {
    this.#limit = limit;
    this.#emit = emit;
    this.#areAllFound = totals !== undefined;
    if (totals !== undefined) {
      this.#filesTotal = totals.files;
      this.#bytesFound = totals.bytes;
    }
    this.#timer = setInterval(() => this.#report(), EVERY_MS);
  }

  begin(session: SourceSession, stall: () => Stall | undefined): void {
    this.#session = session;
    this.#stall = stall;
  }
  /** There are so many streams now. */
  streams(count: number): void {
    for (let i = this.#streamBytes.length; i < count; i++) this.#streamBytes[i] = 0;
  }

  /** One more is to be sent; `bytes` are null where its size isn't known. */
  found(bytes: number | null): void {
    if (this.#areAllFound) return;
    this.#filesTotal++;
    this.#bytesFound = bytes === null || this.#bytesFound === null ? null : this.#bytesFound + bytes;
  }
  allFound(): void {
    this.#areAllFound = true;
  }

  get #bytesTotal(): number | null {
    return this.#areAllFound ? this.#bytesFound : null;
  }

  acknowledged(stream: number, bytes: number): void {
    this.#acknowledgedBytes += bytes;
    this.#carriedBytes += bytes;
    this.streams(stream + 1);
    this.#streamBytes[stream] = (this.#streamBytes[stream] ?? 0) + bytes;
  }

  /** Before anything is sent, so much of the input was copied. */
  copied(bytes: number): void {
    this.#copiedBytes = bytes;
  }

  /** What the size of all is, which was not known. */
  sized(bytes: number): void {
    this.#bytesFound = bytes;
  }

  /** Bytes were there already. */
  inherited(bytes: number): void {
    this.#inheritedBytes += bytes;
  }

  /** What was acknowledged counts as far as the server says so again. */
  restarted(): void {
    this.#acknowledgedBytes = this.#settledBytes - this.#unsentBytes;
    this.#inheritedBytes = 0;
  }

  /** A file got its outcome. `wasBegun`: what the server has of it was told of before, byte by byte. */
  settled(fileBytes: number, wasBegun = true): void {
    this.#filesDone++;
    this.#settledBytes += fileBytes;
    if (!wasBegun) this.#unsentBytes += fileBytes;
  }

  /** The last word, and the end of the timer. */
  stop(): void {
    clearInterval(this.#timer);
    this.#report();
  }

  #report(): void {
    const nowMs = performance.now();
    const toldBytes = this.#acknowledgedBytes + this.#inheritedBytes + this.#unsentBytes;
    const known = this.#copiedBytes ?? Math.max(toldBytes, this.#settledBytes);
    const bytesDone = Math.min(known, this.#bytesTotal ?? known);
    const bytesPerSecond = this.#meter.update(this.#copiedBytes ?? this.#carriedBytes, nowMs);
    const stall = this.#stall() ?? null;
    const remaining = this.#bytesTotal === null ? null : Math.max(0, this.#bytesTotal - bytesDone);
    this.#emit({
      type: "progress",
      phase: stall === null ? this.#phase(remaining) : "stalled",
      stall,
      bytesDone,
      bytesTotal: this.#bytesTotal,
      filesDone: this.#filesDone,
      filesTotal: this.#filesTotal,
      bytesPerSecond,
      limitBytesPerSecond: this.#limit(),
      etaMs: remaining === null ? null : etaMs(remaining, bytesPerSecond),
      elapsedMs: nowMs - this.#startedMs,
      streamBytes: [...this.#streamBytes],
    });
  }

  #phase(remaining: number | null): "spooling" | "connecting" | "comparing" | "sending" | "committing" {
    if (this.#copiedBytes !== undefined) return "spooling";
    if (this.#session === undefined) return "connecting";
    if (remaining === 0) return this.#session.isComparing ? "comparing" : "committing";
    return this.#session.isComparing && !this.#session.hasOutstanding ? "comparing" : "sending";
  }
}
