import { Writable } from "node:stream";
import t from "tap";
import { InOrderSink } from "../../src/sink/in-order-sink.ts";
import { randomBytesOf, same, scrambled } from "../helpers/bytes.ts";
import { commit, specOf, write } from "./sink-conformance.ts";

const CHUNK = 1000;

/** Keeps what it gets, one write at a time; each is done when `next` says so, or at once. */
class Pipe extends Writable {
  readonly pieces: Buffer[] = [];
  readonly #held: ((error?: Error) => void)[] = [];
  readonly #holds: boolean;
  constructor(holds = false) {
    super({ highWaterMark: 1 });
    this.#holds = holds;
  }
  override _write(bytes: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.pieces.push(Buffer.from(bytes));
    if (this.#holds) this.#held.push(done);
    else done();
  }
  next(error?: Error): void {
    this.#held.shift()?.(error);
  }
  get content(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test("chunks in any order, and some of them twice, come out in order", async (t) => {
  for (const size of [0, 1, CHUNK, CHUNK + 1, 20 * CHUNK + 5]) {
    const pipe = new Pipe();
    const part = await new InOrderSink(pipe).reserve(specOf("a", size));
    const content = randomBytesOf(size, 3);
    const starts = Array.from({ length: Math.ceil(size / CHUNK) }, (_, i) => i * CHUNK);
    const writes = scrambled([...starts, ...starts], size).map((at) =>
      part.write(at, content.subarray(at, at + CHUNK)),
    );
    await Promise.all(writes);
    await commit(part, content);
    t.ok(same(pipe.content, content), `${size} bytes`);
  }
});

t.test("a write is done when its bytes are out, and not before", async (t) => {
  const pipe = new Pipe(true);
  const sink = new InOrderSink(pipe);
  const part = await sink.reserve(specOf("a", null));
  const done: number[] = [];
  const writes = [2, 1, 0].map(async (i) => {
    await part.write(i * CHUNK, randomBytesOf(CHUNK, i));
    done.push(i);
  });
  await turn();
  t.same([done, pipe.pieces.length, sink.isWriting], [[], 1, true]);
  pipe.next();
  await turn();
  t.same([done, pipe.pieces.length], [[0], 2]);
  pipe.next();
  await turn();
  pipe.next();
  await Promise.all(writes);
  t.same([done, sink.isWriting], [[0, 1, 2], false]);
  await t.rejects(part.commit(4 * CHUNK, 0), { code: "E_INTERNAL" }, "a commit of more than came out is a bug");
});

t.test("waiting for a chunk that is missing is not writing", async (t) => {
  const sink = new InOrderSink(new Pipe());
  t.equal(sink.isWriting, false);
  const part = await sink.reserve(specOf("a", null));
  const waiting = part.write(CHUNK, randomBytesOf(CHUNK));
  t.equal(sink.isWriting, false);
  await part.write(0, randomBytesOf(CHUNK));
  await waiting;
  t.equal(sink.isWriting, false);
});

t.test("a stream that is closed fails what waits, and what comes", async (t) => {
  const pipe = new Pipe(true);
  const part = await new InOrderSink(pipe).reserve(specOf("a", null));
  const writes = [0, 1, 2].map((i) => part.write(i * CHUNK, randomBytesOf(CHUNK)));
  await turn();
  pipe.next(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  for (const one of writes) await t.rejects(one as Promise<void>, { code: "E_DESTINATION" });
  await t.rejects(part.write(3 * CHUNK, randomBytesOf(CHUNK)) as Promise<void>, { code: "E_DESTINATION" });
  await t.rejects(part.commit(3 * CHUNK, 0), { code: "E_DESTINATION" });
});

t.test("what waits when a part is given up is let go", async (t) => {
  const part = await new InOrderSink(new Pipe()).reserve(specOf("a", null));
  const waiting = part.write(CHUNK, randomBytesOf(CHUNK)) as Promise<void>;
  await part.abort();
  await t.rejects(waiting, { code: "E_DESTINATION" });
  await part.abort();
});

t.test("there is one part, unless nothing of it came out", async (t) => {
  const sink = new InOrderSink(new Pipe(), 5 * CHUNK);
  await t.rejects(sink.reserve(specOf("a", 5 * CHUNK + 1)), { code: "E_TOO_LARGE" });
  const first = await sink.reserve(specOf("a", CHUNK));
  await t.rejects(sink.reserve(specOf("b", CHUNK)), { code: "E_ONE_FILE" });
  await first.close();
  const content = randomBytesOf(CHUNK);
  const second = await sink.reserve(specOf("b", CHUNK));
  await write(second, content, CHUNK);
  await commit(second, content);
  await second.abort();
  await t.rejects(sink.reserve(specOf("c", CHUNK)), { code: "E_ONE_FILE" });
  t.equal(await sink.reopen(), undefined);
  t.equal(await sink.find(), undefined);
});

t.test("an empty file is a file: no other comes out after it", async (t) => {
  const sink = new InOrderSink(new Pipe());
  const empty = await sink.reserve(specOf("a", 0));
  await empty.commit(0, 0);
  await empty.abort();
  await t.rejects(sink.reserve(specOf("b", CHUNK)), { code: "E_ONE_FILE" });
});
