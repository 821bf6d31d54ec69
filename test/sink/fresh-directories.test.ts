/** New directories that get their names with the small files in them: what may be in the way by then, and what stays. */
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { crc32 } from "../../src/protocol/crc32.ts";
import { asHawserError, HawserError } from "../../src/protocol/errors.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { HeldDirectory } from "../../src/sink/held-directory.ts";
import type { Batch, StagedOutcome } from "../../src/sink/sink.ts";
import { specOf } from "./sink-conformance.ts";

function disk(t: Test) {
  const dir = t.testdir({ served: {}, outside: {} });
  const sink = new DiskSink(join(dir, "served"), { durability: "none" });
  t.teardown(() => sink.close());
  const served = (name: string) => join(dir, "served", name);
  const parts = () => readdirSync(served(".hawser/parts"));
  return { dir, sink, served, parts, batch: (...names: string[]) => staged(sink, names) };
}

/** Each file says its name. */
function staged(sink: DiskSink, names: readonly string[]): Batch {
  const batch = sink.tree.batch();
  for (const name of names) stage(batch, name);
  return batch;
}

let ids = 0;
function stage(batch: Batch, name: string, content = name): void {
  const bytes = Buffer.from(content);
  batch.stage(specOf(name, bytes.length, { id: `part${ids++}` }), bytes);
}

const shown = (outcomes: readonly StagedOutcome[]) =>
  outcomes.map((one) => (one instanceof HawserError ? one.code : one === "unchanged" ? one : "committed"));

t.test("a directory has its name when its files have theirs, and is as any other", async (t) => {
  const { served, parts, batch, sink } = disk(t);
  const first = batch("d/a", "d/b", "top");
  t.notOk(existsSync(served("d")), "not before");
  t.equal(lstatSync(served(`.hawser/parts/${parts().find((name) => !name.endsWith(".part"))}`)).isDirectory(), true);
  t.same(shown(await first.commit()), ["committed", "committed", "committed"]);
  for (const name of ["d/a", "d/b", "top"]) t.equal(readFileSync(served(name), "utf8"), name);
  mkdirSync(served("plain"));
  t.equal(lstatSync(served("d")).mode, lstatSync(served("plain")).mode, "its mode is what the mask leaves");
  t.same(parts(), []);
  t.same(shown(await staged(sink, ["d/c", "d/a"]).commit()), ["committed", "unchanged"], "and others follow");
});

t.test("one in another, all of them new, in whatever order", async (t) => {
  for (const names of [
    ["a/1", "a/b/2", "a/b/c/3", "a/d/4"],
    ["a/b/c/3", "a/d/4", "a/b/2", "a/1"],
    ["a/b/c/3", "a/1"],
  ]) {
    const { served, parts, batch } = disk(t);
    t.same(new Set(shown(await batch(...names).commit())), new Set(["committed"]));
    for (const name of names) t.equal(readFileSync(served(name), "utf8"), name);
    t.same(parts(), []);
  }
});

t.test("what has come to be there in between stays, and the files come beside it", async (t) => {
  const { served, parts, batch } = disk(t);
  const late = batch("d/a", "d/b", "d/same");
  mkdirSync(served("d"));
  writeFileSync(served("d/a"), "not ours");
  writeFileSync(served("d/same"), "d/same");
  t.same(shown(await late.commit()), ["E_EXISTS", "committed", "unchanged"]);
  t.equal(readFileSync(served("d/a"), "utf8"), "not ours");
  t.equal(readFileSync(served("d/b"), "utf8"), "d/b");
  t.same(parts(), []);
  const empty = batch("e/a");
  mkdirSync(served("e"));
  const { ino } = lstatSync(served("e"));
  t.same(shown(await empty.commit()), ["committed"]);
  t.same(readdirSync(served("e")), ["a"]);
  t.equal(lstatSync(served("e")).ino, ino, "an empty one too: somebody may hold it, to put something there");
});

t.test(
  "a directory that is empty yet, and held by whoever is about to put something there, does not give way",
  async (t) => {
    const { dir, served, parts, batch } = disk(t);
    const late = batch("d/a", "d/b");
    const root = HeldDirectory.open(join(dir, "served"));
    t.teardown(() => root.close());
    const held = await root.makeChild(Buffer.from("d"));
    t.teardown(() => held.close());
    t.same(shown(await late.commit()), ["committed", "committed"]);
    (await held.makeChild(Buffer.from("chunks"))).close();
    t.same(readdirSync(served("d")).sort(), ["a", "b", "chunks"]);
    t.same(parts(), []);
  },
);

