/** Connections that break, and what a link makes of it, with the server driven by hand. */
import t, { type Test } from "tap";
import { Link, type LinkOptions } from "../../src/client/link.ts";
import { BlockPool } from "../../src/net/blocks.ts";
import { Connection } from "../../src/net/connection.ts";
import { listen } from "../../src/net/listen.ts";
import type { Terms, TransferEnd } from "../../src/net/transfer-end.ts";
import { ERRORS, type ErrorCode, HawserError } from "../../src/protocol/errors.ts";
import type { Message } from "../../src/protocol/messages.ts";
import { WELCOME } from "../helpers/conversation.ts";
import { Recorder, soon, soonHolds, type WireEnd } from "../helpers/wire-end.ts";

const KEY = new Uint8Array(16).fill(7);

/** What a server makes of a HELLO: terms, or an error. */
type Answer = Terms | HawserError;

/** Lets clients in as it is told to, and keeps their connections. */
class HandServer {
  readonly hellos: Message<"HELLO">[] = [];
  readonly attaches: Message<"ATTACH">[] = [];
  readonly controls: WireEnd[] = [];
  readonly streams: WireEnd[] = [];
  /** How often it was asked for a sign of life on a control connection. */
  pings = 0;
  doing: string | undefined;
  received: number[] = [];
  /** For the next HELLOs in turn; the last one holds. */
  answers: Answer[] = [{ ...WELCOME, streams: 2 }];
  /** Whether streams are let in. */
  admits = true;
  address = { host: "127.0.0.1", port: 0 };
  #wake: () => void = () => {};

  static async start(t: Test): Promise<HandServer> {
    const server = new HandServer();
    const listener = await listen(server.address, () => server.#accept(t));
    t.teardown(() => listener.close());
    server.address = { ...server.address, port: listener.address.port };
    return server;
  }

  #accept(t: Test): Connection {
    const heard = new Recorder();
    const connection: Connection = new Connection("server", undefined, new BlockPool(), {
      onMessage: (message) => {
        if (message.name === "HELLO") this.#onHello(connection, heard, message.body);
        else if (message.name === "ATTACH") this.#onAttach(connection, heard, message.body);
        else heard.onMessage(message);
        this.wake();
      },
      onClosed: (error) => heard.onClosed(error),
    });
    t.teardown(() => connection.destroy());
    return connection;
  }

  #onHello(connection: Connection, heard: Recorder, body: Message<"HELLO">): void {
    this.hellos.push(body);
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    if (answer instanceof HawserError) {
      connection.close(answer);
      return;
    }
    connection.role = "sink";
    connection.status = () => {
      this.pings++;
      this.wake();
      return { received: this.received, ...(this.doing === undefined ? {} : { doing: this.doing }) };
    };
    this.controls.push({ connection, heard, chunk: () => {} });
    connection.send("WELCOME", answer ?? WELCOME);
  }

  #onAttach(connection: Connection, heard: Recorder, body: Message<"ATTACH">): void {
    this.attaches.push(body);
    if (!this.admits) {
      connection.close(new HawserError("E_UNKNOWN_SESSION", "not now"));
      return;
    }
    connection.role = "sink";
    this.streams.push({ connection, heard, chunk: () => {} });
    connection.send("ATTACHED", { stream: body.stream });
  }

  wake(): void {
    this.#wake();
  }
  async until(what: string, holds: () => boolean): Promise<void> {
    while (!holds()) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await soon(woken, what);
    }
  }
  get control(): WireEnd {
    return this.controls.at(-1) as WireEnd;
  }
}

