/** Arbitrary messages of every kind, as a program without faults may send them. */
import fc from "fast-check";
import type { MessageName } from "../../src/protocol/header.ts";
import {
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  CHUNK_BYTES_STEP,
  DIGEST_BYTES,
  FILE_BYTES_MAX,
  HAVE_CHUNKS_MAX,
  NAME_BYTES_MAX,
  PAGE_ENTRIES_MAX,
  RESUME_KEY_BYTES,
  RESUME_KEYS_MAX,
  SESSION_ID_BYTES,
  STREAMS_MAX,
} from "../../src/protocol/limits.ts";
import type { Message } from "../../src/protocol/messages.ts";

const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const byteCount = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant(FILE_BYTES_MAX));
const bytes = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max });
const text = fc.string({
  unit: fc.constantFrom(..."az09 /\\'\"\u0000\u001b\n\u00e9\u20ac\u202e\u{1f6a2}"),
  maxLength: 60,
});
const count = fc.oneof(fc.nat(), fc.double({ min: 0, max: 1e15, noNaN: true })).map((n) => n + 0);
const page = <T>(entry: fc.Arbitrary<T>) => fc.array(entry, { maxLength: 20 });
/** Plain objects, as the decoder makes them; all fields are there, or only `required` for certain. */
function record<T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T>;
function record<T extends object, K extends keyof T>(
  model: { [K in keyof T]: fc.Arbitrary<T[K]> },
  required: K[],
): fc.Arbitrary<Pick<T, K> & Partial<T>>;
function record(model: Record<string, fc.Arbitrary<unknown>>, required = Object.keys(model)) {
  return fc.record(model, { noNullPrototype: true, requiredKeys: required });
}

const load = record({
  clockMicros: byteCount,
  cpuMicros: byteCount,
  threadMicros: byteCount,
  busyMicros: byteCount,
  diskMicros: byteCount,
  heldMicros: byteCount,
  diskBytes: byteCount,
  cores: fc.integer({ min: 1, max: 0xffff }),
});
const failure = record({ code: fc.integer({ min: 0, max: 0xffff }), message: text });

/** Ends within 2^53 - 1, too. */
const extent = fc.tuple(byteCount, byteCount).map(([a, b]): [number, number] => {
  const offset = Math.min(a, FILE_BYTES_MAX - 1);
  return [offset, Math.min(Math.max(b, 1), FILE_BYTES_MAX - offset)];
});
const fileExtent = fc.tuple(uint32, extent).map(([file, e]): [number, number, number] => [file, ...e]);
const chunkBytes = fc
  .integer({ min: CHUNK_BYTES_MIN / CHUNK_BYTES_STEP, max: CHUNK_BYTES_MAX / CHUNK_BYTES_STEP })
  .map((n) => n * CHUNK_BYTES_STEP);
/** How many entries one stands for. */
const neighbours = fc.integer({ min: 1, max: PAGE_ENTRIES_MAX });
const session = bytes(SESSION_ID_BYTES, SESSION_ID_BYTES);
const key = bytes(RESUME_KEY_BYTES, RESUME_KEY_BYTES);
const stream = fc.integer({ min: 0, max: STREAMS_MAX - 1 });
/** CRC-32s as HAVE carries them. */
export function bigEndian(crcs: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * crcs.length);
  const view = new DataView(bytes.buffer);
  for (const [i, crc] of crcs.entries()) view.setUint32(4 * i, crc);
  return bytes;
}
/** Few mostly; a full page is made from one number, since fast-check takes long to make and shrink many bytes. */
const crcs = fc
  .oneof(
    { weight: 19, arbitrary: fc.array(uint32, { minLength: 1, maxLength: 12 }) },
    { weight: 1, arbitrary: fc.nat(255).map((n) => Array.from({ length: HAVE_CHUNKS_MAX }, (_, i) => i * (n + 1))) },
  )
  .map(bigEndian);

