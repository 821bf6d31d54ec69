/** What lay under a small file's name is gone between two looks at it: the file comes in chunks, and both ends know. */
import { rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { testServer } from "../helpers/backend.ts";
import { assertOk, sendAll } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, makeFile } from "../helpers/files.ts";

for (const overwrite of ["if-different", "never"] as const) {
  t.test(`small files that were to be compared, and are gone when that begins: ${overwrite}`, async (t) => {
    const { from, to } = directories(t);
    const sink = new DiskSink(to, { durability: "none" });
    t.teardown(() => sink.close());
    const names = ["a", "b", "c", "d"];
    for (const [i, name] of names.entries()) {
      makeFile(join(from, name), 1000, i);
      if (i % 2 === 1) continue;
      writeFileSync(join(to, name), contentOf(1000, i + 10));
      utimesSync(join(to, name), 1, 1);
    }
    const { find } = sink;
    sink.find = (name) => {
      rmSync(join(to, Buffer.from(name).toString()), { force: true });
      return find.call(sink, name);
    };
    const { address } = await testServer(t, { sink });
    assertOk(t, await sendAll({ paths: [`${from}/`], to: address, overwrite, chunkBytes: 64 * KIB }));
    for (const [i, name] of names.entries()) assertContent(t, join(to, name), contentOf(1000, i));
  });
}
