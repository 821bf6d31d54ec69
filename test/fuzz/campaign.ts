/** What the campaigns have in common: how long, how much, what was counted, and what was found. */

export const CAMPAIGNS = ["frames", "sessions", "live", "tls"] as const;
export type CampaignName = (typeof CAMPAIGNS)[number];

export interface Sitting {
  readonly seed: number;
  /** By `performance.now()`. */
  readonly untilMs: number;
  /** Frames at most. */
  readonly frames: number;
  /** This case alone. */
  readonly only?: number | undefined;
  /** Called with each finding, at once. */
  readonly onFinding: (finding: Finding) => void;
}

export interface Finding {
  readonly campaign: CampaignName;
  readonly number: number;
  readonly what: string;
}

/** Of one sitting. */
export interface Count {
  frames: number;
  cases: number;
  findings: number;
  /** What else was counted. */
  readonly more: Record<string, number>;
}

export const newCount = (): Count => ({ frames: 0, cases: 0, findings: 0, more: {} });

export function add(more: Record<string, number>, what: string, times = 1): void {
  more[what] = (more[what] ?? 0) + times;
}

/** Findings after which a sitting ends: they will be one and the same. */
export const FINDINGS_MAX = 20;

export function describe(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause === undefined ? "" : `\ncause: ${describe(thrown.cause)}`;
  return (thrown.stack ?? thrown.message) + cause;
}
