/** Several files in one transfer: empty ones among them, more than may be open at once, and none waits for another. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readHistory } from "../../src/index.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { startProxy } from "../helpers/proxy.ts";

t.test("files of all sizes in one transfer, below a directory that is made", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const sizes = [0, 1, 3 * MIB, 0, 64 * KIB, 700_000, 0];
  const paths = sizes.map((bytes, i) => makeFile(join(from, `f${i}`), bytes, i));
  const sent = await sendAll({ paths, to, into: "new/below", chunkBytes: 64 * KIB });
  assertOk(t, sent);
  sizes.forEach((bytes, i) => {
    assertContent(t, join(dir, "new/below", `f${i}`), contentOf(bytes, i));
  });
  t.equal(sent.result.filesCommitted, sizes.length);
  t.equal(
    sent.result.bytes,
    sizes.reduce((a, b) => a + b),
  );
  t.same(partsIn(dir), []);
});

t.test("the good files of a transfer arrive whatever becomes of the others", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  makeFile(join(dir, "taken"), 10, 5);
  const paths = ["one", "taken", "two"].map((name, i) => makeFile(join(from, name), 100_000 + i, i));
  const sent = await sendAll({ paths: [...paths, join(from, "missing")], to });
  t.equal(sent.result.error?.code, "E_PARTIAL");
  t.equal(sent.result.exitCode, 23);
  t.match(sent.result, { filesCommitted: 2, filesFailed: 2 });
  const became = Object.fromEntries(sent.files.map(({ name, status, error }) => [name, error?.code ?? status]));
  t.same(became, { missing: "E_SOURCE_MISSING", one: "sent", taken: "E_EXISTS", two: "sent" });
  assertContent(t, join(dir, "taken"), contentOf(10, 5));
  assertContent(t, join(dir, "one"), contentOf(100_000, 0));
  const [past] = [...readHistory(dir)];
  t.match(past, { status: "partial", files: 3, filesFailed: 1 });
});

t.test("300 small files, more than may be open at once, over a path with a long way", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  const proxy = await startProxy(t, to, { shape: () => ({ delayMs: 50 }) });
  const names = Array.from({ length: 300 }, (_, i) => `small-${String(i).padStart(3, "0")}`);
  const paths = names.map((name, i) => makeFile(join(from, name), i * 7, i));
  const sent = await sendAll({ paths, to: proxy.address, streams: 3 });
  assertOk(t, sent);
  t.same(namesIn(dir), names);
  const differing = names.filter((name, i) => !contentOf(i * 7, i).equals(readFileSync(join(dir, name))));
  t.same(differing, [], "each is the same byte by byte");
  t.equal(sent.files.length, 300);
  t.equal(new Set(sent.files.map(({ name }) => name)).size, 300, "each was told once");
  t.equal(proxy.chunks.size, 0, "none is sent by itself");
  const bundles = proxy.framesOf("up", "BUNDLE");
  t.ok(bundles > 0 && bundles < 20, `they are sent together: ${bundles} bundles`);
  t.comment(`round trips on the control connection: ${proxy.roundTrips}, offers: ${proxy.framesOf("up", "OFFER")}`);
  t.ok(proxy.roundTrips < 30, `a few round trips do for all, and not one for each: ${proxy.roundTrips}`);
  t.same(partsIn(dir), []);
  t.match([...readHistory(dir)][0], { files: 300, status: "complete" });
});