export const MESSAGES: { readonly [N in MessageName]: fc.Arbitrary<Message<N>> } = {
  HELLO: record(
    {
      agent: text,
      role: fc.constantFrom("source", "sink"),
      purpose: fc.constantFrom("transfer", "discard", "scratch", "plan"),
      streams: fc.integer({ min: 1, max: STREAMS_MAX }),
      chunkBytes,
      session,
      generation: uint32,
      keys: fc.oneof(
        { weight: 9, arbitrary: fc.array(key, { maxLength: 4 }) },
        { weight: 1, arbitrary: fc.array(key, { minLength: RESUME_KEYS_MAX - 1, maxLength: RESUME_KEYS_MAX }) },
      ),
      fresh: fc.boolean(),
      overwrite: fc.constantFrom("never", "if-different", "always", "rename"),
      preserveMode: fc.boolean(),
    },
    ["agent", "role", "purpose", "streams", "chunkBytes"],
  ),
  WELCOME: record(
    {
      agent: text,
      session,
      generation: uint32,
      transfer: text,
      chunkBytes,
      windowBytes: fc.integer({ min: CHUNK_BYTES_MIN, max: FILE_BYTES_MAX }),
      splitBytes: fc.integer({ min: 1, max: FILE_BYTES_MAX }),
      streams: fc.integer({ min: 1, max: STREAMS_MAX }),
      openFiles: fc.integer({ min: 1, max: 0xffff }),
      openSmall: fc.integer({ min: 1, max: 0xffff }),
      durability: fc.constantFrom("none", "commit", "checkpoint", "strict"),
    },
    [
      "agent",
      "session",
      "generation",
      "transfer",
      "chunkBytes",
      "windowBytes",
      "splitBytes",
      "streams",
      "openFiles",
      "durability",
    ],
  ),
  OFFER: record({
    settledBelow: uint32,
    files: page(
      record(
        {
          file: uint32,
          name: fc.oneof(
            { weight: 9, arbitrary: bytes(0, 40) },
            { weight: 1, arbitrary: bytes(0, NAME_BYTES_MAX + 1) },
          ),
          size: fc.option(byteCount),
          mtime: fc.tuple(fc.maxSafeInteger(), fc.integer({ min: 0, max: 999_999_999 })),
          mode: fc.integer({ min: 0, max: 0o7777 }),
          key,
          kind: fc.constantFrom("directory", "symlink"),
          target: fc.oneof({ weight: 9, arbitrary: bytes(1, 40) }, { weight: 1, arbitrary: bytes(1, NAME_BYTES_MAX) }),
          whole: fc.boolean(),
          quick: fc.boolean(),
        },
        ["file", "name", "size", "mtime", "mode"],
      ),
    ),
  }),
  HAVE: record({ file: uint32, offset: byteCount, crcs }),
  PLAN: record({
    files: page(
      record({ file: uint32, action: fc.constantFrom("send", "compare"), count: neighbours }, ["file", "action"]),
    ),
  }),
  DIGEST: record({ files: page(record({ file: uint32, blake3: bytes(DIGEST_BYTES, DIGEST_BYTES) })) }),
  SEAL: record({ files: page(record({ file: uint32, size: byteCount, crc32: uint32 })) }),
  WITHDRAW: record({ files: page(record({ file: uint32, error: failure })) }),
  OUTCOME: record({
    files: page(
      record(
        {
          file: uint32,
          status: fc.constantFrom("committed", "unchanged", "failed", "planned"),
          count: neighbours,
          size: byteCount,
          crc32: uint32,
          error: failure,
          name: bytes(1, 40),
          replaces: fc.boolean(),
        },
        ["file", "status"],
      ),
    ),
  }),
  FINISH: record({ files: uint32 }),
  RECEIPT: record({ files: uint32, failed: uint32, bytes: byteCount, durationMs: count, cpuMicros: count, load }, [
    "files",
    "failed",
    "bytes",
    "durationMs",
    "cpuMicros",
  ]),
  PING: record({ id: uint32 }),
  PONG: record(
    {
      id: uint32,
      doing: text,
      received: fc.array(byteCount, { maxLength: STREAMS_MAX }),
      limit: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      load,
    },
    ["id"],
  ),
  ERROR: failure,
  ATTACH: record({ session, generation: uint32, stream, attempt: uint32 }),
  ATTACHED: record({ stream }),
  ACK: record({ chunks: page(fileExtent) }),
  RESEND: record({ chunks: page(fileExtent) }),
};

/** One message, with its name. */
export function anyMessage(...names: MessageName[]): fc.Arbitrary<{ name: MessageName; body: Message }> {
  return fc.oneof(
    ...names.map((name) => fc.record({ name: fc.constant(name), body: MESSAGES[name] as fc.Arbitrary<Message> })),
  );
}

export interface AnyChunk {
  readonly name: "CHUNK";
  readonly file: number;
  readonly offset: number;
  readonly payload: Uint8Array;
}

/** Small chunks mostly, and some that don't fit the decoder's scratch space. */
export const anyChunk: fc.Arbitrary<AnyChunk> = fc.record({
  name: fc.constant("CHUNK" as const),
  file: uint32,
  offset: byteCount,
  payload: fc.oneof(
    { weight: 4, arbitrary: bytes(1, 64) },
    // Made from one number: fast-check takes long to make and shrink many bytes.
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom(4000, 4063, 4064, 4065, 4095, 4096, 4097, 8192, 65536), fc.nat(255))
        .map(([length, seed]) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff)),
    },
  ),
});

/** Sizes to cut a stream of bytes into, small ones and large. */
export const sliceSizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 9000 })), {
  minLength: 1,
  maxLength: 12,
});
