import t from "tap";
import type { SettledFile } from "../../src/protocol/messages.ts";
import { OutcomeQueue, type SettledRecord } from "../../src/sink/outcome-queue.ts";
import { nameOf } from "../helpers/bytes.ts";

const committed = (file: number, size = 10): SettledRecord => ({
  outcome: { file, status: "committed", size, crc32: 1 },
  name: nameOf(`f${file}`),
  failure: undefined,
  storedId: 1000 + file,
});
const failed = (file: number, message = "no"): SettledRecord => ({
  outcome: { file, status: "failed", error: { code: 301, message } },
  name: nameOf(`f${file}`),
  failure: { code: "E_EXISTS", message },
  storedId: undefined,
});

function queue() {
  const log: string[] = [];
  const pages: SettledFile[][] = [];
  let empty: () => void = () => {};
  let emptied = new Promise<void>((resolve) => {
    empty = resolve;
  });
  const q = new OutcomeQueue({
    record: async (records) => {
      log.push(`record ${records.map(({ outcome }) => outcome.file)}`);
      await new Promise((resolve) => setImmediate(resolve));
    },
    send: (outcomes) => {
      pages.push(outcomes);
      log.push(`send ${outcomes.map(({ file }) => file)}`);
    },
    onEmpty: async () => {
      log.push("empty");
      empty();
      emptied = new Promise<void>((resolve) => {
        empty = resolve;
      });
    },
  });
  return { q, log, pages, emptied: () => emptied };
}

t.test("what settles together is recorded together, and told after that", async (t) => {
  const { q, log, emptied } = queue();
  const wait = emptied();
  for (const file of [0, 1, 2]) q.add(committed(file));
  t.notOk(q.isEmpty);
  await wait;
  t.strictSame(log, ["record 0,1,2", "send 0,1,2", "empty"]);
  t.ok(q.isEmpty);
});

t.test("the totals are of what is at its destination", async (t) => {
  const { q, emptied } = queue();
  const wait = emptied();
  q.add(committed(0, 100));
  q.add(failed(1));
  q.add({ ...committed(2, 5), outcome: { file: 2, status: "unchanged", size: 5 } });
  await wait;
  t.strictSame(q.totals, { files: 3, failed: 1, bytes: 105 });
});

t.test("an outcome can be told again until the source is known to have it", async (t) => {
  const { q, log, emptied } = queue();
  const wait = emptied();
  for (const file of [0, 1]) q.add(committed(file));
  t.ok(q.sendAgain(0), "it is on its way anyhow");
  t.strictSame(log, []);
  await wait;
  t.ok(q.sendAgain(1));
  t.equal(log.at(-1), "send 1");
  t.strictSame(q.forgetBelow(1), [1000], "its row may go");
  t.strictSame(q.forgetBelow(1), []);
  t.notOk(q.sendAgain(0));
  t.ok(q.sendAgain(1));
  t.notOk(q.sendAgain(7));
});

t.test("many outcomes and long messages come in pages that fit a frame", async (t) => {
  const { q, pages, emptied } = queue();
  const wait = emptied();
  const message = "\u{20ac}".repeat(1024);
  for (let file = 0; file < 200; file++) q.add(failed(file, message));
  await wait;
  t.strictSame(
    pages.flat().map(({ file }) => file),
    Array.from({ length: 200 }, (_, i) => i),
  );
  for (const page of pages) t.ok(Buffer.byteLength(JSON.stringify(page)) < 64 * 1024);
});
