/** Progress is data; this chooses who shows it. Renderers write to standard error only, and always stop. */
import type { Output } from "./output.ts";
import { jsonProgress } from "./progress-json.ts";
import { plainProgress } from "./progress-plain.ts";
import type { ProgressView } from "./progress-view.ts";

export type ProgressMode = "auto" | "bar" | "plain" | "json" | "none";

/** `auto` decided: bars need a terminal that obeys. */
export function progressMode(
  mode: ProgressMode,
  quiet: boolean,
  output: Output,
  environment: Readonly<Record<string, string | undefined>>,
): Exclude<ProgressMode, "auto"> {
  if (mode !== "auto") return mode === "bar" && !output.errIsTerminal ? "plain" : mode;
  if (quiet) return "none";
  return output.errIsTerminal && environment["TERM"] !== "dumb" ? "bar" : "plain";
}

export async function progressView(mode: Exclude<ProgressMode, "auto">, output: Output): Promise<ProgressView> {
  switch (mode) {
    case "bar": {
      // cli-progress is loaded only where it draws.
      const { barProgress } = await import("./progress-bar.ts");
      return barProgress(process.stderr);
    }
    case "plain":
      return plainProgress(output);
    case "json":
      return jsonProgress(output);
    case "none":
      return NONE;
  }
}

const NONE: ProgressView = { show: () => {}, aside: (write) => write(), stop: () => {} };
