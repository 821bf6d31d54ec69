/**
 * What the real client never would, sent by the second implementation: messages that are well made and say what is not
 * so. Each ends as PROTOCOL.md says, and an honest client beside it is served.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import t from "tap";
import { startServer } from "../helpers/e2e.ts";
import type { Connection } from "./connection.ts";
import { bundlePayload } from "./content.ts";
import { codeOf } from "./errors.ts";
import { FRAMES, rawFrame, SPARSE } from "./frames.ts";
import { honestClient } from "./honest.ts";
import type { Fields } from "./msgpack.ts";
import { contentOf } from "./random.ts";
import { CHUNK, offer, offers, openSession, openStream, planned, type RawSession } from "./raw-session.ts";

const dir = t.testdir({ there: contentOf(3 * CHUNK, 9) });
const { to, log } = await startServer(t, dir, { sessionTtlMs: 1000 });
const honest = honestClient(to);

const content = contentOf(CHUNK);
const other = contentOf(CHUNK, 2);
const short = content.subarray(0, 100);
const whole = { whole: true };
const seal = (file: number, size: number, crc: number): Fields => ({ files: [{ file, size, crc32: crc }] });
const raw = (payload: Buffer) => rawFrame(payload, { type: FRAMES.BUNDLE });

interface Attack {
  readonly what: string;
  readonly code: string;
  readonly hello?: Fields;
  /** Does it with a session and a stream; which connection hears of it. */
  readonly run: (session: RawSession, stream: Connection, name: string) => Promise<Connection> | Connection;
}

