/** The power goes: what was acknowledged is there as each level of durability promises, and the rest is gone on with. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readSessions } from "../../src/index.ts";
import { assertOk, sendAll, startServer, startServerChild } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, hexCrc32, makeFile, namesIn, partsIn } from "../helpers/files.ts";
import { Disk } from "../helpers/mounts.ts";
import { startProxy } from "../helpers/proxy.ts";
import { CHUNK, halfWay, recorded, tamperWithRecords } from "../helpers/unfinished.ts";

const CHUNKS = 64;
const BYTES = CHUNKS * CHUNK;
const HERE = 40;
const DISK_BYTES = 64 * 1024 * 1024;

t.test("power loss", async (t) => {
  for (const durability of ["none", "commit", "checkpoint", "strict"] as const) {
    await t.test(`power loss under ${durability}`, async (t) => {
      const { from } = directories(t);
      const disk = Disk.make(t, DISK_BYTES);
      if (disk === undefined) return;
      const dir = join(disk.place, "served");
      mkdirSync(dir);
      const first = await startServerChild(t, dir, { durability });
      const done = ["a", "b/c"].map((name, i) => makeFile(join(from, name), BYTES + i, 3 + i));
      assertOk(t, await sendAll({ paths: done.slice(0, 1), to: first.to, chunkBytes: CHUNK }));
      assertOk(t, await sendAll({ paths: done.slice(1), to: first.to, chunkBytes: CHUNK, into: "b/new" }));
      const under = makeFile(join(from, "under-way"), BYTES, 7);
      const { sending, proxy } = await halfWay(t, first.to, HERE, { paths: [under], retries: 0 });
      await recorded(dir, HERE * CHUNK);

      disk.cutPower();
      await first.kill();
      proxy.harmAll("control", "reset");
      await sending;
      disk.startAnew();

      const names = ["a", "b/new/c"];
      const isThere = (name: string) => existsSync(join(dir, name));
      t.comment(`there: ${names.filter(isThere).join(", ") || "nothing"}`);
      names.forEach((name, i) => {
        if (durability !== "none")
          assertContent(t, join(dir, name), contentOf(BYTES + i, 3 + i), `acknowledged: ${name}`);
        else if (isThere(name)) {
          // Nothing is promised but that it is no mixture.
          t.ok(readFileSync(join(dir, name)).equals(contentOf(BYTES + i, 3 + i)), `${name}, if it is there, is whole`);
        }
      });
      t.notOk(existsSync(join(dir, "under-way")), "what was under way has no name");

      // Below `checkpoint` the records may be lost as well, and the directory itself where nothing synced it.
      if (!existsSync(dir)) mkdirSync(dir);
      if (durability === "checkpoint" || durability === "strict") {
        t.equal(readSessions(dir)[0]?.bytesPresent, HERE * CHUNK, "what was recorded is recorded");
        // This machine was not started anew: without this the kernel's own id of the boot would vouch for the records.
        tamperWithRecords(dir, "UPDATE file SET boot = 'another'");
      }
      const second = await startServer(t, dir, { durability });
      const again = await startProxy(t, second.to);
      const sent = await sendAll({ paths: [under], to: again.address, chunkBytes: CHUNK });
      assertOk(t, sent);
      assertContent(t, join(dir, "under-way"), contentOf(BYTES, 7));
      t.equal(sent.files[0]?.crc32, hexCrc32(contentOf(BYTES, 7)));
      t.equal(again.chunks.size, CHUNKS - sent.result.bytesResumed / CHUNK, "what did not survive was sent again");
      t.comment(`${sent.result.bytesResumed / CHUNK} of ${HERE} recorded chunks resumed`);
      if (durability === "checkpoint" || durability === "strict") {
        t.equal(sent.result.bytesResumed, HERE * CHUNK, "and nothing of what a checkpoint recorded");
      }
      // Both again: there, or sent.
      assertOk(t, await sendAll({ paths: done.slice(0, 1), to: second.to }));
      assertOk(t, await sendAll({ paths: done.slice(1), to: second.to, into: "b/new" }));
      names.forEach((name, i) => {
        assertContent(t, join(dir, name), contentOf(BYTES + i, 3 + i));
      });
      t.same(namesIn(dir), ["a", "b", "under-way"]);
      await second.server.close();
      t.same(partsIn(dir), []);
      t.same(readSessions(dir), []);
    });
  }
});
