import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t, { type Test } from "tap";
import { Link, type LinkOptions } from "../../src/client/link.ts";
import { send } from "../../src/client/send.ts";
import type { TransferEnd } from "../../src/net/transfer-end.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { testServer } from "../helpers/backend.ts";
import { reset } from "../helpers/reset.ts";
import { soon } from "../helpers/wire-end.ts";

const idle: TransferEnd = {
  role: "source",
  controlOpened: () => {},
  controlMessage: () => {},
  streamOpened: (stream, _index, onClosed) => {
    stream.events = { onMessage: () => {}, onClosed };
  },
  dispose: async () => {},
};

const options = (rest: Partial<LinkOptions> & Pick<LinkOptions, "to">): LinkOptions => ({
  role: "source",
  purpose: "transfer",
  streams: 2,
  chunkBytes: 65_536,
  timeoutMs: 5000,
  makeEnd: () => idle,
  awaitsAcknowledgement: () => false,
  onReady: () => {},
  onWarning: () => {},
  ...rest,
});

/** A server of another kind at a port of its own. */
async function other(t: Test, handle: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    handle(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

t.test("what answers there is told apart", async (t) => {
  const closing = await other(t, (socket) => socket.destroy());
  const web = await other(t, (socket) => void socket.resume().write("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const silent = await other(t, (socket) => void socket.resume());
  const cases = [
    [closing, ["E_NO_ANSWER", "E_LOST"]],
    [web, ["E_NOT_HAWSER"]],
    [silent, ["E_NO_ANSWER"]],
  ] as const;
  for (const [to, codes] of cases) {
    const link = new Link(options({ to, timeoutMs: 200 }));
    await link.start();
    const error = await soon(link.over, "the end");
    t.ok(
      codes.some((code) => code === error?.code),
      `${error?.code}: ${error?.message}`,
    );
  }
});

/** Passes connections on until it is told to break them. */
async function breakable(t: Test, port: number) {
  const pairs: Socket[] = [];
  let refuses = false;
  let count = 0;
  const to = await other(t, (socket) => {
    count++;
    if (refuses) return void socket.destroy();
    const there = connect(port, "127.0.0.1");
    there.on("error", () => {});
    socket.pipe(there).pipe(socket);
    socket.on("close", () => there.destroy());
    there.on("close", () => socket.destroy());
    pairs.push(socket);
  });
  return {
    to,
    connections: () => count,
    breakAll: (forGood: boolean) => {
      refuses = forGood;
      for (const socket of pairs.splice(0)) reset(socket);
    },
  };
}

t.test("broken connections are dialled again, and the session goes on", async (t) => {
  const { address } = await testServer(t);
  const proxy = await breakable(t, address.port);
  let opened = 0;
  let again: () => void = () => {};
  const reopened = new Promise<void>((resolve) => {
    again = resolve;
  });
  let streams = 0;
  const link = new Link(
    options({
      to: proxy.to,
      makeEnd: () => ({
        ...idle,
        controlOpened: () => {
          if (++opened === 2) again();
        },
        streamOpened: (stream, index, onClosed) => {
          idle.streamOpened(stream, index, onClosed);
          if (++streams === 2) proxy.breakAll(false);
        },
      }),
    }),
  );
  await link.start();
  await soon(reopened, "the second control connection");
  t.ok(link.retries >= 1);
  link.finish();
  t.equal(await link.over, undefined);
});

/** A link whose connections all break, for good, when both streams are open. */
async function broken(t: Test, rest: Partial<LinkOptions>) {
  const { address } = await testServer(t);
  const proxy = await breakable(t, address.port);
  let streams = 0;
  const link = new Link(
    options({
      to: proxy.to,
      makeEnd: () => ({
        ...idle,
        streamOpened: (stream, index, onClosed) => {
          idle.streamOpened(stream, index, onClosed);
          if (++streams === 2) proxy.breakAll(true);
        },
      }),
      ...rest,
    }),
  );
  await link.start();
  return { link, proxy, error: await soon(link.over, "the end") };
}

t.test("connections that can't be opened again are dialled until the timeout, ever less often", async (t) => {
  const { link, proxy, error } = await broken(t, { timeoutMs: 1500 });
  t.match(error, { code: "E_TIMEOUT", retryable: true, exitCode: 75 });
  t.match(error?.message, /^the server could not be reached again for 1\.5 s: /);
  const again = proxy.connections() - 3;
  t.ok(again >= 2 && again <= 10, `${again} dials`);
  t.ok(link.retries >= again);
});

t.test("as often as was asked for, and no more", async (t) => {
  const twice = await broken(t, { retries: 2 });
  t.match(twice.error, { code: "E_LOST", retryable: true, exitCode: 75 });
  t.match(twice.error?.message, /^the control connection broke and could not be opened again: /);
  t.equal(twice.proxy.connections(), 3 + 2, "streams wait for the control connection");
  const never = await broken(t, { retries: 0 });
  t.match(never.error, { code: "E_LOST" });
  t.equal(never.proxy.connections(), 3);
  t.equal(never.link.retries, 0);
});

t.test("a first dial that nothing answers ends at once; one that was damaged is repeated once", async (t) => {
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address() as { port: number };
  closed.close();
  await once(closed, "close");
  const nobody = new Link(options({ to: { host: "127.0.0.1", port } }));
  await nobody.start();
  t.match(await soon(nobody.over, "the end"), { code: "E_UNREACHABLE", exitCode: 69, retryable: true });
  t.equal(nobody.retries, 0);

  let dials = 0;
  const closing = await other(t, (socket) => {
    dials++;
    socket.destroy();
  });
  const link = new Link(options({ to: closing }));
  await link.start();
  t.equal((await soon(link.over, "the end"))?.exitCode === 0, false);
  t.strictSame([dials, link.retries], [2, 1]);
});

t.test("a link that fails as soon as it is ready leaves no timer behind", async (t) => {
  const { address } = await testServer(t);
  const intervals = new Set<unknown>();
  const begin = t.intercept(globalThis, "setInterval", {
    value: (...args: Parameters<typeof setInterval>) => {
      const interval = original.begin(...args);
      intervals.add(interval);
      interval.unref();
      return interval;
    },
  });
  const end = t.intercept(globalThis, "clearInterval", {
    value: (interval: NodeJS.Timeout) => {
      intervals.delete(interval);
      original.end(interval);
    },
  });
  const link: Link = new Link(
    options({ to: address, onReady: () => link.fail(new HawserError("E_INTERRUPTED", "stopped")) }),
  );
  await link.start();
  t.match(await link.over, { code: "E_INTERRUPTED" });
  for (const intercepted of [begin, end]) intercepted.restore();
  t.equal(intervals.size, 0);
  for (const interval of intervals) original.end(interval as NodeJS.Timeout);
});
const original = { begin: setInterval, end: clearInterval };

t.test("sending to nobody", async (t) => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  const path = `${t.testdir({ a: "x" })}/a`;
  const result = await send({ paths: [path], to: { host: "127.0.0.1", port } });
  t.match(result, { ok: false, exitCode: 69, transferId: null, error: { code: "E_UNREACHABLE", retryable: true } });
});
