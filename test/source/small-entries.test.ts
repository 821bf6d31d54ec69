/** What is sent whole, until it is settled: bundles within their bounds, outcomes that agree, and a sink that begins anew. */
import t from "tap";
import { bundleTableBytes } from "../../src/protocol/bundle.ts";
import type { Failure, HawserError } from "../../src/protocol/errors.ts";
import { BUNDLE_FILES_MAX } from "../../src/protocol/limits.ts";
import type { SettledFile } from "../../src/protocol/messages.ts";
import type { Piece } from "../../src/source/dispatcher.ts";
import type { DirectoryItem, SmallEntry, SmallItem } from "../../src/source/entry.ts";
import { fitTerms, SmallEntries, smallBytesMax } from "../../src/source/small-entries.ts";
import { WELCOME } from "../helpers/conversation.ts";

const CHUNK = 64 * 1024;
const GONE: Failure = { code: "E_SOURCE_MISSING", message: "gone" };

const item = (name: string, size: number): SmallItem => ({
  kind: "small",
  name,
  size,
  mode: 0o644,
  quick: true,
  path: `/nowhere/${name}`,
  mtimeMs: 0,
  inode: 1,
});
const directory: DirectoryItem = { kind: "directory", name: Buffer.from("d"), size: 0, mtime: [0, 0], mode: 0o755 };

function made(chunkBytes = CHUNK) {
  const bundles: Piece[] = [];
  const settled: { item: SmallEntry; outcome: SettledFile; crc32: number | undefined }[] = [];
  const withdrawn: number[] = [];
  const errors: HawserError[] = [];
  const small = new SmallEntries(chunkBytes, {
    onBundle: (bundle) => bundles.push(bundle),
    onSettled: (item, outcome, crc32) => settled.push({ item, outcome, crc32 }),
    withdraw: (index) => withdrawn.push(index),
    onFailed: (error) => errors.push(error),
  });
  /** As if a stream had read and sent it. */
  const send = (bundle: Piece) =>
    small.onBundled(
      (bundle.bundle ?? []).map(({ file, bytes }) => ({ file, bytes, crc32: 1000 + file })),
      [],
    );
  return { small, bundles, settled, withdrawn, errors, send };
}

t.test("bundles keep to a frame, to their most files, and to their bytes", async (t) => {
  for (const [chunkBytes, sizes] of [
    [CHUNK, Array(700).fill(0)],
    [CHUNK, Array(50).fill(smallBytesMax(CHUNK))],
    [CHUNK, Array.from({ length: 600 }, (_, i) => (i * 37) % smallBytesMax(CHUNK))],
    [1024 * 1024, Array(20).fill(smallBytesMax(1024 * 1024))],
    [16 * 1024 * 1024, Array(20).fill(smallBytesMax(16 * 1024 * 1024))],
  ] as [number, number[]][]) {
    const { small, bundles } = made(chunkBytes);
    for (const [i, size] of sizes.entries()) {
      small.add(i, item(`${i}`, size));
      small.wanted(i);
      small.wanted(i);
    }
    small.flush();
    small.flush();
    const members = bundles.flatMap(({ bundle = [] }) => bundle);
    t.same(
      members.map(({ file }) => file),
      sizes.map((_, i) => i),
      `each of ${sizes.length} once, in order`,
    );
    for (const { file, bytes, bundle = [] } of bundles) {
      if (bundle.length > BUNDLE_FILES_MAX) t.fail(`${bundle.length} files`);
      if (bytes !== bundle.reduce((sum, one) => sum + one.bytes, 0)) t.fail("its bytes");
      if (bundleTableBytes(bundle.length) + bytes > chunkBytes) t.fail(`${bytes} bytes in a frame of ${chunkBytes}`);
      if (file !== bundle[0]?.file) t.fail("its number");
    }
  }
});

t.test("an outcome must have the CRC-32 that was read; one for many stands for theirs", async (t) => {
  const { small, bundles, settled, errors, send } = made();
  for (let i = 0; i < 5; i++) {
    small.add(i, item(`${i}`, 10 + i));
    small.wanted(i);
  }
  small.flush();
  t.equal(small.areSent, false);
  send(bundles[0] as Piece);
  t.equal(small.areSent, true);
  t.equal(small.onOutcome({ file: 0, status: "committed", count: 3 }), true);
  t.same(
    settled.map(({ item, outcome, crc32 }) => [item.name, outcome.status, crc32]),
    [
      ["0", "committed", 1000],
      ["1", "committed", 1001],
      ["2", "committed", 1002],
    ],
  );
  t.equal(small.onOutcome({ file: 0, status: "committed", count: 3 }), false, "once");
  small.onOutcome({ file: 3, status: "committed", size: 13, crc32: 1003 });
  t.same(errors, []);
  small.onOutcome({ file: 4, status: "committed", size: 14, crc32: 5 });
  t.match(errors, [{ code: "E_CONTENT" }]);
  t.equal(settled.length, 4);
  t.equal(small.count, 0);
});

