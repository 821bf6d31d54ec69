/** A server over a backend of a test's choice, and transfers to and from it. */
import type { Test } from "tap";
import { Link } from "../../src/client/link.ts";
import type { Endpoint } from "../../src/net/dial.ts";
import type { HawserError } from "../../src/protocol/errors.ts";
import type { Message } from "../../src/protocol/messages.ts";
import type { Backend } from "../../src/server/backend.ts";
import { MemoryHistory } from "../../src/server/history.ts";
import { serveBackend } from "../../src/server/serve.ts";
import type { HawserServer, ServeOptions, ServerEvent } from "../../src/server/types.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { SettledRecord } from "../../src/sink/outcome-queue.ts";
import { SinkSession } from "../../src/sink/session.ts";
import type { Sink } from "../../src/sink/sink.ts";
import { soon } from "./wire-end.ts";

export interface TestServer {
  readonly server: HawserServer;
  readonly address: Endpoint;
  readonly events: ServerEvent[];
  readonly store: MemorySessionStore;
  readonly history: MemoryHistory;
  /** The first event of this type that there is or will be. */
  event<T extends ServerEvent["type"]>(type: T): Promise<Extract<ServerEvent, { type: T }>>;
}

export async function testServer(
  t: Test,
  backend: Partial<Backend> = {},
  options: Partial<ServeOptions> = {},
): Promise<TestServer> {
  const events: ServerEvent[] = [];
  const waiting = new Set<() => void>();
  const store = new MemorySessionStore();
  const history = new MemoryHistory();
  const server = await serveBackend(
    {
      dir: ".",
      port: 0,
      ...options,
      onEvent: (event) => {
        events.push(event);
        for (const check of waiting) check();
      },
    },
    { sink: new MemorySink(), store, history, release: async () => {}, ...backend },
  );
  t.teardown(() => server.close());
  const event = <T extends ServerEvent["type"]>(type: T) => {
    type Wanted = Extract<ServerEvent, { type: T }>;
    const found = new Promise<Wanted>((resolve) => {
      const check = () => {
        const event = events.find((event): event is Wanted => event.type === type);
        if (event === undefined) return;
        waiting.delete(check);
        resolve(event);
      };
      waiting.add(check);
      check();
    });
    return soon(found, `the event '${type}'`);
  };
  return { server, address: server.address, events, store, history, event };
}

export interface Received {
  readonly error: HawserError | undefined;
  readonly settled: SettledRecord[];
  readonly receipt: Message<"RECEIPT"> | undefined;
}

/** Gets what a server sends into `sink`: the client is the sink. */
export async function receiveInto(sink: Sink, to: Endpoint, streams = 3): Promise<Received> {
  const settled: SettledRecord[] = [];
  let receipt: Message<"RECEIPT"> | undefined;
  let end: SinkSession | undefined;
  const link: Link = new Link({
    to,
    role: "sink",
    purpose: "transfer",
    streams,
    chunkBytes: 65_536,
    timeoutMs: 10_000,
    awaitsAcknowledgement: () => false,
    onReady: () => {},
    onWarning: () => {},
    makeEnd: (terms) => {
      const store = new MemorySessionStore();
      end = new SinkSession({
        terms,
        peer: to.host,
        sink,
        store,
        events: {
          onSettled: async (records) => void settled.push(...records),
          onFinished: async (message) => {
            receipt = message;
          },
          onReceiptSent: () => link.finish(),
          onFailed: (error) => link.fail(error),
        },
      });
      return end;
    },
  });
  void link.start();
  const error = await link.over;
  await end?.dispose();
  return { error, settled, receipt };
}
