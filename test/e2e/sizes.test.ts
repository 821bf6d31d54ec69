/** Files of every size that matters, over one stream and over many: on the disk, in the result and in history. */

import { statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { measure, readHistory } from "../../src/index.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import {
  assertContent,
  contentOf,
  directories,
  hexCrc32,
  KIB,
  MIB,
  makeFile,
  namesIn,
  partsIn,
} from "../helpers/files.ts";

const SIZES: readonly (readonly [bytes: number, chunkBytes: number])[] = [
  [0, 64 * KIB],
  [1, 64 * KIB],
  [64 * KIB - 1, 64 * KIB],
  [64 * KIB, 64 * KIB],
  [64 * KIB + 1, 64 * KIB],
  [5 * 64 * KIB + 17, 64 * KIB],
  [MIB - 1, MIB],
  [MIB, MIB],
  [MIB + 1, MIB],
];

for (const streams of [1, 3, 16]) {
  t.test(`${streams} streams`, async (t) => {
    const { from, to: dir } = directories(t);
    const { to, log } = await startServer(t, dir);
    for (const [bytes, chunkBytes] of SIZES) {
      const name = `${bytes} in chunks of ${chunkBytes}`;
      await t.test(name, async (t) => {
        const content = contentOf(bytes, bytes + streams);
        const path = makeFile(join(from, name), bytes, bytes + streams);
        const sent = await sendAll({ paths: [path], to, streams, chunkBytes });
        assertOk(t, sent);
        assertContent(t, join(dir, name), content);
        t.same(sent.files, [{ name, bytes, crc32: hexCrc32(content), status: "sent", error: null }]);
        t.match(sent.result, { filesCommitted: 1, filesFailed: 0, bytes, retries: 0, streams, durability: "commit" });
        t.equal(Math.floor(statSync(join(dir, name)).mtimeMs), Math.floor(statSync(path).mtimeMs), "its time is kept");
        t.same(partsIn(dir), [], "nothing stays in staging");
        for (const past of readHistory(dir, { limit: 1 })) {
          t.match(past, { transferId: sent.result.transferId, status: "complete", files: 1, bytes, peer: "127.0.0.1" });
          const crc = hexCrc32(content);
          t.same([...past.fileRecords()], [{ name, bytes, crc32: crc, status: "committed", error: null }]);
        }
      });
    }
    t.equal(log.of("transfer").length, SIZES.length, "each was a transfer");
    t.same(log.of("ended"), [], "no session ended before its time");
  });

  t.test(`100 MiB over ${streams} streams`, async (t) => {
    const { from, to: dir } = directories(t);
    const { to } = await startServer(t, dir);
    const content = contentOf(100 * MIB, streams);
    const path = makeFile(join(from, "large.bin"), 100 * MIB, streams);
    const sent = await sendAll({ paths: [path], to, streams, ...(streams === 16 ? { chunkBytes: 64 * KIB } : {}) });
    assertOk(t, sent);
    t.equal(sent.files[0]?.crc32, hexCrc32(content));
    assertContent(t, join(dir, "large.bin"), content);
    t.same(partsIn(dir), []);
    const progress = sent.log.of("progress").at(-1);
    t.match(progress, { bytesDone: 100 * MIB, bytesTotal: 100 * MIB, filesDone: 1, filesTotal: 1, etaMs: 0 });
    const carried = progress?.streamBytes ?? [];
    t.equal(
      carried.reduce((sum, bytes) => sum + bytes, 0),
      100 * MIB,
      "each byte was carried once",
    );
    // The last of many may be attached when the others have all there is.
    const busy = carried.filter((bytes) => bytes > 0).length;
    t.ok(busy >= Math.min(streams, 3), `several streams carried some: ${carried.join(" ")}`);
  });
}

t.test("a measurement leaves nothing behind", async (t) => {
  const { to: dir } = directories(t);
  const { to, log } = await startServer(t, dir);
  const result = await measure({ to, seconds: 0.3, streams: 2 });
  t.same(result.error, null);
  t.equal(result.exitCode, 0);
  t.ok(result.bytes > 0 && result.bytesPerSecond > 0, "it measured something");
  t.not(result.cpuSeconds.server, null, "with the server's part");
  t.same(namesIn(dir), []);
  t.same(partsIn(dir), []);
  t.same([...readHistory(dir)], [], "nothing in history");
  t.same(log.of("transfer"), []);
});
