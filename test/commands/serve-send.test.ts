/** A file from end to end, through real processes and real sockets. */
import { readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import t from "tap";
import { nonconformity } from "../cli/schema.ts";
import { run, start, startServe } from "./program.ts";

const CONTENT = Buffer.from("hawser\n".repeat(100_000));
const CRC = crc32(CONTENT).toString(16).padStart(8, "0");

t.test("send, receipt, events, history", async (t) => {
  const dir = t.testdir({ in: {}, "a b.bin": CONTENT, empty: "" });
  const server = await startServe(join(dir, "in"), ["-v"]);
  t.same(Object.keys(server.events[0]!), ["event", "host", "port", "dir"]);
  t.equal(server.events[0]!["dir"], join(dir, "in"));

  const sent = await run(["send", "a b.bin", "empty", "--to", server.address, "--streams", "3"], { cwd: dir });
  t.same([sent.code, sent.err], [0, ""]);
  t.match(sent.out, new RegExp(`^sent +684 KiB  ${CRC}  a b\\.bin$`, "m"));
  t.match(sent.out, /^sent +0 B {2}00000000 {2}empty$/m);
  t.match(sent.out, /^committed {3}2 files, 684 KiB \(700,000 bytes\)$/m);
  for (const label of ["time", "rate", "resumed", "retries", "streams", "durability", "transfer"]) {
    t.match(sent.out, new RegExp(`^${label} +\\S`, "m"));
  }
  t.ok(readFileSync(join(dir, "in", "a b.bin")).equals(CONTENT));
  t.equal((await server.event("transfer"))["files"], 2);

  const again = await run(["send", "a b.bin", "--to", server.address, "--json"], { cwd: dir });
  t.same([again.code, again.err], [0, ""]);
  const document = JSON.parse(again.out);
  t.equal(nonconformity("send", document), undefined);
  t.equal(document.files[0].status, "unchanged");

  const quiet = await run(["send", "a b.bin", "--to", server.address, "--name", "q", "--into", "x/y", "-q"], {
    cwd: dir,
  });
  t.same([quiet.code, quiet.out, quiet.err], [0, "", ""]);
  t.ok(readFileSync(join(dir, "in", "x", "y", "q")).equals(CONTENT));

  const ended = await server.stop();
  t.equal(ended.code, 0);
  t.match(ended.err, /receiving into .* on port \d+ of all addresses\n/);
  t.match(ended.err, / local committed: (a b\.bin, empty|empty, a b\.bin), 684 KiB in /);
  for (const event of server.events) t.equal(nonconformity("serve-event", event), undefined, JSON.stringify(event));

  const table = await run(["history", join(dir, "in")]);
  t.equal(table.code, 0);
  t.match(table.out, /^WHEN .*\n.* local .* complete +x\/y\/q\n/);
  t.equal(table.out.split("\n").length, 5);
  t.equal((await run(["history", join(dir, "in"), "--limit", "1"])).out.split("\n").length, 3);
  const history = JSON.parse((await run(["history", join(dir, "in"), "--json"])).out);
  t.equal(nonconformity("history", history), undefined);
  t.same(history.transfers[2].files.map(({ name, crc32 }: { name: string; crc32: string }) => [name, crc32]).sort(), [
    ["a b.bin", CRC],
    ["empty", "00000000"],
  ]);
});

t.test("history of a directory that received nothing", async (t) => {
  const dir = t.testdir({});
  const empty = await run(["history", dir]);
  t.same([empty.code, empty.out], [0, ""]);
  t.match(empty.err, /has received nothing yet/);
  const json = await run(["history", dir, "--json"]);
  t.equal(nonconformity("history", JSON.parse(json.out)), undefined);
  t.match(await run(["history", join(dir, "none")]), { code: 78, err: /does not exist/ });
});

t.test("a history whose reader goes away ends quietly", async (t) => {
  const dir = t.testdir({ in: {}, a: "a" });
  const server = await startServe(join(dir, "in"));
  await run(["send", join(dir, "a"), "--to", server.address]);
  await server.stop();
  const running = start(["history", join(dir, "in")]);
  running.child.stdout?.destroy();
  t.match(await running.ended, { code: 0, err: "" });
});

t.test("failures: exit codes, and what is said", async (t) => {
  const dir = t.testdir({ in: { taken: "other" }, taken: "content", good: "good", fresh: "fresh" });
  const server = await startServe(join(dir, "in"));
  const send = (...args: string[]) => run(["send", ...args, "--to", server.address], { cwd: dir });

  t.match(await send("missing"), {
    code: 66,
    out: "",
    err: /'missing' .*\(E_SOURCE_MISSING\)\n {2}Check the path\.\n$/,
  });
  t.match(await send("taken"), { code: 73, out: "", err: /taken.*\(E_EXISTS\)/ });
  t.equal(readFileSync(join(dir, "in", "taken"), "utf8"), "other");

  const partial = await send("taken", "good");
  t.equal(partial.code, 23);
  t.match(partial.out, /^sent .* good\ncommitted {3}1 file, /);
  t.match(partial.err, /taken.*\(E_EXISTS\)[\s\S]*1 of 2 files failed.*\(E_PARTIAL\)/);

  const dry = await send("taken", "good", "fresh", "--dry-run");
  t.equal(dry.code, 23);
  t.match(
    dry.err,
    /1 of 3 files failed.*\(E_PARTIAL\)\n {2}The files that would fail are listed; nothing was sent\.\n/,
  );

  const document = await send("taken", "good", "--json");
  t.equal(nonconformity("send", JSON.parse(document.out)), undefined);
  t.equal(JSON.parse(document.out).error.code, "E_PARTIAL");

  t.match(await send("good", "--name", ".hawser"), { code: 73, err: /E_NAME/ });
  await server.stop();
  t.match(await send("good"), { code: 69, out: "", err: /nothing listens there \(E_UNREACHABLE\)/ });
  const unreachable = await send("good", "--json");
  t.equal(nonconformity("send", JSON.parse(unreachable.out)), undefined);
});

t.test("serving what can't be served", async (t) => {
  const dir = t.testdir({ file: "" });
  t.match(await run(["serve", join(dir, "none"), "--port", "0"]), { code: 78, out: "", err: /does not exist/ });
  t.match(await run(["serve", join(dir, "file"), "--port", "0"]), { code: 78, out: "", err: /is not a directory/ });
  const server = await startServe(dir);
  const port = server.address.split(":")[1] as string;
  t.match(await run(["serve", t.testdirName, "--port", "0"]), { code: 78, err: /E_DIRECTORY_IN_USE/ });
  const other = t.testdir({});
  t.match(await run(["serve", other, "--port", port]), { code: 78, err: /E_ADDRESS_IN_USE[\s\S]*--port/ });
  await server.stop();
});

t.test("plain TCP is said at each start, and to whom it concerns", async (t) => {
  const server = await startServe(t.testdir({}), ["--bind", "0.0.0.0", "--insecure"]);
  const { code, err } = await server.stop();
  t.equal(code, 0);
  t.match(err, /plain TCP without token/);
  const known = await startServe(t.testdir({}), [], { env: { HAWSER_INSECURE: "1" } });
  t.match(await known.stop(), { code: 0, err: /plain TCP without token/ });
});

t.test("--once", async (t) => {
  const dir = t.testdir({ in: { taken: "other" }, taken: "content", good: "good", big: "" });
  truncateSync(join(dir, "big"), 2 ** 36);
  const once = await startServe(join(dir, "in"), ["--once", "--session-ttl", "1s"]);

  const interrupted = start(["send", "big", "--to", once.address], { cwd: dir });
  await once.event("session");
  interrupted.child.kill("SIGINT");
  t.equal((await interrupted.ended).code, 130);
  await once.event("ended");

  t.equal((await run(["send", "good", "--to", once.address], { cwd: dir })).code, 0, "it still serves");
  t.equal((await once.ended).code, 0);

  const failing = await startServe(join(dir, "in"), ["--once"]);
  t.equal((await run(["send", "taken", "--to", failing.address], { cwd: dir })).code, 73);
  t.equal((await failing.ended).code, 23);
});

t.test("--progress json: standard error carries events and nothing else", async (t) => {
  const dir = t.testdir({ in: {}, a: CONTENT });
  const server = await startServe(join(dir, "in"));
  const { code, err } = await run(["send", "a", "--to", server.address, "--progress", "json", "-v"], { cwd: dir });
  t.equal(code, 0);
  const events = err.trimEnd().split("\n");
  t.ok(events.length >= 3);
  for (const line of events) t.equal(nonconformity("progress-event", JSON.parse(line)), undefined, line);
  await server.stop();
});
