/** A stream as what a server writes to: one file goes there, in order, and nothing is kept of it. */
import type { Writable } from "node:stream";
import { InOrderSink } from "../sink/in-order-sink.ts";
import { MemorySessionStore } from "../sink/memory-session-store.ts";
import type { Backend } from "./backend.ts";
import { MemoryHistory } from "./history.ts";

export function openOutput(output: Writable, maxFileBytes: number | undefined): Backend {
  const sink = new InOrderSink(output, maxFileBytes);
  return { sink, store: new MemorySessionStore(), history: new MemoryHistory(), release: () => sink.close() };
}
