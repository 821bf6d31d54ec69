import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { RangeSet } from "../../src/protocol/ranges.ts";
import { Dispatcher, type Piece } from "../../src/source/dispatcher.ts";

const CHUNK = 4;

const whole = (bytes: number) => [{ start: 0, end: bytes }];

interface Model {
  readonly sizes: number[];
  /** Chunks that the sink has already, by file and number. */
  readonly there?: (readonly [file: number, chunk: number])[];
  readonly splitChunks: number;
  /** Ticks that each stream needs for a chunk. */
  readonly speeds: number[];
  /** What goes wrong, in order: at a tick, a stream breaks or one of its chunks arrives damaged. */
  readonly faults: { readonly tick: number; readonly stream: number; readonly damage: boolean }[];
}

const model: fc.Arbitrary<Model> = fc.record({
  sizes: fc.array(fc.integer({ min: 0, max: 40 * CHUNK }), { minLength: 1, maxLength: 6 }),
  there: fc.array(fc.tuple(fc.nat(5), fc.nat(39)), { maxLength: 60 }),
  splitChunks: fc.integer({ min: 1, max: 7 }),
  speeds: fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 9 }),
  faults: fc.array(fc.record({ tick: fc.integer({ min: 0, max: 200 }), stream: fc.nat(8), damage: fc.boolean() }), {
    maxLength: 6,
  }),
});

/** Counts how often each byte was handed out and arrived. */
class Bytes {
  readonly #counts = new Map<number, Uint8Array>();
  constructor(sizes: number[]) {
    for (const [file, size] of sizes.entries()) this.#counts.set(file, new Uint8Array(size));
  }
  add({ file, offset, bytes }: Piece): void {
    const counts = this.#counts.get(file);
    assert.ok(counts !== undefined && offset + bytes <= counts.length, "within the file");
    for (let i = offset; i < offset + bytes; i++) counts[i] = (counts[i] as number) + 1;
  }
  get left(): number {
    return [...this.#counts.values()].reduce((sum, counts) => sum + counts.filter((count) => count === 0).length, 0);
  }
  assertOnce(): void {
    for (const [file, counts] of this.#counts) {
      for (const [at, count] of counts.entries()) assert.equal(count, 1, `byte ${at} of file ${file}: ${count} times`);
    }
  }
}

/** Streams of different speeds work through the files, and things go wrong. Returns the tick at which all was there. */
function simulate({ sizes, there = [], splitChunks, speeds, faults }: Model): number {
  const dispatcher = new Dispatcher(CHUNK, splitChunks * CHUNK);
  const arrived = new Bytes(sizes);
  /** Bytes that no stream was ever given. */
  const unhanded = new Bytes(sizes);
  const seen = new Set<string>();
  const missing = sizes.map((size) => new RangeSet([{ start: 0, end: size }]));
  for (const [file, chunk] of there) {
    const size = sizes[file % sizes.length] as number;
    const piece = { file: file % sizes.length, offset: chunk * CHUNK, bytes: Math.min(CHUNK, size - chunk * CHUNK) };
    const isOwed = piece.bytes > 0 && missing[piece.file]?.covers(piece.offset, piece.offset + piece.bytes);
    if (!isOwed) continue;
    missing[piece.file]?.subtract(piece.offset, piece.offset + piece.bytes);
    // What is there counts as handed out and arrived: once more would be too much.
    arrived.add(piece);
    unhanded.add(piece);
  }
  for (const [file, ranges] of missing.entries()) dispatcher.add(file, ranges);
  const busy = new Map<number, { piece: Piece; until: number }>();
  let given = 0;
  for (let tick = 0; ; tick++) {
    assert.ok(tick < 20_000, "it ends");
    for (const fault of faults) {
      const stream = fault.stream % speeds.length;
      if (fault.tick !== tick) continue;
      const work = busy.get(stream);
      busy.delete(stream);
      if (!fault.damage) dispatcher.release(stream);
      if (work !== undefined) {
        dispatcher.giveBack(work.piece);
        given++;
      }
    }
    for (const [stream, { piece, until }] of busy) {
      if (until > tick) continue;
      busy.delete(stream);
      arrived.add(piece);
    }
    for (const [stream, speed] of speeds.entries()) {
      if (busy.has(stream)) continue;
      const piece = dispatcher.take(stream);
      if (piece === undefined) {
        assert.equal(given, 0, `stream ${stream} idles while chunks wait to be sent again`);
        assert.equal(unhanded.left, 0, `stream ${stream} idles while ${unhanded.left} bytes are not handed out`);
        continue;
      }
      const size = sizes[piece.file] as number;
      assert.equal(piece.offset % CHUNK, 0);
      assert.equal(piece.bytes, Math.min(CHUNK, size - piece.offset), "exactly a chunk");
      const key = `${piece.file}:${piece.offset}`;
      if (seen.has(key)) given--;
      else unhanded.add(piece);
      seen.add(key);
      busy.set(stream, { piece, until: tick + speed });
    }
    if (busy.size === 0) {
      arrived.assertOnce();
      assert.equal(dispatcher.take(0), undefined);
      return tick;
    }
  }
}

t.test("every byte that is not there arrives once, no stream idles, and nothing is lost by what breaks", async () => {
  fc.assert(
    fc.property(model, (m) => void simulate(m)),
    { numRuns: 2000 },
  );
});

t.test("a slow stream never holds up the end by more than a chunk", async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 50, max: 400 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength: 8 }),
      (chunks, speeds) => {
        const ticks = simulate({ sizes: [chunks * CHUNK], splitChunks: 1, speeds, faults: [] });
        const perTick = speeds.reduce((sum, speed) => sum + 1 / speed, 0);
        const best = chunks / perTick;
        assert.ok(ticks <= best + 2 * Math.max(...speeds), `${ticks} ticks, and ${best} at best`);
      },
    ),
    { numRuns: 300 },
  );
  t.pass("in all of them");
});

