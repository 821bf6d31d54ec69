/** Progress as a plain line every few seconds: for logs, pipes and terminals that can't do better. Knows no clock. */
import type { Output } from "./output.ts";
import { type ProgressView, progressText } from "./progress-view.ts";

/** Between two lines. A transfer that is over before the first has nothing to tell but its receipt. */
const INTERVAL_MS = 3000;

export function plainProgress(output: Output): ProgressView {
  let nextMs = INTERVAL_MS;
  return {
    show(event) {
      if (event.type !== "progress" || event.elapsedMs < nextMs) return;
      nextMs = event.elapsedMs + INTERVAL_MS;
      output.err(`hawser: ${progressText(event)}\n`);
    },
    aside: (write) => write(),
    stop: () => {},
  };
}
