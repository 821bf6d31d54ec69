/** Sessions of a server over real connections, with an end that writes down what it hears. */
import type { Test } from "tap";
import type { Terms, TransferEnd } from "../../src/net/transfer-end.ts";
import type { HawserError } from "../../src/protocol/errors.ts";
import type { Message } from "../../src/protocol/messages.ts";
import { LiveSession } from "../../src/server/live-session.ts";
import { WELCOME } from "./conversation.ts";
import { connectedPair, hello } from "./wire-end.ts";

export interface LiveOptions {
  readonly peer?: string;
  readonly terms?: Terms;
  readonly lingerMs?: number;
  readonly dispose?: () => Promise<void>;
  readonly onEnded?: (session: LiveSession) => void;
}

export function liveSession(t: Test, options: LiveOptions = {}) {
  const heard: string[] = [];
  const end: TransferEnd = {
    role: "sink",
    doing: "receiving",
    controlOpened: () => void heard.push("control"),
    controlMessage: ({ name }) => void heard.push(name),
    streamOpened: (stream, index, onClosed) => {
      stream.events = { onMessage: () => {}, onClosed };
      heard.push(`stream ${index}`);
    },
    dispose: async () => {
      heard.push("dispose");
      await options.dispose?.();
    },
  };
  let ended: (error: HawserError | undefined) => void = () => {};
  const over = new Promise<HawserError | undefined>((resolve) => {
    ended = resolve;
  });
  const live = new LiveSession({
    peer: options.peer ?? "127.0.0.1",
    terms: options.terms ?? WELCOME,
    agent: "test",
    lingerMs: options.lingerMs ?? 60_000,
    makeEnd: () => end,
    onFinished: () => {},
    onEnded: async (session, error) => {
      options.onEnded?.(session);
      ended(error);
    },
  });
  t.teardown(() => live.end());
  return { live, heard, over };
}

/** A connection whose client has said HELLO. */
export async function asked(t: Test, rest: Partial<Message<"HELLO">> = {}) {
  const pair = await connectedPair(t);
  pair.client.connection.send("HELLO", hello(rest));
  await pair.server.heard.message("HELLO");
  return pair;
}

/** A connection whose client has said ATTACH. */
export async function attaching(t: Test, stream: number, attempt: number) {
  const pair = await connectedPair(t);
  const { session, generation } = WELCOME;
  pair.client.connection.send("ATTACH", { session, generation, stream, attempt });
  await pair.server.heard.message("ATTACH");
  return pair;
}
