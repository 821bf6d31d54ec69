/**
 * Sets of bytes or of chunks as sorted, disjoint, half-open ranges [start, end): merge, subtract, split, what is missing.
 * Numbers are integers from 0 to 2^53 - 1. Pure.
 */

export interface Range {
  readonly start: number;
  readonly end: number;
}

export class RangeSet implements Iterable<Range> {
  #ranges: Range[] = [];

  constructor(ranges: Iterable<Range> = []) {
    for (const range of ranges) this.add(range.start, range.end);
  }

  /** Merges [start, end) into the set. */
  add(start: number, end: number): void {
    if (start >= end) return;
    // Touching neighbours merge as well: [0, 4) and [4, 8) are [0, 8).
    const first = this.#firstEndingAt(start);
    let last = first;
    let low = start;
    let high = end;
    for (let r = this.#ranges[last]; r !== undefined && r.start <= end; r = this.#ranges[++last]) {
      low = Math.min(low, r.start);
      high = Math.max(high, r.end);
    }
    this.#ranges.splice(first, last - first, { start: low, end: high });
  }

  /** Takes [start, end) out of the set. */
  subtract(start: number, end: number): void {
    if (start >= end) return;
    const first = this.#firstEndingAt(start + 1);
    const kept: Range[] = [];
    let last = first;
    for (let r = this.#ranges[last]; r !== undefined && r.start < end; r = this.#ranges[++last]) {
      if (r.start < start) kept.push({ start: r.start, end: start });
      if (r.end > end) kept.push({ start: end, end: r.end });
    }
    this.#ranges.splice(first, last - first, ...kept);
  }

  /** Whether all of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const range = this.#ranges[this.#firstEndingAt(start + 1)];
    return range !== undefined && range.start <= start && range.end >= end;
  }

  /** Whether [start, end) overlaps a range or is right beside one: adding it would make no range more. */
  touches(start: number, end: number): boolean {
    const range = this.#ranges[this.#firstEndingAt(start)];
    return range !== undefined && range.start <= end;
  }

  /** What of [start, end) is not in the set. */
  missing(start: number, end: number): Range[] {
    const gaps: Range[] = [];
    let at = start;
    for (let i = this.#firstEndingAt(start + 1); at < end; i++) {
      const range = this.#ranges[i];
      if (range === undefined || range.start >= end) break;
      if (range.start > at) gaps.push({ start: at, end: range.start });
      at = range.end;
    }
    if (at < end) gaps.push({ start: at, end });
    return gaps;
  }

  /** How many integers are in the set. */
  get size(): number {
    let size = 0;
    for (const range of this.#ranges) size += range.end - range.start;
    return size;
  }

  /** How many ranges it consists of. */
  get count(): number {
    return this.#ranges.length;
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  [Symbol.iterator](): IterableIterator<Range> {
    return this.#ranges[Symbol.iterator]();
  }

  /** Index of the first range whose end is at or above `position`, by bisection. */
  #firstEndingAt(position: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle] as Range).end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * Splits a range in two where the second part is to start at a multiple of `step`, at or next above the middle where that
 * allows: what a stream that ran out takes over from the one that has most left.
 */
export function splitRange(range: Range, step: number): [Range, Range] | undefined {
  const middle = range.start + (range.end - range.start) / 2;
  let at = Math.ceil(middle / step) * step;
  if (at >= range.end) at -= step;
  if (at <= range.start || at >= range.end) return undefined;
  return [
    { start: range.start, end: at },
    { start: at, end: range.end },
  ];
}
