/** What becomes of a part where a sync fails, as on a disk that breaks: fsync(2) itself is made to. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Durability } from "../../src/sink/sink.ts";
import { randomBytesOf, same } from "../helpers/bytes.ts";
import { commit, reserve, specOf, write } from "./sink-conformance.ts";

/** Of each sync the call and the path that it was for; whatever is named here fails. */
let syncs: string[] = [];
let failing: (path: string) => boolean = () => false;

function watched(call: "fsync" | "fdatasync"): void {
  const real = fs[call];
  const mine = (fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
    syncs.push(`${call} ${path.split("/").slice(-2).join("/")}`);
    if (!failing(path)) return real(fd, done);
    setImmediate(() => done(Object.assign(new Error("EIO: i/o error"), { code: "EIO" })));
  };
  fs[call] = mine as typeof real;
}
watched("fsync");
watched("fdatasync");
syncBuiltinESMExports();
// Not before: they take hold of the calls when they are loaded.
const { DiskSink } = await import("../../src/sink/disk-sink.ts");
const { SyncError } = await import("../../src/sink/durable.ts");
const { HeldDirectory } = await import("../../src/sink/held-directory.ts");

const CHUNK = 64 * 1024;
const content = randomBytesOf(3 * CHUNK + 1234, 3);

function disk(t: Test, durability: Durability, hardLinks = true) {
  if (process.platform !== "linux") throw new Error("tells files by /proc");
  const dir = t.testdir({ sub: {} });
  const sink = new DiskSink(dir, { durability, hardLinks });
  syncs = [];
  failing = () => false;
  t.teardown(() => {
    failing = () => false;
    return sink.close();
  });
  return { dir, sink, final: join(dir, "sub/a"), parts: () => fs.readdirSync(join(dir, ".hawser/parts")) };
}

async function written(sink: InstanceType<typeof DiskSink>, bytes = content) {
  const part = await reserve(sink, specOf("sub/a", bytes.length));
  await write(part, bytes, CHUNK);
  return part;
}

t.test("a part that can't be synced gets no name, and the error says that it was the sync", async (t) => {
  for (const durability of ["commit", "checkpoint", "strict"] as const) {
    const { sink, final, parts } = disk(t, durability);
    const part = await written(sink);
    failing = (path) => path.endsWith(".part");
    for (const attempt of [() => part.sync(), () => commit(part, content)]) {
      const thrown = await attempt().catch((error) => error);
      t.ok(thrown instanceof SyncError, `${thrown}`);
      t.equal(thrown.code, "E_IO");
    }
    t.notOk(fs.existsSync(final));
    t.equal(parts().length, 1);
    await part.abort();
    t.strictSame(parts(), []);
  }
});

for (const hardLinks of [true, false]) {
  t.test(`a name that may not last is taken back, and the part is as it was: hard links ${hardLinks}`, async (t) => {
    const { sink, final, parts } = disk(t, "commit", hardLinks);
    const part = await written(sink);
    failing = (path) => path.endsWith("/sub");
    await t.rejects(commit(part, content), { code: "E_IO" });
    t.notOk(fs.existsSync(final), "whoever hears that it failed does not find it");
    t.equal(parts().length, 1);
    failing = () => false;
    await t.resolves(commit(part, content));
    t.ok(fs.existsSync(final) && same(fs.readFileSync(final), content));
    t.strictSame(parts(), []);
  });
}

t.test("a file that is in its place for good is not said to have failed", async (t) => {
  for (const hardLinks of [true, false]) {
    const { sink, final } = disk(t, "commit", hardLinks);
    const part = await written(sink);
    // Its entry there is only tidied away.
    failing = (path) => path.endsWith("/parts");
    const said = await commit(part, content).then(
      () => "committed",
      () => "failed",
    );
    t.equal(said, fs.existsSync(final) ? "committed" : "failed");
  }
});

t.test("a directory that is made for a file, and can't be synced, gets no file", async (t) => {
  const { dir, sink, parts } = disk(t, "commit");
  const part = await reserve(sink, specOf("new/a", 4));
  await write(part, content.subarray(0, 4), CHUNK);
  failing = (path) => path === dir;
  await t.rejects(commit(part, content.subarray(0, 4)), { code: "E_IO" });
  t.notOk(fs.existsSync(join(dir, "new/a")));
  t.equal(parts().length, 1);
  await part.abort();
});

t.test("a part's name is synced once, with its first checkpoint", async (t) => {
  const { sink } = disk(t, "checkpoint");
  const part = await reserve(sink, specOf("sub/a", content.length, { id: "p" }));
  await part.sync();
  t.strictSame(syncs, [], "there is nothing yet");
  await write(part, content, CHUNK);
  await part.sync();
  await part.sync();
  t.strictSame(syncs, ["fdatasync parts/p.part", "fsync .hawser/parts", "fdatasync parts/p.part"]);
  await part.abort();
  await part.sync();
  t.equal(syncs.length, 3, "nor is one that is dropped");
});

t.test("a name that was not synced is, with the next checkpoint", async (t) => {
  const { sink } = disk(t, "checkpoint");
  const part = await written(sink);
  failing = (path) => path.endsWith("/parts");
  t.ok((await part.sync().catch((error) => error)) instanceof SyncError);
  failing = () => false;
  syncs = [];
  await part.sync();
  t.ok(syncs.includes("fsync .hawser/parts"));
  await part.abort();
});

t.test("a sync that goes on when the part is closed is waited for", async (t) => {
  const { sink } = disk(t, "checkpoint");
  const part = await written(sink);
  const syncing = part.sync();
  await part.close();
  await t.resolves(syncing, "its descriptor was not closed, nor given to another file, under it");
});

t.test("small files have lost their names in staging before it is synced, and that can't fail them", async (t) => {
  const { sink, parts, dir } = disk(t, "commit");
  const batch = sink.tree.batch();
  for (const [i, id] of ["a", "b"].entries()) batch.stage(specOf(`sub/${id}`, 4, { id }), content.subarray(i, i + 4));
  let left: string[] | undefined;
  failing = (path) => {
    if (path.endsWith("/parts")) left = parts();
    return path.endsWith("/parts");
  };
  t.strictSame(await batch.commit(), [{}, {}]);
  t.strictSame(left, [], "a power cut after this brings nothing back");
  t.strictSame(syncs.slice(-2), [`fsync ${dir.split("/").at(-1)}/sub`, "fsync .hawser/parts"], "names first");
});

t.test("whoever asks for a sync of a directory during another shares the next, and its failure", async (t) => {
  const held = HeldDirectory.open(t.testdir());
  t.teardown(() => held.close());
  syncs = [];
  failing = () => false;
  const first = held.sync();
  failing = () => true;
  const others = [held.sync(), held.sync(), held.sync()];
  t.equal(syncs.length, 1, "it is under way");
  await first;
  for (const other of others) await t.rejects(other, { code: "E_IO" });
  t.equal(syncs.length, 2, "that one may have begun too early for them");
  failing = () => false;
  await held.sync();
  t.equal(syncs.length, 3);
});
