import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { BlockPool } from "../../src/net/blocks.ts";
import { Connection } from "../../src/net/connection.ts";
import { dial } from "../../src/net/dial.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import { encodeGreeting } from "../../src/protocol/greeting.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";
import { WELCOME } from "../helpers/conversation.ts";
import { connectedPair, hello, Recorder, soon, streamPair } from "../helpers/wire-end.ts";

const CHUNK = 65_536;

t.test("greetings, messages and pings, both ways", async (t) => {
  const { client, server } = await connectedPair(t);
  client.connection.send("HELLO", hello());
  t.strictSame(await server.heard.message("HELLO"), hello());
  server.connection.role = "sink";
  server.connection.send("WELCOME", WELCOME);
  t.strictSame(await client.heard.message("WELCOME"), WELCOME);
  for (const [from, id] of [
    [client, 1],
    [server, 2],
  ] as const) {
    from.connection.send("PING", { id });
    t.strictSame(await from.heard.message("PONG"), { id });
  }
  t.strictSame([client.heard.versions, server.heard.versions], [[1], [1]]);
  t.equal(server.connection.remoteAddress, "127.0.0.1");
  t.equal(client.connection.bytesSent, server.connection.bytesReceived);
  t.equal(server.connection.bytesSent, client.connection.bytesReceived);
  client.connection.close();
  t.equal(await soon(server.heard.closed, "the end"), undefined, "between two frames");
  t.equal(await soon(client.heard.closed, "the end"), undefined);
});

t.test("chunks arrive whole, intact or marked as damaged, and their buffers come back", async (t) => {
  const { client, server } = await streamPair(t, CHUNK);
  const payloads = [1, 1000, CHUNK - 1, CHUNK].map((size, i) => randomBytesOf(size, i + 1));
  for (const [i, payload] of payloads.entries()) client.chunk(i, i * 2 ** 33, payload);
  client.chunk(9, 0, payloads[1] as Uint8Array, 12345);
  await server.heard.until("all chunks", () => server.heard.chunks.length === 5);
  for (const [i, payload] of payloads.entries()) {
    const chunk = server.heard.chunks[i];
    t.match(chunk, { file: i, offset: i * 2 ** 33, intact: true, payloadCrc32: crc32(payload) });
    t.ok(same(chunk?.payload, payload));
  }
  t.match(server.heard.chunks[4], { file: 9, intact: false });
});

t.test("a payload may be used again when the system has it, and also when there is nobody to take it", async (t) => {
  const { client } = await streamPair(t, CHUNK);
  const accepted = () =>
    new Promise<void>((resolve) => client.connection.sendChunk(0, 0, new Uint8Array(CHUNK), 0, resolve));
  await soon(accepted(), "the acceptance");
  const late = accepted();
  client.connection.destroy();
  await soon(late, "the answer for what is lost");
  await soon(accepted(), "the answer on a closed connection");
});

