/** Chunks that wait for memory: over real connections, with the room as tight as can be. */
import t from "tap";
import { BlockPool, blockBytesFor } from "../../src/net/blocks.ts";
import { ChunkRoom, type RoomUser } from "../../src/net/chunk-room.ts";
import { ConnectionBlocks } from "../../src/net/connection-blocks.ts";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { SLACK_BYTES } from "../../src/protocol/decoder.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";
import { soon, soonHolds, streamPair } from "../helpers/wire-end.ts";

const CHUNK = 1024 * 1024;
const BLOCK = blockBytesFor(CHUNK + SLACK_BYTES);

/** Somebody else who has room. */
const holder = (made: () => void = () => {}): RoomUser => ({
  roomMade: made,
  comingBytes: undefined,
  yieldRoom: () => {},
});

for (const bytes of [CHUNK, 70_000, 100] as const) {
  t.test(`a chunk of ${bytes} bytes comes when there is room, and what was behind it`, async (t) => {
    const room = new ChunkRoom(BLOCK);
    const other = room.enter("other");
    t.ok(other.take(holder(), BLOCK));
    const { client, server } = await streamPair(t, CHUNK);
    server.connection.enterRoom(room, "client");
    const contents = [1, 2, 3].map((seed) => randomBytesOf(bytes, seed));
    for (const [i, content] of contents.entries()) client.chunk(0, i * CHUNK, content);
    client.connection.send("PING", { id: 7 });
    await soonHolds("it waits", () => room.waiting === 1);
    t.equal(server.heard.chunks.length, 0);
    other.giveBack(BLOCK);
    for (const [i, content] of contents.entries()) {
      await server.heard.until(`chunk ${i}`, () => server.heard.chunks.length > i);
      const chunk = server.heard.chunks[i];
      t.ok(same(chunk?.payload ?? new Uint8Array(0), content));
      if (chunk !== undefined) server.connection.giveBack(chunk.block);
    }
    t.same(await client.heard.message("PONG"), { id: 7 });
    await soonHolds("all of it is given back", () => room.bytes === 0);
    t.equal(room.waiting, 0);
  });
}

t.test("a connection that goes gives back what was coming, or waits no more", async (t) => {
  const room = new ChunkRoom(BLOCK);
  const half = await streamPair(t, CHUNK, undefined, { sending: new RateLimit(CHUNK / 32) });
  const waits = await streamPair(t, CHUNK);
  half.server.connection.enterRoom(room, "half");
  waits.server.connection.enterRoom(room, "waits");
  half.client.chunk(0, 0, randomBytesOf(CHUNK, 1));
  await soonHolds("it has the room", () => room.bytes === BLOCK);
  waits.client.chunk(0, 0, randomBytesOf(CHUNK, 2));
  await soonHolds("the other waits", () => room.waiting === 1);
  waits.server.connection.destroy();
  await soonHolds("it waits no more", () => room.waiting === 0);
  half.client.connection.destroy();
  await soonHolds("nothing is held", () => room.bytes === 0);
});

t.test("a chunk that comes too slowly gives way to one that waits, and not before one does", async (t) => {
  const room = new ChunkRoom(BLOCK, 300);
  const slow = await streamPair(t, CHUNK, undefined, { sending: new RateLimit(CHUNK / 32) });
  const waits = await streamPair(t, CHUNK);
  slow.server.connection.enterRoom(room, "slow");
  waits.server.connection.enterRoom(room, "waits");
  slow.client.chunk(0, 0, randomBytesOf(CHUNK, 1));
  await soonHolds("half a second of it is here", () => slow.server.connection.chunkBytesReceived > CHUNK / 64);
  t.ok(slow.server.connection.isOpen);
  waits.client.chunk(0, 0, randomBytesOf(CHUNK, 2));
  t.match(await soon(slow.server.heard.closed, "its end"), { code: "E_TIMEOUT", message: /too slowly/ });
  await waits.server.heard.until("the chunk", () => waits.server.heard.chunks.length === 1);
  waits.server.connection.giveBack(waits.server.heard.chunks[0]?.block ?? new Uint8Array(0));
  await soonHolds("nothing is held", () => room.bytes === 0);
});

t.test("what a compressed chunk stands for counts as well", async (t) => {
  const room = new ChunkRoom(4 * CHUNK);
  const blocks = new ConnectionBlocks(new BlockPool(), {
    goOn: () => {},
    comingBytes: () => 0,
    giveWay: () => undefined,
  });
  blocks.enterRoom(room, "peer");
  const block = blocks.take(100, CHUNK);
  t.equal(room.bytes, CHUNK + 100);
  t.equal(blocks.take(100, CHUNK), undefined);
  if (block !== undefined) blocks.give(block);
  t.equal(room.bytes, 0, "and what was made of room for who then did not want it is free again");
  t.equal(room.waiting, 0);
});
