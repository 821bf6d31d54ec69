import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { DiskSink, type DiskSinkOptions } from "../../src/sink/disk-sink.ts";
import { openWriter } from "../../src/sink/writer.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { commit, put, reserve, sinkConformance, specOf, write } from "./sink-conformance.ts";

const CHUNK = 64 * 1024;
const partsOf = (dir: string) => readdirSync(join(dir, ".hawser/parts"));

function diskSink(t: Test, options: DiskSinkOptions = {}, dir = t.testdir()) {
  const sink = new DiskSink(dir, options);
  t.teardown(() => sink.close());
  const read = (name: string) => (existsSync(join(dir, name)) ? readFileSync(join(dir, name)) : undefined);
  return { dir, sink, read, partsHeld: () => partsOf(dir).length };
}

for (const hardLinks of [true, false]) {
  t.test(hardLinks ? "with hard links" : "without hard links", async (t) => {
    sinkConformance(t, {
      chunkBytes: CHUNK,
      make: (t, { fileBytesMax } = {}) =>
        diskSink(t, { hardLinks, ...(fileBytesMax === undefined ? {} : { fileBytesMax }) }),
    });

    t.test("a link at the final name is not followed, whatever it leads to", async (t) => {
      const { dir, sink } = diskSink(t, { hardLinks }, t.testdir({ served: {}, "outside.txt": "outside" }));
      const served = join(dir, "served");
      const inner = diskSink(t, { hardLinks }, served).sink;
      symlinkSync("../outside.txt", join(served, "to-file"));
      symlinkSync("../nowhere.txt", join(served, "to-nothing"));
      for (const name of ["to-file", "to-nothing"]) {
        t.equal((await inner.find(nameOf(name)))?.size, null, "something, and not a file");
        const part = await reserve(inner, specOf(name, 4));
        await write(part, nameOf("evil"), CHUNK);
        await t.rejects(commit(part, nameOf("evil")), { code: "E_EXISTS" });
      }
      t.equal(readFileSync(join(dir, "outside.txt"), "utf8"), "outside");
      t.notOk(existsSync(join(dir, "nowhere.txt")));
      t.equal(readlinkSync(join(served, "to-file")), "../outside.txt");
      await sink.dropAllBut(new Set());
    });

    t.test("a component that is a link or a file leads nowhere", async (t) => {
      const dir = t.testdir({ served: { real: {}, file: "content" }, outside: {} });
      const served = join(dir, "served");
      const { sink, partsHeld } = diskSink(t, { hardLinks }, served);
      symlinkSync("../outside", join(served, "out"));
      symlinkSync("real", join(served, "in"));
      for (const name of ["out/a", "out/sub/a", "in/a", "file/a", "file/sub/a"]) {
        await t.rejects(sink.find(nameOf(name)), { code: "E_NOT_DIRECTORY" }, name);
        const part = await reserve(sink, specOf(name, 4));
        await write(part, nameOf("evil"), CHUNK);
        await t.rejects(commit(part, nameOf("evil")), { code: "E_NOT_DIRECTORY" }, name);
        await part.abort();
      }
      t.strictSame(readdirSync(join(dir, "outside")), []);
      t.strictSame(readdirSync(join(served, "real")), []);
      t.equal(partsHeld(), 0);
    });
  });
}

t.test("a directory swapped for a link while a part is written leads nowhere", async (t) => {
  const dir = t.testdir({ served: { sub: {} }, outside: {} });
  const served = join(dir, "served");
  const { sink } = diskSink(t, {}, served);
  const part = await reserve(sink, specOf("sub/a", 4));
  await write(part, nameOf("evil"), CHUNK);
  t.equal(await sink.find(nameOf("sub/a")), undefined);
  execFileSync("rmdir", [join(served, "sub")]);
  symlinkSync("../outside", join(served, "sub"));
  await t.rejects(commit(part, nameOf("evil")), { code: "E_NOT_DIRECTORY" });
  t.strictSame(readdirSync(join(dir, "outside")), []);
});