t.test("a receiver that pauses holds the sender up, and loses nothing", async (t) => {
  const { client, server } = await streamPair(t, CHUNK);
  server.connection.pause();
  const payload = randomBytesOf(CHUNK);
  const count = 1000;
  let accepted = 0;
  const crc = crc32(payload);
  const pump = (i: number) => {
    if (i === count) return;
    client.connection.sendChunk(0, i * CHUNK, payload, crc, () => {
      accepted++;
      pump(i + 1);
    });
  };
  pump(0);
  let before = -1;
  while (accepted !== before) {
    before = accepted;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(accepted < count, `${accepted} were taken by the system and no more`);
  t.ok(server.heard.chunks.length <= 4, `${server.heard.chunks.length} came through`);
  server.connection.resume();
  await server.heard.until("all chunks", () => server.heard.chunks.length === count);
  t.ok(
    server.heard.chunks.every(({ offset, intact }, i) => offset === i * CHUNK && intact),
    "in order",
  );
});

t.test("a peer that asks and does not read is not read from for ever", async (t) => {
  const { client, server } = await connectedPair(t);
  client.connection.send("HELLO", hello());
  await server.heard.message("HELLO");
  server.connection.role = "sink";
  server.connection.send("WELCOME", WELCOME);
  await client.heard.message("WELCOME");
  client.connection.pause();
  let before = -1;
  // Each PING costs an answer; the client sends far more of them than the system keeps.
  for (let i = 0; i < 400_000; i++) client.connection.send("PING", { id: i });
  while (server.connection.bytesReceived !== before) {
    before = server.connection.bytesReceived;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(server.connection.bytesReceived < client.connection.bytesSent, "it stopped reading");
  const unsent = server.connection.bytesSent - client.connection.bytesReceived;
  t.ok(unsent < 64 * 1024 * 1024, `${unsent} bytes of answers wait at most, in the system's buffers mostly`);
});

t.test("closing with an error tells it to the peer, where the peer may know it", async (t) => {
  for (const [error, told] of [
    [new HawserError("E_BUSY", "too many"), { code: 103, message: "too many" }],
    [new HawserError("E_BUSY", "x".repeat(5000)), { code: 103, message: "x".repeat(1024) }],
    [new HawserError("E_INTERNAL", "a secret"), undefined],
    [undefined, undefined],
  ] as const) {
    const { client, server } = await connectedPair(t);
    client.connection.send("HELLO", hello());
    await server.heard.message("HELLO");
    server.connection.close(error);
    server.connection.close(new HawserError("E_LOST", "again"));
    t.notOk(server.connection.isOpen);
    await soon(client.heard.closed, "the end");
    t.strictSame(
      client.heard.messages.map(({ body }) => body),
      told === undefined ? [] : [told],
    );
    t.equal(await server.heard.closed, error);
  }
});

t.test("whatever is said on a closed connection is said to nobody", async (t) => {
  const { client } = await streamPair(t, CHUNK);
  client.connection.close();
  client.connection.send("PING", { id: 1 });
  client.chunk(0, 0, new Uint8Array(1));
  await soon(client.heard.closed, "the end");
  client.connection.send("PING", { id: 1 });
  client.connection.close();
  client.connection.destroy();
});

t.test("what breaks the protocol closes the connection, and the peer hears of it", async (t) => {
  const { client, server } = await streamPair(t, CHUNK);
  client.chunk(0, 0, new Uint8Array(CHUNK + 1));
  t.match(await soon(server.heard.closed, "the end"), { code: "E_FRAME_TOO_LARGE" });
  t.match(await client.heard.message("ERROR"), { code: 203 });
});

t.test("a connection that is dropped is lost, or ended", async (t) => {
  const { client, server } = await connectedPair(t);
  client.connection.send("HELLO", hello());
  await server.heard.message("HELLO");
  const broken = new Promise<void>((resolve) => {
    client.connection.onSocketClosed = resolve;
  });
  server.connection.destroy();
  await soon(broken, "the end");
  const error = await client.heard.closed;
  t.ok(error === undefined || error.code === "E_LOST", `${error?.code}`);
});

/** A plain socket to a Connection on the server's side. */
async function raw(t: Parameters<typeof connectedPair>[0], first: Uint8Array) {
  const heard = new Recorder();
  const connection = new Connection("server", undefined, new BlockPool(), heard);
  let attached: (socket: Socket) => void = () => {};
  const accepted = new Promise<Socket>((resolve) => {
    attached = resolve;
  });
  const server = createServer((socket) => {
    connection.attach(socket, false);
    attached(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  t.teardown(() => {
    socket.destroy();
    connection.destroy();
    server.close();
  });
  socket.write(first);
  await accepted;
  return { heard, connection, socket };
}

t.test("by 'data' events, byte by byte", async (t) => {
  const { heard, socket } = await raw(t, encodeGreeting().subarray(0, 1));
  for (const byte of encodeGreeting().subarray(1)) socket.write(Uint8Array.of(byte));
  socket.end();
  t.equal(await soon(heard.closed, "the end"), undefined);
  t.strictSame(heard.versions, [1]);
});

t.test("other programs are found out at their first bytes", async (t) => {
  const cases: [string | Uint8Array, RegExp][] = [
    ["GET / HTTP/1.1\r\n\r\n", /HTTP/],
    ["SSH-2.0-OpenSSH\r\n", /SSH/],
    [Uint8Array.of(0x16, 3, 1, 0, 5), /TLS/],
    ["x", /unknown/],
  ];
  for (const [first, what] of cases) {
    const { heard } = await raw(t, Buffer.from(first as string));
    const error = await soon(heard.closed, "the end");
    t.equal(error?.code, "E_NOT_HAWSER");
    t.match(error?.message, what);
  }
});

t.test("a program that answers in another language", async (t) => {
  for (const banner of ["SSH-2.0-OpenSSH_9.6\r\n", "220 mail ESMTP\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"]) {
    const other = createServer((socket) => {
      socket.on("error", () => {});
      socket.resume();
      socket.write(banner);
    });
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    t.teardown(() => other.close());
    const { port } = other.address() as { port: number };
    const heard = new Recorder();
    const connection = new Connection("client", "source", new BlockPool(), heard);
    connection.attach(await dial({ host: "127.0.0.1", port }, connection, { timeoutMs: 5000 }), true);
    connection.send("HELLO", hello());
    t.equal((await soon(heard.closed, "the end"))?.code, "E_NOT_HAWSER", banner.trim());
  }
});

t.test("nothing is said any more after the peer's ERROR, and nothing throws", async (t) => {
  const { client, server } = await streamPair(t, CHUNK);
  server.connection.send("ERROR", { code: 104, message: "stopping" });
  await client.heard.message("ERROR");
  t.doesNotThrow(() => client.chunk(0, 0, new Uint8Array(10)));
  t.doesNotThrow(() => client.connection.send("PING", { id: 1 }));
});
