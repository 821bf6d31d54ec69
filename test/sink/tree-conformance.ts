/** What every sink with directories promises (src/sink/sink.ts, TreeSink), as one suite that each implementation runs. */
import type { Test } from "tap";
import type { HawserError } from "../../src/protocol/errors.ts";
import type { Clobber, EntrySpec, Sink, StagedOutcome, TreeSink } from "../../src/sink/sink.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { put, specOf } from "./sink-conformance.ts";

const CHUNK = 64 * 1024;

export interface TreeUnderTest {
  readonly sink: Sink & { readonly tree: TreeSink };
  read(name: string): Uint8Array | undefined;
  partsHeld(): number;
}

const MTIME = [1_700_000_000, 123_456_000] as const;
const entry = (name: string, more: Partial<EntrySpec> = {}): EntrySpec => ({
  name: nameOf(name),
  mtime: MTIME,
  mode: 0o755,
  ...more,
});
const link = (name: string, target: string, clobber?: Clobber): EntrySpec =>
  entry(name, { target: Buffer.from(target), clobber });

const shown = (outcome: StagedOutcome | undefined): string => {
  if (outcome === undefined || typeof outcome === "string") return `${outcome}`;
  if (outcome instanceof Error) return (outcome as HawserError).code;
  const name = outcome.name === undefined ? "" : ` as ${Buffer.from(outcome.name)}`;
  return `committed${name}${outcome.replaced ? ", replaced" : ""}`;
};

