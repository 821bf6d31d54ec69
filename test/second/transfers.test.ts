/**
 * Whole transfers to the real server by the second implementation, which was written from PROTOCOL.md alone: so the
 * document is enough to write a client.
 */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import t, { type Test } from "tap";
import { startServer } from "../helpers/e2e.ts";
import { blake3 } from "./blake3.ts";
import { codeOf } from "./errors.ts";
import { SPARSE, ZSTD } from "./frames.ts";
import type { Fields } from "./msgpack.ts";
import { contentOf } from "./random.ts";
import { type Entry, type Sent, type SourceOptions, sendAll } from "./source.ts";

const CHUNK = 64 * 1024;
const SECONDS = 1_700_000_000;

/** Letters, so that zstd makes less of them. */
const textOf = (bytes: number) => contentOf(bytes).map((byte) => 97 + (byte & 3)) as Buffer;

const zeros = Buffer.alloc(3 * CHUNK);
const holes = Buffer.concat([zeros, contentOf(5000), zeros, contentOf(10), Buffer.alloc(100)]);

/** A server of its own, and a way to send to it. */
async function toServer(t: Test) {
  const dir = t.testdir();
  const { to } = await startServer(t, dir);
  return { dir, send: (entries: readonly Entry[], options?: SourceOptions) => sendAll(to, entries, options) };
}

/** All of `entries` are on the disk, and the sink has said so. */
function arrived(t: Test, dir: string, entries: readonly Entry[], { outcomes, receipt }: Sent): void {
  for (const [i, entry] of entries.entries()) {
    const {
      name,
      content = Buffer.alloc(0),
      kind,
      mode = 0o644,
      mtime: [seconds, nanos] = [SECONDS, 123_456_000],
    } = entry;
    const path = join(dir, String(name));
    const outcome = outcomes.get(i) as Fields;
    t.equal(outcome["status"], "committed", `${name} is committed`);
    if (kind === "symlink") {
      t.equal(readlinkSync(path), entry.target, "what the link says");
      continue;
    }
    const { mtimeNs } = lstatSync(path, { bigint: true });
    t.equal(mtimeNs / 1000n, BigInt(seconds) * 1_000_000n + BigInt(nanos / 1000), "its time");
    t.equal(statSync(path).mode & 0o700, mode & 0o700, "and its mode");
    if (kind === "directory") continue;
    t.ok(readFileSync(path).equals(content), `${name} has its ${content.length} bytes`);
    if (Number(outcome["count"] ?? 1) > 1) continue;
    t.equal(outcome["size"], content.length, "the size that the sink tells");
    t.equal(outcome["crc32"], crc32(content), "and the CRC-32");
  }
  const bytes = entries.reduce((sum, { content }) => sum + (content?.length ?? 0), 0);
  t.match(receipt, { files: entries.length, failed: 0, bytes }, "and the receipt");
  t.same(readdirSync(join(dir, ".hawser", "parts"), { recursive: true }), [], "no part is left");
}

for (const streams of [1, 4]) {
  t.test(`one file over ${streams} streams`, async (t) => {
    const { dir, send } = await toServer(t);
    const entries = [{ name: "one.bin", content: contentOf(40 * CHUNK + 17) }];
    const sent = await send(entries, { streams });
    arrived(t, dir, entries, sent);
    t.equal(sent.chunksSent, 41);
  });
}

t.test("files of all sizes, one that is empty, and one whose size SEAL says", async (t) => {
  const { dir, send } = await toServer(t);
  const sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK];
  const entries: Entry[] = sizes.map((bytes) => ({ name: `known/${bytes}`, content: contentOf(bytes, bytes) }));
  entries.push(
    ...sizes.map((bytes) => ({ name: `unknown/${bytes}`, content: contentOf(bytes, bytes), sizeUnknown: true })),
  );
  arrived(t, dir, entries, await send(entries, { streams: 3 }));
});

t.test("small files in bundles, a link, and directories after what is in them", async (t) => {
  const { dir, send } = await toServer(t);
  const entries: Entry[] = Array.from({ length: 700 }, (_, i) => ({
    name: `tree/${i % 7}/${i}.txt`,
    content: contentOf((i * 37) % 3000, i),
    whole: true,
    mode: 0o600,
  }));
  entries.push({ name: "tree/large.bin", content: contentOf(4 * CHUNK) });
  entries.push({ name: "tree/link", kind: "symlink", target: "../nowhere" });
  entries.push(
    { name: "tree/0", kind: "directory", mode: 0o700 },
    { name: "tree/new", kind: "directory", mode: 0o755 },
  );
  entries.push({ name: "tree", kind: "directory", mode: 0o755, mtime: [1_600_000_000, 0] });
  arrived(t, dir, entries, await send(entries, { streams: 2 }));
});

for (const [what, encoding, content] of [
  ["zstd", ZSTD, textOf(5 * CHUNK + 99)],
  ["sparse", SPARSE, holes],
] as const) {
  t.test(`chunks as ${what}`, async (t) => {
    const { dir, send } = await toServer(t);
    const entries = [
      { name: "encoded", content },
      { name: "not worth it", content: contentOf(2 * CHUNK) },
    ];
    arrived(t, dir, entries, await send(entries, { streams: 2, encoding }));
  });
}