t.test("a directory has nothing to be sent but its offer: all is sent while only such are open", async (t) => {
  const { small, send, bundles } = made();
  small.add(0, item("a", 10));
  small.add(1, directory);
  t.equal(small.areSent, false);
  small.wanted(0);
  small.flush();
  send(bundles[0] as Piece);
  t.equal(small.areSent, true);
  small.onOutcome({ file: 0, status: "committed", size: 10, crc32: 1000 });
  t.equal(small.areSent, true, "only a directory is open");
  small.restart(CHUNK, () => 0);
  t.equal(small.areSent, true);
  small.onOutcome({ file: 0, status: "committed", size: 0 });
  t.equal(small.areSent, true);
  small.add(1, item("b", 10));
  t.equal(small.areSent, false);
});

t.test("what was never read can't have been committed", async (t) => {
  const { small, errors } = made();
  small.add(0, item("0", 10));
  small.onOutcome({ file: 0, status: "committed", size: 10, crc32: 7 });
  t.match(errors, [{ code: "E_CONTENT" }]);
  const many = made();
  for (let i = 0; i < 2; i++) many.small.add(i, item(`${i}`, 10));
  many.small.onOutcome({ file: 0, status: "committed", count: 2 });
  t.match(many.errors, [{ code: "E_CONTENT" }, { code: "E_CONTENT" }]);
});

t.test("what can't be sent is withdrawn, once, and told again to a sink that asks again", async (t) => {
  const { small, bundles, withdrawn, settled, send } = made();
  for (let i = 0; i < 3; i++) {
    small.add(i, item(`${i}`, 10));
    small.wanted(i);
  }
  small.flush();
  send({ ...(bundles[0] as Piece), bundle: bundles[0]?.bundle?.slice(0, 2) ?? [] });
  small.onBundled([], [{ file: 2, failure: GONE }]);
  small.fail(2, GONE);
  t.same(withdrawn, [2]);
  t.same(
    small.stillWanted(bundles[0] as Piece)?.bundle?.map(({ file }) => file),
    [0, 1],
    "it is sent no more",
  );
  small.wanted(2);
  t.same(withdrawn, [2, 2]);
  small.onOutcome({ file: 2, status: "failed", error: { code: 401, message: "gone" } });
  t.match(settled, [{ outcome: { file: 2, status: "failed" } }]);
  small.onOutcome({ file: 0, status: "committed", size: 10, crc32: 1000 });
  small.onOutcome({ file: 1, status: "committed", size: 10, crc32: 1001 });
  t.equal(small.stillWanted(bundles[0] as Piece), undefined, "a bundle of settled files is of no use");
  t.equal(small.count, 0);
});

t.test("a sink that begins anew gets all that is open, under new numbers, and is asked again", async (t) => {
  const { small, bundles, settled, errors, send, withdrawn } = made();
  for (let i = 0; i < 4; i++) small.add(i, item(`${i}`, 10));
  small.add(4, directory);
  for (let i = 0; i < 4; i++) small.wanted(i);
  small.flush();
  send(bundles[0] as Piece);
  small.onOutcome({ file: 0, status: "committed", size: 10, crc32: 1000 });
  small.fail(3, GONE);
  small.restart(CHUNK, (before) => before - 1);
  t.same([...small.indexes], [0, 1, 2, 3]);
  t.equal(small.hasSent, false);
  t.equal(small.stillWanted(bundles[0] as Piece), undefined, "what was on its way counts for nothing");
  for (let i = 0; i < 3; i++) small.wanted(i);
  t.same(withdrawn, [3, 2], "what can't be sent is withdrawn again");
  small.flush();
  t.same(
    bundles[1]?.bundle?.map(({ file }) => file),
    [0, 1],
  );
  send(bundles[1] as Piece);
  small.onOutcome({ file: 0, status: "committed", count: 2 });
  small.onOutcome({ file: 3, status: "committed", size: 0 });
  t.same(errors, []);
  t.same(
    settled.slice(1).map(({ item }) => Buffer.from(item.name).toString()),
    ["1", "2", "d"],
  );
});

t.test("with smaller chunks some are too large to be sent whole", async (t) => {
  const { small } = made(1024 * 1024);
  small.add(0, item("small", 10));
  small.add(1, item("large", 100_000));
  small.wanted(1);
  const taken = small.takeTooLarge({ ...WELCOME, chunkBytes: CHUNK });
  t.same(
    taken.map(({ size }) => size),
    [100_000],
    "whatever was to become of them",
  );
  t.equal(small.count, 1);
  t.same(small.takeTooLarge({ ...WELCOME, chunkBytes: CHUNK, verify: "full" }).length, 1, "none goes whole then");
});

t.test("an entry as a session can offer it", async (t) => {
  const terms = { ...WELCOME, chunkBytes: CHUNK };
  const fits = item("a", smallBytesMax(CHUNK));
  t.equal(fitTerms(fits, terms), fits);
  t.match(fitTerms(item("b", smallBytesMax(CHUNK) + 1), terms), {
    kind: "failed",
    failure: { code: "E_SOURCE_MISSING" },
  });
  t.equal(fitTerms(directory, terms), directory);
  t.match(fitTerms(fits, { ...terms, verify: "full" }), { kind: "failed" }, "what is read back goes in chunks");
});
