/**
 * Which transfers move so little that they give way when others want their places: none is ended for slowness alone. Pure: time is an
 * argument, by the monotonic clock.
 */

export interface LeastProgressOptions {
  /** null: nobody is too slow. */
  readonly bytesPerSecond: number | null;
  /** Over so long. */
  readonly overMs: number;
}

interface Mark {
  movedBytes: number;
  atMs: number;
}

export class LeastProgress<T> {
  readonly #options: LeastProgressOptions;
  /** When each had last moved enough. */
  readonly #marks = new Map<T, Mark>();

  constructor(options: LeastProgressOptions) {
    this.#options = options;
  }

  /** What one has moved by now, in all. Told every so often, and from the beginning. */
  note(one: T, movedBytes: number, nowMs: number): void {
    const mark = this.#marks.get(one);
    if (mark === undefined) this.#marks.set(one, { movedBytes, atMs: nowMs });
    else if (movedBytes - mark.movedBytes >= this.#enoughBytes) {
      mark.movedBytes = movedBytes;
      mark.atMs = nowMs;
    }
  }

  /** It works at this end, or waits for it: that it moves nothing is not its doing. */
  excuse(one: T, movedBytes: number, nowMs: number): void {
    this.#marks.set(one, { movedBytes, atMs: nowMs });
  }

  forget(one: T): void {
    this.#marks.delete(one);
  }

  /** Of those that have moved too little for long enough, the one for which that is true longest. */
  slowest(nowMs: number, isCandidate: (one: T) => boolean): T | undefined {
    if (this.#options.bytesPerSecond === null) return undefined;
    let found: { readonly one: T; readonly atMs: number } | undefined;
    for (const [one, { atMs }] of this.#marks) {
      if (nowMs - atMs < this.#options.overMs || atMs >= (found?.atMs ?? nowMs) || !isCandidate(one)) continue;
      found = { one, atMs };
    }
    return found?.one;
  }

  get #enoughBytes(): number {
    return ((this.#options.bytesPerSecond ?? 0) * this.#options.overMs) / 1000;
  }
}