export function treeConformance(t: Test, make: (t: Test, fileBytesMax?: number) => TreeUnderTest): void {
  const content = randomBytesOf(3000, 7);

  const commitAll = async (
    { sink }: TreeUnderTest,
    files: readonly (readonly [name: string, content: Uint8Array, clobber?: Clobber])[],
  ): Promise<string[]> => {
    const batch = sink.tree.batch();
    for (const [name, bytes, clobber] of files) batch.stage(specOf(name, bytes.length, { clobber }), bytes);
    return (await batch.commit()).map(shown);
  };

  t.test("finds what lies at many names at once, in their order", async (t) => {
    const { sink } = make(t);
    await put(sink, "d/a", content, CHUNK);
    await sink.tree.makeLink(link("d/l", "some/where"));
    const found = sink.tree.findAll(["none", "d/a", "d", "d/l", "d/none", "none/none", "d/a/below"].map(nameOf));
    t.match(found[0], undefined);
    t.match(found[1], { size: content.length, isDirectory: false });
    t.match(found[2], { size: null, isDirectory: true });
    t.match(found[3], { size: null, isDirectory: false });
    t.equal(Buffer.from((found[3] as { target: Uint8Array }).target).toString(), "some/where");
    t.match([found[4], found[5]], [undefined, undefined]);
    t.equal(found.length, 7);
  });

  t.test("staged files have no name before they are committed, and none of them holds another up", async (t) => {
    const tree = make(t);
    const { sink, read, partsHeld } = tree;
    await put(sink, "taken", nameOf("other"), CHUNK);
    await put(sink, "same", content, CHUNK);
    await put(sink, "file", content, CHUNK);
    const names = ["a", "d/e/b", "taken", "same", "file/below", "empty", "d/c"];
    const contents = names.map((name, i) =>
      name === "same" ? content : name === "empty" ? Buffer.alloc(0) : randomBytesOf(100 + i, i),
    );
    const batch = sink.tree.batch();
    for (const [i, name] of names.entries()) {
      batch.stage(specOf(name, contents[i]?.length ?? 0), contents[i] as Uint8Array);
    }
    for (const name of ["a", "d/e/b", "empty", "d/c"]) t.equal(read(name), undefined, `${name} is not there`);
    const outcomes = (await batch.commit()).map(shown);
    t.same(outcomes, ["committed", "committed", "E_EXISTS", "unchanged", "E_NOT_DIRECTORY", "committed", "committed"]);
    for (const i of [0, 1, 5, 6]) t.ok(same(read(names[i] as string), contents[i] as Uint8Array), names[i] as string);
    t.ok(same(read("taken"), nameOf("other")));
    t.equal(partsHeld(), 0);
    t.same(await sink.tree.batch().commit(), []);
  });

  t.test("what is there gives way, or is left, as the file says", async (t) => {
    const tree = make(t);
    const { sink, read, partsHeld } = tree;
    for (const name of ["never", "replace", "rename.txt"]) await put(sink, name, nameOf("other"), CHUNK);
    await put(sink, "rename (1).txt", nameOf("taken too"), CHUNK);
    await put(sink, "rename (2).txt", content, CHUNK);
    await sink.tree.makeLink(link("link", "x"));
    const outcomes = await commitAll(tree, [
      ["never", content, "never"],
      ["replace", content, "replace"],
      ["rename.txt", content, "rename"],
      ["link", content, "replace"],
      ["fresh", content, "replace"],
      ["fresh too", content, "rename"],
    ]);
    t.same(outcomes, [
      "E_EXISTS",
      "committed, replaced",
      "committed as rename (3).txt",
      "committed, replaced",
      "committed",
      "committed",
    ]);
    t.ok(same(read("never"), nameOf("other")));
    for (const name of ["replace", "rename (3).txt", "link", "fresh"]) t.ok(same(read(name), content), name);
    t.ok(same(read("rename (1).txt"), nameOf("taken too")));
    t.equal(partsHeld(), 0);
  });

  t.test("a file that is too large is refused", async (t) => {
    const { sink, partsHeld } = make(t, 1000);
    const batch = sink.tree.batch();
    t.throws(() => batch.stage(specOf("a", 1001), new Uint8Array(1001)), { code: "E_TOO_LARGE" });
    t.throws(() => batch.stage(specOf("new/a", 1001), new Uint8Array(1001)), { code: "E_TOO_LARGE" });
    t.same(await batch.commit(), []);
    t.equal(partsHeld(), 0);
  });

  t.test("directories are made, with what leads to them, and again is nothing", async (t) => {
    const { sink } = make(t);
    for (let i = 0; i < 2; i++) await sink.tree.makeDirectory(entry("x/y/z"));
    await put(sink, "x/y/f", content, CHUNK);
    await sink.tree.makeDirectory(entry("x/y", { mtime: [-5, 500_000_000] }));
    const [z, y] = sink.tree.findAll([nameOf("x/y/z"), nameOf("x/y")]);
    t.match([z, y], [{ isDirectory: true }, { isDirectory: true }]);
    t.ok(Math.abs((y as { mtimeMs: number }).mtimeMs - -4500) < 0.001, "its time is the last word");
    for (const name of ["x/y/f", "x/y/f/below"]) {
      await t.rejects(sink.tree.makeDirectory(entry(name)), { code: "E_NOT_DIRECTORY" }, name);
    }
    await sink.tree.makeLink(link("led", "x"));
    for (const name of ["led", "led/below"]) {
      await t.rejects(sink.tree.makeDirectory(entry(name)), { code: "E_NOT_DIRECTORY" }, `${name}: a link is none`);
    }
  });

  t.test("links: what they say is kept, and is what is compared", async (t) => {
    const { sink, read } = make(t);
    t.same(await sink.tree.makeLink(link("d/l", "../a")), {});
    t.equal(await sink.tree.makeLink(link("d/l", "../a", "replace")), "unchanged");
    await t.rejects(sink.tree.makeLink(link("d/l", "other")), { code: "E_EXISTS" });
    t.same(await sink.tree.makeLink(link("d/l", "other", "replace")), { replaced: true });
    await put(sink, "f", content, CHUNK);
    await t.rejects(sink.tree.makeLink(link("f", "x", "never")), { code: "E_EXISTS" });
    t.ok(same(read("f"), content));
    const renamed = await sink.tree.makeLink(link("f", "x", "rename"));
    t.equal(shown(renamed), "committed as f (1)");
    t.same(await sink.tree.makeLink(link("f", "x", "replace")), { replaced: true });
    await sink.tree.makeDirectory(entry("dir"));
    await t.rejects(sink.tree.makeLink(link("dir", "x", "replace")), { code: "E_EXISTS" }, "no directory gives way");
    await t.rejects(sink.tree.makeLink(link("f/below", "x")), { code: "E_NOT_DIRECTORY" });
    const [l, f] = sink.tree.findAll([nameOf("d/l"), nameOf("f")]) as { target: Uint8Array }[];
    t.equal(Buffer.from(l?.target ?? []).toString(), "other");
    t.equal(Buffer.from(f?.target ?? []).toString(), "x");
  });
}
