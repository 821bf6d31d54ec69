/**
 * Programs that are killed, on either end, at any moment: what was recorded is not sent again. (Those that are stopped or
 * slow are in faults-stalls.test.ts.)
 */
import { join } from "node:path";
import t, { type Test } from "tap";
import { readSessions, type TransferResult } from "../../src/index.ts";
import {
  assertOk,
  type Child,
  type ClientEvent,
  sendAll,
  startChild,
  startServer,
  startServerChild,
} from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { randomFrom } from "../helpers/random.ts";
import { attachStrace, skipsWithoutStrace } from "../helpers/strace.ts";
import { CHUNK, halfWay } from "../helpers/unfinished.ts";

const CHUNKS = 128;
const BYTES = CHUNKS * CHUNK - 99;

// Paths are slow, so that programs can be killed in the middle: meanwhile others can be.
t.jobs = 3;

const startClient = (t: Test, options: object): Child<ClientEvent> =>
  startChild<ClientEvent>(t, "client-child.ts", { chunkBytes: CHUNK, ...options });

async function resultOf(client: Child<ClientEvent>): Promise<TransferResult> {
  const ended = await Promise.race([client.log.until("result"), client.exited]);
  if (!("result" in ended)) throw new Error(`the client ended: ${client.stderr()}`);
  return ended.result;
}

/** Whole chunks that are recorded of what is unfinished. */
const chunksRecorded = (dir: string): number =>
  Math.floor(readSessions(dir).reduce((sum, { bytesPresent }) => sum + bytesPresent, 0) / CHUNK);

/** Exactly the file is there, and of the staging nothing. */
function assertArrived(t: Test, dir: string, bytes: number, seed: number): void {
  assertContent(t, join(dir, "file"), contentOf(bytes, seed));
  t.same(namesIn(dir), ["file"]);
}

/** The first stream is so slow that checkpoints are made on the way; what comes after it is not. */
const slowly = ({ kind, ordinal }: { kind: string; ordinal: number }) =>
  kind === "stream" && ordinal === 0 ? { bytesPerSecond: 3 * MIB } : {};

/** One early, and one when a checkpoint must have been made. */
const RANGES = [
  [1, CHUNKS / 3],
  [(5 * CHUNKS) / 8, CHUNKS - 3],
] as const;

for (const who of ["client", "server", "both"] as const) {
  t.test(`SIGKILL of ${who}, at random times`, async (t) => {
    for (const [seed, [first, last]] of RANGES.entries()) {
      const random = randomFrom(1000 * who.length + seed);
      const at = Math.floor(first + (last - first) * random());
      await t.test(`seed ${seed}: when chunk ${at} of ${CHUNKS} is on its way`, async (t) => {
        const { from, to: dir } = directories(t);
        const server = await startServerChild(t, dir);
        const proxy = await startProxy(t, server.to, { shape: slowly });
        const path = makeFile(join(from, "file"), BYTES, seed);
        const options = { paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK, timeoutMs: 20_000 };
        const client = startClient(t, options);
        await proxy.until(() => proxy.framesOf("up", "CHUNK") >= at);
        const acknowledged = client.log.of("progress").at(-1)?.bytesDone ?? 0;
        const dead = who === "both" ? [server, client] : [who === "client" ? client : server];
        for (const { process } of dead) process.kill("SIGKILL");
        await Promise.all(dead.map(({ exited }) => exited));
        const before = proxy.framesOf("up", "CHUNK");
        // A server that lives has in its memory what it has not recorded yet.
        let kept = Math.floor(acknowledged / CHUNK);
        if (who !== "client") {
          kept = chunksRecorded(dir);
          const second = await startServerChild(t, dir);
          proxy.retarget(second.to);
        }
        proxy.beginEra();
        let result: TransferResult;
        if (who === "server") result = await resultOf(client);
        else {
          result = (await sendAll(options)).result;
          t.ok(result.bytesResumed >= kept * CHUNK, `${result.bytesResumed} bytes are resumed, of ${kept} chunks`);
        }
        assertOk(t, { result });
        assertArrived(t, dir, BYTES, seed);
        const after = proxy.chunksOfEra;
        t.comment(`${before} chunks had been sent, ${kept} were recorded, ${after} were sent after it`);
        t.ok(after > 0 && after <= CHUNKS - kept, "nothing that is recorded is sent again");
      });
    }
  });
}

