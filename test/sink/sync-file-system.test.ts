/** Syncing a whole file system by another program, whatever becomes of that program. */
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { canSyncFileSystems, syncFileSystem } from "../../src/sink/sync-file-system.ts";

const skip = canSyncFileSystems() ? false : "this kernel can't tell how syncing a file system went";

/** Has `sync` be this script, and syncs the file system of a test's directory. */
async function synced(t: Test, script: string): Promise<{ readonly result: boolean; readonly dir: string }> {
  const dir = t.testdir({});
  writeFileSync(join(dir, "sync"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const before = process.env["PATH"];
  process.env["PATH"] = `${dir}:${before}`;
  const fd = openSync(dir, "r");
  t.teardown(() => {
    process.env["PATH"] = before;
    closeSync(fd);
  });
  return { result: await syncFileSystem(fd), dir };
}

t.test("a program that is killed has done nothing", { skip }, async (t) => {
  t.equal((await synced(t, "kill -INT $$")).result, false);
});

t.test("one that fails is believed", { skip }, async (t) => {
  await t.rejects(synced(t, "echo no disk >&2; exit 1"), { code: "E_IO", message: /no disk/ });
});

t.test("what is typed at the server's terminal does not reach it", { skip }, async (t) => {
  // The fifth field is the process group (proc_pid_stat(5)).
  const { result, dir } = await synced(t, 'cut -d" " -f5 /proc/$$/stat > "$(dirname "$0")/group"; exit 0');
  t.equal(result, true);
  const ours = readFileSync("/proc/self/stat", "latin1").split(" ")[4];
  t.not(readFileSync(join(dir, "group"), "latin1").trim(), ours);
});
