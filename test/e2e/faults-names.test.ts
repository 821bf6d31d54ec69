/**
 * Faults: names. All of the corpus that the file system holds arrive byte for byte, whole and in chunks, as files,
 * directories and links; the others are refused one by one, with the name shown escaped, and nothing else is disturbed.
 */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import type { Message, OfferedFile } from "../../src/protocol/messages.ts";
import { pages } from "../../src/protocol/messages.ts";
import { displayName } from "../../src/protocol/names.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { directories, KIB } from "../helpers/files.ts";
import { ODD_NAMES, PAIRS } from "../helpers/odd-names.ts";
import { bundleOf, offered, openSession, openStream } from "../helpers/raw-client.ts";
import { assertSameTree, pathOf } from "../helpers/trees.ts";

const CHUNK = 64 * KIB;
/** Each in a directory of its own, since some begin with others. */
const TAKEN = ODD_NAMES.filter(({ posix }) => posix === undefined).map(({ name }, i) => ({ name, place: `n${i}` }));
const REFUSED = ODD_NAMES.filter(({ posix }) => posix !== undefined);

t.test("names that are odd arrive byte for byte: files that go whole and in chunks, directories, links", async (t) => {
  const { from, to } = directories(t);
  for (const [i, { name, place }] of TAKEN.entries()) {
    for (const kind of ["whole", "chunks", "directory", "link"]) {
      if (kind === "chunks" && i % 20 !== 0) continue;
      const path = pathOf(join(from, kind, place), name);
      const above = Buffer.from(dirname(path.toString("latin1")), "latin1");
      mkdirSync(above, { recursive: true });
      if (kind === "directory") mkdirSync(path);
      // What a link says is bytes as well, and may be as odd.
      else if (kind === "link") symlinkSync(name, path);
      else writeFileSync(path, Buffer.alloc(kind === "whole" ? 10 : 300 * KIB, `${i}`));
    }
  }
  const { to: address } = await startServer(t, to, { durability: "none" });
  const sent = await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK });
  assertOk(t, sent);
  assertSameTree(t, from, to);
  const again = await sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK });
  assertOk(t, again);
  t.equal(again.result.bytesSent, 0, "and are found again");
  assertSameTree(t, from, to);
});

t.test("two names that other file systems make one arrive as two where this one does not", async (t) => {
  const { from, to } = directories(t);
  for (const [i, pair] of PAIRS.entries()) {
    mkdirSync(join(from, `p${i}`));
    for (const name of pair) writeFileSync(join(from, `p${i}`, name), name);
  }
  const { to: address } = await startServer(t, to, { durability: "none" });
  assertOk(t, await sendAll({ paths: [`${from}/`], to: address }));
  assertSameTree(t, from, to);
});

t.test("names that lead elsewhere or can't be: each is refused, shown escaped, and the others go on", async (t) => {
  const { to } = directories(t);
  const outside = readdirSync(dirname(to));
  const { to: address, log } = await startServer(t, to, { durability: "none" });
  const content = Buffer.from("x");
  const names = REFUSED.filter(({ name }) => name.length <= 4096);
  const files: OfferedFile[] = names.flatMap(({ name }, i) => [
    { ...offered(4 * i, name, 1), whole: true },
    { ...offered(4 * i + 1, name, 0), kind: "directory" as const },
    { ...offered(4 * i + 2, name, 0), kind: "symlink" as const, target: Buffer.from("/etc") },
    { ...offered(4 * i + 3, `good${i}`, 1), whole: true },
  ]);
  const { control, terms } = await openSession(address);
  const stream = await openStream(address, terms.session);
  for (const page of pages(files, ({ name }) => name.length + 100))
    control.say("OFFER", { settledBelow: 0, files: page });
  for (let i = 0; i < names.length; i++) stream.bundle(bundleOf([{ file: 4 * i + 3, content }]));
  control.say("FINISH", { files: files.length });
  const receipt = await control.next("RECEIPT");
  t.match(receipt, { files: files.length, failed: 3 * names.length });
  const outcomes = control.came
    .filter(({ name }) => name === "OUTCOME")
    .flatMap(({ body }) => (body as Message<"OUTCOME">).files.flatMap((one) => expand(one)));
  for (const [i, { name, posix }] of names.entries()) {
    for (let kind = 0; kind < 3; kind++) {
      const outcome = outcomes.find(({ file }) => file === 4 * i + kind);
      t.equal(outcome?.status, "failed");
      t.match(outcome?.error?.message ?? "", posix as RegExp);
      t.notMatch(outcome?.error?.message ?? "", /[\p{Cc}\p{Cf}]/u);
      const shown = displayName(name);
      if (name.length <= 120) t.ok(outcome?.error?.message.includes(shown), "the name is named");
    }
    t.equal(readFileSync(join(to, `good${i}`), "latin1"), "x");
  }
  t.same(readdirSync(to).filter((name) => name !== ".hawser").length, names.length, "nothing else is there");
  t.same(readdirSync(dirname(to)), outside);
  await log.until("transfer");
  for (const { file } of log.of("file")) t.notMatch(`${file.name} ${file.error}`, /[\p{Cc}\p{Cf}]/u);
  control.end();
  stream.end();
});

type Outcome = Message<"OUTCOME">["files"][number];
const expand = (one: Outcome): Outcome[] =>
  Array.from({ length: one.count ?? 1 }, (_, i) => ({ ...one, file: one.file + i }));
