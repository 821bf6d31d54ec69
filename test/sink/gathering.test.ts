/** Which small files are committed together: those that come without a pause, up to a bound. */
import t from "tap";
import { bundleTableBytes, encodeBundleTable } from "../../src/protocol/bundle.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { Planner } from "../../src/sink/plan.ts";
import type { Batch, TreeSink } from "../../src/sink/sink.ts";
import { SmallFiles } from "../../src/sink/small-files.ts";

/** Each piece of `work` in a turn of the event loop of its own, before what has waited for that turn. */
async function turnByTurn(times: number, work: () => void): Promise<void> {
  for (let i = 0; i < times; i++) {
    const turn = new Promise((resolve) => setImmediate(resolve));
    work();
    await turn;
  }
}

/** Small files, `bytes` each, in a sink that takes down how many files each of its batches had. */
async function smallFiles(count: number, bytes = 1) {
  const batches: number[] = [];
  let settled = 0;
  const tree: Pick<TreeSink, "stages" | "findAll" | "batch"> = {
    stages: true,
    findAll: (names) => names.map(() => undefined),
    batch: (): Batch => {
      let files = 0;
      return {
        stage: () => {
          files++;
        },
        commit: async () => {
          batches.push(files);
          return Array.from({ length: files }, () => ({}));
        },
      };
    },
  };
  const sink = Object.assign(new MemorySink(), { tree });
  const planner = { sink, wishes: {}, partId: String, signal: new AbortController().signal } as unknown as Planner;
  const small = new SmallFiles(planner, {
    onSettled: () => {
      settled++;
    },
    wasOffered: () => true,
    comesInChunks: () => false,
  });
  const offers = Array.from({ length: count }, (_, file) => {
    return { file, name: Buffer.from(`f${file}`), size: bytes, mtime: [0, 0] as [number, number], mode: 0o644 };
  });
  await small.plan(offers);
  const content = Buffer.alloc(bytes);
  const crc = crc32(content);
  /** The next files, in one bundle. */
  let next = 0;
  const take = (files: number) => {
    const table = bundleTableBytes(files);
    const payload = Buffer.alloc(table + files * bytes);
    const entries = Array.from({ length: files }, () => ({ file: next++, bytes, crc32: crc }));
    encodeBundleTable(entries, payload);
    small.take(payload);
  };
  return { small, batches, take, settled: () => settled };
}

t.test("what comes in turn after turn is one batch, and a turn that brings nothing ends it", async (t) => {
  const { small, batches, take, settled } = await smallFiles(30);
  await turnByTurn(5, () => take(3));
  t.same(batches, [], "as long as there is more");
  await small.idle();
  t.same(batches, [15]);
  for (let i = 0; i < 5; i++) {
    take(3);
    await small.idle();
  }
  t.same(batches, [15, 3, 3, 3, 3, 3], "nobody waits for what does not come");
  t.equal(settled(), 30);
});

t.test("however long it goes on, a batch has a bound: in files, and in bytes", async (t) => {
  const many = await smallFiles(6000);
  await turnByTurn(60, () => many.take(100));
  await many.small.idle();
  t.equal(many.settled(), 6000);
  t.same(many.batches, [2100, 2100, 1800]);

  const large = await smallFiles(200, 1024 * 1024);
  await turnByTurn(200, () => large.take(1));
  await large.small.idle();
  t.equal(large.settled(), 200);
  t.same(large.batches, [64, 64, 64, 8]);
});
