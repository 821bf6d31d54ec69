/** `hawser sessions` on directories with something unfinished in them, served and not. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { DatabaseSessionStore } from "../../src/sink/database-session-store.ts";
import { DiskSink } from "../../src/sink/disk-sink.ts";
import { nonconformity } from "../cli/schema.ts";
import { nameOf } from "../helpers/bytes.ts";
import { connectTo, hello } from "../helpers/wire-end.ts";
import { run, startServe } from "./program.ts";

const MIB = 1024 * 1024;
const ADDRESS = "192.0.2.7";

/** What a server leaves that ended in the middle of two transfers: of the first, one MiB of four is there. */
async function leftover(t: Test): Promise<string> {
  const dir = t.testdir();
  const sink = new DiskSink(dir);
  const store = DatabaseSessionStore.open(join(dir, ".hawser", "sessions.db"));
  for (const [id, transferId] of [
    ["aa", "11112222-3333"],
    ["bb", "11115555-6666"],
  ] as const) {
    await store.create({ id, transferId, peer: ADDRESS, createdMs: Date.now() - 60_000, chunkBytes: MIB });
    const file = {
      key: id,
      name: nameOf(`dump-${id}.sql\u001b[31m`),
      size: 4 * MIB,
      mtime: [1, 0],
      mode: 0o644,
    } as const;
    const [number = 0] = await store.addFiles(id, [{ ...file, partId: `part-${id}` }]);
    await store.recordChunks([{ file: number, offset: MIB, crc32: 7, synced: false }]);
    await store.close(id);
    writeFileSync(join(dir, ".hawser", "parts", `part-${id}.part`), "x");
  }
  await store.release();
  await sink.close();
  return dir;
}

const partsIn = (dir: string) => readdirSync(join(dir, ".hawser", "parts")).sort();

t.test("lists who, what, how much, since when, and when it expires", async (t) => {
  const dir = await leftover(t);
  const { code, out, err } = await run(["sessions", dir]);
  t.equal(code, 0);
  t.equal(err, "");
  const [header = "", first = "", second = ""] = out.split("\n");
  t.match(header, /^TRANSFER +FROM +STATE +THERE +SINCE +EXPIRES +NAMES/);
  t.match(
    first,
    /^11112222 +192\.0\.2\.7 +waiting +1\.00 MiB of 4\.00 MiB \(25%\) +\d{4}-.* in (7 d 00|6 d 23) h .*dump-aa\.sql/,
  );
  t.match(second, /^11115555 /);
  t.notMatch(out, "\u001b", "names are escaped");
});

t.test("--json conforms to its schema", async (t) => {
  const dir = await leftover(t);
  const { code, out } = await run(["sessions", dir, "--json"]);
  t.equal(code, 0);
  const document = JSON.parse(out);
  t.equal(nonconformity("sessions", document), undefined);
  t.match(document.sessions, [
    { transferId: "11112222-3333", state: "waiting", bytesPresent: MIB, bytesTotal: 4 * MIB },
    { transferId: "11115555-6666" },
  ]);
  const [first] = document.sessions;
  t.equal(first.expiresMs - first.seenMs, 7 * 24 * 3600 * 1000);
  t.type(nonconformity("sessions", { sessions: [{}] }), "string", "the schema refuses");
});

t.test("--drop throws one away, with its part, and no other", async (t) => {
  const dir = await leftover(t);
  const ambiguous = await run(["sessions", dir, "--drop", "1111"]);
  t.equal(ambiguous.code, 2);
  t.match(ambiguous.err, /may be any of 2 transfers/);
  const unknown = await run(["sessions", dir, "--drop", "9"]);
  t.equal(unknown.code, 2);
  t.match(unknown.err, /no unfinished transfer/);
  t.strictSame(partsIn(dir), ["part-aa.part", "part-bb.part"], "nothing so far");
  const { code, err, out } = await run(["sessions", dir, "--drop", "11112"]);
  t.equal(code, 0);
  t.match(err, /11112222-3333 is dropped/);
  t.equal(out, "");
  t.strictSame(partsIn(dir), ["part-bb.part"]);
  const left = JSON.parse((await run(["sessions", dir, "--json"])).out);
  t.match(left.sessions, [{ transferId: "11115555-6666" }]);
  t.equal(left.sessions.length, 1);
});

t.test("what a server has under way is shown as active, and is not dropped", async (t) => {
  const dir = await leftover(t);
  const server = await startServe(dir, ["--session-ttl", "1h", "--insecure"]);
  const [host = "", port] = server.address.split(":");
  const control = await connectTo(t, { host, port: Number(port) });
  control.connection.send("HELLO", hello());
  await control.heard.message("WELCOME");
  const file = { file: 0, name: nameOf("new.bin"), size: 10, mtime: [1, 0] as [number, number], mode: 0o644 };
  control.connection.send("OFFER", { settledBelow: 0, files: [{ ...file, key: new Uint8Array(16).fill(9) }] });
  await control.heard.message("PLAN");

  const { sessions } = JSON.parse((await run(["sessions", dir, "--json"])).out);
  const active = sessions.find(({ state }: { state: string }) => state === "active");
  t.match(active, {
    peer: "127.0.0.1",
    expiresMs: null,
    bytesPresent: 0,
    bytesTotal: 10,
    files: [{ name: "new.bin" }],
  });
  const waiting = sessions.filter(({ state }: { state: string }) => state === "waiting");
  t.equal(waiting.length, 2);
  t.equal(waiting[0].expiresMs - waiting[0].seenMs, 3600 * 1000, "by the server's own time to live");
  const refused = await run(["sessions", dir, "--drop", active.transferId]);
  t.equal(refused.code, 69);
  t.match(refused.err, /the server has the transfer .* open/);
  const dropped = await run(["sessions", dir, "--drop", "11115"]);
  t.equal(dropped.code, 0, "a waiting one is, beside a running server");
  t.strictSame(partsIn(dir), ["part-aa.part"]);
  control.connection.destroy();
  await server.stop();
});

t.test("nothing unfinished, nothing served, nothing there", async (t) => {
  const dir = t.testdir();
  const empty = await run(["sessions", dir]);
  t.equal(empty.code, 0);
  t.equal(empty.out, "");
  t.match(empty.err, /no server has ever received/);
  t.notOk(existsSync(join(dir, ".hawser")), "and nothing is made");
  t.strictSame(JSON.parse((await run(["sessions", dir, "--json"])).out), { sessions: [] });
  const missing = await run(["sessions", join(dir, "none")]);
  t.equal(missing.code, 78);
  t.match(missing.err, /does not exist/);
});
