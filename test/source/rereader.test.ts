import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { HawserError } from "../../src/protocol/errors.ts";
import type { Piece } from "../../src/source/dispatcher.ts";
import type { SourceItem } from "../../src/source/item.ts";
import { Rereader } from "../../src/source/rereader.ts";
import { randomBytesOf } from "../helpers/bytes.ts";
import { soon } from "../helpers/wire-end.ts";

const CHUNK = 1000;
const content = randomBytesOf(10 * CHUNK);

/** A file whose reads are answered by hand. */
class Item {
  readonly reads: { readonly offset: number; readonly bytes: number }[] = [];
  #answers: ((count: number | Error) => void)[] = [];
  #began: () => void = () => {};

  read(offset: number, room: Uint8Array): Promise<number> {
    this.reads.push({ offset, bytes: room.length });
    this.#began();
    return new Promise((resolve, reject) => {
      this.#answers.push((count) => {
        if (count instanceof Error) return reject(count);
        room.set(content.subarray(offset, offset + count));
        resolve(count);
      });
    });
  }

  async begun(count: number): Promise<void> {
    while (this.reads.length < count) {
      const began = new Promise<void>((resolve) => {
        this.#began = resolve;
      });
      await soon(began, `read ${count}`);
    }
  }
  /** Answers the oldest read that waits. */
  answer(count: number | Error = CHUNK): void {
    this.#answers.shift()?.(count);
  }
  get waiting(): number {
    return this.#answers.length;
  }
}

const asItem = (item: Item) => item as unknown as SourceItem;
const piece = (chunk: number, file = 0, bytes = CHUNK): Piece => ({ file, offset: chunk * CHUNK, bytes });

function reader(t: Test) {
  const heard: unknown[] = [];
  let wake: () => void = () => {};
  const note = (event: unknown) => {
    heard.push(event);
    wake();
  };
  const rereader = new Rereader({
    onRead: (_item, { file, offset }, crc) => note([file, offset / CHUNK, crc]),
    onUnreadable: (_item, { file, offset }, failure) => note([file, offset / CHUNK, failure?.code ?? "too short"]),
  });
  t.teardown(() => rereader.stop());
  const until = async (count: number) => {
    while (heard.length < count) {
      await soon(
        new Promise<void>((resolve) => {
          wake = resolve;
        }),
        `event ${count}`,
      );
    }
  };
  return { rereader, heard, until };
}
const read = (chunk: number, file = 0) => [file, chunk, crc32(content.subarray(chunk * CHUNK, (chunk + 1) * CHUNK))];

/** Lets everything run that is ready to. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test("one chunk after the other, one file after the other", async (t) => {
  const { rereader, heard, until } = reader(t);
  const [a, b] = [new Item(), new Item()];
  t.notOk(rereader.isRunning);
  rereader.add(asItem(a), [piece(0), piece(4)]);
  rereader.add(asItem(b), [piece(1, 1)]);
  t.ok(rereader.isRunning);
  t.equal(a.reads.length, 1);
  t.equal(b.reads.length, 0);
  a.answer();
  await until(1);
  await a.begun(2);
  t.equal(b.reads.length, 0);
  a.answer();
  await b.begun(1);
  b.answer();
  await until(3);
  t.strictSame(heard, [read(0), read(4), read(1, 1)]);
  await turn();
  t.notOk(rereader.isRunning);
  rereader.add(asItem(a), [piece(9)]);
  t.ok(rereader.isRunning, "it begins again");
  a.answer();
  await until(4);
  t.strictSame(heard.at(-1), read(9));
});

t.test("pieces are asked for when their turn comes", async (t) => {
  const { rereader, heard, until } = reader(t);
  const item = new Item();
  let asked = 0;
  const pieces = function* () {
    for (const chunk of [0, 1, 2]) {
      asked++;
      yield piece(chunk);
    }
  };
  rereader.add(asItem(item), pieces());
  t.equal(asked, 1);
  item.answer();
  await until(1);
  await item.begun(2);
  t.equal(asked, 2);
  item.answer();
  await until(2);
  await item.begun(3);
  item.answer();
  await until(3);
  t.strictSame(heard, [read(0), read(1), read(2)]);
});

t.test("a file that has nothing to read", async (t) => {
  const { rereader, heard } = reader(t);
  rereader.add(asItem(new Item()), []);
  await turn();
  t.notOk(rereader.isRunning);
  t.strictSame(heard, []);
});

t.test("a piece as long as it is, in the room of a longer one", async (t) => {
  const { rereader, heard, until } = reader(t);
  const item = new Item();
  rereader.add(asItem(item), [piece(0), piece(1, 0, 10)]);
  item.answer();
  await item.begun(2);
  t.strictSame(item.reads[1], { offset: CHUNK, bytes: 10 });
  item.answer(10);
  await until(2);
  t.strictSame(heard[1], [0, 1, crc32(content.subarray(CHUNK, CHUNK + 10))]);
});

t.test("a file that ends too early, and one that can't be read: the others go on", async (t) => {
  const { rereader, heard, until } = reader(t);
  const [short, broken, good] = [new Item(), new Item(), new Item()];
  rereader.add(asItem(short), [piece(0)]);
  rereader.add(asItem(broken), [piece(0, 1)]);
  rereader.add(asItem(good), [piece(0, 2)]);
  short.answer(CHUNK - 1);
  await broken.begun(1);
  broken.answer(new HawserError("E_SOURCE_IO", "the disk"));
  await good.begun(1);
  good.answer();
  await until(3);
  t.strictSame(heard, [[0, 0, "too short"], [1, 0, "E_SOURCE_IO"], read(0, 2)]);
});

t.test("cleared: nothing more of what was there, all of what comes", async (t) => {
  const { rereader, heard, until } = reader(t);
  const [before, after] = [new Item(), new Item()];
  rereader.add(asItem(before), [piece(0), piece(1)]);
  rereader.clear();
  rereader.add(asItem(after), [piece(2, 1)]);
  t.equal(after.reads.length, 0, "one read at a time");
  before.answer();
  await after.begun(1);
  after.answer();
  await until(heard.length + 1);
  t.equal(before.reads.length, 1);
  t.strictSame(heard.at(-1), read(2, 1));
});

t.test("stopped: what is being read is not told any more, and nothing is read any more", async (t) => {
  const { rereader, heard } = reader(t);
  const item = new Item();
  rereader.add(asItem(item), [piece(0), piece(1)]);
  rereader.stop();
  item.answer();
  await turn();
  t.notOk(rereader.isRunning);
  rereader.add(asItem(item), [piece(2)]);
  await turn();
  t.strictSame([item.reads.length, heard], [1, []]);
  const failing = new Item();
  const other = reader(t);
  other.rereader.add(asItem(failing), [piece(0)]);
  other.rereader.stop();
  failing.answer(new HawserError("E_SOURCE_IO", "the disk"));
  await turn();
  t.strictSame(other.heard, []);
});
