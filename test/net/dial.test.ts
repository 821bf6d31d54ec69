import { once } from "node:events";
import { createServer } from "node:net";
import t from "tap";
import { dial, formatEndpoint } from "../../src/net/dial.ts";
import type { DirectReader } from "../../src/net/direct-read.ts";

const reader: DirectReader = { target: () => new Uint8Array(64), advance: () => true };

t.test("addresses as they are written", async (t) => {
  t.equal(formatEndpoint({ host: "127.0.0.1", port: 1 }), "127.0.0.1:1");
  t.equal(formatEndpoint({ host: "::1", port: 1 }), "[::1]:1");
  t.equal(formatEndpoint({ host: "example.org", port: 1 }), "example.org:1");
});

t.test("a connection reads through its reader", async (t) => {
  const server = createServer((socket) => socket.end("hello"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const room = new Uint8Array(64);
  let count = 0;
  const socket = await dial(
    { host: "127.0.0.1", port },
    {
      target: () => room.subarray(count),
      advance: (n) => {
        count += n;
        return true;
      },
    },
    { timeoutMs: 5000 },
  );
  socket.resume();
  await once(socket, "end");
  t.equal(Buffer.from(room.subarray(0, count)).toString(), "hello");
  socket.destroy();
});

t.test("nobody there", async (t) => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  await t.rejects(dial({ host: "127.0.0.1", port }, reader, { timeoutMs: 5000 }), {
    code: "E_UNREACHABLE",
    message: `127.0.0.1:${port} can't be reached: nothing listens there`,
  });
});

t.test("a name that is not known", async (t) => {
  await t.rejects(dial({ host: "no-such-host.invalid", port: 1 }, reader, { timeoutMs: 10_000 }), {
    code: "E_UNREACHABLE",
    message: /the name (is not known|could not be looked up)|no answer/,
  });
});

t.test("interrupted before and while it dials", async (t) => {
  const before = AbortSignal.abort();
  const endpoint = { host: "192.0.2.1", port: 9 };
  await t.rejects(dial(endpoint, reader, { timeoutMs: 5000, signal: before }), { code: "E_UNREACHABLE" });
  const controller = new AbortController();
  const dialling = dial(endpoint, reader, { timeoutMs: 5000, signal: controller.signal });
  controller.abort();
  await t.rejects(dialling, { code: "E_UNREACHABLE", message: /interrupted|route/ });
});

t.test("no answer in time", async (t) => {
  // TEST-NET-1 (RFC 5737): nothing answers there, or the machine has no route to it.
  const error = await dial({ host: "192.0.2.1", port: 9 }, reader, { timeoutMs: 30 }).catch((error) => error);
  t.match(error, { code: "E_UNREACHABLE", message: /no answer within 0.03 s|no route to it|nothing listens/ });
});
