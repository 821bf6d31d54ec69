import t from "tap";
import { BlockPool } from "../../src/net/blocks.ts";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";
import { WELCOME } from "../helpers/conversation.ts";
import { connectedPair, hello, soon, soonHolds, streamPair } from "../helpers/wire-end.ts";

const CHUNK = 65_536;

t.test("turns come first come first served, and a slice is paid for in between", async (t) => {
  const limit = new RateLimit(100_000);
  const order: string[] = [];
  const startedMs = performance.now();
  limit.take(1000);
  await new Promise<void>((resolve) => {
    const taker = (name: string) => {
      const go = () => {
        order.push(name);
        limit.take(1000);
        if (order.length === 12) resolve();
        else if (order.length < 10) limit.turn(go);
      };
      return go;
    };
    for (const name of ["a", "b", "c"]) limit.turn(taker(name));
  });
  t.equal(order.join(""), "abcabcabcabc");
  // Twelve slices of 10 ms were paid for, the first of them before anybody's turn.
  const tookMs = performance.now() - startedMs;
  t.ok(tookMs >= 119, `${tookMs} ms`);
});

t.test("who waits is woken by a higher limit, or the end of it, and not when it is gone", async (t) => {
  const limit = new RateLimit(1024);
  limit.take(1_000_000);
  let calls = 0;
  const gone = () => t.fail("it is gone");
  limit.turn(gone);
  limit.turn(() => calls++);
  limit.forget(gone);
  limit.set(null);
  t.equal(calls, 1);
  limit.turn(() => calls++);
  t.equal(calls, 2, "at once");
  limit.set(10_000_000);
  t.equal(limit.bytesPerSecond, 10_000_000);
  limit.take(200_000);
  await soon(new Promise<void>((resolve) => limit.turn(resolve)), "a turn after 20 ms");
});

t.test("a chunk goes in slices, a message waits for its end, and what arrives is whole", async (t) => {
  const limit = new RateLimit(400_000);
  const { client, server } = await streamPair(t, CHUNK, undefined, { sending: limit });
  const payload = randomBytesOf(CHUNK);
  const startedMs = performance.now();
  const accepted: number[] = [];
  for (let i = 0; i < 2; i++) {
    client.connection.sendChunk(0, i * CHUNK, payload, crc32(payload), () => accepted.push(i));
  }
  // Some of the first chunk is there, and not all of it.
  await soonHolds("a quarter of it", () => server.connection.chunkBytesReceived >= CHUNK / 4);
  const movedMs = performance.now() - startedMs;
  t.ok(server.connection.chunkBytesReceived < CHUNK, `${server.connection.chunkBytesReceived} after ${movedMs} ms`);
  t.strictSame(accepted, []);
  client.connection.send("PING", { id: 7 });
  t.strictSame(await client.heard.message("PONG"), { id: 7 });
  t.equal(server.heard.chunks.length, 1, "between the two chunks");
  await server.heard.until("both chunks", () => server.heard.chunks.length === 2);
  await soonHolds("the acceptance", () => accepted.length === 2);
  const tookMs = performance.now() - startedMs;
  t.ok(server.heard.chunks.every(({ intact, payload: arrived }) => intact && same(arrived, payload)));
  t.ok(tookMs > (2 * CHUNK) / 400 - 110, `${tookMs} ms`);
  t.equal(client.connection.bytesSent, server.connection.bytesReceived);
});

t.test(
  "the end of the limit sends the rest of a chunk at once; the end of the connection gives its buffer back",
  async (t) => {
    const limit = new RateLimit(1024);
    const { client, server } = await streamPair(t, CHUNK, undefined, { sending: limit });
    const payload = randomBytesOf(CHUNK);
    const send = () =>
      new Promise<void>((resolve) => client.connection.sendChunk(0, 0, payload, crc32(payload), resolve));
    const first = send();
    limit.set(null);
    await soon(first, "the acceptance");
    await server.heard.until("the chunk", () => server.heard.chunks.length === 1);
    t.ok(server.heard.chunks[0]?.intact);
    limit.set(1024);
    const [second, third] = [send(), send()];
    client.connection.send("PING", { id: 1 });
    client.connection.close();
    await soon(Promise.all([second, third]), "the end of both");
    await soon(server.heard.closed, "the end");
    t.equal(server.heard.chunks.length, 1);
  },
);

t.test("what a peer asks for while a chunk is on its way doesn't pile up", async (t) => {
  const limit = new RateLimit(1024);
  const { client, server } = await streamPair(t, CHUNK, undefined, { sending: limit });
  client.chunk(0, 0, new Uint8Array(CHUNK));
  for (let i = 0; i < 100_000; i++) server.connection.send("PING", { id: i });
  let before = -1;
  while (client.connection.bytesReceived !== before) {
    before = client.connection.bytesReceived;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(client.connection.bytesReceived < 2 * 1024 * 1024, `${client.connection.bytesReceived} were read`);
  limit.set(null);
  await server.heard.until("all answers", () => server.heard.messages.length === 100_000);
});

t.test("reading holds the limit whatever comes: messages, chunks, and after a change", async (t) => {
  const limit = new RateLimit(500_000);
  const { client, server } = await connectedPair(t, "source", new BlockPool(), { reading: limit });
  client.connection.send("HELLO", hello());
  await server.heard.message("HELLO");
  server.connection.role = "sink";
  server.connection.send("WELCOME", WELCOME);
  await client.heard.message("WELCOME");
  for (let i = 0; i < 60_000; i++) client.connection.send("PING", { id: i });
  const readIn = async (ms: number) => {
    const before = { bytes: server.connection.bytesReceived, atMs: performance.now() };
    // The rate is over this window of time, whatever happens in it.
    await new Promise((resolve) => setTimeout(resolve, ms));
    const tookMs = performance.now() - before.atMs;
    return ((server.connection.bytesReceived - before.bytes) / tookMs) * 1000;
  };
  const slow = await readIn(1000);
  // Over one second the catch-up may be 10%.
  t.ok(slow < 500_000 * 1.12 && slow > 250_000, `${slow} of 500,000 bytes a second`);
  limit.set(1_000_000);
  const fast = await readIn(500);
  t.ok(fast < 1_000_000 * 1.25 && fast > 500_000, `${fast} of 1,000,000 bytes a second`);
  limit.set(null);
  await client.heard.until("the last answer", () =>
    client.heard.messages.some(({ body }) => "id" in body && body.id === 59_999),
  );
});
