/** A part made from the file that gives way, with the source driven by hand: what is told when, and what may come when. */
import { crc32 } from "node:zlib";
import { blake3 } from "@napi-rs/blake-hash";
import t, { type Test } from "tap";
import { ERRORS } from "../../src/protocol/errors.ts";
import { CHUNK_DIGEST_BYTES } from "../../src/protocol/limits.ts";
import type { Message } from "../../src/protocol/messages.ts";
import { MemorySink } from "../../src/sink/memory-sink.ts";
import type { ExistingFile } from "../../src/sink/sink.ts";
import { testServer } from "../helpers/backend.ts";
import { nameOf, randomBytesOf, same } from "../helpers/bytes.ts";
import { forgeCrc32 } from "../helpers/forged.ts";
import { connectTo, hello } from "../helpers/wire-end.ts";

/** Large enough that what is told comes in two pages. */
const CHUNK = 8 * 1024 * 1024;
const OLD = Buffer.from(randomBytesOf(3 * CHUNK + 5));
const slice = (bytes: Buffer, chunk: number) => bytes.subarray(chunk * CHUNK, (chunk + 1) * CHUNK);
const digestOf = (bytes: Buffer) => Buffer.from(blake3(bytes)).subarray(0, CHUNK_DIGEST_BYTES);

/** Reading the old file waits at a chunk, until it is let on. */
class WaitingSink extends MemorySink {
  waitsAt = Number.POSITIVE_INFINITY;
  go: () => void = () => {};
  readonly #gone = new Promise<void>((resolve) => {
    this.go = resolve;
  });

  override async find(name: Uint8Array): Promise<ExistingFile | undefined> {
    const found = await super.find(name);
    const { hold } = found ?? {};
    if (found === undefined || hold === undefined) return found;
    return {
      ...found,
      hold: async () => {
        const held = await hold();
        return {
          ...held,
          read: async (offset, room) => {
            if (offset >= this.waitsAt) await this.#gone;
            return held.read(offset, room);
          },
        };
      },
    };
  }
}

async function begun(t: Test, size = OLD.length, wishes: Partial<Message<"HELLO">> = {}) {
  const sink = new WaitingSink();
  const there = await sink.reserve({ id: "old", name: nameOf("f"), size: OLD.length, mtime: [1, 0], mode: 0o600 });
  await there.write(0, OLD);
  await there.commit(OLD.length, crc32(OLD));
  const { address } = await testServer(t, { sink });
  const control = await connectTo(t, address);
  const asked = { overwrite: "if-different", delta: true, chunkBytes: CHUNK, ...wishes } as const;
  control.connection.send("HELLO", { ...hello(), ...asked });
  const { session, generation } = await control.heard.message("WELCOME");
  const stream = await connectTo(t, address);
  stream.connection.send("ATTACH", { session, generation, stream: 0, attempt: 0 });
  await stream.heard.message("ATTACHED");
  stream.connection.chunkBytesMax = CHUNK;
  const offer = () => {
    const file = { file: 0, name: nameOf("f"), size, mtime: [9, 0] as [number, number], mode: 0o600 };
    control.connection.send("OFFER", { settledBelow: 0, files: [file] });
  };
  const seal = (bytes: Buffer) =>
    control.connection.send("SEAL", { files: [{ file: 0, size: bytes.length, crc32: crc32(bytes) }] });
  return { sink, control, stream, offer, seal };
}

const parts = ({ offset, crcs, digests = new Uint8Array() }: Message<"HAVE">) => ({
  offset,
  crcs: Buffer.from(crcs).toString("hex"),
  digests: Buffer.from(digests).toString("hex"),
});

function have(first: number, count: number) {
  const chunks = Array.from({ length: count }, (_, i) => slice(OLD, first + i));
  return {
    offset: first * CHUNK,
    crcs: chunks.map((bytes) => crc32(bytes).toString(16).padStart(8, "0")).join(""),
    digests: chunks.map((bytes) => digestOf(bytes).toString("hex")).join(""),
  };
}

t.test("what is copied is told in pages, while more is copied, and the plan comes last", async (t) => {
  const { sink, control, stream, offer, seal } = await begun(t);
  sink.waitsAt = 2 * CHUNK;
  offer();
  t.same(parts(await control.heard.message("HAVE")), have(0, 2));
  // Its CRC-32 is that of the chunk in whose place it comes: it counts all the same.
  const forged = forgeCrc32(Buffer.from(randomBytesOf(CHUNK)), crc32(slice(OLD, 1)));
  stream.chunk(0, CHUNK, forged);
  t.same(await stream.heard.message("ACK"), { chunks: [[0, CHUNK, CHUNK]] });
  sink.go();
  t.same(parts(await control.heard.message("HAVE")), have(2, 2));
  t.same(await control.heard.message("PLAN"), { files: [{ file: 0, action: "send" }] });
  const content = Buffer.concat([slice(OLD, 0), forged, slice(OLD, 2), slice(OLD, 3)]);
  seal(content);
  t.match(await control.heard.message("OUTCOME"), { files: [{ status: "committed", replaces: true }] });
  t.ok(same(sink.read(nameOf("f")), content));
});

t.test("a chunk that was not told of yet breaks the protocol", async (t) => {
  const { sink, control, stream, offer } = await begun(t);
  sink.waitsAt = 2 * CHUNK;
  offer();
  await control.heard.message("HAVE");
  stream.chunk(0, 2 * CHUNK, Buffer.from(randomBytesOf(CHUNK)));
  t.match(await control.heard.message("ERROR"), { code: ERRORS.E_WRONG_STATE.wire });
  sink.go();
  t.ok(same(sink.read(nameOf("f")), OLD), "the old file stays");
});

t.test("withdrawn while it is copied", async (t) => {
  const { sink, control, offer } = await begun(t);
  sink.waitsAt = 2 * CHUNK;
  offer();
  await control.heard.message("HAVE");
  const error = { code: ERRORS.E_SOURCE_CHANGED.wire, message: "it changed" };
  control.connection.send("WITHDRAW", { files: [{ file: 0, error }] });
  t.match(await control.heard.message("OUTCOME"), { files: [{ status: "failed" }] });
  sink.go();
  control.connection.send("FINISH", { files: 1 });
  await control.heard.message("RECEIPT");
  t.equal(sink.partsKept, 0);
  t.ok(same(sink.read(nameOf("f")), OLD));
});

t.test("without the wish, or where the old file stays, nothing is copied", async (t) => {
  for (const wishes of [{ delta: false }, { overwrite: "rename" }] as const) {
    const { control, offer } = await begun(t, OLD.length + 1, wishes);
    offer();
    const first = await control.heard.message("PLAN");
    t.same(first, { files: [{ file: 0, action: "send" }] });
  }
});
