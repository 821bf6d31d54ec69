/** Transfers that bring next to nothing make room for others: which, and when (`LeastProgress` has the rule). */
import { HawserError } from "../protocol/errors.ts";
import { LeastProgress } from "./least-progress.ts";
import type { LiveSession } from "./live-session.ts";

/** Slower than any modem, and than what rate limits allow. */
const MIN_BYTES_PER_SECOND = 1024;
const MIN_RATE_OVER_MS = 60_000;
/** Where this server lets each client have less than this, nobody can be told to be slow. */
const SLOW_LIMIT_BYTES_PER_SECOND = 64 * MIN_BYTES_PER_SECOND;

export interface GivingWayOptions {
  /** As `serve` has them. */
  readonly minBytesPerSecond?: number | null | undefined;
  readonly minRateOverMs?: number | undefined;
  readonly sessions: () => readonly LiveSession[];
  /** What this server reads of each client at most; null: no limit. */
  readonly limit: () => number | null;
}

export class GivingWay {
  readonly #options: GivingWayOptions;
  readonly #progress: LeastProgress<LiveSession>;
  /** How often `note` is to be called. */
  readonly everyMs: number;

  constructor(options: GivingWayOptions) {
    const { minBytesPerSecond, minRateOverMs: overMs = MIN_RATE_OVER_MS } = options;
    this.#options = options;
    const bytesPerSecond = minBytesPerSecond === undefined ? MIN_BYTES_PER_SECOND : minBytesPerSecond;
    this.#progress = new LeastProgress({ bytesPerSecond, overMs });
    this.everyMs = overMs / 4;
  }

  /** Sees what each has brought. */
  note(): void {
    const nowMs = performance.now();
    const limit = this.#options.limit();
    for (const session of this.#options.sessions()) {
      // Who is kept back by this server is not slow.
      const isExcused = session.isWorking || (limit !== null && limit < SLOW_LIMIT_BYTES_PER_SECOND);
      if (isExcused) this.#progress.excuse(session, session.movedBytes, nowMs);
      else this.#progress.note(session, session.movedBytes, nowMs);
    }
  }

  forget(session: LiveSession): void {
    this.#progress.forget(session);
  }

  /** Ends the transfer that has moved too little for longest, if there is one of which that is of use. */
  async makeRoom(isOfUse: (session: LiveSession) => boolean): Promise<void> {
    this.note();
    const session = this.#progress.slowest(performance.now(), (one) => !one.isEnding && isOfUse(one));
    await session?.end(new HawserError("E_GAVE_WAY", "it moved next to nothing, and others wanted its place"));
  }
}
