/** A program of its own that sends a file (its first argument) to a server that is stopped on the way. */
import { send } from "../../src/client/send.ts";
import { MemoryHistory } from "../../src/server/history.ts";
import { serveBackend } from "../../src/server/serve.ts";
import { DiscardSink } from "../../src/sink/discard-sink.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";

const backend = {
  sink: new DiscardSink(),
  store: new MemorySessionStore(),
  history: new MemoryHistory(),
  release: async () => {},
};
const server = await serveBackend({ dir: ".", port: 0 }, backend);
let stopped = false;
const result = await send({
  paths: [process.argv[2] ?? ""],
  to: server.address,
  chunkBytes: 65_536,
  // It does not come back, and the client waits for that no longer than this.
  timeoutMs: 1000,
  onEvent: (event) => {
    if (event.type !== "progress" || event.bytesDone === 0 || stopped) return;
    stopped = true;
    void server.close();
  },
});
process.stdout.write(`${JSON.stringify({ stopped, code: result.error?.code })}\n`);
