/** The order of what is offered: a directory when all that was found before it is settled. */
import fc from "fast-check";
import t from "tap";
import { type EntryFeed, feedOf, type SmallItem, type SourceEntry } from "../../src/source/entry.ts";
import type { SourceItem } from "../../src/source/item.ts";
import { Offering } from "../../src/source/offering.ts";

const named = (name: string) => ({ name: Buffer.from(name), mtime: [0, 0] as [number, number], mode: 0o644 });
const file = (name: string) => ({ ...named(name), size: 10, key: undefined }) as unknown as SourceItem;
const link = (name: string): SourceEntry => ({ kind: "symlink", ...named(name), size: 0, target: Buffer.from("x") });
const directory = (name: string): SourceEntry => ({ kind: "directory", ...named(name), size: 0 });
const failed = (name: string): SourceEntry => ({
  kind: "failed",
  name: Buffer.from(name),
  failure: { code: "E_IO", message: "" },
});

const PLENTY = { files: 10, small: 10 };
const nameOf = (entry: { name: Uint8Array | string } | undefined) =>
  entry && Buffer.from(entry.name as string).toString();

t.test("a directory waits for what was found before it", async (t) => {
  const offering = new Offering(feedOf([link("d/a"), link("d/b"), directory("d"), link("c")]));
  t.equal(nameOf(offering.take(0, 0, PLENTY)), "d/a");
  t.equal(nameOf(offering.take(1, 0, PLENTY)), "d/b");
  t.equal(nameOf(offering.take(2, 1, PLENTY)), "c", "what comes later does not wait");
  t.equal(offering.take(3, 1, PLENTY), undefined);
  t.equal(offering.isOver, false);
  t.equal(nameOf(offering.take(3, 2, PLENTY)), "d");
  t.equal(offering.isOver, true);
});

t.test("an empty directory waits for nothing", async (t) => {
  const offering = new Offering(feedOf([directory("d"), link("a")]));
  t.equal(nameOf(offering.take(0, 0, PLENTY)), "d");
  t.equal(nameOf(offering.take(1, 0, PLENTY)), "a");
});

t.test("room of each kind, and what needs none", async (t) => {
  const offering = new Offering(feedOf([file("f"), failed("x"), link("l"), file("g")]));
  t.equal(offering.take(0, 0, { files: 0, small: 5 }), undefined, "no room for a file");
  t.equal(nameOf(offering.take(0, 0, { files: 1, small: 0 })), "f");
  t.equal(nameOf(offering.take(1, 0, { files: 0, small: 0 })), "x", "what failed takes none");
  t.equal(offering.take(1, 0, { files: 5, small: 0 }), undefined, "no room for a link");
  t.equal(nameOf(offering.take(1, 0, { files: 0, small: 1 })), "l");
  t.equal(nameOf(offering.take(2, 0, { files: 1, small: 0 })), "g");
  t.equal(offering.take(3, 3, PLENTY), undefined);
  t.equal(offering.isOver, true);
});

t.test("a directory that may be offered waits for room", async (t) => {
  const offering = new Offering(feedOf([directory("d")]));
  t.equal(offering.take(0, 0, { files: 5, small: 0 }), undefined);
  t.equal(offering.isOver, false);
  t.equal(nameOf(offering.take(0, 0, { files: 0, small: 1 })), "d");
});

t.test("what waits for room when the session is begun anew is offered as that one can", async (t) => {
  let isLarge = false;
  const fit = (entry: SourceEntry) => (isLarge && entry.kind === "symlink" ? file("as a file") : entry);
  const offering = new Offering(feedOf([link("l")]), fit);
  t.equal(offering.take(0, 0, { files: 5, small: 0 }), undefined);
  isLarge = true;
  offering.restart(0);
  t.equal(nameOf(offering.take(0, 0, { files: 5, small: 0 })), "as a file");
});

t.test("what comes later", async (t) => {
  const entries: (SourceEntry | "later")[] = ["later", link("a"), "later"];
  const feed: EntryFeed = { next: () => entries.shift(), onMore: undefined, close: () => {} };
  const offering = new Offering(feed);
  t.equal(offering.take(0, 0, PLENTY), undefined);
  t.equal(offering.isOver, false);
  t.equal(nameOf(offering.take(0, 0, PLENTY)), "a");
  t.equal(offering.take(1, 0, PLENTY), undefined);
  t.equal(offering.isOver, false);
  t.equal(offering.take(1, 0, PLENTY), undefined);
  t.equal(offering.isOver, true);
});

