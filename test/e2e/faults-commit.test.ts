/**
 * The server killed around the commit of a file: at each step of it, by the system call that makes the step. Its client
 * waits the restart out, and there is exactly one outcome.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { readHistory, readSessions } from "../../src/index.ts";
import { assertOk, sendAll, startServer, startServerChild } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, MIB, makeFile, partsIn } from "../helpers/files.ts";
import { type Rule, startProxy } from "../helpers/proxy.ts";
import { attachStrace, ONE_WORKER, skipsWithoutStrace, type Thread } from "../helpers/strace.ts";

const BYTES = 3 * MIB + 5;
const CHUNK = 64 * KIB;

/** What is held on the control connection until the server is about to die, or is dead. */
const held = (direction: "up" | "down", frame: NonNullable<Rule["frame"]>): Rule => ({
  kind: "control",
  ordinal: 0,
  direction,
  frame,
  part: "type",
  action: "hold",
});

interface Step {
  readonly what: string;
  readonly rule: Rule;
  /** The system call at whose entry it dies, and how often that was entered before; none: from outside, when held. */
  readonly at?: readonly [thread: Thread, calls: string, when: number];
}

const UP = held("up", "SEAL");

const STEPS: readonly Step[] = [
  { what: "between the last chunk and the commit", rule: UP },
  { what: "during the commit: as it notes what it is about to do", rule: UP, at: ["main", "pwrite64", 1] },
  { what: "during the commit: before the data is synced", rule: UP, at: ["worker", "fsync", 1] },
  { what: "during the commit: before it is linked to its name", rule: UP, at: ["main", "link,linkat", 1] },
  { what: "during the commit: before the directory is synced", rule: UP, at: ["worker", "fsync", 2] },
  { what: "during the commit: before the name in staging goes", rule: UP, at: ["main", "unlink,unlinkat", 1] },
  { what: "during the commit: before staging is synced", rule: UP, at: ["worker", "fsync", 3] },
  { what: "after it, before the client hears of the file", rule: held("down", "OUTCOME") },
  { what: "after it, before the client has its receipt", rule: held("down", "RECEIPT") },
];

async function killedAt(t: Test, { rule, at }: Step): Promise<void> {
  const { from, to: dir } = directories(t);
  const first = await startServerChild(t, dir, {}, { env: ONE_WORKER });
  // Its thread for syncing is there when it has committed something.
  assertOk(t, await sendAll({ paths: [makeFile(join(from, "warm"), 10)], to: first.to }));
  const proxy = await startProxy(t, first.to, { rules: [rule] });
  const path = makeFile(join(from, "file"), BYTES, 3);
  const sending = sendAll({ paths: [path], to: proxy.address, streams: 2, chunkBytes: CHUNK, timeoutMs: 20_000 });
  await proxy.until(() => proxy.harm.length === 1);
  if (rule.frame === "SEAL") await proxy.until(() => proxy.chunks.size === Math.ceil(BYTES / CHUNK));
  else await first.log.until("file", ({ file }) => file.name === "file");
  if (at === undefined) {
    await first.kill();
    // What is held never arrives.
    proxy.harmAll("control", "reset");
  } else {
    const [thread, calls, when] = at;
    const inject = `${calls}:signal=KILL:when=${when}`;
    await attachStrace(t, Number(first.process.pid), thread, { calls: calls.split(","), inject });
    proxy.release("control");
    t.match(await first.exited, { signal: "SIGKILL" }, "it died at that call");
  }
  const inode = () => statSync(join(dir, "file"), { throwIfNoEntry: false })?.ino;
  const before = inode();
  const second = await startServer(t, dir);
  proxy.retarget(second.to);
  const sent = await sending;
  assertOk(t, sent);
  t.equal(sent.files.length, 1, "the client hears of it once");
  assertContent(t, join(dir, "file"), contentOf(BYTES, 3));
  if (before !== undefined) t.equal(inode(), before, "what was committed before is what is there");
  t.equal(statSync(join(dir, "file")).nlink, 1, "it has one name");
  const named = [...readHistory(dir)].flatMap((past) => [...past.fileRecords()]).filter(({ name }) => name === "file");
  t.equal(named.length, 1, "and one place in history");
  t.equal(named[0]?.status, "committed");

  const after = inode();
  const again = await sendAll({ paths: [path], to: second.to });
  assertOk(t, again);
  t.match(
    again.files,
    [{ status: "unchanged", bytes: BYTES, crc32: sent.files[0]?.crc32 }],
    "asked again, it is there",
  );
  t.equal(inode(), after);
  await second.server.close();
  t.same(partsIn(dir), [], "nothing stays in staging");
  t.same(readSessions(dir), [], "and nothing is unfinished");
}

t.test("the server killed", async (t) => {
  const skipped = skipsWithoutStrace(t);
  for (const step of STEPS) {
    if (skipped && step.at !== undefined) continue;
    await t.test(`the server killed ${step.what}`, (t) => killedAt(t, step));
  }
});
