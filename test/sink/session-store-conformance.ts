/** What every store of sessions promises (src/sink/session-store.ts), as one suite. */
import type { Test } from "tap";
import type { SessionRecord, SessionStore, StoredFile } from "../../src/sink/session-store.ts";
import { nameOf } from "../helpers/bytes.ts";

export function recordOf(id: string, createdMs = 1_700_000_000_000): SessionRecord {
  return { id, transferId: `t-${id}`, peer: "192.0.2.1", createdMs, chunkBytes: 1024 * 1024 };
}

export function fileOf(file: number, rest: Partial<StoredFile> = {}): StoredFile {
  return { file, name: nameOf(`file ${file}`), size: 10, mtime: [1, 2], mode: 0o644, partId: `p${file}`, ...rest };
}

/** Names as plain bytes, whichever class of them a store gives. */
async function load(store: SessionStore, id: string) {
  const session = await store.load(id);
  return session && { ...session, files: session.files.map((file) => ({ ...file, name: Buffer.from(file.name) })) };
}
const plain = (files: StoredFile[]) => files.map((file) => ({ ...file, name: Buffer.from(file.name) }));

export function sessionStoreConformance(t: Test, make: (t: Test) => SessionStore): void {
  t.test("a session that is not there", async (t) => {
    const store = make(t);
    t.equal(await store.load("none"), undefined);
    t.strictSame(await store.list(), []);
    await store.drop("none");
    await store.settleFiles("none", [1, 2]);
  });

  t.test("a session, its files and its chunks come back, in order", async (t) => {
    const store = make(t);
    await store.create(recordOf("a"));
    t.strictSame(await load(store, "a"), { record: recordOf("a"), files: [], chunks: [] });
    await store.putFiles("a", [fileOf(2), fileOf(0)]);
    await store.putFiles("a", [fileOf(10), fileOf(1)]);
    await store.recordChunks("a", [
      { file: 2, offset: 1024, crc32: 0xffffffff },
      { file: 0, offset: 0, crc32: 0 },
    ]);
    await store.recordChunks("a", [
      { file: 2, offset: 0, crc32: 7 },
      { file: 10, offset: 2 ** 40, crc32: 8 },
    ]);
    t.strictSame(await load(store, "a"), {
      record: recordOf("a"),
      files: plain([fileOf(0), fileOf(1), fileOf(2), fileOf(10)]),
      chunks: [
        { file: 0, offset: 0, crc32: 0 },
        { file: 2, offset: 0, crc32: 7 },
        { file: 2, offset: 1024, crc32: 0xffffffff },
        { file: 10, offset: 2 ** 40, crc32: 8 },
      ],
    });
  });

  t.test("the ends of what a field may hold", async (t) => {
    const store = make(t);
    const max = Number.MAX_SAFE_INTEGER;
    await store.create(recordOf("a"));
    const files = [
      fileOf(0, { size: null, mode: 0, mtime: [-max, 999_999_999] }),
      fileOf(1, { size: 0, mode: 0o7777, mtime: [max, 0], name: new Uint8Array(0) }),
      fileOf(0xffffffff, { size: max, name: Uint8Array.of(0, 0xff, 0x2f, 0xfe) }),
      fileOf(2, { size: 2 ** 52 + 1, name: new Uint8Array(4095).fill(0x61) }),
    ].sort((a, b) => a.file - b.file);
    await store.putFiles("a", files);
    await store.recordChunks("a", [{ file: 0xffffffff, offset: max - 1, crc32: 1 }]);
    const found = await load(store, "a");
    t.strictSame(found?.files, plain(files));
    t.strictSame(found?.chunks, [{ file: 0xffffffff, offset: max - 1, crc32: 1 }]);
  });

  t.test("a file and a chunk that are there already are replaced", async (t) => {
    const store = make(t);
    await store.create(recordOf("a"));
    await store.putFiles("a", [fileOf(0), fileOf(1)]);
    await store.recordChunks("a", [{ file: 0, offset: 0, crc32: 1 }]);
    await store.putFiles("a", [fileOf(0, { size: 99 })]);
    await store.recordChunks("a", [{ file: 0, offset: 0, crc32: 2 }]);
    const found = await load(store, "a");
    t.strictSame(found?.files, plain([fileOf(0, { size: 99 }), fileOf(1)]));
    t.strictSame(found?.chunks, [{ file: 0, offset: 0, crc32: 2 }]);
  });

  t.test("a settled file is forgotten with its chunks, and no other", async (t) => {
    const store = make(t);
    for (const id of ["a", "b"]) {
      await store.create(recordOf(id));
      await store.putFiles(id, [fileOf(0), fileOf(1)]);
      await store.recordChunks(id, [
        { file: 0, offset: 0, crc32: 1 },
        { file: 1, offset: 0, crc32: 2 },
      ]);
    }
    await store.settleFiles("a", [0, 5]);
    await store.settleFiles("a", [0]);
    const left = { files: plain([fileOf(1)]), chunks: [{ file: 1, offset: 0, crc32: 2 }] };
    t.strictSame(await load(store, "a"), { record: recordOf("a"), ...left });
    t.equal((await load(store, "b"))?.files.length, 2);
    t.equal((await load(store, "b"))?.chunks.length, 2);
  });

  t.test("dropping forgets all of a session, and again is nothing", async (t) => {
    const store = make(t);
    for (const id of ["a", "b"]) {
      await store.create(recordOf(id));
      await store.putFiles(id, [fileOf(0)]);
      await store.recordChunks(id, [{ file: 0, offset: 0, crc32: 1 }]);
    }
    await store.drop("a");
    await store.drop("a");
    t.equal(await store.load("a"), undefined);
    t.equal((await load(store, "b"))?.chunks.length, 1);
    await store.create(recordOf("a"));
    t.strictSame(await load(store, "a"), { record: recordOf("a"), files: [], chunks: [] }, "nothing old comes back");
  });

  t.test("sessions are listed, oldest first", async (t) => {
    const store = make(t);
    for (const [id, createdMs] of [
      ["c", 3],
      ["a", 1],
      ["b", 2],
    ] as const)
      await store.create(recordOf(id, createdMs));
    t.strictSame(await store.list(), [recordOf("a", 1), recordOf("b", 2), recordOf("c", 3)]);
    await store.drop("b");
    t.strictSame(
      (await store.list()).map(({ id }) => id),
      ["a", "c"],
    );
  });

  t.test("a long journal", async (t) => {
    const store = make(t);
    await store.create(recordOf("a"));
    await store.putFiles("a", [fileOf(0)]);
    const chunks = Array.from({ length: 5000 }, (_, i) => ({ file: 0, offset: i * 1024, crc32: i }));
    await store.recordChunks("a", chunks.toReversed());
    t.strictSame((await store.load("a"))?.chunks, chunks);
    await store.recordChunks("a", []);
    await store.putFiles("a", []);
    await store.settleFiles("a", []);
    t.equal((await store.load("a"))?.chunks.length, 5000);
  });
}
