import fc from "fast-check";
import t from "tap";
import { combineCrc32, crc32 } from "../../src/protocol/crc32.ts";
import { HAVE_CHUNKS_MAX } from "../../src/protocol/limits.ts";
import { ReceivedFile } from "../../src/sink/received-file.ts";
import { CHUNK, offerOf } from "../helpers/received.ts";

const fileOf = (size: number | null) => new ReceivedFile(offerOf("a", size), CHUNK);
const at = (chunk: number, crc = 1) => ({ file: 1, offset: chunk * CHUNK, crc32: crc, synced: false });

t.test("what an earlier run left is there, and unchecked", (t) => {
  const file = fileOf(2 * CHUNK + 10);
  file.inherit([at(2, 7), at(0, 5)]);
  t.ok(file.hasUnchecked);
  t.ok(file.isUnchecked(0) && file.isUnchecked(2 * CHUNK));
  t.notOk(file.isUnchecked(CHUNK), "it is not there at all");
  t.equal(file.ledger.crcAt(0), 5);
  t.equal(file.bytesInherited, CHUNK + 10);
  t.equal(file.nextUnchecked(), 0);
  file.checked(0);
  t.equal(file.nextUnchecked(), 2 * CHUNK);
  file.checked(2 * CHUNK);
  t.equal(file.nextUnchecked(), undefined);
  t.notOk(file.hasUnchecked);
  t.equal(file.bytesInherited, CHUNK + 10, "checked, and still an earlier run's work");
  t.end();
});

t.test("what can't be a chunk of the file is left out", (t) => {
  const file = fileOf(CHUNK + 10);
  file.inherit([{ ...at(0), offset: 1 }, { ...at(0), offset: -CHUNK }, at(2), at(7), at(1)]);
  t.strictSame([...file.ledger.offsets()], [CHUNK]);
  const unknown = fileOf(null);
  unknown.inherit([at(0)]);
  t.notOk(unknown.hasUnchecked, "nor anything of a file whose size isn't known");
  t.end();
});

t.test("a spoilt chunk has to come again, and until it does it is said to", (t) => {
  const file = fileOf(2 * CHUNK + 10);
  file.inherit([at(0), at(1), at(2)]);
  file.spoil(CHUNK);
  file.spoil(2 * CHUNK);
  t.strictSame(file.spoiltExtents, [
    [0, CHUNK, CHUNK],
    [0, 2 * CHUNK, 10],
  ]);
  t.notOk(file.isUnchecked(CHUNK));
  t.equal(file.ledger.crcAt(CHUNK), undefined);
  t.equal(file.bytesInherited, CHUNK);
  t.equal(file.record(CHUNK, CHUNK, 99), "new", "with whatever CRC it comes");
  t.strictSame(file.spoiltExtents, [[0, 2 * CHUNK, 10]]);
  t.equal(file.bytesInherited, CHUNK, "it is this run's work");
  t.end();
});

t.test("an earlier run's chunk gives way to one that comes, checked or not; this run's does not", (t) => {
  const file = fileOf(2 * CHUNK);
  file.inherit([at(0, 5), at(1, 6)]);
  file.checked(CHUNK);
  for (const offset of [0, CHUNK]) {
    t.ok(file.isInherited(offset));
    t.equal(file.record(offset, CHUNK, 50), "new");
    t.equal(file.ledger.crcAt(offset), 50);
    t.notOk(file.isUnchecked(offset) || file.isInherited(offset));
    t.equal(file.record(offset, CHUNK, 50), "same");
    t.equal(file.record(offset, CHUNK, 51), "different");
    t.equal(file.ledger.crcAt(offset), 50);
  }
  t.equal(file.bytesInherited, 0);
  t.end();
});

t.test("a file is whole when all is there, checked and sealed, and nothing is made of it yet", (t) => {
  const file = fileOf(2 * CHUNK);
  file.phase = "receiving";
  file.seal = { size: 2 * CHUNK, crc32: 0 };
  file.inherit([at(0)]);
  t.notOk(file.isWhole);
  file.record(CHUNK, CHUNK, 1);
  t.notOk(file.isWhole, "one is not checked");
  file.checked(0);
  t.ok(file.isWhole);
  file.seal = undefined;
  t.notOk(file.isWhole);
  file.seal = { size: 2 * CHUNK, crc32: 0 };
  for (const phase of ["planning", "comparing", "settling"] as const) {
    file.phase = phase;
    t.notOk(file.isWhole, phase);
  }
  t.end();
});

t.test("what is there is said in pages that fit a frame", (t) => {
  const count = 2 * HAVE_CHUNKS_MAX + 3;
  const file = fileOf(count * CHUNK - 5);
  const chunks = Array.from({ length: count }, (_, i) => at(i, (i * 2654435761) >>> 0)).filter((_, i) => i !== 1);
  file.inherit(chunks);
  const pages = [...file.have()];
  t.strictSame(
    pages.map(({ offset, crcs }) => [offset / CHUNK, crcs.length / 4]),
    [
      [0, 1],
      [2, HAVE_CHUNKS_MAX],
      [2 + HAVE_CHUNKS_MAX, HAVE_CHUNKS_MAX],
      [2 + 2 * HAVE_CHUNKS_MAX, 1],
    ],
  );
  const said = pages.flatMap(({ offset, crcs }) =>
    Array.from({ length: crcs.length / 4 }, (_, i) => at(offset / CHUNK + i, Buffer.from(crcs).readUInt32BE(4 * i))),
  );
  t.strictSame(said, chunks);
  t.strictSame([...fileOf(10).have()], []);
  t.end();
});

