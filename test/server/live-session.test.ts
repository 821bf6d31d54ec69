import t, { type Test } from "tap";
import type { TransferEnd } from "../../src/net/transfer-end.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { LiveSession } from "../../src/server/live-session.ts";
import { WELCOME } from "../helpers/conversation.ts";
import { connectedPair, hello, soon } from "../helpers/wire-end.ts";

function session(t: Test, ttlMs = 60_000, dispose: () => Promise<void> = async () => {}) {
  const heard: string[] = [];
  const end: TransferEnd = {
    role: "sink",
    controlOpened: () => void heard.push("control"),
    controlMessage: ({ name }) => void heard.push(name),
    streamOpened: (stream, index, onClosed) => {
      stream.events = { onMessage: () => {}, onClosed };
      heard.push(`stream ${index}`);
    },
    dispose: () => {
      heard.push("dispose");
      return dispose();
    },
  };
  let ended: (error: HawserError | undefined) => void = () => {};
  const over = new Promise<HawserError | undefined>((resolve) => {
    ended = resolve;
  });
  const live = new LiveSession({
    peer: "127.0.0.1",
    terms: WELCOME,
    agent: "test",
    ttlMs,
    makeEnd: () => end,
    onFinished: () => {},
    onEnded: (_session, error) => ended(error),
  });
  t.teardown(() => live.end());
  return { live, heard, over };
}

/** A control connection that has said HELLO. */
async function asked(t: Test) {
  const pair = await connectedPair(t);
  pair.client.connection.send("HELLO", hello());
  await pair.server.heard.message("HELLO");
  return pair;
}

t.test("a control connection is welcomed, and one that takes its place closes it", async (t) => {
  const { live, heard } = session(t);
  const [first, second] = [await asked(t), await asked(t)];
  live.open(first.server.connection);
  t.strictSame(await first.client.heard.message("WELCOME"), WELCOME);
  live.open(second.server.connection);
  t.strictSame(await second.client.heard.message("WELCOME"), WELCOME);
  await soon(first.client.heard.closed, "the end of the first");
  t.equal(live.retries, 1);
  second.client.connection.send("OFFER", { settledBelow: 0, files: [] });
  second.client.connection.send("PING", { id: 3 });
  await second.client.heard.message("PONG");
  t.strictSame(heard, ["control", "control", "OFFER"]);
});

t.test("a client that goes away has a while to come back, and no more", async (t) => {
  const { live, over } = session(t, 20);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  client.connection.destroy();
  t.match(await soon(over, "the end"), { code: "E_LOST" });
});

t.test("a client that comes back in time goes on", async (t) => {
  const { live, heard } = session(t, 60_000);
  const first = await asked(t);
  live.open(first.server.connection);
  await first.client.heard.message("WELCOME");
  const gone = new Promise<void>((resolve) => {
    first.server.connection.onSocketClosed = resolve;
  });
  first.client.connection.destroy();
  await soon(gone, "the loss");
  const second = await asked(t);
  live.open(second.server.connection);
  await second.client.heard.message("WELCOME");
  t.strictSame(heard, ["control", "control"]);
});

t.test("a client that breaks the protocol ends the session, and is told why", async (t) => {
  const { live, over, heard } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  await live.end(new HawserError("E_ILLEGAL", "what it did"));
  t.match(await client.heard.message("ERROR"), { code: 207, message: "what it did" });
  t.match(await over, { code: "E_ILLEGAL" });
  t.strictSame(heard, ["control", "dispose"]);
  await live.end(new HawserError("E_LOST", "again"));
  t.strictSame(heard, ["control", "dispose"], "once");
});

t.test("a client that ends it with an ERROR", async (t) => {
  const { live, over } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  client.connection.send("ERROR", { code: 602, message: "stopped\u001b[2J" });
  const error = await soon(over, "the end");
  t.match(error, { code: "E_INTERRUPTED" });
  t.notMatch(error?.message, "\u001b", "shown escaped");
});

t.test("a finished session ends well when its client closes", async (t) => {
  const { live, over } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  live.finished();
  client.connection.close();
  t.equal(await soon(over, "the end"), undefined);
});

t.test("a client that comes back while the session ends is refused", async (t) => {
  let letGo = () => {};
  const disposing = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const { live } = session(t, 60_000, () => disposing);
  const ending = live.end(new HawserError("E_LOST", "the client did not come back"));
  const late = await asked(t);
  live.open(late.server.connection);
  letGo();
  await ending;
  await soon(late.client.heard.closed, "the refusal", 1000);
  t.match(await late.client.heard.message("ERROR"), { code: 102 });
});