/** A link to such a server, open, with both of its streams; what its end heard. */
async function linked(t: Test, rest: Partial<LinkOptions> = {}, end: Partial<TransferEnd> = {}) {
  const server = await HandServer.start(t);
  const restarts: Terms[] = [];
  const opened: string[] = [];
  const warnings: string[] = [];
  const busy = { acknowledgement: false, working: false };
  const link = new Link({
    to: server.address,
    role: "source",
    purpose: "transfer",
    streams: 2,
    chunkBytes: 65_536,
    timeoutMs: 60_000,
    awaitsAcknowledgement: () => busy.acknowledgement,
    isWorking: () => busy.working,
    onReady: () => {},
    onWarning: (message) => {
      warnings.push(message);
      server.wake();
    },
    makeEnd: () => ({
      role: "source",
      controlOpened: () => {
        opened.push("control");
        server.wake();
      },
      controlMessage: () => server.wake(),
      restart: (terms) => void restarts.push(terms),
      streamOpened: (stream, index, onClosed) => {
        opened.push(`stream ${index}`);
        stream.events = { onMessage: () => {}, onClosed };
        server.wake();
      },
      dispose: async () => {},
      ...end,
    }),
    ...rest,
  });
  t.teardown(() => link.finish());
  await link.start();
  await server.until("both streams", () => opened.length >= 3);
  return { server, link, restarts, opened, warnings, busy };
}

const again = (generation: number): Terms => ({ ...WELCOME, streams: 2, generation });
const error = (code: ErrorCode) => new HawserError(code, "the server says so");

t.test("a HELLO says what files there will be; the session is named when it is joined again", async (t) => {
  const { server, opened, link } = await linked(t, { keys: [KEY], fresh: true });
  t.match(server.hellos[0], { keys: [KEY], fresh: true });
  t.notOk("session" in (server.hellos[0] ?? {}));
  server.control.connection.destroy();
  await server.until("the second control connection", () => opened.filter((what) => what === "control").length === 2);
  t.match(server.hellos[1], { keys: [KEY], session: WELCOME.session, generation: 1 });
  t.notOk("fresh" in (server.hellos[1] ?? {}), "what this run brought is not thrown away");
  t.equal(server.attaches.length, 2, "streams that did not break go on");
  t.equal(link.retries, 1);
  t.notOk("keys" in ((await linked(t)).server.hellos[0] ?? {}));
});

t.test("a stream that broke is dialled again: a later dial bears a higher number", async (t) => {
  const { server, opened } = await linked(t);
  t.strictSame(server.attaches.map(({ stream, attempt, generation }) => [stream, attempt, generation]).toSorted(), [
    [0, 1, 1],
    [1, 1, 1],
  ]);
  const index = server.attaches[0]?.stream;
  server.streams[0]?.connection.destroy();
  await server.until("the third stream", () => opened.length === 4);
  t.match(server.attaches[2], { stream: index, attempt: 2, generation: 1, session: WELCOME.session });
});

t.test("a stream waits for the control connection", async (t) => {
  const { server, opened } = await linked(t);
  server.answers = [error("E_BUSY"), again(1)];
  for (const { connection } of [server.control, ...server.streams]) connection.destroy();
  await server.until("all of them again", () => opened.length === 6);
  t.equal(server.hellos.length, 3, "a server that is busy now may not be so soon");
  t.equal(opened[3], "control");
  t.equal(server.attaches.length, 4, "no stream was dialled in vain");
});

for (const code of ["E_BUSY", "E_SHUTTING_DOWN", "E_TIMEOUT", "E_DAMAGED"] as const) {
  t.test(`${code} from a server that was there: it is dialled again`, async (t) => {
    const { server, opened, link } = await linked(t);
    server.answers = [error(code), error(code), again(1)];
    server.control.connection.destroy();
    await server.until("the control connection", () => opened.length === 4);
    t.equal(server.hellos.length, 4);
    t.equal(link.retries, 1, "which is one break");
  });
}

for (const code of ["E_VERSION", "E_ILLEGAL", "E_BAD_MESSAGE"] as const) {
  t.test(`${code} from a server that was there ends the transfer`, async (t) => {
    const { server, link } = await linked(t);
    server.answers = [error(code)];
    server.control.connection.destroy();
    t.match(await soon(link.over, "the end"), { code });
    t.equal(server.hellos.length, 2);
  });
}

t.test("a server that is stopped says so, and is waited for", async (t) => {
  const { server, opened, link } = await linked(t);
  server.control.connection.close(error("E_SHUTTING_DOWN"));
  for (const { connection } of server.streams) connection.close(error("E_SHUTTING_DOWN"));
  server.answers = [again(2)];
  await server.until("all of them again", () => opened.length === 6);
  link.finish();
  t.equal(await link.over, undefined);
});