t.test("what reads back whole", async (t) => {
  const { dir, send } = await toServer(t);
  const entries = [{ name: "read back", content: contentOf(3 * CHUNK + 1) }];
  const sent = await send(entries, { hello: { verify: "full" } });
  arrived(t, dir, entries, sent);
  t.equal(sent.welcome["verify"], "full");
  t.same(sent.outcomes.get(0)?.["blake3"], blake3(entries[0]?.content ?? Buffer.alloc(0)));
});

t.test("a transfer that another run goes on with", async (t) => {
  const { dir, send } = await toServer(t);
  const key = contentOf(16, 99);
  const entries = [{ name: "long.bin", content: contentOf(40 * CHUNK + 5), key }];
  const hello = { keys: [key] };
  const first = await send(entries, { streams: 2, hello, goneAfter: 11 });
  t.equal(first.receipt, null, "the first run goes away");
  const sent = await send(entries, { streams: 2, hello });
  arrived(t, dir, entries, sent);
  t.same(sent.welcome["session"], first.welcome["session"]);
  t.equal(sent.welcome["generation"], 2);
  t.ok(sent.chunksHad >= 11, `${sent.chunksHad} chunks were there`);
  t.equal(sent.chunksHad + sent.chunksSent, 41);
});

t.test("a transfer that another run goes on with, when the file has changed in a place", async (t) => {
  const { dir, send } = await toServer(t);
  const key = contentOf(16, 98);
  const content = contentOf(40 * CHUNK);
  const hello = { keys: [key] };
  await send([{ name: "long.bin", content, key }], { hello, goneAfter: 20 });
  const changed = Buffer.concat([content]);
  changed[5] = 1;
  const entries = [{ name: "long.bin", content: changed, key }];
  arrived(t, dir, entries, await send(entries, { hello }));
});

t.test("only what differs from the file that gives way", async (t) => {
  const { dir, send } = await toServer(t);
  const content = contentOf(30 * CHUNK);
  writeFileSync(join(dir, "image"), content);
  const changed = Buffer.concat([content, contentOf(100, 3)]);
  changed[12 * CHUNK] = 77;
  const entries = [{ name: "image", content: changed }];
  const sent = await send(entries, { hello: { overwrite: "if-different", delta: true } });
  arrived(t, dir, entries, sent);
  t.equal(sent.outcomes.get(0)?.["replaces"], true);
  t.equal(sent.chunksSent, 2, "the chunk that differs, and the one that is new");
});

t.test("what has a name already: by size and time, by content, and otherwise", async (t) => {
  const { dir, send } = await toServer(t);
  const content = contentOf(CHUNK + 3);
  const put = (name: string, bytes: Buffer) => {
    writeFileSync(join(dir, name), bytes);
    utimesSync(join(dir, name), SECONDS, SECONDS);
  };
  put("quick", contentOf(CHUNK + 3, 2));
  put("same", content);
  put("small same", content.subarray(0, 100));
  put("other", contentOf(CHUNK + 3, 2));
  put("longer", contentOf(CHUNK + 4));
  mkdirSync(join(dir, "directory"));
  symlinkSync("target", join(dir, "link"));
  const entries: Entry[] = [
    { name: "quick", content, quick: true, mtime: [SECONDS, 0] },
    { name: "same", content },
    { name: "small same", content: content.subarray(0, 100), whole: true },
    { name: "other", content },
    { name: "longer", content },
    { name: "directory", content },
    { name: "link", kind: "symlink", target: "target" },
  ];
  const results = ({ outcomes }: Sent) =>
    entries.map((_, i) => {
      const { status, error, name, replaces } = outcomes.get(i) as { [field: string]: unknown };
      const code = codeOf((error as { code: number } | undefined)?.code ?? -1);
      return `${error ? code : status}${name ? ` ${name}` : ""}${replaces ? " replaces" : ""}`;
    });
  const never = await send(entries);
  t.same(results(never), ["unchanged", "unchanged", "unchanged", "E_EXISTS", "E_EXISTS", "E_EXISTS", "unchanged"]);
  t.match(never.receipt, { files: 7, failed: 3, bytes: 2 * content.length + 100 });
  t.same([...never.plans].sort(), ["1 compare", "2 compare", "3 compare"]);

  const planned = (overwrite: string) => send(entries, { hello: { overwrite, purpose: "plan" } });
  t.same(results(await planned("never")), results(never), "and a dry run says so");
  const dry = await planned("if-different");
  t.same(
    results(dry),
    ["unchanged", "unchanged", "unchanged", "planned replaces", "planned replaces", "E_EXISTS", "unchanged"],
    "a dry run with if-different",
  );
  t.match(dry.receipt, { files: 7, failed: 1, bytes: 4 * content.length + 100 });
  t.same(
    results(await planned("rename")),
    [
      "unchanged",
      "unchanged",
      "unchanged",
      "planned other (1)",
      "planned longer (1)",
      "planned directory (1)",
      "unchanged",
    ],
    "and one with rename",
  );
  t.notOk(readFileSync(join(dir, "other")).equals(content), "nothing was written");

  const different = await send(entries, { hello: { overwrite: "if-different" } });
  t.same(
    results(different),
    ["unchanged", "unchanged", "unchanged", "committed replaces", "committed replaces", "E_EXISTS", "unchanged"],
    "with if-different",
  );
  t.same([...different.plans].sort(), ["1 compare", "2 compare", "3 compare", "3 send", "4 send"]);
  t.ok(readFileSync(join(dir, "other")).equals(content));
  t.ok(readFileSync(join(dir, "longer")).equals(content));
});