t.test("what streams take over is cut at multiples of splitBytes", async (t) => {
  const split = 5 * CHUNK;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 2, max: 8 }), fc.nat(), (chunks, count, seed) => {
      const dispatcher = new Dispatcher(CHUNK, split);
      dispatcher.add(0, whole(chunks * CHUNK));
      const owner = new Map<number, Set<number>>();
      let x = seed + 1;
      let last: Piece | undefined = dispatcher.take(0);
      owner.set(0, new Set([0]));
      while (last !== undefined) {
        x = (x * 1103515245 + 12345) % 2 ** 31;
        const stream = x % count;
        last = dispatcher.take(stream);
        if (last === undefined) break;
        const block = Math.floor(last.offset / split);
        owner.set(block, (owner.get(block) ?? new Set()).add(stream));
      }
      // A block may change hands when nothing larger is left, but it is never worked on from its middle by choice.
      const shared = [...owner.values()].filter((streams) => streams.size > 1).length;
      assert.ok(shared <= count, `${shared} blocks of ${owner.size} were sent by several of ${count} streams`);
    }),
    { numRuns: 500 },
  );
  t.pass("in all of them");
});

t.test("a stream reads in order until something is taken from it", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  dispatcher.add(0, whole(10 * CHUNK));
  const offsets = (stream: number, count: number) =>
    Array.from({ length: count }, () => (dispatcher.take(stream)?.offset ?? -CHUNK) / CHUNK);
  t.strictSame(offsets(0, 3), [0, 1, 2]);
  t.strictSame(offsets(1, 1), [7], "the half that is left of the largest range");
  t.strictSame(offsets(0, 2), [3, 4]);
  t.strictSame(offsets(1, 3), [8, 9, 6], "then half of what is left of the other");
  t.strictSame(offsets(0, 2), [5, -1]);
});

t.test("what is to be sent again goes first, and to whoever asks", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  dispatcher.add(0, whole(4 * CHUNK));
  const first = dispatcher.take(0) as Piece;
  dispatcher.giveBack(first);
  t.strictSame(dispatcher.take(1), first);
});

t.test("a file that is dropped is handed out no more", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  for (const file of [0, 1, 2]) dispatcher.add(file, whole(3 * CHUNK));
  dispatcher.addEndless(3);
  const begun = dispatcher.take(0) as Piece;
  t.equal(begun.file, 0);
  dispatcher.giveBack(begun);
  for (const file of [0, 1, 3]) dispatcher.drop(file);
  const rest: Piece[] = [];
  for (let piece = dispatcher.take(0); piece !== undefined; piece = dispatcher.take(1)) rest.push(piece);
  t.strictSame(
    rest.map(({ file, offset }) => [file, offset / CHUNK]),
    [
      [2, 0],
      [2, 2],
      [2, 1],
    ],
  );
});

t.test("files without an end", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, 5 * CHUNK);
  dispatcher.addEndless(0);
  const taken = Array.from({ length: 30 }, (_, i) => dispatcher.take(i % 3) as Piece);
  t.strictSame(
    taken.map(({ file, offset, bytes }) => [file, offset, bytes]),
    taken.map((_, i) => [0, i * CHUNK, CHUNK]),
    "streams take turns, each byte once",
  );
  const lost = taken[7] as Piece;
  dispatcher.giveBack(lost);
  dispatcher.release(1);
  t.equal(dispatcher.endEndless(0), 30 * CHUNK);
  t.strictSame(dispatcher.take(2), lost, "what was lost before the end is still owed");
  t.equal(dispatcher.take(2), undefined);
  t.equal(dispatcher.endEndless(0), 0);
});