t.test("a file that is replaced by a link or a FIFO before it is compared is not read", async (t) => {
  const { dir, sink } = diskSink(t, {}, t.testdir({ a: "content", b: "content", "secret.txt": "secret" }));
  const [a, b] = [await sink.find(nameOf("a")), await sink.find(nameOf("b"))];
  execFileSync("rm", [join(dir, "a"), join(dir, "b")]);
  symlinkSync("secret.txt", join(dir, "a"));
  execFileSync("mkfifo", [join(dir, "b")]);
  const { signal } = new AbortController();
  await t.rejects(
    Promise.resolve(a?.digest(signal)).then(() => {}),
    { code: "E_IO" },
  );
  const fifo = await b?.digest(signal).then(
    (digest) => digest.length,
    (error) => error.code,
  );
  t.ok(fifo === "E_IO" || fifo === 32, "it ended, and did not wait for a writer");
});

t.test("what is not a file is there, and not the same as any file", async (t) => {
  const { dir, sink } = diskSink(t, {}, t.testdir({ sub: {} }));
  execFileSync("mkfifo", [join(dir, "fifo")]);
  for (const name of ["sub", "fifo"]) t.equal((await sink.find(nameOf(name)))?.size, null);
});

t.test("the mode is what was asked for, less what the mask takes", async (t) => {
  const { dir, sink } = diskSink(t);
  const mask = process.umask();
  for (const mode of [0o644, 0o600, 0o777, 0o755, 0o400, 0o4755, 0o7777, 0]) {
    const part = await reserve(sink, specOf(`m${mode}`, 1, { mode }));
    await write(part, nameOf("x"), CHUNK);
    t.equal(lstatSync(join(dir, ".hawser/parts", partsOf(dir)[0] as string)).mode & 0o777, 0o600, "nobody else's yet");
    await commit(part, nameOf("x"));
    t.equal(lstatSync(join(dir, `m${mode}`)).mode & 0o7777, mode & 0o777 & ~mask, mode.toString(8));
  }
});

t.test("the time is the source's, to a microsecond", async (t) => {
  const { dir, sink } = diskSink(t);
  const times: [number, number][] = [
    [1_700_000_000, 123_456_789],
    [0, 0],
    [1, 999_999_999],
    [4_000_000_000, 500_000_000],
  ];
  for (const [i, mtime] of times.entries()) {
    const part = await reserve(sink, specOf(`t${i}`, 0, { mtime }));
    await commit(part, new Uint8Array(0));
    const found = lstatSync(join(dir, `t${i}`), { bigint: true }).mtimeNs;
    const off = found - (BigInt(mtime[0]) * 1_000_000_000n + BigInt(mtime[1]));
    t.ok(off > -1000n && off < 1000n, `${mtime}: off by ${off} ns`);
  }
});

t.test("a time before 1970 is kept too", async (t) => {
  const { dir, sink } = diskSink(t);
  const part = await reserve(sink, specOf("old", 0, { mtime: [-86_400, 250_000_000] }));
  await commit(part, new Uint8Array(0));
  t.equal(lstatSync(join(dir, "old"), { bigint: true }).mtimeNs, -86_399_750_000_000n);
});

t.test("names are bytes", async (t) => {
  const { dir, sink } = diskSink(t);
  const names = ["tab\tquote\"'\\", "\u202eend", "new\nline", "x".repeat(255)].map(nameOf);
  names.push(Uint8Array.of(0x66, 0xff, 0xfe));
  for (const name of names) {
    const part = await reserve(sink, specOf("", 1, { name }));
    await write(part, nameOf("x"), CHUNK);
    await commit(part, nameOf("x"));
    t.equal((await sink.find(name))?.size, 1);
  }
  const found = readdirSync(dir, { encoding: "buffer" }).map((name) => name.toString("hex"));
  for (const name of names) t.ok(found.includes(Buffer.from(name).toString("hex")));
});

t.test("what an earlier run left is dropped, and only that", async (t) => {
  const { dir, sink, read } = diskSink(t);
  await put(sink, "a", nameOf("kept"), CHUNK);
  for (const name of ["x.part", "y.part"]) writeFileSync(join(dir, ".hawser/parts", name), "left");
  t.equal(await sink.dropAllBut(new Set()), 2);
  t.strictSame(partsOf(dir), []);
  t.ok(same(read("a"), nameOf("kept")));
});