t.test("no more directories wait than a bound, and the walk goes on when they are out", async (t) => {
  let found = 0;
  const feed: EntryFeed = {
    next: () => (found++ === 0 ? link("first") : found > 10_000 ? undefined : directory(`d${found}`)),
    onMore: undefined,
    close: () => {},
  };
  const offering = new Offering(feed);
  t.equal(nameOf(offering.take(0, 0, PLENTY)), "first");
  t.equal(offering.take(1, 0, PLENTY), undefined);
  t.ok(found <= 4100, `${found} were found`);
  let offered = 1;
  while (offering.take(offered, 1 + offered, PLENTY) !== undefined) offered++;
  t.equal(offered, 10_000);
  t.equal(offering.isOver, true);
});

t.test("after a restart a directory waits for all that is open under its new numbers", async (t) => {
  const offering = new Offering(feedOf([link("d/a"), directory("d")]));
  offering.take(0, 0, PLENTY);
  t.equal(offering.take(1, 0, PLENTY), undefined);
  offering.restart(5);
  t.equal(offering.take(5, 4, PLENTY), undefined);
  t.equal(nameOf(offering.take(5, 5, PLENTY)), "d");
});

t.test(
  "what is given back at a restart goes first, in its order, as there is room, and directories wait for it",
  async (t) => {
    let isLarge = false;
    const fit = (entry: SourceEntry) => (isLarge && entry.kind === "small" ? file(`${entry.name}`) : entry);
    const small = (name: string) => ({ ...named(name), kind: "small", name }) as unknown as SmallItem;
    const [a, b] = [small("d/a"), small("d/b")];
    const offering = new Offering(feedOf([a, b, directory("d"), link("z")]), fit);
    for (const offered of [0, 1]) t.equal(offering.take(offered, 0, PLENTY)?.kind, "small");
    t.equal(nameOf(offering.take(2, 0, PLENTY)), "z");
    t.equal(offering.isAgain, false);
    isLarge = true;
    // One of three is still open, and two are too large by now.
    offering.restart(1, [a, b]);
    t.equal(offering.isOver, false);
    t.equal(offering.take(1, 1, { files: 0, small: 9 }), undefined, "no room for a file in chunks");
    t.equal(nameOf(offering.take(1, 1, { files: 1, small: 9 })), "d/a");
    t.equal(offering.isAgain, true, "it was found before");
    t.equal(offering.take(2, 2, { files: 0, small: 9 }), undefined, "the directory waits for the other");
    offering.restart(2);
    t.equal(nameOf(offering.take(2, 2, PLENTY)), "d/b", "also after one more restart");
    t.equal(offering.take(3, 2, PLENTY), undefined);
    t.equal(nameOf(offering.take(3, 3, PLENTY)), "d");
    t.equal(offering.isAgain, false);
    t.equal(offering.isOver, true);
  },
);

t.test("whatever settles when: all is offered once, and no directory before what was found before it", async (t) => {
  const kinds = fc.array(fc.constantFrom("file", "link", "directory", "failed"), { maxLength: 60 });
  const rooms = fc.infiniteStream(fc.nat(3));
  fc.assert(
    fc.property(kinds, rooms, (kinds, draws) => {
      const make = { file, link, directory, failed } as const;
      const entries = kinds.map((kind, i) => make[kind](`${i}`) as SourceEntry);
      const offering = new Offering(feedOf(entries));
      const next = () => draws.next().value as number;
      const settled = new Set<number>();
      const offeredNames: number[] = [];
      const taken: number[] = [];
      for (let steps = 0; !offering.isOver; steps++) {
        if (steps > 5000) throw new Error("it does not end");
        let below = 0;
        while (settled.has(below)) below++;
        const entry = offering.take(offeredNames.length, below, { files: next(), small: next() });
        if (entry === undefined) {
          for (let i = 0; i < offeredNames.length; i++) if (next() === 0) settled.add(i);
          continue;
        }
        const found = Number(nameOf(entry));
        taken.push(found);
        if (entry.kind === "failed") continue;
        if (entry.kind === "directory") {
          const waitsFor = offeredNames.findIndex(
            (name, i) => name < found && kinds[name] !== "directory" && !settled.has(i),
          );
          if (waitsFor >= 0) throw new Error(`directory ${found} comes before ${offeredNames[waitsFor]} is settled`);
        }
        offeredNames.push(found);
      }
      if (new Set(taken).size !== kinds.length) throw new Error("not all, or some twice");
      const directories = taken.filter((found) => kinds[found] === "directory");
      if (directories.some((found, i) => i > 0 && found < (directories[i - 1] as number)))
        throw new Error("out of order");
    }),
  );
  t.pass("all of them");
});