/** Its session ends of it. */
const ATTACKS: readonly Attack[] = [
  {
    what: "OFFER of one index twice in a page",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) => offers(control, offer(0, name, 1), offer(0, name, 1)),
  },
  {
    what: "OFFER of an open file once more on the same connection",
    code: "E_ILLEGAL",
    run: async (session, _, name) => offers((await planned(session, offer(0, name, 1))).control, offer(0, name, 1)),
  },
  {
    what: "OFFER from index 1 on",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) => offers(control, offer(1, name, 1, whole)),
  },
  {
    what: "OFFER of the last index there is",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) => offers(control, offer(2 ** 32 - 1, name, 1)),
  },
  {
    what: "OFFER of the last index there is, with all below it settled",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) =>
      control.send("OFFER", { settledBelow: 2 ** 32 - 1, files: [offer(2 ** 32 - 1, name, 1)] }),
  },
  {
    what: "OFFER of what was settled, and said to be heard of",
    code: "E_ILLEGAL",
    run: async (session, _, name) => {
      const { control } = session;
      await offers(control, offer(0, "a link", 0, { kind: "symlink", target: Buffer.from("x") })).until("OUTCOME");
      return offers(control.send("OFFER", { settledBelow: 1, files: [] }), offer(0, name, 0));
    },
  },
  {
    what: "OFFER of a link without a target",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) => offers(control, offer(0, name, 0, { kind: "symlink" })),
  },
  {
    what: "OFFER of a link with content",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) => offers(control, offer(0, name, 1, { kind: "symlink", target: Buffer.from("x") })),
  },
  {
    what: "OFFER of a directory whose size is not known",
    code: "E_ILLEGAL",
    run: ({ control }, _, name) => offers(control, offer(0, name, null, { kind: "directory" })),
  },
  {
    what: "OFFER of a kind that there is not",
    code: "E_BAD_MESSAGE",
    run: ({ control }, _, name) => offers(control, offer(0, name, 0, { kind: "fifo" })),
  },
  {
    what: "OFFER of a name of 4,097 bytes",
    code: "E_BAD_MESSAGE",
    run: ({ control }) => offers(control, offer(0, Buffer.alloc(4097, "a"), 0)),
  },
  {
    what: "OFFER of a name that is text",
    code: "E_BAD_MESSAGE",
    run: ({ control }, _, name) => offers(control, { ...offer(0, name, 0), name }),
  },
  {
    what: "OFFER of mode 010000",
    code: "E_BAD_MESSAGE",
    run: ({ control }, _, name) => offers(control, offer(0, name, 0, { mode: 0o10000 })),
  },
  {
    what: "OFFER of a file that is to come whole, where all is read back",
    code: "E_ILLEGAL",
    hello: { verify: "full" },
    run: ({ control }, _, name) => offers(control, offer(0, name, 5, whole)),
  },
  {
    what: "SEAL without a digest, where all is read back",
    code: "E_ILLEGAL",
    hello: { verify: "full" },
    run: async (session, _, name) =>
      (await planned(session, offer(0, name, CHUNK))).control.send("SEAL", seal(0, CHUNK, 5)),
  },
  {
    what: "SEAL of another size than was offered",
    code: "E_ILLEGAL",
    run: async (session, _, name) =>
      (await planned(session, offer(0, name, CHUNK))).control.send("SEAL", seal(0, CHUNK + 1, 5)),
  },
  {
    what: "SEAL of a size below what came, where none was offered",
    code: "E_ILLEGAL",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, null));
      await stream.chunk(0, CHUNK, content).until("ACK");
      return session.control.send("SEAL", seal(0, CHUNK, 5));
    },
  },
  {
    what: "CHUNK behind the size that SEAL said",
    code: "E_OUT_OF_RANGE",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, null));
      await session.control
        .send("SEAL", seal(0, 2 * CHUNK, 5))
        .send("PING", { id: 1 })
        .until("PONG");
      return stream.chunk(0, 2 * CHUNK, content);
    },
  },
  {
    what: "CHUNK behind one that is short",
    code: "E_OUT_OF_RANGE",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, null));
      await stream.chunk(0, 0, short).until("ACK");
      return stream.chunk(0, CHUNK, content);
    },
  },
  {
    what: "CHUNK that is short before another",
    code: "E_OUT_OF_RANGE",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, null));
      await stream.chunk(0, CHUNK, content).until("ACK");
      return stream.chunk(0, 0, short);
    },
  },
  {
    what: "CHUNK longer than the file",
    code: "E_OUT_OF_RANGE",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, 10));
      return stream.chunk(0, 0, short);
    },
  },
  {
    what: "CHUNK twice with other content, over two streams",
    code: "E_ILLEGAL",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, 2 * CHUNK));
      await stream.chunk(0, 0, content).until("ACK");
      const second = await openStream(session, { stream: 1 });
      return second.chunk(0, 0, other);
    },
  },
  {
    what: "CHUNK out of range, and damaged",
    code: "E_OUT_OF_RANGE",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, CHUNK));
      return stream.raw(rawFrame(content, { type: FRAMES.CHUNK, offset: 4096, crc: 1 }));
    },
  },
  {
    what: "CHUNK of no file, all zeros",
    code: "E_FOREIGN_CHUNK",
    run: (_, stream) => stream.chunk(2 ** 32 - 1, 0, Buffer.alloc(CHUNK), SPARSE),
  },
  {
    what: "CHUNK of a file that a dry run compares",
    code: "E_WRONG_STATE",
    hello: { purpose: "plan" },
    run: async (session, stream) => {
      await planned(session, offer(0, "there", 3 * CHUNK));
      return stream.chunk(0, 0, content);
    },
  },
  {
    what: "BUNDLE of a file that is compared",
    code: "E_WRONG_STATE",
    run: async (session, stream) => {
      await planned(session, offer(0, "there", 3 * CHUNK));
      return stream.bundle(0, [{ file: 0, content: short }]);
    },
  },
  {
    what: "BUNDLE of 257 files",
    code: "E_ILLEGAL",
    run: (_, stream) =>
      stream.bundle(
        0,
        Array.from({ length: 257 }, (_, file) => ({ file, content: Buffer.alloc(0) })),
      ),
  },
  {
    what: "BUNDLE whose table is longer than it",
    code: "E_ILLEGAL",
    run: (_, stream) => stream.raw(raw(bundlePayload([{ file: 0, content: short }], 200))),
  },
  {
    what: "BUNDLE of three bytes",
    code: "E_ILLEGAL",
    run: (_, stream) => stream.raw(raw(Buffer.from([0, 0, 0]))),
  },
  {
    what: "BUNDLE whose contents end too early",
    code: "E_ILLEGAL",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, 101, whole));
      return stream.raw(raw(bundlePayload([{ file: 0, content: short, length: 101 }])));
    },
  },
  {
    what: "BUNDLE with a byte behind its contents",
    code: "E_ILLEGAL",
    run: async (session, stream, name) => {
      await planned(session, offer(0, name, 99, whole));
      return stream.raw(raw(bundlePayload([{ file: 0, content: short, length: 99 }])));
    },
  },
  {
    what: "BUNDLE whose lengths together are above 4 GiB",
    code: "E_ILLEGAL",
    run: (_, stream) =>
      stream.bundle(0, [
        { file: 0, content: short, length: 2 ** 32 - 1 },
        { file: 1, content: short, length: 201 },
      ]),
  },
  {
    what: "FINISH with a file that was never offered",
    code: "E_ILLEGAL",
    run: ({ control }) => control.send("FINISH", { files: 1 }),
  },
  {
    what: "FINISH with all that there can be",
    code: "E_ILLEGAL",
    run: ({ control }) => control.send("FINISH", { files: 2 ** 32 - 1 }),
  },
];