t.test("a part never takes over a file that lies in staging under its name", async (t) => {
  const { dir, sink } = diskSink(t);
  writeFileSync(join(dir, ".hawser/parts/taken.part"), "left");
  const part = await reserve(sink, specOf("a", 1, { id: "taken" }));
  t.throws(() => part.open(), { code: "E_IO" });
  await part.abort();
  t.equal(readFileSync(join(dir, ".hawser/parts/taken.part"), "utf8"), "left");
});

t.test("staging that is a link is refused", async (t) => {
  const dir = t.testdir({ served: {}, outside: {} });
  symlinkSync("../outside", join(dir, "served/.hawser"));
  t.throws(() => new DiskSink(join(dir, "served")), { code: "E_CONFIG", message: /can't be trusted: it is a link/ });
});

t.test("a directory that is none, or is not there", async (t) => {
  const dir = t.testdir({ file: "" });
  t.throws(() => new DiskSink(join(dir, "file")), { name: "HawserError" });
  t.throws(() => new DiskSink(join(dir, "nothing")), { name: "HawserError" });
});

t.test("writing to a part that was dropped reaches nothing", async (t) => {
  const { dir, sink } = diskSink(t);
  const part = await reserve(sink, specOf("a", 4));
  part.open();
  await part.abort();
  // The system gives the number of the file that was closed to the next that is opened.
  const other = await reserve(sink, specOf("b", 4));
  await write(other, nameOf("good"), CHUNK);
  await Promise.resolve()
    .then(() => part.write(0, nameOf("evil")))
    .catch(() => {});
  await commit(part, nameOf("e")).catch(() => {});
  await commit(other, nameOf("good"));
  t.equal(readFileSync(join(dir, "b"), "utf8"), "good");
});

t.test("every descriptor is let go", async (t) => {
  const open = () => readdirSync("/proc/self/fd").length;
  const dir = t.testdir({ a: {} });
  const cycle = async () => {
    const sink = new DiskSink(dir);
    for (const end of ["commit", "abort"] as const) {
      const part = await reserve(sink, specOf(`a/${process.hrtime.bigint()}`, 4));
      await write(part, nameOf("good"), CHUNK);
      await (end === "commit" ? commit(part, nameOf("good")) : part.abort());
    }
    await sink.find(nameOf("a/b/c"));
    await sink.close();
  };
  await cycle();
  const before = open();
  for (let i = 0; i < 10; i++) await cycle();
  t.equal(open(), before);
});

t.test("room that is promised to one part is not promised to another", async (t) => {
  const dir = t.testdir();
  const { bavail, bsize } = statfsSync(dir);
  const free = bavail * bsize;
  // All but 1,000 MB stay free, so that what other programs write meanwhile doesn't matter.
  const { sink } = diskSink(t, { minFreeBytes: Math.max(0, free - 1e9) }, dir);
  const room = Math.min(free, 1e9);
  await t.rejects(sink.reserve(specOf("a", 2 * room)), { code: "E_NO_SPACE" });
  const first = await sink.reserve(specOf("b", Math.floor(0.4 * room)));
  const second = await sink.reserve(specOf("c", Math.floor(0.4 * room)));
  await t.rejects(sink.reserve(specOf("d", Math.floor(0.4 * room))), { code: "E_NO_SPACE" });
  await second.abort();
  await second.abort();
  const third = await sink.reserve(specOf("e", Math.floor(0.4 * room)));
  await t.rejects(sink.reserve(specOf("f", Math.floor(0.4 * room))), { code: "E_NO_SPACE" }, "given back once only");
  for (const part of [first, third]) await part.abort();
});

/** A real file system of 4 MiB; with `below`, mounted there in a directory that is returned. */
function smallDisk(t: Test, below = "."): string | undefined {
  // Not a test directory of tap's, which would be removed while it is mounted.
  const dir = mkdtempSync(join(tmpdir(), "hawser-test-"));
  const mounted = join(dir, below);
  mkdirSync(mounted, { recursive: true });
  try {
    if (process.platform !== "linux" || process.getuid?.() !== 0) throw new Error("only root on Linux may mount one");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "hawser-test", mounted], { stdio: "pipe" });
  } catch (error) {
    rmSync(dir, { recursive: true });
    t.comment(`skipped: a small file system can't be mounted: ${(error as Error).message}`);
    return undefined;
  }
  t.teardown(() => {
    execFileSync("umount", ["-l", mounted]);
    rmSync(dir, { recursive: true });
  });
  return dir;
}