t.test("a file without an end beside files that have one", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  dispatcher.addEndless(0);
  dispatcher.add(1, whole(2 * CHUNK));
  const files = Array.from({ length: 6 }, () => dispatcher.take(0)?.file);
  t.strictSame(files, [1, 1, 0, 0, 0, 0]);
});

t.test("of a file that is partly there only the rest is handed out, the last chunk as long as it is", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  dispatcher.add(0, [
    { start: CHUNK, end: 3 * CHUNK },
    { start: 5 * CHUNK, end: 5 * CHUNK + 1 },
  ]);
  const taken = Array.from({ length: 4 }, () => dispatcher.take(0));
  t.strictSame(taken, [
    { file: 0, offset: CHUNK, bytes: CHUNK },
    { file: 0, offset: 2 * CHUNK, bytes: CHUNK },
    { file: 0, offset: 5 * CHUNK, bytes: 1 },
    undefined,
  ]);
});

t.test("a file of which all is there is never handed out", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  dispatcher.add(0, []);
  dispatcher.add(1, new RangeSet());
  t.equal(dispatcher.take(0), undefined);
  dispatcher.giveBack({ file: 0, offset: 0, bytes: CHUNK });
  t.match(dispatcher.take(0), { file: 0, offset: 0 }, "but for what has to be sent once more");
});

t.test("a file that comes in order: what is there is handed out, and no more", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  dispatcher.addEndless(3, 0);
  t.equal(dispatcher.take(0), undefined, "nothing is there");
  dispatcher.extend(3, 2 * CHUNK);
  t.same(
    [dispatcher.take(0), dispatcher.take(1), dispatcher.take(0)],
    [{ file: 3, offset: 0, bytes: CHUNK }, { file: 3, offset: CHUNK, bytes: CHUNK }, undefined],
  );
  dispatcher.extend(3, 2 * CHUNK + 1);
  t.same(dispatcher.take(1), { file: 3, offset: 2 * CHUNK, bytes: 1 }, "the last may be short");
  t.equal(dispatcher.take(1), undefined);
  dispatcher.extend(4, CHUNK);
  t.equal(dispatcher.take(1), undefined, "one that was never added, or was dropped, stays away");
});

t.test("in order: streams take turns, and of what comes again the first goes first", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, 8 * CHUNK, true);
  dispatcher.add(0, whole(4 * CHUNK + 1));
  dispatcher.add(1, whole(CHUNK));
  const offsets = (pieces: (Piece | undefined)[]) => pieces.map((piece) => piece && [piece.file, piece.offset / CHUNK]);
  const taken = [0, 1, 2, 0].map((stream) => dispatcher.take(stream));
  t.same(offsets(taken), [
    [0, 0],
    [0, 1],
    [0, 2],
    [0, 3],
  ]);
  dispatcher.release(1);
  for (const piece of [taken[2], taken[0], taken[3]]) dispatcher.giveBack(piece as Piece);
  t.same(offsets([dispatcher.takeAgain(), dispatcher.take(0), dispatcher.take(2), dispatcher.takeAgain()]), [
    [0, 0],
    [0, 2],
    [0, 3],
    undefined,
  ]);
  t.same(
    [dispatcher.take(0), dispatcher.take(1), dispatcher.take(0)],
    [{ file: 0, offset: 4 * CHUNK, bytes: 1 }, { file: 1, offset: 0, bytes: CHUNK }, undefined],
  );
});

t.test("what is left to be handed out", async (t) => {
  const dispatcher = new Dispatcher(CHUNK, CHUNK);
  t.equal(dispatcher.remainingBytes, 0);
  dispatcher.add(0, whole(5 * CHUNK));
  dispatcher.addBundle({ file: 7, offset: 0, bytes: 3, bundle: [] });
  t.equal(dispatcher.remainingBytes, 5 * CHUNK + 3);
  t.match(dispatcher.take(0), { file: 7 });
  const piece = dispatcher.take(0) as Piece;
  t.equal(dispatcher.remainingBytes, 4 * CHUNK, "a range that is begun counts");
  dispatcher.giveBack(piece);
  t.equal(dispatcher.remainingBytes, 5 * CHUNK);
  dispatcher.addEndless(1);
  t.equal(dispatcher.remainingBytes, Number.POSITIVE_INFINITY);
  dispatcher.endEndless(1);
  dispatcher.drop(0);
  t.equal(dispatcher.remainingBytes, 0);
});
