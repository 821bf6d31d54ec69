/**
 * Trees drawn at random, around every limit of a bundle: sent to nothing, sent again, changed in part, and sent to what is
 * there already in every way of overwriting. A naive model says what must come of it, and a dry run says it before.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import type { FileResult, SendOptions } from "../../src/index.ts";
import { nextName } from "../../src/sink/clobber.ts";
import { smallBytesMax } from "../../src/source/small-entries.ts";
import { sendAll, startServer } from "../helpers/e2e.ts";
import { contentOf, directories, KIB } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";
import { differences, type Facts, type Plant, plant, readTree } from "../helpers/trees.ts";

const CHUNK = 64 * KIB;
const SMALL = smallBytesMax(CHUNK);
const SIZES = [0, 1, 2, 100, SMALL - 1, SMALL, SMALL + 1, CHUNK, 3 * CHUNK + 5];
/** Few, so that two trees meet. */
const NAMES = ["a", "b", "c.x", ".d", "e\n"];
const TARGETS = ["a", "../b", "/etc/passwd", "none"];
const TIMES = [1_000_000_000, 1_000_000_000.25, 1_700_000_000.5, -1000.5];

type Tree = Map<string, Plant>;

const file = fc
  .record({
    bytes: fc.constantFrom(...SIZES),
    seed: fc.nat(2),
    mtime: fc.constantFrom(...TIMES),
    mode: fc.constantFrom(0o644, 0o444, 0o755),
  })
  .map(({ bytes, seed, mtime, mode }): Plant => ({ kind: "file", content: contentOf(bytes, seed), mtime, mode }));
const link = fc
  .record({ target: fc.constantFrom(...TARGETS), mtime: fc.constantFrom(...TIMES) })
  .map(({ target, mtime }): Plant => ({ kind: "symlink", target: Buffer.from(target), mtime }));
const directory = fc
  .record({ mtime: fc.constantFrom(...TIMES), mode: fc.constantFrom(0o755, 0o555, 0o700) })
  .map(({ mtime, mode }): Plant => ({ kind: "directory", mtime, mode }));
const entry = fc.oneof(
  { weight: 5, arbitrary: file },
  { weight: 1, arbitrary: link },
  { weight: 3, arbitrary: directory },
);

const treeOf = (names: readonly string[], maxLength: number): fc.Arbitrary<Tree> =>
  fc
    .array(fc.tuple(fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 }), entry), {
      maxLength,
      size: "max",
    })
    .map((entries) => {
      const tree: Tree = new Map();
      for (const [path, made] of entries) {
        const name = path.join("/");
        const leading = path.slice(0, -1).map((_, i) => path.slice(0, i + 1).join("/"));
        if (tree.has(name) || leading.some((up) => (tree.get(up)?.kind ?? "directory") !== "directory")) continue;
        for (const up of leading) if (!tree.has(up)) tree.set(up, { kind: "directory", mtime: TIMES[0] as number });
        tree.set(name, made);
      }
      return tree;
    });

interface Expected {
  readonly tree: Map<string, Facts>;
  /** `name: what became of it`, as results say it. */
  readonly became: string[];
}

const upOf = (path: string) =>
  path
    .split("/")
    .slice(0, -1)
    .map((_, i, all) => all.slice(0, i + 1).join("/"));

/** What must come of it, said as plainly as it can be. */
function expect(
  from: Map<string, Facts>,
  there: Map<string, Facts>,
  how: NonNullable<SendOptions["overwrite"]>,
  quick: boolean,
): Expected {
  const tree = new Map(there);
  const became: string[] = [];
  const asHere = (facts: Facts): Facts => ({ ...facts, mode: facts.mode & 0o755 });
  for (const [path, ours] of from) {
    const blocked = upOf(path).some((up) => (there.get(up)?.kind ?? "directory") !== "directory");
    const theirs = there.get(path);
    if (ours.kind === "directory") {
      if (blocked || (theirs !== undefined && theirs.kind !== "directory"))
        became.push(`${path}: failed E_NOT_DIRECTORY`);
      else tree.set(path, asHere(ours));
      continue;
    }
    if (blocked) became.push(`${path}: failed E_NOT_DIRECTORY`);
    else if (theirs === undefined) {
      tree.set(path, asHere(ours));
      became.push(`${path}: sent`);
    } else if (isSame(ours, theirs, how, quick)) became.push(`${path}: unchanged`);
    else if (how === "rename") {
      let nth = 1;
      const next = () => Buffer.from(nextName(Buffer.from(path, "latin1"), nth)).toString("latin1");
      const isCopy = (facts = there.get(next())) => facts?.content === ours.content && facts?.mtimeNs === ours.mtimeNs;
      while (there.has(next()) && !(ours.kind === "file" && isCopy())) nth++;
      became.push(there.has(next()) ? `${path}: unchanged` : `${next()}: renamed`);
      if (!there.has(next())) tree.set(next(), asHere(ours));
    } else if (how === "never" || theirs.kind === "directory") became.push(`${path}: failed E_EXISTS`);
    else {
      tree.set(path, asHere(ours));
      became.push(`${path}: sent, replaced`);
    }
  }
  return { tree, became: became.sort() };
}

function isSame(ours: Facts, theirs: Facts, how: string, quick: boolean): boolean {
  if (ours.kind !== theirs.kind) return false;
  if (ours.kind === "symlink") return ours.target === theirs.target;
  if (how === "always") return false;
  const sizeOf = ({ content }: Facts) => content?.split(" ")[0];
  return (
    ours.content === theirs.content || (quick && sizeOf(ours) === sizeOf(theirs) && ours.mtimeNs === theirs.mtimeNs)
  );
}

