/**
 * SIGHUP says one of two things: to a program without a terminal, that its configuration was changed; to one with a
 * terminal, that this is gone.
 */
import { isatty } from "node:tty";

export interface HangupHandlers {
  readonly onReload: () => void;
  readonly onHangup: () => void;
}

const STANDARD = [0, 1, 2];

/** Until the function that is returned is called. A terminal that hung up is none any more (isatty(3): EIO). */
export function watchHangup({ onReload, onHangup }: HangupHandlers): () => void {
  const terminals = STANDARD.filter((descriptor) => isatty(descriptor));
  const onSignal = () => {
    if (terminals.length > 0 && !terminals.some((descriptor) => isatty(descriptor))) onHangup();
    else onReload();
  };
  process.on("SIGHUP", onSignal);
  return () => process.off("SIGHUP", onSignal);
}
