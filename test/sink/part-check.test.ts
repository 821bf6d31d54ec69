import t, { type Test } from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { chunksThere, PartCheck } from "../../src/sink/part-check.ts";
import type { ReceivedFile } from "../../src/sink/received-file.ts";
import type { Part } from "../../src/sink/sink.ts";
import { randomBytesOf } from "../helpers/bytes.ts";
import { CHUNK, chunksOf, offerOf, receivedFile } from "../helpers/received.ts";

const content = randomBytesOf(3 * CHUNK + 100);

/** A part that holds `bytes`; `before` is waited for with each read. */
const partOf = (bytes: Uint8Array, before: (offset: number) => unknown = () => {}): Part =>
  ({
    read: async (offset: number, room: Uint8Array) => {
      await before(offset);
      const found = bytes.subarray(offset, offset + room.length);
      room.set(found);
      return found.length;
    },
  }) as Part;

function altered(...offsets: number[]): Uint8Array {
  const bytes = content.slice();
  for (const offset of offsets) bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  return bytes;
}

/** A file that has inherited all of `content`, and is received into this part. */
function inheriting(part: Part | undefined): ReceivedFile {
  const file = receivedFile(offerOf("a", content.length));
  file.inherit(chunksOf(content));
  file.part = part;
  file.phase = "receiving";
  return file;
}

function setUp(_t: Test) {
  const log: string[] = [];
  const disposal = new AbortController();
  const check = new PartCheck(disposal.signal, {
    onSpoilt: (file, offset) => {
      log.push(`spoilt ${offset}`);
      file.spoil(offset);
    },
    onChecked: () => void log.push("checked"),
  });
  return { log, disposal, check };
}

t.test("chunks that are as recorded are checked", async (t) => {
  const { log, check } = setUp(t);
  const file = inheriting(partOf(content));
  t.notOk(check.isRunning);
  check.add(file);
  t.ok(check.isRunning);
  await check.idle();
  t.strictSame(log, ["checked"]);
  t.notOk(check.isRunning || file.hasUnchecked);
  t.equal(file.ledger.chunksPresent, 4);
});

t.test("chunks that are not are told, one by one", async (t) => {
  const { log, check } = setUp(t);
  check.add(inheriting(partOf(altered(CHUNK, 3 * CHUNK + 99))));
  await check.idle();
  t.strictSame(log, [`spoilt ${CHUNK}`, `spoilt ${3 * CHUNK}`, "checked"]);
});

t.test("a part that is too short, or can't be read, holds nothing", async (t) => {
  const { log, check } = setUp(t);
  check.add(inheriting(partOf(content.subarray(0, 2 * CHUNK + 5))));
  await check.idle();
  t.strictSame(log, [`spoilt ${2 * CHUNK}`, `spoilt ${3 * CHUNK}`, "checked"]);
  log.length = 0;
  const broken = partOf(content, (offset) => {
    if (offset === CHUNK) throw new HawserError("E_IO", "reading failed: EIO");
  });
  check.add(inheriting(broken));
  await check.idle();
  t.strictSame(log, [`spoilt ${CHUNK}`, "checked"]);
});

t.test("a chunk that comes while it is read is not judged by what was there before", async (t) => {
  const { log, check } = setUp(t);
  const file: ReceivedFile = inheriting(
    partOf(altered(CHUNK), (offset) => {
      if (offset === CHUNK) file.record(CHUNK, CHUNK, 4711);
    }),
  );
  check.add(file);
  await check.idle();
  t.strictSame(log, ["checked"]);
  t.equal(file.ledger.crcAt(CHUNK), 4711);
});

t.test("files are checked one after the other, and one added twice does no harm", async (t) => {
  const { log, check } = setUp(t);
  let reading = 0;
  let most = 0;
  const slow = (bytes: Uint8Array) =>
    partOf(bytes, async () => {
      most = Math.max(most, ++reading);
      await new Promise((resolve) => setImmediate(resolve));
      reading--;
    });
  const [first, second] = [inheriting(slow(content)), inheriting(slow(altered(0)))];
  for (const file of [first, second, first]) check.add(file);
  await check.idle();
  t.equal(most, 1);
  t.strictSame(log, ["checked", "spoilt 0", "checked", "checked"]);
});

t.test(
  "a file that is settled meanwhile, or has no part, is left alone; and so is the rest when all is over",
  async (t) => {
    const { log, check, disposal } = setUp(t);
    const file: ReceivedFile = inheriting(
      partOf(content, (offset) => {
        if (offset === CHUNK) file.phase = "settling";
      }),
    );
    check.add(file);
    check.add(inheriting(undefined));
    await check.idle();
    t.strictSame(log, []);
    t.ok(file.isUnchecked(2 * CHUNK));
    const late = inheriting(partOf(content, (offset) => offset === CHUNK && disposal.abort()));
    check.add(late);
    await check.idle();
    t.strictSame(log, []);
    t.ok(late.isUnchecked(2 * CHUNK));
  },
);

t.test("of chunks recorded before a reboot: those that were synced, and those that are there", async (t) => {
  const never = new AbortController().signal;
  const bytesAt = (offset: number) => Math.min(CHUNK, content.length - offset);
  const chunks = chunksOf(content).map((chunk) => ({ ...chunk, synced: chunk.offset === 0 }));
  const reads: number[] = [];
  const part = partOf(altered(0, CHUNK), (offset) => reads.push(offset));
  const there = await chunksThere(part, chunks, bytesAt, never);
  t.strictSame(
    there.map(({ offset }) => offset),
    [0, 2 * CHUNK, 3 * CHUNK],
  );
  t.strictSame(reads, [CHUNK, 2 * CHUNK, 3 * CHUNK], "what was synced needs no look");
  const over = new AbortController();
  over.abort();
  await t.rejects(chunksThere(part, chunks, bytesAt, over.signal), { name: "AbortError" });
});