/** Names as they are, and not as they are shown. */
const became = (files: readonly FileResult[], below: string): string[] =>
  files
    .map(({ name, status, replaced, error }) => {
      const path = name.slice(below.length + 1).replaceAll("\\u{a}", "\n");
      return `${path}: ${status}${replaced ? ", replaced" : ""}${error === null ? "" : ` ${error.code}`}`;
    })
    .sort();

/** A time goes through a double of seconds; nothing else may differ. */
const same = (a: Map<string, Facts>, b: Map<string, Facts>) => differences(a, b, { mask: 0 });

const { from: sources, to: dir } = directories(t);
const { to } = await startServer(t, dir, { durability: "none" });
const proxy = await startProxy(t, to);
const dataFrames = () => proxy.framesOf("up", "BUNDLE") + proxy.framesOf("up", "CHUNK");
let runs = 0;

/** Two directories of a case's own, and what is sent from one to the other. */
async function inCase(
  work: (
    from: string,
    there: string,
    send: (options?: Partial<SendOptions>) => ReturnType<typeof sendAll>,
    below: string,
  ) => Promise<void>,
) {
  const below = `case-${runs++}`;
  const [from, there] = [join(sources, below), join(dir, below)];
  mkdirSync(from);
  mkdirSync(there);
  const send = (options: Partial<SendOptions> = {}) =>
    sendAll({ paths: [`${from}/`], to: proxy.address, into: below, chunkBytes: CHUNK, streams: 2, ...options });
  try {
    await work(from, there, send, below);
  } finally {
    rmSync(from, { recursive: true, force: true });
    rmSync(there, { recursive: true, force: true });
  }
}

const assertNone = (found: readonly string[], what: string) => {
  if (found.length > 0) throw new Error(`${what}: ${found.join(" | ")}`);
};

t.test("sent to nothing, again, and changed in part", async (t) => {
  await fc.assert(
    fc.asyncProperty(treeOf(NAMES, 30), fc.array(fc.nat(), { maxLength: 4 }), fc.boolean(), (tree, touched, checksum) =>
      inCase(async (from, there, send) => {
        plant(from, tree);
        const first = await send();
        assertNone(first.result.error === null ? [] : [JSON.stringify(first.result.error)], "error");
        assertNone(differences(readTree(from), readTree(there)), "the copy");

        const before = dataFrames();
        const again = await send({ checksum });
        const sent = dataFrames() - before;
        assertNone(sent === 0 ? [] : [`${sent} frames`], "nothing is sent again");
        assertNone(
          again.files.flatMap(({ name, status }) => (status === "unchanged" ? [] : [`${name}: ${status}`])),
          "again",
        );

        const files = [...tree].filter(([, { kind }]) => kind === "file").map(([name]) => name);
        const changed = new Set(touched.map((n) => files[n % files.length]).filter((name) => name !== undefined));
        for (const name of changed) {
          rmSync(Buffer.from(`${from}/${name}`, "latin1"));
          plant(from, new Map([[name, { kind: "file", content: contentOf(77, 99), mtime: 1_800_000_000 }]]));
        }
        const third = await send({ overwrite: "if-different" });
        assertNone(third.result.error === null ? [] : [JSON.stringify(third.result.error)], "error");
        const resent = third.files.filter(({ status }) => status !== "unchanged").length;
        assertNone(resent === changed.size ? [] : [`${resent} of ${changed.size}`], "only what changed is sent");
        assertNone(differences(readTree(from), readTree(there)), "the changed copy");
      }),
    ),
    { numRuns: 40 },
  );
  t.pass("all of them");
});

for (const overwrite of ["never", "if-different", "always", "rename"] as const) {
  t.test(`--overwrite ${overwrite}: what is there already, as the model says, and as the dry run said`, async (t) => {
    const there = treeOf([...NAMES, "a (1)", "c (1).x"], 20);
    await fc.assert(
      fc.asyncProperty(treeOf(NAMES, 20), there, fc.boolean(), (ours, theirs, checksum) =>
        inCase(async (from, to, send, below) => {
          plant(from, ours);
          plant(to, theirs);
          const before = readTree(to);
          const expected = expect(readTree(from), before, overwrite, !checksum);
          const planned = await send({ overwrite, checksum, dryRun: true });
          assertNone(same(before, readTree(to)), "a dry run does nothing");
          const done = await send({ overwrite, checksum });
          const [plan, real] = [became(planned.files, below), became(done.files, below)];
          assertNone(onlyIn(expected.became, real), "the model expects");
          assertNone(onlyIn(real, expected.became), "and not");
          assertNone(onlyIn(plan, real), "planned only");
          assertNone(onlyIn(real, plan), "not planned");
          // What is put into a directory that was not sent itself changes its time; all here are.
          assertNone(
            same(expected.tree, readTree(to)).filter((line) => !/: mtime/.test(line) || !isUnsent(line, ours)),
            "what is there",
          );
          if (done.result.exitCode === 1) throw new Error(JSON.stringify(done.result.error));
        }),
      ),
      { numRuns: 40 },
    );
    t.pass("all of them");
  });
}

const onlyIn = (a: readonly string[], b: readonly string[]) => a.filter((line) => !b.includes(line));

/** Whether a line is about a directory that only the destination has, or that failed. */
const isUnsent = (line: string, ours: Tree) =>
  ours.get(line.slice(0, line.lastIndexOf(": mtime")))?.kind !== "directory";
