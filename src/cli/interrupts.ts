/** ^C and SIGTERM for one piece of work: the first ends it in order, the second ends the process at once. */
import { HawserError } from "../protocol/errors.ts";

export type Interrupt = "SIGINT" | "SIGTERM";

const EXIT_CODES: Record<Interrupt, number> = { SIGINT: 130, SIGTERM: 143 };

export interface Interrupts {
  /** Aborted by the first signal, with E_INTERRUPTED or E_TERMINATED as its reason. */
  readonly signal: AbortSignal;
  /** As if the signal had come: for a terminal in raw mode, where ^C is a key. */
  raise(interrupt: Interrupt): void;
  /** Signals end the process as they did before. */
  dispose(): void;
}

export interface InterruptHandlers {
  /** Says what happens now, where the listeners of the signal don't. */
  readonly onFirst?: () => void;
  /** The last synchronous words before the process ends. */
  readonly onSecond?: (error: HawserError) => void;
  /** Ends the process; tests give their own. */
  readonly exit?: (code: number) => void;
}

export function errorOf(interrupt: Interrupt): HawserError {
  return interrupt === "SIGINT"
    ? new HawserError("E_INTERRUPTED", "the transfer was interrupted")
    : new HawserError("E_TERMINATED", "the transfer was terminated by a signal");
}

export function watchInterrupts({ onFirst, onSecond, exit = process.exit }: InterruptHandlers = {}): Interrupts {
  const controller = new AbortController();
  const raise = (interrupt: Interrupt) => {
    if (controller.signal.aborted) {
      onSecond?.(errorOf(interrupt));
      exit(EXIT_CODES[interrupt]);
      return;
    }
    onFirst?.();
    controller.abort(errorOf(interrupt));
  };
  process.on("SIGINT", raise);
  process.on("SIGTERM", raise);
  return {
    signal: controller.signal,
    raise,
    dispose() {
      process.off("SIGINT", raise);
      process.off("SIGTERM", raise);
    },
  };
}
