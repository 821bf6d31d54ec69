/** Staging that somebody else has made, or may write to: no server begins on it. Whoever else: root's tests only. */
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { HawserError } from "../../src/protocol/errors.ts";
import { openDirectory } from "../../src/server/open-directory.ts";
import { DiskSink, dropPartIn } from "../../src/sink/disk-sink.ts";
import { specOf } from "./sink-conformance.ts";

const NOBODY = 65534;
const isRoot = process.geteuid?.() === 0;

function served(t: Test) {
  const root = t.testdir({ served: {}, outside: {} });
  return { dir: join(root, "served"), outside: join(root, "outside"), staging: join(root, "served/.hawser") };
}

async function refusal(dir: string): Promise<string> {
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  try {
    await (await openDirectory({ dir })).release();
    return "served";
  } catch (thrown) {
    if (!(thrown instanceof HawserError)) throw thrown;
    if (open() !== before) return "descriptors are left open";
    return `${thrown.code}: ${thrown.message}`;
  }
}

for (const which of ["", "/parts"]) {
  t.test(`staging${which} that is a link, whatever it leads to`, async (t) => {
    for (const target of ["outside", "nowhere"]) {
      const { dir, outside, staging } = served(t);
      if (which !== "") mkdirSync(staging, { mode: 0o700 });
      symlinkSync(join(dir, "..", target), staging + which);
      t.match(await refusal(dir), /^E_CONFIG: '.*hawser.*' can't be trusted: it is a link; remove it/);
      t.same(readdirSync(outside), []);
    }
  });

  t.test(`staging${which} that is a file`, async (t) => {
    const { dir, staging } = served(t);
    if (which !== "") mkdirSync(staging, { mode: 0o700 });
    writeFileSync(staging + which, "");
    t.match(await refusal(dir), /^E_CONFIG: .*it is no directory/);
  });

  t.test(`staging${which} that others may write to`, async (t) => {
    for (const mode of [0o777, 0o770, 0o1777, 0o702]) {
      const { dir, staging } = served(t);
      mkdirSync(staging + which, { recursive: true });
      chmodSync(staging + which, mode);
      t.match(await refusal(dir), /^E_CONFIG: .*others may write to it \(mode [01]7[07][0-7]\)/, mode.toString(8));
      t.notOk(existsSync(join(staging + which, "probe-mode")));
      chmodSync(staging + which, 0o755);
      t.equal(await refusal(dir), "served", "and reading is nobody's harm");
    }
  });

  t.test(`staging${which} of another user`, { skip: isRoot ? false : "root's only" }, async (t) => {
    const { dir, staging } = served(t);
    mkdirSync(staging + which, { recursive: true, mode: 0o700 });
    chownSync(staging + which, NOBODY, NOBODY);
    t.match(await refusal(dir), /^E_CONFIG: .*it belongs to another user \(65534, and the server runs as 0\)/);
    t.notOk(existsSync(join(staging, "lock.db")), "nothing was begun");
  });
}

t.test(
  "a record in staging, or a link to one, of another user",
  { skip: isRoot ? false : "root's only" },
  async (t) => {
    for (const name of ["lock.db", "server.txt", "sessions.db", "sessions.db-wal", "history.db", "history.db-shm"]) {
      const { dir, outside, staging } = served(t);
      await (await openDirectory({ dir })).release();
      const place = () => rmSync(join(staging, name), { recursive: true, force: true });
      place();
      symlinkSync(join(outside, "made"), join(staging, name));
      lchownSync(join(staging, name), NOBODY, NOBODY);
      t.match(await refusal(dir), new RegExp(`^E_CONFIG: '.*${name}' can't be trusted: it belongs to another user`));
      place();
      writeFileSync(join(staging, name), "");
      chownSync(join(staging, name), NOBODY, NOBODY);
      t.match(await refusal(dir), /can't be trusted: it belongs to another user/);
      t.same(readdirSync(outside), []);
    }
  },
);

t.test("staging that was moved away, and another put in its place", async (t) => {
  const { dir, staging } = served(t);
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  sink.assertRecords([]);
  renameSync(staging, `${staging}-away`);
  t.throws(() => sink.assertRecords([]), { code: "E_CONFIG", message: /it was moved away/ });
  mkdirSync(staging, { mode: 0o700 });
  t.throws(() => sink.assertRecords([]), { code: "E_CONFIG", message: /it was moved away/ });
});

t.test("staging is made for its owner alone", async (t) => {
  const { dir, staging } = served(t);
  const before = process.umask(0);
  t.teardown(() => process.umask(before));
  await new DiskSink(dir).close();
  for (const path of [staging, join(staging, "parts")]) t.equal(lstatSync(path).mode & 0o7777, 0o700);
});

t.test("the id of a part from a database leads nowhere", async (t) => {
  const { dir, outside } = served(t);
  writeFileSync(join(outside, "x.part"), "kept");
  const sink = new DiskSink(dir);
  t.teardown(() => sink.close());
  for (const id of ["../../../outside/x", "/x", "", "a/b", "a\\b", "a\0b", "x".repeat(300)]) {
    t.throws(() => dropPartIn(dir, id), { code: "E_IO", message: /can't be the id of a part/ });
    await t.rejects(sink.dropPart(id), { code: "E_IO" });
    await t.rejects(sink.reserve(specOf("a", 1, { id })), { code: "E_IO" });
    await t.rejects(sink.reopen(specOf("a", 1, { id }), 0), { code: "E_IO" });
  }
  t.same(readdirSync(outside), ["x.part"]);
});