t.test("an error that ends the session ends the transfer, on any connection", async (t) => {
  for (const which of ["control", "streams"] as const) {
    const { server, link } = await linked(t);
    const end = which === "control" ? server.control : server.streams[0];
    end?.connection.close(error("E_ILLEGAL"));
    t.match(await soon(link.over, "the end"), { code: "E_ILLEGAL" });
    t.equal(link.retries, 0);
  }
});

t.test("a server that has another generation: the end begins anew, and so do all streams", async (t) => {
  const { server, restarts, opened, link } = await linked(t, { keys: [KEY] });
  const before = [...server.streams];
  server.answers = [again(2)];
  server.control.connection.destroy();
  await server.until("all of them again", () => opened.length === 6);
  t.strictSame(restarts, [again(2)]);
  for (const { heard } of before) await soon(heard.closed, "the end of a stream");
  t.strictSame(
    server.attaches
      .slice(2)
      .map(({ stream, attempt, generation }) => [stream, attempt, generation])
      .toSorted(),
    [
      [0, 2, 2],
      [1, 2, 2],
    ],
  );
  t.equal(opened[3], "control", "the end hears of its files before it gets a stream");
  server.control.connection.destroy();
  await server.until("the control connection", () => opened.length === 7);
  t.match(server.hellos.at(-1), { generation: 2 });
  t.equal(restarts.length, 1, "the same generation is the same session");
  link.finish();
});

t.test("a server that knows the session no more, and still has the files", async (t) => {
  const { server, restarts, opened } = await linked(t, { keys: [KEY], fresh: true });
  const other = { ...again(1), session: new Uint8Array(16).fill(9) };
  server.answers = [error("E_UNKNOWN_SESSION"), other];
  server.control.connection.destroy();
  await server.until("all of them again", () => opened.length === 6);
  t.match(server.hellos[1], { session: WELCOME.session });
  t.match(server.hellos[2], { keys: [KEY] });
  t.notOk("session" in (server.hellos[2] ?? {}));
  t.notOk("fresh" in (server.hellos[2] ?? {}), "what this run brought is not thrown away");
  t.strictSame(restarts, [other], "another session of the same generation is another one");
  t.match(server.attaches.at(-1), { session: other.session });
});

t.test("an end that can't begin anew: the transfer ends", async (t) => {
  const { server, link } = await linked(t, {}, { restart: undefined } as unknown as Partial<TransferEnd>);
  server.answers = [again(2)];
  server.control.connection.destroy();
  t.match(await soon(link.over, "the end"), { code: "E_UNKNOWN_SESSION", retryable: true });
});

t.test("a stream that can't be opened again is given up, the other goes on; without any it ends", async (t) => {
  const { server, link, warnings } = await linked(t, { retries: 2 });
  server.admits = false;
  const [first, second] = server.streams;
  first?.connection.destroy();
  await server.until("the warning", () => warnings.length === 1);
  t.match(warnings[0], /^stream [01] is lost \(.*not now\); 1 go on$/);
  t.equal(server.attaches.length, 2 + 2);
  second?.connection.destroy();
  t.match(await soon(link.over, "the end"), { code: "E_UNKNOWN_SESSION", retryable: true, exitCode: 75 });
});

t.test("progress begins the count of dials anew", async (t) => {
  const { server, link, opened } = await linked(t, { retries: 1 });
  for (let round = 0; round < 3; round++) {
    const before = opened.length;
    server.control.connection.destroy();
    await server.until("the control connection", () => opened.length > before);
    link.progress();
  }
  t.equal(link.retries, 3);
});

// --- silence and stalls -----------------------------------------------------------------------------------------------

/** A clock that is set forward by hand, and the link's own timer that goes off by hand. */
function clock(t: Test) {
  const now = performance.now.bind(performance);
  let aheadMs = 0;
  let tick: () => void = () => {};
  t.intercept(performance, "now", { value: () => now() + aheadMs });
  t.intercept(globalThis, "setInterval", {
    value: (callback: () => void) => {
      tick = callback;
      return undefined;
    },
  });
  return {
    forward: (ms: number) => {
      aheadMs += ms;
    },
    /** Time in which this program runs: it ticks every second. */
    pass: (ms: number) => {
      for (let left = ms; left > 0; left -= 1000) {
        aheadMs += Math.min(left, 1000);
        tick();
      }
    },
  };
}