t.test("two batches with files of one new directory", async (t) => {
  const { served, parts, batch } = disk(t);
  const [one, other] = [batch("d/a", "d/both"), batch("d/b", "d/both")];
  t.same(shown(await other.commit()), ["committed", "committed"]);
  t.same(shown(await one.commit()), ["committed", "unchanged"]);
  t.same(readdirSync(served("d")).sort(), ["a", "b", "both"]);
  t.same(parts(), []);
});

t.test("a large file and small ones, on their way into one new directory at once", async (t) => {
  for (const durability of ["none", "commit"] as const) {
    const dir = t.testdir({});
    const sink = new DiskSink(dir, { durability });
    for (let i = 0; i < 50; i++) {
      const part = await sink.reserve(specOf(`d${i}/large`, 5, { id: `large${i}` }));
      part.open();
      await part.write(0, Buffer.from("large"));
      const small = staged(sink, [`d${i}/small`]);
      const [committed, outcomes] = await Promise.all([part.commit(5, crc32(Buffer.from("large"))), small.commit()]);
      t.same([committed, shown(outcomes)], [{}, ["committed"]]);
      t.same(readdirSync(join(dir, `d${i}`)).sort(), ["large", "small"]);
    }
    await sink.close();
  }
});

t.test("something else in its place is said of each file, and a link leads nowhere", async (t) => {
  const { dir, served, parts, batch } = disk(t);
  const behindLink = batch("l/a", "l/b");
  symlinkSync(join(dir, "outside"), served("l"));
  const behindFile = batch("f/a");
  writeFileSync(served("f"), "a file");
  t.same(shown(await behindLink.commit()), ["E_NOT_DIRECTORY", "E_NOT_DIRECTORY"]);
  t.same(shown(await behindFile.commit()), ["E_NOT_DIRECTORY"]);
  t.same(readdirSync(join(dir, "outside")), []);
  t.ok(lstatSync(served("l")).isSymbolicLink());
  t.equal(readFileSync(served("f"), "utf8"), "a file");
  t.same(parts(), []);
});

t.test("two files of one name: the second does as where the first was there before", async (t) => {
  const { sink, served, parts } = disk(t);
  const batch = sink.tree.batch();
  for (const content of ["first", "second", "first"]) stage(batch, "d/a", content);
  t.same(shown(await batch.commit()), ["committed", "E_EXISTS", "unchanged"]);
  t.equal(readFileSync(served("d/a"), "utf8"), "first");
  t.same(parts(), []);
});

t.test("many new directories", async (t) => {
  const { served, parts, batch } = disk(t);
  const open = readdirSync("/proc/self/fd").length;
  const many = batch(...Array.from({ length: 300 }, (_, i) => `d${i % 150}/f${i}`));
  t.ok(readdirSync("/proc/self/fd").length <= open + 1, "one of them is open");
  t.same(new Set(shown(await many.commit())), new Set(["committed"]));
  t.equal(readdirSync(served(".")).length, 151);
  t.equal(readdirSync("/proc/self/fd").length, open);
  t.same(parts(), []);
});

t.test("a batch in which nothing could be written makes no directory", async (t) => {
  const { sink, served, parts } = disk(t);
  const batch = sink.tree.batch();
  const name = Buffer.concat([Buffer.from("d/"), Buffer.alloc(300, "x")]);
  try {
    batch.stage({ ...specOf("d/x", 1), name }, Buffer.from("x"));
    t.fail("it is longer than a name can be");
  } catch (thrown) {
    t.equal(asHawserError(thrown).code, "E_IO");
  }
  t.same(await batch.commit(), []);
  t.notOk(existsSync(served("d")));
  t.same(parts(), []);
});

t.test("what a server that was killed left of them goes when the next one starts", async (t) => {
  const { sink, parts, batch } = disk(t);
  batch("d/a", "d/\u00e9", "e/a");
  const before = sink.tree.batch();
  const name = Buffer.from([0x66, 0x2f, 0xff, 0xfe]);
  before.stage({ ...specOf("f/x", 1), name }, Buffer.from("x"));
  t.equal(parts().length, 3);
  t.equal(await sink.dropAllBut(new Set()), 3);
  t.same(parts(), []);
});

t.test("a link or a FIFO that has taken a file's name is not read, and nobody waits for it", async (t) => {
  const { dir, served, batch } = disk(t);
  // Of the same size and content: who followed the link would call it the same.
  writeFileSync(join(dir, "outside/x"), "link");
  const late = batch("link", "fifo");
  symlinkSync("../outside/x", served("link"));
  execFileSync("mkfifo", [served("fifo")]);
  t.same(shown(await late.commit()), ["E_EXISTS", "E_EXISTS"]);
});