/** What is known of a chunk, said in the plainest way. */
interface Model {
  crc: number;
  unchecked: boolean;
  inherited: boolean;
}

t.test("in any order of events: like a table of chunks", (t) => {
  const step = fc.record({
    do: fc.constantFrom("record", "checked", "spoil", "recordOther"),
    chunk: fc.nat(7),
  });
  const inherited = fc.uniqueArray(fc.nat(9), { maxLength: 8 });
  const size = fc.integer({ min: 1, max: 8 * CHUNK });
  fc.assert(
    fc.property(size, inherited, fc.array(step, { maxLength: 40 }), (size, there, steps) => {
      const count = Math.ceil(size / CHUNK);
      const bytesAt = (chunk: number) => Math.min(CHUNK, size - chunk * CHUNK);
      const file = fileOf(size);
      file.phase = "receiving";
      file.seal = { size, crc32: 0 };
      file.inherit(there.map((chunk) => at(chunk, chunk + 1)));
      const model = new Map<number, Model>();
      for (const chunk of there) {
        if (chunk < count) model.set(chunk, { crc: chunk + 1, unchecked: true, inherited: true });
      }
      const spoilt = new Set<number>();
      for (const { do: what, chunk } of steps) {
        if (chunk >= count) continue;
        const known = model.get(chunk);
        if (what === "checked" || what === "spoil") {
          if (known?.unchecked !== true) continue;
          if (what === "checked") {
            file.checked(chunk * CHUNK);
            known.unchecked = false;
          } else {
            file.spoil(chunk * CHUNK);
            model.delete(chunk);
            spoilt.add(chunk);
          }
        } else {
          const crc = what === "record" ? chunk + 1 : 1000 + chunk;
          const expected = known === undefined || known.inherited ? "new" : known.crc === crc ? "same" : "different";
          if (file.record(chunk * CHUNK, bytesAt(chunk), crc) !== expected) return false;
          if (expected === "new") model.set(chunk, { crc, unchecked: false, inherited: false });
          spoilt.delete(chunk);
        }
      }
      const chunks = Array.from({ length: count }, (_, i) => i);
      const sum = (of: number[]) => of.reduce((total, chunk) => total + bytesAt(chunk), 0);
      const unchecked = chunks.filter((chunk) => model.get(chunk)?.unchecked);
      const have = [...file.have()].flatMap(({ offset, crcs }) =>
        Array.from({ length: crcs.length / 4 }, (_, i) => [offset / CHUNK + i, Buffer.from(crcs).readUInt32BE(4 * i)]),
      );
      return (
        chunks.every((chunk) => file.ledger.crcAt(chunk * CHUNK) === model.get(chunk)?.crc) &&
        chunks.every((chunk) => file.isInherited(chunk * CHUNK) === (model.get(chunk)?.inherited ?? false)) &&
        chunks.every((chunk) => file.isUnchecked(chunk * CHUNK) === unchecked.includes(chunk)) &&
        file.bytesInherited === sum(chunks.filter((chunk) => model.get(chunk)?.inherited)) &&
        file.nextUnchecked() === (unchecked[0] === undefined ? undefined : unchecked[0] * CHUNK) &&
        file.isWhole === (model.size === count && unchecked.length === 0) &&
        JSON.stringify(file.spoiltExtents.toSorted((a, b) => a[1] - b[1])) ===
          JSON.stringify([...spoilt].sort((a, b) => a - b).map((chunk) => [0, chunk * CHUNK, bytesAt(chunk)])) &&
        JSON.stringify(have) ===
          JSON.stringify([...model].sort(([a], [b]) => a - b).map(([chunk, { crc }]) => [chunk, crc]))
      );
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test("the CRC-32 of the whole is of what is there now, inherited or not", (t) => {
  const parts = ["a", "b", "c"].map((letter, i) => Buffer.alloc(i === 2 ? 10 : CHUNK, letter));
  const file = fileOf(2 * CHUNK + 10);
  file.inherit([at(0, crc32(parts[0] as Buffer)), at(1, 1234)]);
  file.checked(0);
  file.record(CHUNK, CHUNK, crc32(parts[1] as Buffer));
  file.record(2 * CHUNK, 10, crc32(parts[2] as Buffer));
  t.equal(file.ledger.wholeCrc32(), crc32(Buffer.concat(parts)));
  t.equal(
    combineCrc32(crc32(parts[0] as Buffer), crc32(parts[1] as Buffer), CHUNK),
    crc32(Buffer.concat(parts.slice(0, 2))),
  );
  t.end();
});
