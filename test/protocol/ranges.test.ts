import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { type Range, RangeSet, splitRange } from "../../src/protocol/ranges.ts";

const LENGTH = 48;

/** A set of integers as one boolean each: too plain to be wrong. */
class Bitmap {
  readonly bits: boolean[] = new Array(LENGTH).fill(false);
  fill(start: number, end: number, value: boolean): void {
    for (let i = start; i < end; i++) this.bits[i] = value;
  }
  covers(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (!this.bits[i]) return false;
    return true;
  }
  runs(start: number, end: number, value: boolean): Range[] {
    const runs: { start: number; end: number }[] = [];
    for (let i = start; i < end; i++) {
      if (this.bits[i] !== value) continue;
      const last = runs.at(-1);
      if (last?.end === i) last.end++;
      else runs.push({ start: i, end: i + 1 });
    }
    return runs;
  }
}

const position = fc.nat(LENGTH);
const anyRange = fc.tuple(position, position);
const steps = fc.array(fc.tuple(fc.constantFrom("add", "subtract"), anyRange), { maxLength: 30 });

t.test("does what a bitmap does", async () => {
  fc.assert(
    fc.property(steps, anyRange, (operations, [from, to]) => {
      const set = new RangeSet();
      const map = new Bitmap();
      for (const [operation, [start, end]] of operations) {
        if (operation === "add") set.add(start, end);
        else set.subtract(start, end);
        map.fill(start, end, operation === "add");
        assert.deepEqual([...set], map.runs(0, LENGTH, true), "sorted, disjoint, and no two that touch");
      }
      assert.equal(set.size, map.bits.filter(Boolean).length);
      assert.equal(set.isEmpty, !map.bits.includes(true));
      assert.equal(set.count, map.runs(0, LENGTH, true).length);
      if (from < to) {
        const more = new RangeSet(set);
        more.add(from, to);
        assert.equal(set.touches(from, to), more.count <= set.count);
      }
      assert.equal(set.covers(from, to), map.covers(from, to));
      assert.deepEqual(set.missing(from, to), map.runs(from, to, false));
    }),
    { numRuns: 300 },
  );
});

t.test("is made of ranges in any order", async () => {
  fc.assert(
    fc.property(fc.array(anyRange), (ranges) => {
      const set = new RangeSet(ranges.map(([start, end]) => ({ start, end })));
      const map = new Bitmap();
      for (const [start, end] of ranges) map.fill(start, end, true);
      assert.deepEqual([...set], map.runs(0, LENGTH, true));
    }),
  );
});

t.test("what is missing and what is there make up the whole", async () => {
  fc.assert(
    fc.property(steps, (operations) => {
      const set = new RangeSet();
      for (const [operation, [start, end]] of operations) {
        if (operation === "add") set.add(start, end);
        else set.subtract(start, end);
      }
      for (const { start, end } of set.missing(0, LENGTH)) set.add(start, end);
      assert.deepEqual([...set], [{ start: 0, end: LENGTH }]);
    }),
  );
});

t.test("empty and backward ranges change nothing", async (t) => {
  const set = new RangeSet([{ start: 2, end: 5 }]);
  set.add(9, 9);
  set.add(8, 7);
  set.subtract(3, 3);
  set.subtract(4, 3);
  t.strictSame([...set], [{ start: 2, end: 5 }]);
  t.ok(set.covers(7, 7), "nothing is always there");
  t.strictSame(set.missing(7, 7), []);
});

t.test("up to 2^53 - 1", async (t) => {
  const top = Number.MAX_SAFE_INTEGER;
  const set = new RangeSet([{ start: 0, end: top }]);
  t.equal(set.size, top);
  set.subtract(top - 1, top);
  t.strictSame([...set], [{ start: 0, end: top - 1 }]);
  t.strictSame(set.missing(0, top), [{ start: top - 1, end: top }]);
  t.notOk(set.covers(top - 2, top));
  set.add(top - 1, top);
  t.ok(set.covers(0, top));
  set.subtract(2 ** 52, 2 ** 52 + 1);
  t.strictSame(
    [...set],
    [
      { start: 0, end: 2 ** 52 },
      { start: 2 ** 52 + 1, end: top },
    ],
  );
});

t.test("many ranges", async (t) => {
  const set = new RangeSet();
  for (let i = 0; i < 10_000; i += 2) set.add(i, i + 1);
  t.equal(set.size, 5000);
  for (let i = 1; i < 10_000; i += 2) set.add(i, i + 1);
  t.strictSame([...set], [{ start: 0, end: 10_000 }]);
});

t.test("splitRange: two parts that meet at a multiple of the step, near the middle", async (t) => {
  fc.assert(
    fc.property(fc.nat(300), fc.nat(300), fc.integer({ min: 1, max: 40 }), (start, length, step) => {
      const range = { start, end: start + length };
      const multiples = Array.from({ length: 700 }, (_, i) => i * step).filter((at) => at > start && at < range.end);
      const parts = splitRange(range, step);
      if (multiples.length === 0) {
        assert.equal(parts, undefined, "nowhere to split");
        return;
      }
      const [left, right] = parts!;
      assert.equal(left.start, range.start);
      assert.equal(left.end, right.start);
      assert.equal(right.end, range.end);
      assert.ok(multiples.includes(right.start));
      const middle = start + length / 2;
      assert.ok(Math.abs(right.start - middle) < step, "no further from the middle than a step");
    }),
    { numRuns: 1000 },
  );
  t.strictSame(splitRange({ start: 0, end: 8 }, 1), [
    { start: 0, end: 4 },
    { start: 4, end: 8 },
  ]);
  t.equal(splitRange({ start: 4, end: 8 }, 4), undefined);
  t.equal(splitRange({ start: 3, end: 4 }, 1), undefined);
  const [, right] = splitRange({ start: 0, end: Number.MAX_SAFE_INTEGER }, 2 ** 20)!;
  t.equal(right.start, 2 ** 52, "a file of the largest size");
});
