/** What becomes of encoded payloads: those of the vectors, and one that would be a thousand times as long as it says. */
import { spawnSync } from "node:child_process";
import { constants, createZstdCompress, zstdCompressSync } from "node:zlib";
import t from "tap";
import type { ArrivedChunk } from "../../src/protocol/conversation.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { type Content, decode, isSparse } from "../../src/sink/decode.ts";
import { endIn } from "../helpers/conversation.ts";
import { byPush } from "../helpers/slices.ts";
import { bytesOf, hexOf, vectorFile } from "../helpers/vectors.ts";

const decoded = (chunk: ArrivedChunk) => new Promise<Content | undefined>((resolve) => decode(chunk, resolve));

/** As a whole, whatever it is kept as. */
function wholeOf(content: Content): Uint8Array {
  if (!isSparse(content)) return content;
  const whole = new Uint8Array(content.bytes);
  for (const { start, bytes } of content.data) whole.set(bytes, start);
  return whole;
}

for (const { name, receiver, hex, decoded: expected } of vectorFile("chunks").vectors) {
  if (expected === undefined) continue;
  t.test(`vector: ${name}`, async (t) => {
    const end = endIn(receiver);
    byPush(end.conversation, bytesOf(hex));
    const content = await decoded(end.chunks[0] as ArrivedChunk);
    t.equal(content === undefined ? null : hexOf(wholeOf(content)), expected);
  });
}

const chunkOf = (payload: Uint8Array, rest: Partial<ArrivedChunk> = {}): ArrivedChunk => ({
  isBundle: false,
  file: 0,
  offset: 0,
  payload,
  payloadCrc32: 0,
  intact: null,
  encoding: "zstd",
  decodedBytes: 65_536,
  block: payload,
  ...rest,
});

t.test("zeros in what was compressed are left out again", async (t) => {
  const bytes = Buffer.alloc(65_536);
  bytes.fill(1, 8192, 12_288);
  const content = await decoded(chunkOf(zstdCompressSync(bytes), { payloadCrc32: crc32(bytes) }));
  if (content === undefined || !isSparse(content)) return t.fail("it is sparse");
  t.same(
    content.data.map(({ start, bytes }) => [start, bytes.length]),
    [[8192, 4096]],
  );
});

/** As a compressor makes it that does not know how much will come. */
async function wideFrameOf(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: 27 } });
  stream.write(bytes.subarray(0, 1000));
  await new Promise<void>((resolve) => stream.flush(resolve));
  stream.end(bytes.subarray(1000));
  return Buffer.concat(await stream.toArray());
}

t.test("a frame that is shorter than declared, is cut short, or asks for a huge window, is damaged", async (t) => {
  const bytes = Buffer.alloc(65_536, 3);
  const frame = zstdCompressSync(bytes);
  t.equal(await decoded(chunkOf(frame, { payloadCrc32: crc32(bytes), decodedBytes: 65_537 })), undefined);
  t.equal(await decoded(chunkOf(frame.subarray(0, -1), { payloadCrc32: crc32(bytes) })), undefined);
  const wide = await wideFrameOf(bytes);
  t.equal(await decoded(chunkOf(wide, { payloadCrc32: crc32(bytes) })), undefined, "128 MiB are too much");
  t.ok(await decoded(chunkOf(frame, { payloadCrc32: crc32(bytes) })), "the same otherwise is sound");
});

t.test("a frame of 1 GiB that declares 64 KiB costs no memory, and is damaged", async (t) => {
  // In a process of its own: what it grew to at most is asked of the system.
  const program = `
    import { decode } from ${JSON.stringify(new URL("../../src/sink/decode.ts", import.meta.url).href)};
    import { createZstdCompress } from "node:zlib";
    const compress = createZstdCompress();
    const pieces = [];
    compress.on("data", (piece) => pieces.push(piece));
    const ended = new Promise((resolve) => compress.on("end", resolve));
    const zeros = Buffer.alloc(1 << 20);
    for (let i = 0; i < 1024; i++) if (!compress.write(zeros)) await new Promise((resolve) => compress.once("drain", resolve));
    compress.end();
    await ended;
    const payload = Buffer.concat(pieces);
    const before = process.resourceUsage().maxRSS;
    const chunk = { payload, payloadCrc32: 0, encoding: "zstd", decodedBytes: 65536, intact: null, file: 0, offset: 0, block: payload };
    const contents = await Promise.all(Array.from({ length: 50 }, () => new Promise((resolve) => decode(chunk, resolve))));
    console.log(JSON.stringify({ bytes: payload.length, damaged: contents.filter((c) => c === undefined).length, grownKiB: process.resourceUsage().maxRSS - before }));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  if (stdout === "") return t.fail(stderr);
  const { bytes, damaged, grownKiB } = JSON.parse(stdout) as { bytes: number; damaged: number; grownKiB: number };
  t.ok(bytes < 256 * 1024, `${bytes} bytes stand for 1 GiB`);
  t.equal(damaged, 50);
  t.ok(grownKiB < 32 * 1024, `fifty of them cost ${grownKiB} KiB`);
  t.comment(`grown by ${grownKiB} KiB`);
});
