/** What a server writes to, and remembers with. */
import type { Terms, TransferEnd } from "../net/transfer-end.ts";
import type { SessionStore } from "../sink/session-store.ts";
import type { Sink } from "../sink/sink.ts";
import type { History } from "./history.ts";
import type { LiveSession } from "./live-session.ts";

/** Where a server's sessions write to. The disk by default; another store, or a test's, in its place. */
export interface Backend {
  readonly sink: Sink;
  readonly store: SessionStore;
  readonly history: History;
  /** Makes this end the source for a client that asks to be the sink. */
  readonly makeSource?: (terms: Terms, session: LiveSession) => TransferEnd;
  release(): Promise<void>;
}
