/** Where a worker thread begins that has streams of a client. */
import { parentPort } from "node:worker_threads";
import { StreamHost } from "./stream-host.ts";
import type { ToWorker } from "./worker-messages.ts";

const host = new StreamHost((messages) => parentPort?.postMessage(messages));
parentPort?.on("message", (messages: readonly ToWorker[]) => {
  for (const message of messages) host.receive(message);
});