const MIB = 1024 * 1024;

t.test("a full disk is refused up front", async (t) => {
  const dir = smallDisk(t);
  if (dir === undefined) return;
  const { sink, partsHeld } = diskSink(t, {}, dir);
  await t.rejects(sink.reserve(specOf("a", 5 * MIB)), { code: "E_NO_SPACE" });
  const parts = await Promise.all([1, 2, 3].map((i) => reserve(sink, specOf(`p${i}`, MIB))));
  await t.rejects(sink.reserve(specOf("p4", MIB + 1)), { code: "E_NO_SPACE" }, "the rest is promised");
  const contents = parts.map((_, i) => randomBytesOf(MIB, i + 1));
  for (const [i, part] of parts.entries()) await write(part, contents[i] as Uint8Array, CHUNK);
  for (const [i, part] of parts.entries()) await commit(part, contents[i] as Uint8Array);
  for (const i of [0, 1, 2]) t.ok(same(readFileSync(join(dir, `p${i + 1}`)), contents[i] as Uint8Array));
  t.equal(partsHeld(), 0);
});

t.test("a file of unknown size that is all holes gets no larger than what the disk could hold", async (t) => {
  const dir = smallDisk(t);
  if (dir === undefined) return;
  const { sink, partsHeld } = diskSink(t, {}, dir);
  const part = await sink.reserve({ ...specOf("a", 0), size: null });
  const writer = openWriter(part.open());
  await writer.write(0, new Uint8Array(MIB));
  part.written(63 * MIB);
  t.throws(() => part.written(MIB), { code: "E_NO_SPACE" });
  await part.abort();
  t.equal(partsHeld(), 0);
  const { sink: roomy } = diskSink(t);
  const other = await roomy.reserve({ ...specOf("a", 0), size: null });
  other.open();
  t.doesNotThrow(() => other.written(64 * MIB));
  await other.abort();
});

t.test("a disk that fills up after the promise", async (t) => {
  const dir = smallDisk(t);
  if (dir === undefined) return;
  const { sink, partsHeld } = diskSink(t, {}, dir);
  const part = await reserve(sink, specOf("a", 3 * MIB));
  const writer = openWriter(part.open());
  await writer.write(0, new Uint8Array(MIB));
  t.throws(() => writeFileSync(join(dir, "eater"), new Uint8Array(4 * MIB)), { code: "ENOSPC" });
  t.throws(() => writer.write(MIB, new Uint8Array(2 * MIB)), { name: "HawserError", code: "E_NO_SPACE" });
  await part.abort();
  t.equal(partsHeld(), 0);
  t.notOk(existsSync(join(dir, "a")));
  execFileSync("rm", [join(dir, "eater")]);
  await put(sink, "a", randomBytesOf(2 * MIB), CHUNK);
});

t.test("a mount below the served directory, where links don't reach", async (t) => {
  const dir = smallDisk(t, "mounted");
  if (dir === undefined) return;
  const { sink, partsHeld } = diskSink(t, {}, dir);
  const part = await reserve(sink, specOf("mounted/a", 4));
  await write(part, nameOf("good"), CHUNK);
  await t.rejects(commit(part, nameOf("good")), { name: "HawserError", code: "E_IO" }, "said, and nothing half done");
  t.equal(partsHeld(), 1);
  await part.abort();
  t.equal(partsHeld(), 0);
  t.notOk(existsSync(join(dir, "mounted/a")));
});