const UNHEARD = "the server to answer";
/** Longer than the time between two PINGs, and shorter than what makes a server silent. */
const STEP_MS = 6000;

/** Lets time pass, a PING go out at the end of it, and its answer come in; unless that was the end of it. */
async function later(time: ReturnType<typeof clock>, link: Link, server: HandServer, ms: number): Promise<void> {
  const before = server.pings;
  let over = false;
  void link.over.then(() => {
    over = true;
  });
  time.pass(ms);
  await new Promise((resolve) => setImmediate(resolve));
  if (over) return;
  await server.until("a PING", () => server.pings > before);
  // What the client answers now it says after it heard the answer.
  server.control.connection.send("PING", { id: 1 });
  await server.control.heard.message("PONG");
}

/** Waits until this is what is waited for. */
const waitsFor = (link: Link, what: string) => soonHolds(`waiting for ${what}`, () => link.stall?.waitingFor === what);

t.test("what is waited for, in words", async (t) => {
  const time = clock(t);
  const { server, link, busy } = await linked(t, { timeoutMs: 10_000_000 });
  t.equal(link.stall, undefined, "things move");
  time.forward(2900);
  t.equal(link.stall, undefined, "a pause that is nothing to speak of");
  time.forward(1100);
  t.match(link.stall, { waitingFor: "the path to carry data" });
  t.ok((link.stall?.ms ?? 0) >= 4000);
  time.forward(5000);
  t.match(link.stall, { waitingFor: UNHEARD }, "it did not even say what it is at");
  for (const [doing, words] of [
    ["writing", "the server to write"],
    ["syncing", "the server to sync what is written"],
    ["committing", "the server to commit"],
    ["comparing", "the server to compare what it has"],
    ["checking", "the server to check what it has"],
    ["receiving", "the path to carry data"],
    ["dreaming", "the path to carry data"],
    ["constructor", "the path to carry data"],
    [undefined, "the path to carry data"],
  ] as const) {
    server.doing = doing;
    await later(time, link, server, 20_000);
    t.equal(link.stall?.waitingFor, words, `${doing}`);
  }
  busy.working = true;
  t.equal(link.stall, undefined, "this end is at something");
  busy.acknowledgement = true;
  t.match(link.stall, { waitingFor: "the path to carry data" }, "and the other has something to say");
  link.progress();
  t.equal(link.stall, undefined);
  busy.working = false;
  server.admits = false;
  for (const { connection } of server.streams) connection.destroy();
  time.forward(4000);
  await waitsFor(link, "streams to be opened again");
  server.answers = [error("E_BUSY")];
  server.control.connection.destroy();
  await server.until("a dial in vain", () => server.hellos.length > 1);
  t.match(link.stall?.waitingFor, /^the server to be reached again \(.+\)$/);
  link.finish();
  t.equal(link.stall, undefined, "nothing any more");
});

t.test("a server that is at something is waited for; one that only receives is not", async (t) => {
  const time = clock(t);
  const { server, link } = await linked(t, { timeoutMs: 60_000 });
  let over = false;
  void link.over.then(() => {
    over = true;
  });
  server.doing = "syncing";
  for (let i = 0; i < 20; i++) await later(time, link, server, STEP_MS);
  t.notOk(over, "for two minutes");
  server.doing = "receiving";
  for (let i = 0; i < 20 && !over; i++) await later(time, link, server, STEP_MS);
  t.match(await soon(link.over, "the end"), {
    code: "E_TIMEOUT",
    exitCode: 75,
    retryable: true,
    message: "nothing moved for 60 s: waiting for the path to carry data",
  });
});

t.test("what this end is at is waited for as well", async (t) => {
  const time = clock(t);
  const { server, link, busy } = await linked(t, { timeoutMs: 60_000 });
  let over = false;
  void link.over.then(() => {
    over = true;
  });
  server.doing = "receiving";
  busy.working = true;
  for (let i = 0; i < 20; i++) await later(time, link, server, STEP_MS);
  t.notOk(over, "for two minutes");
  busy.working = false;
  for (let i = 0; i < 20 && !over; i++) await later(time, link, server, STEP_MS);
  t.match(await soon(link.over, "the end"), { code: "E_TIMEOUT" });
});

