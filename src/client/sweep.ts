/** Measures with one number of streams after the other: from what grows with them, and what does not, follows what limits. */
import { type MeasureOptions, type MeasureResult, measure } from "./measure.ts";
import { judge, type RunFigures, type Verdict } from "./verdict.ts";

export interface SweepOptions extends Omit<MeasureOptions, "streams"> {
  /** Numbers of streams; one at least. */
  readonly streams: readonly number[];
  /** One of them is measured. */
  readonly onMeasured?: () => void;
}

export interface SweepResult {
  /** Those that were begun, in their order. */
  readonly runs: readonly MeasureResult[];
  /** The one that the verdict is of; the one that failed, where one did. */
  readonly result: MeasureResult;
  /** The one that the verdict is of; null where nothing could be measured. */
  readonly best: MeasureResult | null;
  /** null where nothing could be measured. */
  readonly verdict: Verdict | null;
}

/** Resolves whatever happens; the first that fails is the last. */
export async function sweep({ streams: counts, onMeasured, ...options }: SweepOptions): Promise<SweepResult> {
  const runs: MeasureResult[] = [];
  for (const streams of counts) {
    const run = await measure({ ...options, streams });
    runs.push(run);
    onMeasured?.();
    if (!run.ok) break;
  }
  const verdict = verdictOf(runs);
  const last = runs[runs.length - 1] as MeasureResult;
  const best = runs.find(({ figures }) => figures !== null && figures === verdict?.run) ?? null;
  return { runs, result: last.ok ? (best ?? last) : last, best, verdict };
}

function verdictOf(runs: readonly MeasureResult[]): Verdict | null {
  const [first, ...others] = runs.flatMap(({ ok, figures }): RunFigures[] => (ok && figures ? [figures] : []));
  return first === undefined ? null : judge([first, ...others]);
}
