/** Streams that come and go while a transfer runs, as somebody says: what was sent arrives, once, and the server lets go. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t, { type Test } from "tap";
import { Link, type LinkOptions } from "../../src/client/link.ts";
import type { StreamCounter, StreamSample } from "../../src/client/stream-control.ts";
import { PatternItem } from "../../src/source/item.ts";
import { SourceSession } from "../../src/source/session.ts";
import { testServer } from "../helpers/backend.ts";
import { longPath } from "../helpers/paths.ts";
import { reset } from "../helpers/reset.ts";
import { soon } from "../helpers/wire-end.ts";

const CHUNK = 64 * 1024;

/** Wants one number after the other, each when the one before is there, and calls `onEnd` when it has had all. */
class Script implements StreamCounter {
  readonly everyMs = 2;
  readonly samples: StreamSample[] = [];
  readonly refusals: number[] = [];
  readonly roundTrips: number[] = [];
  readonly #numbers: number[];
  readonly #onEnd: () => void;
  wanted: number;
  readonly knowsMost = false;
  get held(): number {
    return this.wanted;
  }

  constructor(numbers: readonly number[], onEnd: () => void) {
    this.#numbers = [...numbers];
    this.#onEnd = onEnd;
    this.wanted = this.#numbers.shift() ?? 1;
  }

  roundTrip(ms: number): void {
    this.roundTrips.push(ms);
  }
  refused(streams: number): void {
    this.refusals.push(streams);
    this.wanted = Math.min(this.wanted, streams);
  }
  sample(sample: StreamSample): number {
    const before = this.samples.at(-1);
    this.samples.push(sample);
    // Something came over what there is now.
    if (sample.streams !== this.wanted || before?.streams !== sample.streams) return this.wanted;
    const next = this.#numbers.shift();
    if (next === undefined) this.#onEnd();
    this.wanted = next ?? this.wanted;
    return this.wanted;
  }
}

/** Sends without end into nothing, until the script is through. */
async function run(t: Test, to: LinkOptions["to"], numbers: readonly number[]) {
  const warnings: string[] = [];
  const counts = { sent: 0, acknowledged: 0, resent: 0 };
  const changes: number[] = [];
  const script = new Script(numbers, () => session?.endEndless());
  let session: SourceSession | undefined;
  const link: Link = new Link({
    to,
    role: "source",
    purpose: "discard",
    streams: "auto",
    makeControl: () => script,
    chunkBytes: CHUNK,
    timeoutMs: 10_000,
    awaitsAcknowledgement: () => session?.hasOutstanding ?? false,
    onReady: (_terms, _address, streams) => changes.push(streams),
    onStreams: (streams) => changes.push(streams),
    onWarning: (message) => warnings.push(message),
    makeEnd: (terms) => {
      session = new SourceSession([new PatternItem()], terms, {
        onSettled: () => {},
        onSent: (bytes) => {
          counts.sent += bytes;
        },
        onAcknowledged: (_stream, bytes) => {
          link.progress();
          counts.acknowledged += bytes;
        },
        onResent: (_reason, count) => {
          counts.resent += count;
        },
        onInherited: () => {},
        onRestarted: () => {},
        onReceipt: () => link.finish(),
        onFailed: (error) => link.fail(error),
      });
      return session;
    },
  });
  await link.start();
  const error = await soon(link.over, "the end of the transfer", 30_000);
  await session?.dispose();
  t.equal(error, undefined, error?.message ?? "no error");
  return { link, script, counts, changes, warnings };
}

t.test("streams come and go on the fly: nothing is lost, nothing comes twice", async (t) => {
  const { address, events } = await testServer(t);
  const numbers = [2, 9, 3, 8, 1, 16, 4, 5, 2, 12, 1, 3];
  const { link, script, counts, changes, warnings } = await run(t, address, numbers);
  t.strictSame(changes, numbers);
  t.strictSame([counts.resent, link.retries, warnings], [0, 0, []]);
  t.ok(counts.sent > 0);
  t.equal(counts.acknowledged, counts.sent);
  t.equal(link.streamsUsed, 16, "the most at once");
  t.ok(
    script.samples.every(({ bytes }, i) => bytes >= (script.samples[i - 1]?.bytes ?? 0)),
    "what the server has got grows",
  );
  t.ok(script.samples.some(({ remainingBytes }) => remainingBytes === Number.POSITIVE_INFINITY));
  t.ok(script.roundTrips.length >= 16);
  t.notOk(events.some(({ type }) => type === "ended"));
});

t.test(
  "a server that has no place for more: the transfer goes on with what it got, and says nothing of it",
  async (t) => {
    // One of them is the control connection, and two are kept for others.
    const { address } = await testServer(t, {}, { maxConnectionsPerPeer: 8 });
    const { link, script, counts, warnings } = await run(t, address, [2, 12]);
    t.ok(script.refusals.length > 0);
    t.ok(script.wanted >= 4 && script.wanted <= 5, `${script.wanted}`);
    t.equal(link.streamsUsed, 5);
    t.strictSame([counts.resent, warnings], [0, []]);
    t.ok(link.retries <= 12, `each is dialled once more at most: ${link.retries}`);
    t.equal(counts.acknowledged, counts.sent);
  },
);

t.test("connections that break while streams come and go: what was lost is sent again", async (t) => {
  const { address } = await testServer(t);
  const pairs: Socket[] = [];
  let count = 0;
  const breakAll = () => {
    for (const one of pairs.slice(1)) reset(one);
  };
  const proxy = createServer((socket) => {
    const there = connect(address.port, "127.0.0.1");
    for (const end of [socket, there]) end.on("error", () => {});
    socket.pipe(there).pipe(socket);
    socket.on("close", () => there.destroy());
    there.on("close", () => socket.destroy());
    pairs.push(socket);
    // All but the first, which is the control connection.
    if (++count === 14) setImmediate(() => breakAll());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  t.teardown(() => proxy.close());
  const to = { host: "127.0.0.1", port: (proxy.address() as { port: number }).port };
  const { link, counts, changes } = await run(t, to, [4, 12, 2, 10, 3]);
  t.strictSame(changes, [4, 12, 2, 10, 3]);
  t.ok(link.retries > 0);
  t.ok(counts.sent >= counts.acknowledged && counts.acknowledged > 0);
});

t.test("a relay that is near, and a server that is far: the path is as long as answers take", async (t) => {
  const { address } = await testServer(t);
  const { script, counts } = await run(t, await longPath(t, address, 30, 1 << 20), [1, 3, 2]);
  t.ok(script.roundTrips.length >= 4);
  // Timers may be a little early.
  t.ok(Math.min(...script.roundTrips) >= 50, `${Math.min(...script.roundTrips)} ms`);
  // On a busy machine one may be late, and be sent over another stream too.
  t.ok(counts.sent >= counts.acknowledged && counts.acknowledged > 0);
});
