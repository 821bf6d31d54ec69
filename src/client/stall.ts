/** What a transfer waits for while nothing moves, in words. Pure: whoever asks knows how things stand. */
import type { HawserError } from "../protocol/errors.ts";

/** Below this a pause is nothing that a user wants to hear of. */
export const STALL_MS = 3_000;

/** What of a PONG's word is worth saying (PROTOCOL.md has the list). */
const DOING = new Map<string | undefined, string>(
  Object.entries({
    writing: "the server to write",
    syncing: "the server to sync what is written",
    committing: "the server to commit",
    comparing: "the server to compare what it has",
    checking: "the server to check what it has",
  }),
);

/** Whether the server's word says that it is at something which takes its time. */
export function isAtWork(doing: string | undefined): boolean {
  return DOING.has(doing);
}

export interface Standing {
  /** Since the server was heard of; undefined where there is no connection to hear it by. */
  readonly silentMs: number | undefined;
  /** How often it is asked. */
  readonly pingMs: number;
  /** Its own word. */
  readonly doing: string | undefined;
  /** Streams that are there. */
  readonly streams: number;
  /** Why there is no control connection. */
  readonly lost: HawserError | undefined;
}

export function waitingFor({ silentMs, pingMs, doing, streams, lost }: Standing): string {
  if (silentMs === undefined) return `the server to be reached again (${lost?.message ?? "lost"})`;
  if (silentMs > STALL_MS + pingMs) return "the server to answer";
  return DOING.get(doing) ?? (streams === 0 ? "streams to be opened again" : "the path to carry data");
}
