/** A list of paths that comes bit by bit, as entries. */
import t from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import type { SourceEntry } from "../../src/source/entry.ts";
import { ListFeed } from "../../src/source/list-feed.ts";
import type { Listed } from "../../src/source/listed.ts";

const link = (name: string): SourceEntry => ({
  kind: "symlink",
  name: Buffer.from(name),
  size: 0,
  mtime: [0, 0],
  mode: 0o777,
  target: Buffer.from("x"),
});

/** Entries of each path, and nothing that is held back. */
const each = (entriesOf: (path: Buffer) => Iterable<SourceEntry>): Listed => ({ entriesOf, rest: () => [] });

/** All that comes, and how often there was nothing yet. */
async function drain(feed: ListFeed): Promise<{ names: string[]; pauses: number }> {
  const names: string[] = [];
  for (let pauses = 0; ; ) {
    const entry = feed.next();
    if (entry === undefined) return { names, pauses };
    if (entry !== "later") {
      names.push(Buffer.from(entry.name).toString());
      continue;
    }
    pauses++;
    await new Promise<void>((resolve) => {
      feed.onMore = resolve;
    });
  }
}

async function* pathsOf(count: number, failure?: Error): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield Buffer.from(`p${i}`);
  if (failure !== undefined) throw failure;
}

t.test("every entry of every path, in order", async (t) => {
  for (const count of [0, 1, 511, 512, 513, 2000]) {
    const feed = new ListFeed(
      pathsOf(count),
      each((path) => [link(`${path}/a`), link(`${path}/b`)]),
    );
    const { names } = await drain(feed);
    t.same(names, Array.from({ length: count }, (_, i) => [`p${i}/a`, `p${i}/b`]).flat(), `${count} paths`);
  }
});

t.test("paths without entries are passed over, and no more is read than is needed", async (t) => {
  let read = 0;
  async function* paths() {
    for (;;) {
      read++;
      yield Buffer.from(`p${read}`);
    }
  }
  const feed = new ListFeed(
    paths(),
    each((path) => (Number(path.toString().slice(1)) % 2 === 0 ? [link(`${path}`)] : [])),
  );
  t.equal(feed.next(), "later");
  await new Promise<void>((resolve) => {
    feed.onMore = resolve;
  });
  const entry = feed.next();
  t.ok(entry !== undefined && entry !== "later" && Buffer.from(entry.name).toString() === "p2");
  // All that it may take by itself: what it was told once at most.
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  t.ok(read <= 513, `${read} paths were read`);
  feed.close();
});

t.test("a list that fails half-way: what came before it is told whole, and the failure once, at the end", async (t) => {
  const feed = new ListFeed(
    pathsOf(3, new HawserError("E_SOURCE_IO", "gone")),
    each((path) => [link(`${path}/a`), link(`${path}/b`), link(`${path}/c`)]),
  );
  t.equal(feed.next(), "later");
  await new Promise<void>((resolve) => {
    feed.onMore = resolve;
  });
  const { names } = await drain(feed);
  const all = ["p0", "p1", "p2"].flatMap((path) => ["a", "b", "c"].map((name) => `${path}/${name}`));
  t.same(names, [...all, "the list of files"]);
  t.equal(feed.next(), undefined);
});

t.test("a list that fails while a path of it is being told: the rest of that path is not lost", async (t) => {
  let fail: (error: Error) => void = () => {};
  const later = new Promise<never>((_, reject) => {
    fail = reject;
  });
  async function* paths() {
    yield Buffer.from("p");
    await later;
  }
  const feed = new ListFeed(
    paths(),
    each(() => [link("a"), link("b"), link("c")]),
  );
  const names: string[] = [];
  for (let entry = feed.next(); names.length < 1; entry = feed.next()) {
    if (entry === "later") await new Promise((resolve) => setImmediate(resolve));
    else if (entry !== undefined) names.push(Buffer.from(entry.name).toString());
    if (names.length === 1) break;
  }
  fail(new HawserError("E_SOURCE_IO", "gone"));
  await new Promise((resolve) => setImmediate(resolve));
  names.push(...(await drain(feed)).names);
  t.same(names, ["a", "b", "c", "the list of files"]);
});

t.test("closed, it closes what it was telling", async (t) => {
  let closed = false;
  function* entries() {
    try {
      for (;;) yield link("x");
    } finally {
      closed = true;
    }
  }
  const feed = new ListFeed(
    pathsOf(2),
    each(() => entries()),
  );
  t.equal(feed.next(), "later");
  await new Promise<void>((resolve) => {
    feed.onMore = resolve;
  });
  t.ok(feed.next());
  feed.close();
  t.equal(closed, true);
  t.equal(feed.next(), undefined);
});