t.test("what was sent has to be acknowledged in time, whatever the server is at", async (t) => {
  const time = clock(t);
  const { server, link, busy } = await linked(t, { timeoutMs: 60_000 });
  busy.acknowledgement = true;
  server.doing = "syncing";
  for (let i = 0; i < 9; i++) await later(time, link, server, STEP_MS);
  link.progress();
  for (let i = 0; i < 11; i++) await later(time, link, server, STEP_MS);
  t.match(await soon(link.over, "the end"), {
    code: "E_TIMEOUT",
    message: "nothing was acknowledged for 60 s: waiting for the server to sync what is written",
  });
});

t.test("connections on which nothing is heard are dialled again", async (t) => {
  const time = clock(t);
  const { server, link, opened } = await linked(t, { timeoutMs: 60_000 });
  time.pass(29_000);
  t.ok(server.control.connection.isOpen);
  link.progress();
  time.pass(31_000);
  await server.until("all of them again", () => opened.length === 6);
  t.equal(server.hellos.length, 2);
  t.strictSame(
    server.attaches.map(({ attempt }) => attempt),
    [1, 1, 2, 2],
  );
});

t.test("as long as the server gets bytes a chunk may take longer than the timeout, but not for ever", async (t) => {
  const time = clock(t);
  const { server, link, busy } = await linked(t, { timeoutMs: 60_000 });
  busy.acknowledgement = true;
  let over = false;
  void link.over.then(() => {
    over = true;
  });
  let seconds = 0;
  for (; seconds < 300; seconds += 6) {
    server.received = [seconds, 0];
    await later(time, link, server, STEP_MS);
  }
  t.notOk(over, "for five minutes");
  t.equal(link.stall, undefined, "bytes come: it is slow, and does not stand still");
  for (; seconds < 1200 && !over; seconds += 6) {
    server.received = [seconds, 0];
    await later(time, link, server, STEP_MS);
  }
  t.match(await soon(link.over, "the end"), { code: "E_TIMEOUT" });
  t.ok(seconds >= 600, "ten timeouts");
});

t.test("a program that was stopped blames nobody else for the time it was away", async (t) => {
  const time = clock(t);
  const { server, link, busy } = await linked(t, { timeoutMs: 60_000 });
  busy.acknowledgement = true;
  let over = false;
  void link.over.then(() => {
    over = true;
  });
  time.forward(3_600_000);
  await later(time, link, server, STEP_MS);
  t.notOk(over, "an hour");
  t.ok(server.control.connection.isOpen);
  for (let i = 0; i < 11; i++) await later(time, link, server, STEP_MS);
  t.match(await soon(link.over, "the end"), { code: "E_TIMEOUT" }, "the others' time counts from then on");
});

t.test(
  "a transfer that is given up for a timeout: the server hears that it was interrupted, and does not wait",
  async (t) => {
    const time = clock(t);
    const { server, link, busy } = await linked(t, { timeoutMs: 60_000 });
    busy.acknowledgement = true;
    let over = false;
    void link.over.then(() => {
      over = true;
    });
    for (let i = 0; i < 20 && !over; i++) await later(time, link, server, STEP_MS);
    t.match(await link.over, { code: "E_TIMEOUT" });
    const { code, message } = await server.control.heard.message("ERROR");
    t.equal(code, ERRORS.E_INTERRUPTED.wire);
    t.match(message, "nothing was acknowledged for 60 s");
  },
);

t.test("retries are connections that broke, however often each was dialled", async (t) => {
  const { server, link, opened } = await linked(t);
  t.equal(link.retries, 0);
  server.answers = [error("E_BUSY"), error("E_BUSY"), error("E_BUSY"), again(1)];
  server.control.connection.destroy();
  server.streams[0]?.connection.destroy();
  await server.until("both of them again", () => opened.length === 5);
  t.equal(server.hellos.length, 5);
  t.equal(link.retries, 2);
});
