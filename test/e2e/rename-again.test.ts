/** `--overwrite rename` run again: what an earlier run has put beside what has the name is not put there once more. */
import { readdirSync, rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SendOptions } from "../../src/index.ts";
import { sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, makeFile, partsIn } from "../helpers/files.ts";

const CHUNK = 64 * KIB;
const LARGE = 3 * CHUNK + 5;
const TIME = 1_600_000_000.25;

/** The source's files beside others of the same names at the destination: of the same size, and of another. */
function place(t: Test) {
  const { from, to } = directories(t);
  const files = { "large-alike": LARGE, "large-other": LARGE, "small-alike": 300, "small-other": 300 };
  for (const [name, bytes] of Object.entries(files)) {
    utimesSync(makeFile(join(from, name), bytes, 1), TIME, TIME);
    makeFile(join(to, name), name.endsWith("alike") ? bytes : bytes + 1, 2);
  }
  return { from, dir: to, names: Object.keys(files) };
}

for (const checksum of [false, true]) {
  t.test(`nothing changes the second time${checksum ? ", every file compared" : ""}`, async (t) => {
    const { from, dir, names } = place(t);
    const { to } = await startServer(t, dir);
    const send = async (more: Partial<SendOptions> = {}) => {
      const { files } = await sendAll({
        paths: [`${from}/`],
        to,
        overwrite: "rename",
        checksum,
        chunkBytes: CHUNK,
        ...more,
      });
      return files
        .filter(({ name }) => !name.endsWith("/"))
        .map(({ name, status }) => `${status} ${name}`)
        .sort();
    };
    const renamed = names.map((name) => `renamed ${name} (1)`);
    const unchanged = names.map((name) => `unchanged ${name}`);
    t.same(await send({ dryRun: true }), renamed);
    t.same(await send(), renamed);
    const there = readdirSync(dir).sort();
    t.same(await send({ dryRun: true }), unchanged);
    t.same(await send(), unchanged);
    t.same(readdirSync(dir).sort(), there);

    // Another version gets a name of its own, once, though it has the size and the time of the one before.
    for (const name of names) {
      const bytes = name.startsWith("large") ? LARGE : 300;
      rmSync(join(from, name));
      utimesSync(makeFile(join(from, name), bytes, 3), TIME, TIME);
    }
    t.same(
      await send(),
      names.map((name) => `renamed ${name} (2)`),
    );
    t.same(await send(), unchanged);
    for (const name of names) {
      const bytes = name.startsWith("large") ? LARGE : 300;
      assertContent(t, join(dir, `${name} (1)`), contentOf(bytes, 1));
      assertContent(t, join(dir, `${name} (2)`), contentOf(bytes, 3));
    }
    t.same(partsIn(dir), []);
  });
}
