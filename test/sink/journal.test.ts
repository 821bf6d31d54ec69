import { mock } from "node:test";
import t from "tap";
import { Journal } from "../../src/sink/journal.ts";
import { MemorySessionStore } from "../../src/sink/memory-session-store.ts";
import type { StoredChunk } from "../../src/sink/session-store.ts";

class Recorder extends MemorySessionStore {
  readonly batches: (readonly StoredChunk[])[] = [];
  fails = false;
  #heard: () => void = () => {};
  override async recordChunks(_id: string, chunks: readonly StoredChunk[]): Promise<void> {
    this.batches.push(chunks);
    this.#heard();
    if (this.fails) throw new Error("the disk is full");
  }
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#heard = resolve;
    });
  }
}
const chunk = (file: number, offset: number): StoredChunk => ({ file, offset, crc32: 1 });
const MANY = 128 * 1024 * 1024;

t.test("chunks are written down together, in their order, after so many bytes", async (t) => {
  const store = new Recorder();
  const journal = new Journal(store, "a");
  const written = store.next();
  journal.add(chunk(0, 0), 10);
  journal.add(chunk(1, 0), 10);
  t.strictSame(store.batches, []);
  journal.add(chunk(0, 10), MANY);
  await written;
  t.strictSame(store.batches, [[chunk(0, 0), chunk(1, 0), chunk(0, 10)]]);
  await journal.close();
});

t.test("or after a second", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const store = new Recorder();
  const journal = new Journal(store, "a");
  const written = store.next();
  journal.add(chunk(0, 0), 10);
  mock.timers.tick(999);
  t.strictSame(store.batches, []);
  mock.timers.tick(1);
  await written;
  t.strictSame(store.batches, [[chunk(0, 0)]]);
  await journal.close();
});

t.test("settled files need no record", async (t) => {
  const store = new Recorder();
  const journal = new Journal(store, "a");
  const written = store.next();
  for (const file of [0, 1, 2]) journal.add(chunk(file, 0), 10);
  journal.forget([0, 2]);
  journal.add(chunk(3, 0), MANY);
  await written;
  t.strictSame(store.batches, [[chunk(1, 0), chunk(3, 0)]]);
  await journal.close();
});

t.test("a journal that can't be written costs no transfer, and is tried again", async (t) => {
  const store = new Recorder();
  store.fails = true;
  const journal = new Journal(store, "a");
  const first = store.next();
  journal.add(chunk(0, 0), MANY);
  await first;
  const second = store.next();
  journal.add(chunk(0, 1), MANY);
  await second;
  await journal.close();
  t.equal(store.batches.length, 2);
});

t.test("closing drops what is not written", async (t) => {
  const store = new Recorder();
  const journal = new Journal(store, "a");
  journal.add(chunk(0, 0), 10);
  await journal.close();
  t.strictSame(store.batches, []);
});
