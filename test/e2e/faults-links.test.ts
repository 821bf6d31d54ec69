/** Faults: symlinks in the served tree, which are never followed out of it, whatever is done with their names. */
import { lstatSync, mkdirSync, readFileSync, rmdirSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SendOptions, TransferEvent } from "../../src/index.ts";
import { RateLimit } from "../../src/net/rate-limit.ts";
import { EventLog, sendAll, startServer } from "../helpers/e2e.ts";
import { KIB, makeFile, partsIn } from "../helpers/files.ts";
import { readTree } from "../helpers/trees.ts";

const CHUNK = 64 * KIB;
const OVERWRITE = ["never", "if-different", "always", "rename"] as const;
const SIZES = { small: 1000, large: 3 * CHUNK + 7 };

/** What is outside is just what is sent: who followed a link would find it the same, and call it unchanged. */
async function place(t: Test) {
  const root = t.testdir({ from: {}, to: {}, outside: { directory: { inner: {} } } });
  const [from, to, outside] = ["from", "to", "outside"].map((name) => join(root, name)) as [string, string, string];
  for (const [i, [name, size]] of Object.entries(SIZES).entries()) {
    makeFile(join(from, name), size, i);
    makeFile(join(outside, name), size, i);
    symlinkSync(`../outside/${name}`, join(to, name));
    symlinkSync("../outside/new", join(to, `dangling-${name}`));
    makeFile(join(from, `dangling-${name}`), size, i);
  }
  symlinkSync("../outside/directory", join(to, "directory"));
  for (const name of ["directory/inner", "directory", "small", "large", ""]) utimesSync(join(outside, name), 1, 1);
  const seen = () => [readTree(outside), lstatSync(outside).mtimeMs];
  const before = seen();
  const { to: address } = await startServer(t, to, { durability: "none" });
  const send = (options: Partial<SendOptions>) =>
    sendAll({ paths: [`${from}/`], to: address, chunkBytes: CHUNK, ...options });
  return { from, to, outside, address, send, untouched: () => t.same(seen(), before, "nothing outside is touched") };
}

for (const overwrite of OVERWRITE) {
  for (const more of [{}, { verify: "full" as const }, { delta: true }]) {
    if ("delta" in more && (overwrite === "never" || overwrite === "rename")) continue;
    t.test(`files over links, --overwrite ${overwrite} ${JSON.stringify(more)}`, async (t) => {
      const { from, to, send, untouched } = await place(t);
      const { files } = await send({ overwrite, ...more });
      untouched();
      t.equal(files.length, 4);
      for (const { name, status, error } of files) {
        if (overwrite === "never") {
          t.equal(error?.code, "E_EXISTS", `${name} is not the same, though what the link leads to is`);
          t.ok(lstatSync(join(to, name)).isSymbolicLink(), "the link stays");
          continue;
        }
        t.equal(status, overwrite === "rename" ? "renamed" : "sent", name);
        t.ok(lstatSync(join(to, name)).isFile(), `${name} is a file`);
        t.ok(readFileSync(join(to, name)).equals(readFileSync(join(from, name.replace(" (1)", "")))), name);
      }
      t.same(partsIn(to), []);
      if (overwrite !== "rename") untouched();
    });
  }
}

t.test("into a link, and through one: files, directories and links", async (t) => {
  const { from, to, send, untouched } = await place(t);
  for (const into of ["directory", "directory/inner", "directory/new/deep"]) {
    for (const overwrite of OVERWRITE) {
      const { result, files } = await send({ into, overwrite });
      t.equal(result.ok, false);
      for (const { name, error } of files) t.equal(error?.code, "E_NOT_DIRECTORY", name);
    }
  }
  for (const [i, [name, size]] of Object.entries(SIZES).entries())
    makeFile(join(from, "tree/directory", name), size, i);
  mkdirSync(join(from, "tree/directory/inner"), { mode: 0o700 });
  symlinkSync("x", join(from, "tree/directory/link"));
  for (const overwrite of OVERWRITE) {
    for (const dryRun of [false, true]) {
      const { files } = await send({ paths: [`${join(from, "tree")}/`], overwrite, dryRun, preserveMode: true });
      t.ok(files.length >= 2);
      for (const { name, error } of files) t.equal(error?.code, "E_NOT_DIRECTORY", name);
    }
  }
  untouched();
  t.ok(lstatSync(join(to, "directory")).isSymbolicLink());
});

t.test("a directory's time and mode go to no link's target", async (t) => {
  const { from, send, untouched } = await place(t);
  mkdirSync(join(from, "only/directory"), { recursive: true, mode: 0o700 });
  const { result } = await send({ paths: [`${join(from, "only")}/`], overwrite: "always", preserveMode: true });
  t.match(result.error, { code: "E_NOT_DIRECTORY" });
  untouched();
});

t.test("a file that is gone on with: its name became a link, and its directory", async (t) => {
  const { to, address, send, from, untouched } = await place(t);
  mkdirSync(join(to, "d"));
  makeFile(join(from, "resumed/d/file"), 8 * CHUNK, 3);
  makeFile(join(from, "resumed/top"), 8 * CHUNK, 4);
  // The first half of both, by a client that goes away.
  const abort = new AbortController();
  const limited = { bwlimit: new RateLimit(100_000), signal: abort.signal };
  const log = new EventLog<TransferEvent>();
  const first = sendAll({ paths: [`${join(from, "resumed")}/`], to: address, chunkBytes: CHUNK, ...limited }, log);
  await log.until("progress", ({ bytesDone }) => bytesDone > 0);
  abort.abort();
  await first;
  t.ok(partsIn(to).length > 0, "a part waits");
  rmdirSync(join(to, "d"));
  symlinkSync("../outside/directory", join(to, "d"));
  symlinkSync("../outside/new", join(to, "top"));
  const { files } = await send({ paths: [`${join(from, "resumed")}/`] });
  t.same(new Set(files.map(({ error }) => error?.code)), new Set(["E_NOT_DIRECTORY", "E_EXISTS"]));
  untouched();
});