t.test("SIGKILL of server, at the Kth pwrite64", async (t) => {
  if (skipsWithoutStrace(t)) return;
  const random = randomFrom(77);
  for (const when of [1, ...RANGES.map(([first, last]) => Math.floor(first + (last - first) * random()))]) {
    await t.test(`K = ${when}`, async (t) => {
      const { from, to: dir } = directories(t);
      const first = await startServerChild(t, dir);
      const proxy = await startProxy(t, first.to, { shape: slowly });
      proxy.hold("stream");
      const path = makeFile(join(from, "file"), BYTES, when);
      const sending = sendAll({
        paths: [path],
        to: proxy.address,
        streams: 1,
        chunkBytes: CHUNK,
        timeoutMs: 20_000,
      });
      await proxy.until(() => proxy.framesOf("down", "PLAN") === 1);
      const inject = `pwrite64:signal=KILL:when=${when}`;
      await attachStrace(t, Number(first.process.pid), "main", { calls: ["pwrite64"], inject });
      proxy.release("stream");
      t.match(await first.exited, { signal: "SIGKILL" });
      t.same(namesIn(dir), [], "nothing has its name");
      const kept = chunksRecorded(dir);
      const second = await startServerChild(t, dir);
      proxy.retarget(second.to);
      const sent = await sending;
      assertOk(t, sent);
      assertArrived(t, dir, BYTES, when);
      const again = [...proxy.chunks].filter(([chunk, n]) => n > 1 && Number(chunk.split(":")[1]) < kept * CHUNK);
      t.comment(`${kept} chunks were recorded`);
      t.same(again, [], "nothing that is recorded is sent again");
    });
  }
});

t.test("SIGKILL of client, at the Kth pread64", async (t) => {
  if (skipsWithoutStrace(t)) return;
  for (const when of [1, 60]) {
    await t.test(`K = ${when}`, async (t) => {
      const { from, to: dir } = directories(t);
      const { to, server } = await startServer(t, dir);
      const proxy = await startProxy(t, to, { shape: slowly });
      proxy.hold("control");
      const path = makeFile(join(from, "file"), BYTES, when);
      const client = startClient(t, { paths: [path], to: proxy.address, streams: 1 });
      await proxy.until(() => proxy.framesOf("up", "HELLO") === 1);
      const inject = `pread64:signal=KILL:when=${when}`;
      await attachStrace(t, Number(client.process.pid), "main", { calls: ["pread64"], inject });
      proxy.release("control");
      t.match(await client.exited, { signal: "SIGKILL" });
      t.same(namesIn(dir), [], "nothing has its name");
      proxy.beginEra();
      const sent = await sendAll({ paths: [path], to: proxy.address, streams: 1, chunkBytes: CHUNK });
      assertOk(t, sent);
      assertArrived(t, dir, BYTES, when);
      t.equal(proxy.chunksOfEra, CHUNKS - sent.result.bytesResumed / CHUNK);
      await server.close();
      t.same(partsIn(dir), []);
    });
  }
});

t.test("SIGTERM of the server in the middle, without time to drain: the client waits for the next one", async (t) => {
  const { from, to: dir } = directories(t);
  const first = await startServerChild(t, dir, { drainMs: 0 } as object);
  const path = makeFile(join(from, "file"), BYTES, 6);
  const { sending, proxy, log } = await halfWay(t, first.to, 50, { paths: [path], timeoutMs: 20_000 });
  first.process.kill("SIGTERM");
  t.same(await first.exited, { code: 0, signal: null }, "it ends well");
  t.equal(chunksRecorded(dir), 50, "all that has come is recorded");
  t.equal(log.of("file").length, 0, "the client waits");
  const second = await startServerChild(t, dir, { port: first.to.port });
  const sent = await sending;
  assertOk(t, sent);
  assertArrived(t, dir, BYTES, 6);
  t.equal(sent.files.length, 1);
  const again = [...proxy.chunks].filter(([chunk, n]) => n > 1 && Number(chunk.split(":")[1]) < 50 * CHUNK);
  t.same(again, [], "what has come is not sent again");
  t.match(second.log.of("session"), [{ resumed: true }]);
});
