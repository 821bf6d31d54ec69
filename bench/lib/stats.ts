/** What many samples come to. Pure functions. */

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Throws where there is no sample. */
export function summarise(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [min, max, upper, lower] = [sorted[0], sorted.at(-1), sorted[middle], sorted[middle - 1]];
  if (min === undefined || max === undefined || upper === undefined) throw new Error("no samples");
  const median = sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2;
  return { median, min, max };
}

/** Each sample over the other's of the same round: what disturbs the machine for a while disturbs both. */
export function ratios(samples: readonly number[], others: readonly number[]): number[] {
  return samples.flatMap((sample, round) => {
    const other = others[round];
    return other === undefined ? [] : [sample / other];
  });
}

/** The median of those that are known; null where none is. */
export function medianOf(samples: readonly (number | null)[]): number | null {
  const known = samples.filter((sample) => sample !== null);
  return known.length === 0 ? null : summarise(known).median;
}
