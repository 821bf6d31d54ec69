/**
 * Parts that share the blocks of the file that gives way. File systems that can do it are rare on test machines: here
 * copyFile takes copies for clones, and all else is as it is.
 */
import fs, { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import t, { type Test } from "tap";
import { assertContent, contentOf, directories, partsIn } from "../helpers/files.ts";

const { copyFile } = fs;
let clones = 0;
let refuses: string | undefined;
fs.copyFile = Object.assign(
  (from: fs.PathLike, to: fs.PathLike, mode: number, callback: fs.NoParamCallback) => {
    t.ok((mode & fs.constants.COPYFILE_FICLONE_FORCE) !== 0, "only a clone will do");
    clones++;
    if (refuses !== undefined) callback(Object.assign(new Error(refuses), { code: refuses }));
    else copyFile(from, to, mode & ~fs.constants.COPYFILE_FICLONE_FORCE, callback);
  },
  { __promisify__: copyFile.__promisify__ },
) as typeof copyFile;
syncBuiltinESMExports();

const { DiskSink } = await import("../../src/sink/disk-sink.ts");
const { sendAll, startServer, assertOk } = await import("../helpers/e2e.ts");

const CHUNK = 65_536;
const OLD = contentOf(20 * CHUNK + 9, 1);

t.test("a new file from a clone: longer, shorter, and where nobody may write to the old one", async (t) => {
  for (const bytes of [OLD.length, OLD.length + 3 * CHUNK, 7 * CHUNK + 1]) {
    const { from, to: dir } = directories(t);
    const content = Buffer.concat([OLD, contentOf(3 * CHUNK, 2)]).subarray(0, bytes);
    content.writeUInt8(content.readUInt8(2 * CHUNK) ^ 1, 2 * CHUNK);
    writeFileSync(join(from, "file"), content);
    writeFileSync(join(dir, "file"), OLD);
    chmodSync(join(dir, "file"), 0o444);
    const { to, server } = await startServer(t, dir);
    clones = 0;
    const sent = await sendAll({ paths: [join(from, "file")], to, delta: true, chunkBytes: CHUNK });
    assertOk(t, sent);
    t.equal(clones, 1);
    assertContent(t, join(dir, "file"), content, `${bytes} bytes`);
    t.equal(sent.result.bytesMatched + sent.result.bytesSent, bytes);
    t.ok(sent.result.bytesMatched > 0);
    await server.close();
    t.same(partsIn(dir), []);
  }
});

t.test("zeros in the place of what the old file has there are written, though they come as a hole", async (t) => {
  const { from, to: dir } = directories(t);
  const content = Buffer.concat([OLD.subarray(0, 20 * CHUNK), Buffer.alloc(2 * CHUNK)]);
  OLD.copy(content, 5 * CHUNK, 6 * CHUNK, 7 * CHUNK);
  content.fill(0, 3 * CHUNK, 4 * CHUNK);
  writeFileSync(join(from, "file"), content);
  // From a clone, and from a copy where none can be made.
  for (const code of [undefined, "EOPNOTSUPP"]) {
    refuses = code;
    writeFileSync(join(dir, "file"), OLD);
    const { to, server } = await startServer(t, dir);
    const sent = await sendAll({ paths: [join(from, "file")], to, delta: true, chunkBytes: CHUNK });
    assertOk(t, sent);
    t.ok(sent.result.chunks.sparse > 0);
    assertContent(t, join(dir, "file"), content);
    await server.close();
  }
  refuses = undefined;
});

/** A part of a file's name and size, and the file that it is to be a clone of. */
async function partOverOld(t: Test, dir: string) {
  writeFileSync(join(dir, "file"), OLD);
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  const part = await sink.reserve({ id: "p", name: Buffer.from("file"), size: OLD.length, mtime: [1, 0], mode: 0o644 });
  const held = await (await sink.find(Buffer.from("file")))?.hold?.();
  if (held === undefined) throw new Error("it is there");
  return { part, held };
}

t.test("a part that is dropped while it is cloned leaves nothing", async (t) => {
  const { to: dir } = directories(t);
  const { part, held } = await partOverOld(t, dir);
  const cloning = part.cloneFrom?.(held);
  await part.abort();
  t.equal(await cloning, false);
  t.same(partsIn(dir), []);
  await held.close();
});

t.test("a clone is private, and the old file stays as it is", async (t) => {
  const { to: dir } = directories(t);
  const { part, held } = await partOverOld(t, dir);
  t.equal(await part.cloneFrom?.(held), true);
  t.equal(await part.cloneFrom?.(held), false, "once it is open it is not cloned again");
  const path = join(dir, ".hawser", "parts", "p.part");
  t.equal(statSync(path).mode & 0o777, 0o600);
  await part.write(0, Buffer.from("new"));
  t.ok(readFileSync(join(dir, "file")).equals(OLD));
  await held.close();
  await part.abort();
  t.notOk(existsSync(path));
});

t.test("where it can't be done it is tried once, and copied", async (t) => {
  const { from, to: dir } = directories(t);
  const { to } = await startServer(t, dir);
  clones = 0;
  refuses = "EOPNOTSUPP";
  for (const name of ["a", "b"]) {
    const content = Buffer.from(OLD);
    content.writeUInt8(content.readUInt8(5) ^ 1, 5);
    writeFileSync(join(from, name), content);
    writeFileSync(join(dir, name), OLD);
    const sent = await sendAll({ paths: [join(from, name)], to, delta: true, chunkBytes: CHUNK });
    assertOk(t, sent);
    assertContent(t, join(dir, name), content);
    t.equal(sent.result.bytesSent, CHUNK);
  }
  t.equal(clones, 1);
});
