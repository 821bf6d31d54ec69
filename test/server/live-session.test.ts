import { mock } from "node:test";
import t, { type Test } from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { WELCOME } from "../helpers/conversation.ts";
import { asked, attaching, liveSession } from "../helpers/live-session.ts";
import { soon } from "../helpers/wire-end.ts";

const session = (t: Test, lingerMs = 60_000, dispose?: () => Promise<void>) =>
  liveSession(t, { lingerMs, ...(dispose === undefined ? {} : { dispose }) });

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

t.test("a session outlives its control connection for a while, by the clock", async (t) => {
  const { live, over, heard } = session(t, 1000);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  server.connection.destroy();
  while (live.isUnderWay) await new Promise((resolve) => setImmediate(resolve));
  mock.timers.tick(999);
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(heard.includes("dispose"));
  mock.timers.tick(1);
  mock.timers.reset();
  t.match(await soon(over, "the end"), { code: "E_LOST" });
});

t.test("a stream is attached, and one dialled later takes its place", async (t) => {
  const { live, heard } = session(t);
  const [first, second] = [await attaching(t, 1, 0), await attaching(t, 1, 1)];
  live.attach(first.server.connection, 1, 0);
  t.strictSame(await first.client.heard.message("ATTACHED"), { stream: 1 });
  live.attach(second.server.connection, 1, 1);
  t.strictSame(await second.client.heard.message("ATTACHED"), { stream: 1 });
  await soon(first.client.heard.closed, "the end of the first");
  t.strictSame(heard, ["stream 1", "stream 1"]);
  t.equal(live.retries, 1);
  t.equal(live.streamsSeen, 1);
});

t.test("a stream that was slow to come takes nobody's place", async (t) => {
  const { live, heard } = session(t);
  const [late, first, other] = [await attaching(t, 1, 3), await attaching(t, 1, 4), await attaching(t, 2, 0)];
  live.attach(first.server.connection, 1, 4);
  await first.client.heard.message("ATTACHED");
  live.attach(late.server.connection, 1, 3);
  t.match(await late.client.heard.message("ERROR"), { code: 102 });
  await soon(late.client.heard.closed, "the refusal");
  live.attach(other.server.connection, 2, 0);
  await other.client.heard.message("ATTACHED");
  t.strictSame(heard, ["stream 1", "stream 2"], "each stream counts by itself");
  t.ok(first.server.connection.isOpen);
  t.equal(live.retries, 0);
  t.equal(live.streamsSeen, 2);
});

t.test("nor when the one that it would displace is gone meanwhile", async (t) => {
  const { live } = session(t);
  const [late, first] = [await attaching(t, 1, 3), await attaching(t, 1, 4)];
  live.attach(first.server.connection, 1, 4);
  await first.client.heard.message("ATTACHED");
  const lost = new Promise<void>((resolve) => {
    first.server.connection.onSocketClosed = () => setImmediate(resolve);
  });
  first.client.connection.destroy();
  await soon(lost, "the loss");
  live.attach(late.server.connection, 1, 3);
  t.match(await late.client.heard.message("ERROR"), { code: 102 });
});

t.test("a stream to a session that has ended is refused", async (t) => {
  const { live } = session(t);
  await live.end();
  const { client, server } = await attaching(t, 0, 0);
  live.attach(server.connection, 0, 0);
  t.match(await client.heard.message("ERROR"), { code: 102 });
});

t.test("a client that answers is there, on whichever connection", async (t) => {
  const { live } = session(t);
  const control = await asked(t);
  live.open(control.server.connection);
  await control.client.heard.message("WELCOME");
  t.ok(await live.probe(2000));
  const stream = await attaching(t, 0, 0);
  live.attach(stream.server.connection, 0, 0);
  await stream.client.heard.message("ATTACHED");
  t.ok(await live.probe(2000));
  control.client.connection.destroy();
  t.ok(await live.probe(100), "a stream is enough");
  stream.client.connection.destroy();
  t.notOk(await soon(live.probe(60_000), "the answer"), "that all are gone is seen at once");
});

t.test("a client that is silent is not there, whatever is still on its way from it", async (t) => {
  const { live, heard } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  client.connection.pause();
  const probe = live.probe(300);
  client.connection.send("OFFER", { settledBelow: 0, files: [] });
  client.connection.send("PONG", { id: 0 });
  t.notOk(await probe);
  t.ok(heard.includes("OFFER"), "it was heard, and is no answer");
  client.connection.resume();
});

t.test("a probe that is over takes nothing from the one after it", async (t) => {
  const { live } = session(t);
  const [control, stream] = [await asked(t), await attaching(t, 0, 0)];
  live.open(control.server.connection);
  await control.client.heard.message("WELCOME");
  live.attach(stream.server.connection, 0, 0);
  await stream.client.heard.message("ATTACHED");
  control.client.connection.pause();
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  t.ok(await live.probe(1000), "the stream answers");
  stream.client.connection.pause();
  const second = live.probe(2000);
  mock.timers.tick(1000);
  control.client.connection.resume();
  // It has answered when it has heard what was said to it after that, and that has come when what it said then has.
  for (const id of [7, 8]) {
    control.client.connection.send("PING", { id });
    await control.client.heard.message("PONG");
  }
  mock.timers.tick(2000);
  t.ok(await second, "the control connection answered in time");
});

t.test("a session that ends has nobody", async (t) => {
  const { live } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  await live.end();
  t.notOk(await live.probe(2000));
});

t.test("a transfer is under way while a client is on it, and has no receipt", async (t) => {
  const { live } = session(t);
  t.notOk(live.isUnderWay);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  t.ok(live.isUnderWay);
  live.finished();
  t.notOk(live.isUnderWay);
});

t.test("a finished session whose client vanished waits ten seconds for it, and no longer", async (t) => {
  const { live, over, heard } = session(t, 60_000);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  live.finished();
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const gone = new Promise<void>((resolve) => {
    server.connection.onSocketClosed = resolve;
  });
  server.connection.destroy(new HawserError("E_LOST", "the connection was reset"));
  await gone;
  await new Promise((resolve) => setImmediate(resolve));
  mock.timers.tick(9999);
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(heard.includes("dispose"), "it may ask for its receipt again");
  mock.timers.tick(1);
  mock.timers.reset();
  t.equal(await soon(over, "the end"), undefined, "and all was well");
});

/** Holds up the whole program. */
const standStill = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

t.test("a client whose answer waits in the socket is there, though the timer went off first", async (t) => {
  const { live } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  // When it is asked it answers, and before that is read this program stands still, until after the time is up.
  client.connection.status = () => {
    setImmediate(() => standStill(150));
    return {};
  };
  t.ok(await live.probe(100));
});

t.test("a program that stood still gives the client its time once more", async (t) => {
  const { live } = session(t);
  const { client, server } = await asked(t);
  live.open(server.connection);
  await client.heard.message("WELCOME");
  client.connection.pause();
  const probe = live.probe(500);
  await new Promise((resolve) => setImmediate(resolve));
  standStill(1000);
  // The timer goes off, and the sockets are read several times, before the client gets to it.
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  client.connection.resume();
  t.ok(await probe);
});
