import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { HeldDirectory, inDirectoryOf } from "../../src/sink/held-directory.ts";
import { nameOf } from "../helpers/bytes.ts";

t.test("children: there, not there, and not directories", async (t) => {
  const dir = t.testdir({ sub: { below: {} }, file: "" });
  symlinkSync("sub", join(dir, "link"));
  symlinkSync("nowhere", join(dir, "dangling"));
  execFileSync("mkfifo", [join(dir, "fifo")]);
  const root = HeldDirectory.open(dir);
  t.teardown(() => root.close());
  const sub = root.child(nameOf("sub"));
  t.ok(sub?.child(nameOf("below")));
  t.equal(root.child(nameOf("none")), undefined);
  for (const name of ["file", "link", "dangling", "fifo"]) {
    t.throws(() => root.child(nameOf(name)), { code: "E_NOT_DIRECTORY" }, name);
    await t.rejects(root.makeChild(nameOf(name)), { code: "E_NOT_DIRECTORY" }, name);
  }
  t.ok(sub?.isOnSameDeviceAs(root));
  sub?.close();
});

t.test("many may make one directory at once", async (t) => {
  const root = HeldDirectory.open(t.testdir());
  t.teardown(() => root.close());
  const made = await Promise.all(Array.from({ length: 10 }, () => root.makeChild(nameOf("one"))));
  t.equal(made.length, 10);
  for (const child of made) child.close();
});

t.test("a held directory is the same one, wherever it is moved, and whatever takes its place", async (t) => {
  const dir = t.testdir({ served: {}, outside: {} });
  const root = HeldDirectory.open(join(dir, "served"));
  t.teardown(() => root.close());
  renameSync(join(dir, "served"), join(dir, "moved"));
  symlinkSync("outside", join(dir, "served"));
  await inDirectoryOf(root, nameOf("x/y/file"), "durably", (directory, last) => {
    writeFileSync(directory.entry(last), "content");
  });
  t.ok(existsSync(join(dir, "moved/x/y/file")));
  t.strictSame(readdirSync(join(dir, "outside")), []);
});

t.test("directories are made only where that is asked for", async (t) => {
  const dir = t.testdir({ sub: {} });
  const root = HeldDirectory.open(dir);
  t.teardown(() => root.close());
  t.equal(await inDirectoryOf(root, nameOf("none/file"), "no", () => "used"), undefined);
  t.notOk(existsSync(join(dir, "none")));
  t.equal(await inDirectoryOf(root, nameOf("sub/file"), "no", (_, last) => Buffer.from(last).toString()), "file");
  t.equal(await inDirectoryOf(root, nameOf("file"), "yes", (directory) => directory === root), true);
});

t.test("descriptors are let go, also when something goes wrong on the way", async (t) => {
  const dir = t.testdir({ a: { b: { file: "" } } });
  const root = HeldDirectory.open(dir);
  t.teardown(() => root.close());
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  for (let i = 0; i < 20; i++) {
    await inDirectoryOf(root, nameOf("a/b/c/d"), "yes", () => {});
    await t.rejects(
      inDirectoryOf(root, nameOf("a/b/file/d"), "durably", () => {}),
      { code: "E_NOT_DIRECTORY" },
    );
    await t.rejects(
      inDirectoryOf(root, nameOf("a/b/c"), "no", () => {
        throw new Error("bad");
      }),
      { message: "bad" },
    );
  }
  t.equal(open(), before);
});
