/** What every sink promises (src/sink/sink.ts), as one suite that each implementation runs. */
import { blake3 } from "@napi-rs/blake-hash";
import type { Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { BlockPart } from "../../src/sink/block-part.ts";
import type { Part, PartSpec, Sink } from "../../src/sink/sink.ts";
import { openWriter } from "../../src/sink/writer.ts";
import { nameOf, randomBytesOf, same, scrambled } from "../helpers/bytes.ts";

export interface SinkUnderTest {
  readonly sink: Sink;
  /** What lies at a name, seen from outside of the sink; undefined where nothing does. */
  read(name: string): Uint8Array | undefined;
  /** Parts that are held, seen from outside of the sink. */
  partsHeld(): number;
}

export interface SinkSubject {
  /** Makes an empty sink of its own for a test, whose largest file is `fileBytesMax` where that is given. */
  make(t: Test, options?: { readonly fileBytesMax?: number }): Promise<SinkUnderTest> | SinkUnderTest;
  /** In bytes: what one write brings. */
  readonly chunkBytes: number;
  /** Whether a part that was closed can be gone on with. */
  readonly reopens?: boolean;
  /** The largest file of the sink where it can't be chosen. */
  readonly fileBytesMax?: number;
}

let ids = 0;

export function specOf(name: string, size: number | null, rest: Partial<PartSpec> = {}): PartSpec {
  return { id: `part-${ids++}`, name: nameOf(name), size, mtime: [1_700_000_000, 123_456_000], mode: 0o644, ...rest };
}

/** Reserves as a session does: blocks are put together for a sink that takes whole ones only. */
export async function reserve(sink: Sink, spec: PartSpec): Promise<Part> {
  const part = await sink.reserve(spec);
  const { randomAccess, blockBytes } = sink.capabilities;
  return randomAccess ? part : new BlockPart(part, blockBytes, spec.size);
}

/** Writes as a stream does: through the descriptor, in chunks, in any order. */
export async function write(part: Part, content: Uint8Array, chunkBytes: number, seed = 1): Promise<void> {
  const writer = openWriter(part.open());
  const offsets: number[] = [];
  for (let at = 0; at < content.length; at += chunkBytes) offsets.push(at);
  for (const at of scrambled(offsets, seed)) {
    const bytes = content.subarray(at, at + chunkBytes);
    await writer.write(at, bytes);
    part.written(bytes.length);
  }
}

/** Commits a part with this content, as a session does. */
export const commit = (part: Part, content: Uint8Array) => part.commit(content.length, crc32(content));

export async function put(sink: Sink, name: string, content: Uint8Array, chunkBytes: number): Promise<void> {
  const part = await reserve(sink, specOf(name, content.length));
  await write(part, content, chunkBytes);
  await commit(part, content);
}

export function sinkConformance(t: Test, { make, chunkBytes, reopens = true, fileBytesMax }: SinkSubject): void {
  const never = new AbortController().signal;
  const content = randomBytesOf(7 * chunkBytes + 1234, 7);

  t.test("finds what is there, its size and its digest, and nothing where nothing is", async (t) => {
    const { sink } = await make(t);
    t.equal(await sink.find(nameOf("a")), undefined);
    t.equal(await sink.find(nameOf("no/such/place")), undefined);
    await put(sink, "a", content, chunkBytes);
    const found = await sink.find(nameOf("a"));
    t.equal(found?.size, content.length);
    t.ok(same(await found?.digest(never), blake3(Buffer.from(content))), "the digest is that of the content");
    t.equal(await sink.find(nameOf("b")), undefined);
    await put(sink, "empty", new Uint8Array(0), chunkBytes);
    const empty = await sink.find(nameOf("empty"));
    t.equal(empty?.size, 0);
    t.ok(same(await empty?.digest(never), blake3(Buffer.alloc(0))));
  });

  t.test("chunks in any order make exactly the file", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    for (const [i, size] of [0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, content.length].entries()) {
      const bytes = content.subarray(0, size);
      const part = await reserve(sink, specOf(`f${i}`, size));
      await write(part, bytes, chunkBytes, i + 1);
      await commit(part, bytes);
      t.ok(same(read(`f${i}`), bytes), `${size} bytes`);
    }
    t.equal(partsHeld(), 0);
  });

  t.test("the same range may be written again", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("a", content.length));
    const other = randomBytesOf(chunkBytes, 99);
    const writer = openWriter(part.open());
    await writer.write(chunkBytes, other);
    await write(part, content, chunkBytes);
    await commit(part, content);
    t.ok(same(read("a"), content), "what was written last is what counts");
  });

  t.test("the same range may be written again when all is written", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("a", content.length));
    await write(part, content, chunkBytes);
    await openWriter(part.open()).write(2 * chunkBytes, content.subarray(2 * chunkBytes, 3 * chunkBytes));
    await commit(part, content);
    t.ok(same(read("a"), content));
  });

  t.test("a chunk with holes has zeros there", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("a", content.length));
    const holes = new Uint8Array(content);
    holes.fill(0, 2 * chunkBytes, 3 * chunkBytes);
    holes.fill(0, 4 * chunkBytes + 10, 5 * chunkBytes - 10);
    const data = [0, chunkBytes - 10].map((start) => ({
      start,
      bytes: holes.subarray(4 * chunkBytes + start, 4 * chunkBytes + start + 10),
    }));
    const writer = openWriter(part.open());
    for (let at = 0; at < holes.length; at += chunkBytes) {
      if (at === 2 * chunkBytes) await writer.writeSparse(at, { bytes: chunkBytes, data: [] }, true);
      else if (at === 4 * chunkBytes) await writer.writeSparse(at, { bytes: chunkBytes, data }, true);
      else await writer.write(at, holes.subarray(at, at + chunkBytes));
    }
    await commit(part, holes);
    t.ok(same(read("a"), holes));
  });

  t.test("a size that isn't known until the end", async (t) => {
    const { sink, read } = await make(t);
    for (const size of [0, 10, chunkBytes, content.length]) {
      const bytes = content.subarray(0, size);
      const part = await reserve(sink, specOf(`of-${size}`, null));
      await write(part, bytes, chunkBytes);
      await commit(part, bytes);
      t.ok(same(read(`of-${size}`), bytes), `${size} bytes`);
    }
  });

  t.test("opening is idempotent, and a part need not be opened at all", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("a", content.length));
    t.strictSame(part.open(), part.open());
    await write(part, content, chunkBytes);
    await commit(part, content);
    t.ok(same(read("a"), content));
    const empty = await reserve(sink, specOf("empty", 0));
    await commit(empty, new Uint8Array(0));
    t.ok(same(read("empty"), new Uint8Array(0)));
  });

  t.test("nothing bears the name before the commit", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("dir/a", content.length));
    t.equal(read("dir/a"), undefined);
    await write(part, content, chunkBytes);
    t.equal(read("dir/a"), undefined);
    t.equal(await sink.find(nameOf("dir/a")), undefined);
    await commit(part, content);
    t.ok(same(read("dir/a"), content));
  });

  t.test("a commit never replaces what is there", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    const late = await reserve(sink, specOf("a", 4));
    await write(late, nameOf("late"), chunkBytes);
    await put(sink, "a", content, chunkBytes);
    for (const again of [false, true]) {
      await t.rejects(commit(late, nameOf("late")), { name: "HawserError", code: "E_EXISTS" }, `again: ${again}`);
      t.ok(same(read("a"), content), "what was there stays");
      t.equal(partsHeld(), 1, "and so does the part, for its owner to drop");
    }
    await late.abort();
    t.equal(partsHeld(), 0);
    await put(sink, "b", content, chunkBytes);
  });

  t.test("of 20 at once for one name one wins", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    const contents = Array.from({ length: 20 }, (_, i) => randomBytesOf(1000 + i, i + 1));
    const parts = await Promise.all(contents.map((bytes) => reserve(sink, specOf("dir/sub/one", bytes.length))));
    for (const [i, part] of parts.entries()) await write(part, contents[i] as Uint8Array, chunkBytes);
    const ends = await Promise.allSettled(parts.map((part, i) => commit(part, contents[i] as Uint8Array)));
    const winners = ends.flatMap(({ status }, i) => (status === "fulfilled" ? [i] : []));
    t.equal(winners.length, 1);
    for (const end of ends) if (end.status === "rejected") t.match(end.reason, { code: "E_EXISTS" });
    t.ok(same(read("dir/sub/one"), contents[winners[0] as number] as Uint8Array), "the winner's bytes, unmixed");
    for (const part of parts) await part.abort();
    t.equal(partsHeld(), 0);
  });

  t.test("an abort leaves nothing, and again is nothing", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    const begun = await reserve(sink, specOf("begun", content.length));
    await write(begun, content.subarray(0, 2 * chunkBytes), chunkBytes);
    const untouched = await reserve(sink, specOf("untouched", content.length));
    const whole = await reserve(sink, specOf("whole", content.length));
    await write(whole, content, chunkBytes);
    for (const part of [begun, untouched, whole, begun, whole]) await part.abort();
    for (const name of ["begun", "untouched", "whole"]) t.equal(read(name), undefined);
    t.equal(partsHeld(), 0);
    await t.rejects(commit(whole, content), { name: "HawserError" });
    t.equal(read("whole"), undefined);
    await put(sink, "whole", content, chunkBytes);
    t.ok(same(read("whole"), content), "the name is free");
  });

  t.test("an abort after the commit takes nothing back", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("a", content.length));
    await write(part, content, chunkBytes);
    await commit(part, content);
    await part.abort();
    t.ok(same(read("a"), content));
  });

  t.test("a file that is too large is refused", async (t) => {
    const { sink, partsHeld } = await make(t, { fileBytesMax: 1000 });
    const max = fileBytesMax ?? 1000;
    t.equal(sink.capabilities.fileBytesMax, max);
    await t.rejects(reserve(sink, specOf("a", max + 1)), { name: "HawserError", code: "E_TOO_LARGE" });
    t.equal(partsHeld(), 0);
    if (fileBytesMax === undefined) await put(sink, "a", new Uint8Array(1000), chunkBytes);
  });

  t.test("directories are made", async (t) => {
    const { sink, read } = await make(t);
    await Promise.all(["x/y/z/a", "x/y/b", "x/c", "x/y/z/d"].map((name) => put(sink, name, nameOf(name), chunkBytes)));
    for (const name of ["x/y/z/a", "x/y/b", "x/c", "x/y/z/d"]) t.ok(same(read(name), nameOf(name)), name);
    t.equal((await sink.find(nameOf("x/y/b")))?.size, 5);
  });

  t.test("many parts at once don't mix", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    const files = Array.from({ length: 8 }, (_, i) => randomBytesOf(2 * chunkBytes + 17 * i, 50 + i));
    const parts = await Promise.all(files.map((bytes, i) => reserve(sink, specOf(`n${i}`, bytes.length))));
    await Promise.all(parts.map((part, i) => write(part, files[i] as Uint8Array, chunkBytes, i + 1)));
    await Promise.all(parts.map((part, i) => commit(part, files[i] as Uint8Array)));
    for (const [i, bytes] of files.entries()) t.ok(same(read(`n${i}`), bytes), `file ${i}`);
    t.equal(partsHeld(), 0);
  });

  t.test("what was committed is known again by its fingerprint, name and size, and nothing else is", async (t) => {
    const { sink } = await make(t);
    const [a, b] = [await reserve(sink, specOf("dir/a", content.length)), await reserve(sink, specOf("b", 10))];
    await write(a, content, chunkBytes);
    await write(b, content.subarray(0, 10), chunkBytes);
    const prints = { a: a.fingerprint, b: b.fingerprint };
    t.not(prints.a, prints.b);
    const isA = (name = "dir/a", print = prints.a, size = content.length) =>
      sink.isCommitted(nameOf(name), print, size);
    t.equal(await isA(), false, "not before the commit");
    await commit(a, content);
    await commit(b, content.subarray(0, 10));
    t.equal(await isA(), true);
    t.equal(await isA("b"), false, "another name");
    t.equal(await isA("dir/none"), false);
    t.equal(await isA("none/a"), false);
    t.equal(await isA("dir"), false);
    t.equal(await isA("dir/a", prints.b), false, "another file");
    t.equal(await isA("dir/a", ""), false);
    t.equal(await isA("dir/a", prints.a, content.length - 1), false, "another size");
    t.equal(await sink.isCommitted(nameOf("b"), prints.b, 10), true);
  });

  t.test("parts are dropped by their ids: one, or all but some", async (t) => {
    const { sink, partsHeld } = await make(t);
    t.equal(await sink.dropAllBut(new Set()), 0);
    await put(sink, "done", content, chunkBytes);
    t.equal(await sink.dropAllBut(new Set()), 0, "what was committed is no part");
    const ids: string[] = [];
    for (const name of ["a", "b", "c", "d"]) {
      const spec = specOf(name, content.length);
      ids.push(spec.id);
      const part = await reserve(sink, spec);
      await write(part, content.subarray(0, chunkBytes), chunkBytes);
      await part.close();
    }
    if (!reopens) return t.equal(partsHeld(), 0, "nothing lies that can't be gone on with");
    const [a = "", b = "", c = ""] = ids;
    t.equal(partsHeld(), 4);
    await sink.dropPart(a);
    await sink.dropPart(a);
    await sink.dropPart("none");
    t.equal(partsHeld(), 3);
    t.equal(await sink.dropAllBut(new Set([b, c, "none"])), 1);
    t.equal(partsHeld(), 2);
    t.equal(await sink.reopen(specOf("d", content.length, { id: ids[3] ?? "" }), 0), undefined);
    t.ok(await sink.dropAllBut(new Set([b])));
    const kept = await sink.reopen(specOf("b", content.length, { id: b }), chunkBytes);
    t.ok(kept);
    await kept?.abort();
    t.equal(partsHeld(), 0);
  });

  if (!reopens) return;

  t.test("a part that was closed lies, and can be gone on with", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    const spec = specOf("dir/a", content.length);
    const first = await reserve(sink, spec);
    await write(first, content.subarray(0, 3 * chunkBytes), chunkBytes);
    await first.close();
    await first.close();
    t.equal(partsHeld(), 1);
    t.equal(read("dir/a"), undefined);

    const second = await sink.reopen(spec, 3 * chunkBytes);
    if (second === undefined) return t.fail("it is there");
    const room = new Uint8Array(chunkBytes);
    t.equal(await second.read(chunkBytes, room), chunkBytes);
    t.ok(same(room, content.subarray(chunkBytes, 2 * chunkBytes)), "with what was written");
    const writer = openWriter(second.open());
    for (let at = 2 * chunkBytes; at < content.length; at += chunkBytes) {
      await writer.write(at, content.subarray(at, at + chunkBytes));
    }
    await second.sync();
    await commit(second, content);
    t.ok(same(read("dir/a"), content));
    t.equal(partsHeld(), 0);
    t.equal(await sink.reopen(spec, content.length), undefined, "after the commit it is gone");
  });

  t.test("a part that is not there can't be reopened, and promises nothing", async (t) => {
    const { sink, partsHeld } = await make(t);
    t.equal(await sink.reopen(specOf("a", content.length), 0), undefined);
    const spec = specOf("b", content.length);
    const part = await reserve(sink, spec);
    await write(part, content, chunkBytes);
    await part.abort();
    t.equal(await sink.reopen(spec, content.length), undefined, "nor one that was dropped");
    t.equal(partsHeld(), 0);
  });

  t.test("reading brings what is there, and less where the part ends", async (t) => {
    const { sink } = await make(t);
    const part = await reserve(sink, specOf("a", null));
    await write(part, content.subarray(0, chunkBytes + 10), chunkBytes);
    const read = async (at: number, bytes: number) => {
      const room = new Uint8Array(bytes);
      return room.subarray(0, await part.read(at, room));
    };
    t.ok(same(await read(0, chunkBytes), content.subarray(0, chunkBytes)));
    t.ok(same(await read(chunkBytes, chunkBytes), content.subarray(chunkBytes, chunkBytes + 10)));
    t.ok(same(await read(5, 20), content.subarray(5, 25)));
    t.equal((await read(chunkBytes + 10, 10)).length, 0);
    t.equal((await read(100 * chunkBytes, 10)).length, 0);
    await part.abort();
  });

  t.test("syncing is possible at any time, and again", async (t) => {
    const { sink, read } = await make(t);
    const part = await reserve(sink, specOf("a", content.length));
    await part.sync();
    await write(part, content, chunkBytes);
    await Promise.all([part.sync(), part.sync()]);
    await commit(part, content);
    await part.sync();
    t.ok(same(read("a"), content));
  });

  t.test("a commit that was refused can be made again when the name is free, as if there had been none", async (t) => {
    const { sink, read, partsHeld } = await make(t);
    const spec = specOf("a", content.length);
    const late = await reserve(sink, spec);
    await write(late, content, chunkBytes);
    await put(sink, "a", nameOf("first"), chunkBytes);
    await t.rejects(commit(late, content), { code: "E_EXISTS" });
    const room = new Uint8Array(10);
    t.equal(await late.read(0, room), 10);
    await late.close();
    t.equal(partsHeld(), 1);
    const again = await sink.reopen(spec, content.length);
    t.equal(await again?.read(0, room), 10);
    t.ok(same(room, content.subarray(0, 10)));
    await t.rejects(async () => again?.commit(content.length, crc32(content)), { code: "E_EXISTS" });
    await again?.abort();
    t.ok(same(read("a"), nameOf("first")));
    t.equal(partsHeld(), 0);
  });
}