for (const { what, code, hello, run } of ATTACKS) {
  t.test(what, async (t) => {
    const session = await openSession(to, hello);
    const stream = await openStream(session);
    const name = `attack: ${what}`;
    const teller = await run(session, stream, name);
    t.equal(await teller.ending(), code, "whoever breaks it is told");
    const event = await log.until("ended", ({ transferId }) => transferId === session.transfer);
    t.equal(event.code, code, "the session ended of it, and of nothing else");
    await Promise.all([session.control.ending(), stream.ending()]);
    t.notOk(readdirSync(dir).includes(name), "nothing was committed");
    await honest.more();
  });
}

/** All that is left of a session goes well: its RECEIPT. */
async function finish({ control }: RawSession, files: number): Promise<Fields> {
  control.send("FINISH", { files });
  const { fields } = await control.until("RECEIPT");
  control.close();
  return fields;
}

t.test("SEAL, DIGEST and WITHDRAW that answer nothing have no effect", async (t) => {
  const session = await openSession(to);
  const { control } = session;
  const digest = (file: number) => ({ files: [{ file, blake3: Buffer.alloc(32) }] });
  const error = { code: 405, message: "it changed" };
  control
    .send("SEAL", seal(5, 1, 1))
    .send("DIGEST", digest(5))
    .send("WITHDRAW", { files: [{ file: 5, error }] });
  // With its OFFER, before its PLAN.
  offers(control, offer(0, "answers nothing", CHUNK)).send("SEAL", seal(0, 1, 5));
  await control.until("PLAN");
  control.send("DIGEST", digest(0));
  offers(control, offer(1, "answers nothing, small", 100, whole), offer(2, "there", 3 * CHUNK));
  await control.until("PLAN", ({ fields }) => (fields["files"] as Fields[]).some(({ file }) => file === 2));
  control.send("SEAL", seal(1, 100, 5)).send("SEAL", seal(2, 3 * CHUNK, 5));
  // The second of each is nothing either.
  control.send("SEAL", seal(0, CHUNK, crc32(content))).send("SEAL", seal(0, 1, 5));
  control.send("DIGEST", digest(2)).send("DIGEST", digest(2));
  const stream = await openStream(session);
  stream.chunk(0, 0, content).bundle(1, [{ file: 1, content: short }]);
  t.match(await finish(session, 3), { files: 3, failed: 1, bytes: CHUNK + 100 });
  t.ok(readFileSync(join(dir, "answers nothing")).equals(content));
  stream.close();
});

