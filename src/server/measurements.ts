/**
 * Sessions that only measure: where their bytes go, and what they may take. Who may send may measure, within the same limits
 * as every transfer, and within these: what nobody has use for afterwards must not keep a server from its work for long.
 */
import { HawserError } from "../protocol/errors.ts";
import type { Message } from "../protocol/messages.ts";
import { DiscardSink } from "../sink/discard-sink.ts";
import { ScratchSink } from "../sink/scratch-sink.ts";
import type { Sink } from "../sink/sink.ts";
import type { LiveSession } from "./live-session.ts";
import { networkOf } from "./peer.ts";

type Purpose = Message<"HELLO">["purpose"];

/** One measures for seconds, and a sweep is a session for each number of streams. */
const DURATION_MS_MAX = 10 * 60_000;
/** Of all clients. Two at once measure each other already. */
const AT_ONCE_MAX = 4;
/** Of one client, which leaves the others room. The second is for the next one of a sweep, while the last one goes. */
const AT_ONCE_PER_PEER_MAX = 2;
/** What one may write to the disk. */
const SCRATCH_BYTES_MAX = 8 * 1024 ** 3;

export interface MeasurementLimits {
  readonly durationMs: number;
  readonly scratchBytes: number;
}

export function isMeasurement(purpose: Purpose): boolean {
  return purpose === "discard" || purpose === "scratch";
}

export class Measurements {
  readonly #limits: MeasurementLimits;
  readonly #timers = new Map<LiveSession, NodeJS.Timeout>();

  constructor(limits: MeasurementLimits = { durationMs: DURATION_MS_MAX, scratchBytes: SCRATCH_BYTES_MAX }) {
    this.#limits = limits;
  }

  /** `peer`: whose it is. Throws E_BUSY; E_ILLEGAL where what is written would go on to a program. */
  assertMayOpen(purpose: Purpose, peer: string, { capabilities }: Sink): void {
    if (!isMeasurement(purpose)) return;
    if (purpose === "scratch" && capabilities.inOrder === true) {
      throw new HawserError("E_ILLEGAL", "this server passes on what it gets, and has no disk to be measured");
    }
    if (this.#timers.size >= AT_ONCE_MAX) {
      throw new HawserError("E_BUSY", `${AT_ONCE_MAX} measurements are under way, and that is the most`);
    }
    const own = [...this.#timers.keys()].filter((session) => networkOf(session.peer) === networkOf(peer));
    if (own.length >= AT_ONCE_PER_PEER_MAX) {
      throw new HawserError("E_BUSY", `${AT_ONCE_PER_PEER_MAX} measurements of one client are the most`);
    }
  }

  /** Ends it when it has had its time. */
  opened(session: LiveSession): void {
    const { durationMs } = this.#limits;
    const over = new HawserError("E_BUSY", `a measurement may take ${durationMs / 60_000} minutes`);
    this.#timers.set(
      session,
      setTimeout(() => void session.end(over), durationMs),
    );
  }

  /** Of any session. */
  ended(session: LiveSession): void {
    clearTimeout(this.#timers.get(session));
    this.#timers.delete(session);
  }

  /** Where the bytes go of a session that leaves no trace. */
  sinkFor(purpose: Purpose, sink: Sink): Sink {
    if (purpose === "discard") return new DiscardSink();
    return purpose === "scratch" ? new ScratchSink(sink, this.#limits.scratchBytes) : sink;
  }
}
