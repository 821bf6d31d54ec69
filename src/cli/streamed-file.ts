/**
 * What becomes of the one file that `serve --to-stdout` streams, told by the server's events: whether it is over, and with
 * which exit code. Pure.
 */
import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import type { ServerEvent } from "../server/types.ts";

export class StreamedFile {
  #failure: ErrorCode | undefined;
  /** The file that came out is whole, whatever becomes of others that were sent with it. */
  isWhole = false;

  /** The exit code, where this event is the end; `bytesOut`: what has left this program. */
  exitCode(event: ServerEvent, bytesOut: number): number | undefined {
    switch (event.type) {
      case "file":
        this.#failure ??= event.code;
        if (event.file.status === "committed") this.isWhole = true;
        return undefined;
      case "transfer": {
        const { files, filesFailed } = event.record;
        if (filesFailed === 0) return 0;
        return ERRORS[filesFailed < files || this.#failure === undefined ? "E_PARTIAL" : this.#failure].exit;
      }
      case "ended":
        // Before anything went out another transfer may still come; after that nothing can mend it.
        return bytesOut === 0 ? undefined : ERRORS[ofTheServer(event.code)].exit;
      default:
        return undefined;
    }
  }
}

/** It was the client that got the signal. */
const ofTheServer = (code: ErrorCode) => (code === "E_INTERRUPTED" || code === "E_TERMINATED" ? "E_LOST" : code);
