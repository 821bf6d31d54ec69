/**
 * Clients that break the protocol with what comes whole: each session ends with the right ERROR, nothing of it is
 * committed that was not asked for, and an honest client is not disturbed.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { ErrorCode } from "../../src/index.ts";
import { OFFERED_AHEAD_MAX, OPEN_SMALL_MAX, PAGE_ENTRIES_MAX } from "../../src/protocol/limits.ts";
import { type Message, type OfferedFile, pages } from "../../src/protocol/messages.ts";
import { assertOk, sendAll, startServer } from "../helpers/e2e.ts";
import { assertContent, contentOf, directories, KIB, makeFile, partsIn } from "../helpers/files.ts";
import { bundleOf, offered, openSession, openStream, type RawClient } from "../helpers/raw-client.ts";

const CHUNK = 64 * KIB;
const { from, to: dir } = directories(t);
const { to, log } = await startServer(t, dir, { sessionTtlMs: 500 });

const content = contentOf(1000, 1);
const whole = (file: number, name: string, size = content.length): OfferedFile => ({
  ...offered(file, name, size),
  whole: true,
});
const directory = (file: number, name: string, more: Partial<OfferedFile> = {}): OfferedFile => ({
  ...offered(file, name, 0),
  kind: "directory",
  ...more,
});

interface Session {
  readonly control: RawClient;
  readonly stream: RawClient;
  readonly transferId: string;
}

async function open(hello: Partial<Message<"HELLO">> = {}): Promise<Session> {
  const { control, terms } = await openSession(to, hello);
  return { control, stream: await openStream(to, terms.session), transferId: terms.transfer };
}

const offer = ({ control }: Session, ...files: OfferedFile[]) => control.say("OFFER", { settledBelow: 0, files });

/** Offers, and waits until it was planned. */
async function planned(session: Session, ...files: OfferedFile[]): Promise<Session> {
  offer(session, ...files);
  await session.control.next("PLAN");
  return session;
}

/** Whether the entry got its outcome before the session ended. */
async function isSettled({ control }: Session, index: number): Promise<boolean> {
  for (;;) {
    const outcome = await control.next("OUTCOME").catch(() => undefined);
    if (outcome === undefined) return false;
    if (outcome.files.some(({ file }) => file === index)) return true;
  }
}

const ATTACKS: readonly (readonly [
  what: string,
  code: ErrorCode,
  run: (session: Session) => Promise<RawClient> | RawClient,
])[] = [
  [
    "a bundle before anything was offered",
    "E_FOREIGN_CHUNK",
    ({ stream }) => stream.bundle(bundleOf([{ file: 0, content }])),
  ],
  [
    "a bundle with a file that was not offered, behind one that was",
    "E_FOREIGN_CHUNK",
    async (session) => {
      await planned(session, whole(0, "attack"));
      return session.stream.bundle(bundleOf([{ file: 7, content }]));
    },
  ],
  [
    "a bundle with a file that comes in chunks",
    "E_WRONG_STATE",
    async (session) => {
      await planned(session, offered(0, "attack", content.length));
      return session.stream.bundle(bundleOf([{ file: 0, content }]));
    },
  ],
  [
    "a bundle with another length than was offered",
    "E_ILLEGAL",
    async (session) => {
      await planned(session, whole(0, "attack", 999));
      return session.stream.bundle(bundleOf([{ file: 0, content }]));
    },
  ],
  [
    "a bundle with a wrong CRC-32 of a file",
    "E_ILLEGAL",
    async (session) => {
      await planned(session, whole(0, "attack"));
      return session.stream.bundle(bundleOf([{ file: 0, content, crc32: 1 }]));
    },
  ],
  [
    "directories without end behind a file that is never sent",
    "E_ILLEGAL",
    async (session) => {
      await planned(session, offered(0, "attack", 10));
      // Each is settled at once, and its outcome kept, since nobody says that it was heard.
      for (let first = 1; first < 2 * OFFERED_AHEAD_MAX; first += PAGE_ENTRIES_MAX) {
        offer(session, ...Array.from({ length: PAGE_ENTRIES_MAX }, (_, i) => directory(first + i, "")));
        if (!(await isSettled(session, first + PAGE_ENTRIES_MAX - 1))) break;
      }
      return session.control;
    },
  ],
  ["an empty bundle", "E_ILLEGAL", ({ stream }) => stream.bundle(new Uint8Array([0, 0, 0, 0]))],
  [
    "a bundle whose table says more than comes",
    "E_ILLEGAL",
    async (session) => {
      await planned(session, whole(0, "attack"));
      return session.stream.bundle(bundleOf([{ file: 0, content, bytes: 2000 }]));
    },
  ],
  ["a bundle larger than a chunk", "E_FRAME_TOO_LARGE", ({ stream }) => stream.bundle(new Uint8Array(CHUNK + 1))],
  [
    "a bundle on the control connection",
    "E_WRONG_STATE",
    ({ control }) => control.bundle(bundleOf([{ file: 0, content }])),
  ],
  [
    "a chunk of a file that comes whole",
    "E_WRONG_STATE",
    async (session) => {
      await planned(session, whole(0, "attack"));
      return session.stream.chunk(0, 0, content);
    },
  ],
  [
    "a file that is to come whole and is larger than a chunk",
    "E_ILLEGAL",
    (session) => offer(session, whole(0, "attack", CHUNK)),
  ],
  [
    "a file that is to come whole and has no size",
    "E_ILLEGAL",
    (session) => offer(session, { ...offered(0, "attack", null), whole: true }),
  ],
  ["a directory with content", "E_ILLEGAL", (session) => offer(session, directory(0, "attack", { size: 5 }))],
  [
    "a link whose target is empty",
    "E_BAD_MESSAGE",
    (session) => offer(session, { ...offered(0, "attack", 0), kind: "symlink", target: Buffer.alloc(0) }),
  ],
  ["a number passed over", "E_ILLEGAL", (session) => offer(session, whole(1, "attack"))],
  [
    "more small files than may be open",
    "E_ILLEGAL",
    (session) => {
      const files = Array.from({ length: OPEN_SMALL_MAX + 1 }, (_, i) => whole(i, `attack/${i}`));
      for (const page of pages(files, () => 100)) offer(session, ...page);
      return session.control;
    },
  ],
  [
    "a page of more entries than one may have",
    "E_BAD_MESSAGE",
    (session) => offer(session, ...Array.from({ length: PAGE_ENTRIES_MAX + 1 }, (_, i) => whole(i, `attack/${i}`))),
  ],
];