t.test("settledBelow may say more than is so: what is open stays open", async (t) => {
  const session = await openSession(to);
  const { control } = session;
  control.send("OFFER", { settledBelow: 2 ** 32 - 1, files: [offer(0, "settled below", CHUNK)] });
  await control.until("PLAN");
  control.send("OFFER", { settledBelow: 0, files: [offer(1, "settled below, small", 100, whole)] });
  await control.until("PLAN");
  const stream = await openStream(session);
  stream.chunk(0, 0, content).bundle(1, [{ file: 1, content: short }]);
  control.send("SEAL", seal(0, CHUNK, crc32(content)));
  t.match(await finish(session, 2), { files: 2, failed: 0 });
  t.ok(readFileSync(join(dir, "settled below")).equals(content));
  stream.close();
});

t.test(
  "the number of a bundle is looked at by nobody but its sender, and a small file may be offered twice",
  async (t) => {
    const session = await openSession(to);
    await planned(session, offer(0, "number", 100, whole), offer(1, "number 2", 100, whole));
    await planned(session, offer(0, "number", 100, whole));
    const stream = await openStream(session);
    stream.bundle(999, [{ file: 0, content: short }]);
    t.same((await stream.until("ACK")).fields, { chunks: [[999, 0, 116]] });
    stream.bundle(0, [{ file: 1, content: short }]);
    t.match(await finish(session, 2), { files: 2, failed: 0, bytes: 200 });
    stream.close();
  },
);

t.test("fields in offers that have no meaning there", async (t) => {
  const session = await openSession(to);
  const key = Buffer.alloc(16, 5);
  offers(
    session.control,
    offer(0, "meaning/target", 100, { ...whole, target: Buffer.from("x"), key }),
    offer(1, "meaning", 0, { kind: "directory", whole: true, key, target: Buffer.from("x"), quick: true }),
  );
  await session.control.until("PLAN");
  const stream = await openStream(session);
  stream.bundle(0, [{ file: 0, content: short }]);
  t.match(await finish(session, 2), { files: 2, failed: 0, bytes: 100 });
  stream.close();
});

t.test("names of every forbidden kind, of files in chunks, whole ones, directories and links", async (t) => {
  const names = [
    "",
    ".",
    "..",
    "a/..",
    "a/./b",
    "/a",
    "a/",
    "a//b",
    "a\0",
    "\0",
    "a/.hawser",
    ".HaWsEr/parts",
    ".haw\u200bser",
    "\uff0ehawser",
    "x".repeat(256),
    "x/".repeat(2048),
    `${"x".repeat(250)}/`.repeat(16) + "x".repeat(81),
  ];
  const session = await openSession(to);
  const { control } = session;
  let file = 0;
  for (const name of names) {
    const bytes = Buffer.from(name).subarray(0, 4096);
    for (const more of [{}, whole, { kind: "directory" }, { kind: "symlink", target: Buffer.from("/etc") }]) {
      offers(control, offer(file, bytes, 0, more));
      file += 1;
    }
  }
  offers(control, offer(file, "a link that holds 00", 0, { kind: "symlink", target: Buffer.from("a\0b") }));
  for (let settled = 0; settled <= file; ) {
    for (const { error, file } of (await control.until("OUTCOME")).fields["files"] as Fields[]) {
      const code = codeOf((error as { code: number } | undefined)?.code ?? -1);
      t.equal(code, "E_NAME", JSON.stringify(names[Math.floor((file as number) / 4)] ?? "the link"));
      settled += 1;
    }
  }
  t.match(await finish(session, file + 1), { files: file + 1, failed: file + 1, bytes: 0 });
});

t.test("the honest client got through", async (t) => {
  t.match(await honest.end(), { ok: true, error: null, retries: 0 });
  t.ok(readFileSync(join(dir, honest.name)).equals(honest.content()), "with every byte");
});