for (const [what, code, run] of ATTACKS) {
  t.test(what, async (t) => {
    const session = await open();
    const teller = await run(session);
    t.equal(await teller.error(), code, "whoever breaks it is told");
    const event = await log.until("ended", (ended) => ended.transferId === session.transferId);
    t.equal(event.code, code, "the session ended of it, and of nothing else");
    await Promise.all([session.control.closed, session.stream.closed]);
    t.notOk(readdirSync(dir).includes("attack"), "nothing was committed");
    await assertHonest(t);
  });
}

async function assertHonest(t: Test): Promise<void> {
  makeFile(join(from, "honest"), 100, 3);
  const { result } = await sendAll({ paths: [`${from}/`], to, chunkBytes: CHUNK });
  t.equal(result.ok, true, "an honest client is served");
}

t.test("a bundle with the same file twice, and again after it was settled: the first counts", async (t) => {
  const session = await planned(await open(), whole(0, "twice"));
  const other = contentOf(content.length, 2);
  session.stream.bundle(
    bundleOf([
      { file: 0, content },
      { file: 0, content: other },
    ]),
  );
  t.match(await session.control.next("OUTCOME"), { files: [{ file: 0, status: "committed" }] });
  session.stream.bundle(bundleOf([{ file: 0, content: other }]));
  await session.stream.next("ACK");
  session.control.say("FINISH", { files: 1 });
  t.match(await session.control.next("RECEIPT"), { files: 1, failed: 0 });
  assertContent(t, join(dir, "twice"), content);
  session.control.end();
});

t.test("a withdrawn file that comes all the same is not committed", async (t) => {
  const session = await planned(await open(), whole(0, "withdrawn"), whole(1, "kept"));
  session.control.say("WITHDRAW", { files: [{ file: 0, error: { code: 405, message: "changed" } }] });
  t.match(await session.control.next("OUTCOME"), { files: [{ file: 0, status: "failed" }] });
  session.stream.bundle(
    bundleOf([
      { file: 0, content },
      { file: 1, content },
    ]),
  );
  t.match(await session.control.next("OUTCOME"), { files: [{ file: 1, status: "committed" }] });
  t.notOk(readdirSync(dir).includes("withdrawn"));
  session.control.end();
});

t.test("names that lead out, of directories, links and small files: refused one by one", async (t) => {
  const names = ["../out", "/out", "a/../../out", ".hawser/x", ".hawser", "a//b", "", ".", "x/..", "a\0b"];
  const session = await open();
  const files = names.flatMap((name, i) => [
    directory(3 * i, name),
    { ...offered(3 * i + 1, name, 0), kind: "symlink" as const, target: Buffer.from("/etc") },
    whole(3 * i + 2, name),
  ]);
  offer(session, ...files);
  session.control.say("FINISH", { files: files.length });
  t.match(await session.control.next("RECEIPT"), { files: files.length, failed: files.length });
  t.notOk(readdirSync(join(dir, "..")).includes("out"));
  session.control.end();
});

t.test("a link out, and then files through it: nothing is written outside", async (t) => {
  const session = await open();
  const link = { ...offered(0, "door", 0), kind: "symlink" as const, target: Buffer.from("..") };
  offer(session, link, whole(1, "door/evil"), directory(2, "door/evil-directory"), directory(3, "door"));
  session.control.say("FINISH", { files: 4 });
  await session.control.next("PLAN");
  session.stream.bundle(bundleOf([{ file: 1, content }]));
  t.match(await session.control.next("RECEIPT"), { files: 4, failed: 3 });
  t.equal(readlinkSync(join(dir, "door")), "..");
  t.same(readdirSync(join(dir, "..")).sort(), ["from", "to"]);
  session.control.end();
});

t.test("a plan and outcomes of neighbours are one entry", async (t) => {
  const session = await open();
  const files = Array.from({ length: 600 }, (_, i) => whole(i, `many/${i}`, 10));
  offer(session, ...files);
  t.same((await session.control.next("PLAN")).files, [{ file: 0, action: "send", count: 600 }]);
  for (let i = 0; i < 600; i += 200) {
    session.stream.bundle(
      bundleOf(files.slice(i, i + 200).map(({ file }) => ({ file, content: contentOf(10, file) }))),
      i,
    );
  }
  session.control.say("FINISH", { files: 600 });
  await session.control.next("RECEIPT");
  const outcomes = session.control.came.flatMap(({ name, body }) =>
    name === "OUTCOME" ? (body as Message<"OUTCOME">).files : [],
  );
  t.ok(outcomes.length < 60, `${outcomes.length} entries`);
  t.equal(
    outcomes.reduce((sum, { count = 1 }) => sum + count, 0),
    600,
  );
  session.control.end();
});

t.test("afterwards nothing is left", async (t) => {
  t.same(partsIn(dir), []);
  await assertHonest(t);
  assertOk(t, await sendAll({ paths: [`${from}/`], to }));
});
