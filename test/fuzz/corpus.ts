/** Frames as programs without faults send them: what the fuzzer changes. All of it follows from the seed. */
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { bundleTableBytes, encodeBundleTable } from "../../src/protocol/bundle.ts";
import { crc32 } from "../../src/protocol/crc32.ts";
import { LocalProtocolError } from "../../src/protocol/errors.ts";
import {
  type DataName,
  type Encoding,
  encodeHeader,
  FRAME_TYPES,
  type FrameName,
  type MessageName,
} from "../../src/protocol/header.ts";
import { encodeMessage, type Message } from "../../src/protocol/messages.ts";
import * as sparse from "../../src/protocol/sparse.ts";
import { MESSAGES } from "../helpers/arbitraries.ts";
import { attachOf, HELLO, SESSION, WELCOME } from "../helpers/conversation.ts";
import { frameOf } from "../helpers/raw-client.ts";
import { Random } from "./random.ts";
import { NO_SHAPE, type Shape, shapeOf } from "./shapes.ts";

export interface Sample {
  readonly name: FrameName;
  readonly payload: Buffer;
  /** Header and payload, as they go on the wire. */
  readonly frame: Buffer;
  /** Of a message: what in its payload may be changed. */
  readonly shape: Shape;
}

export interface Corpus {
  readonly byName: ReadonlyMap<FrameName, readonly Sample[]>;
  /** All payloads, to be mixed. */
  readonly payloads: readonly Buffer[];
}

const SAMPLES = 120;
/** Few are large: a large one costs as much as many small ones, and has no more in it. */
const LARGE_BYTES = 200;
const LARGE_SAMPLES = 4;

const PROVEN = { ticket: new Uint8Array(8).fill(6), proof: new Uint8Array(32).fill(4) };

/** Around where msgpack takes another number of bytes. */
const SECONDS = [
  -1,
  -31,
  -32,
  -33,
  -48,
  -127,
  -128,
  -129,
  -32_768,
  -32_769,
  -(2 ** 31),
  -(2 ** 31) - 1,
  127,
  128,
  65_536,
];

/** What the arbitraries leave out. */
const MORE: { readonly [N in MessageName]?: readonly Message<N>[] } = {
  HELLO: [
    {
      agent: "hawser/0.1.0",
      role: "source",
      purpose: "transfer",
      streams: 4,
      chunkBytes: 65_536,
      verify: "full",
      delta: true,
      keys: [new Uint8Array(16).fill(7)],
    },
    ...Array(8).fill({ ...HELLO, ...PROVEN }),
    { ...HELLO, ...PROVEN, session: SESSION, generation: 3, preserveMode: true, verify: "crc" },
  ],
  WELCOME: [
    ...Array(8).fill({ ...WELCOME, proof: PROVEN.proof }),
    { ...WELCOME, proof: PROVEN.proof, inOrder: true, verify: "full", openSmall: 8192 },
    { ...WELCOME, inOrder: false, verify: "crc" },
  ],
  ATTACH: Array(30).fill({ ...attachOf(0), ...PROVEN }),
  ATTACHED: Array(30).fill({ stream: 0, proof: PROVEN.proof }),
  HAVE: [{ file: 1, offset: 65_536, crcs: new Uint8Array(8).fill(3), digests: new Uint8Array(32).fill(9) }],
  SEAL: [{ files: [{ file: 0, size: 131_072, crc32: 77, blake3: new Uint8Array(32).fill(5) }] }],
  OUTCOME: [
    { files: [{ file: 0, status: "committed", size: 9, crc32: 1, blake3: new Uint8Array(32).fill(5) }] },
    { files: [{ file: 3, status: "committed", count: 40 }] },
  ],
  OFFER: [
    ...SECONDS.map((seconds) => ({
      settledBelow: 0,
      files: [{ file: 7, name: Buffer.from("old"), size: 1, mtime: [seconds, 0] as [number, number], mode: 0o644 }],
    })),
    {
      settledBelow: 5,
      files: Array.from({ length: 5 }, (_, i) => ({
        file: 300 + i,
        name: Buffer.from(`photos/trip/${i}.jpg`),
        size: 1000 * i,
        mtime: [1_700_000_000, 5] as [number, number],
        mode: 0o644,
        whole: true,
      })),
    },
    {
      settledBelow: 0,
      files: [
        { file: 0, name: Buffer.from("a"), size: 0, mtime: [1, 0], mode: 0o755, kind: "directory" },
        {
          file: 1,
          name: Buffer.from("l"),
          size: 0,
          mtime: [1, 0],
          mode: 0o777,
          kind: "symlink",
          target: Buffer.from(".."),
        },
        { file: 2, name: Buffer.from("b"), size: 70_000, mtime: [1, 0], mode: 0o600, key: new Uint8Array(16).fill(1) },
      ],
    },
  ],
};

function contentOf(random: Random, bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) content[at] = random.oneIn(3) ? random.word() : 0x61;
  return content;
}

function dataSample(
  name: DataName,
  random: Random,
  decoded: Uint8Array,
  encoding: Encoding,
  payload: Uint8Array,
): Sample {
  const [file, offset] = [random.below(4), name === "CHUNK" ? 65_536 * random.below(4) : 0];
  const header = encodeHeader({
    name,
    file,
    offset,
    payloadBytes: payload.length,
    payloadCrc32: crc32(decoded),
    encoding,
    decodedBytes: decoded.length,
  });
  return { name, payload: Buffer.from(payload), frame: Buffer.concat([header, payload]), shape: NO_SHAPE };
}

/** A payload of BUNDLE with files of these lengths. */
export function bundleOf(random: Random, lengths: readonly number[]): Buffer {
  const contents = lengths.map((bytes) => contentOf(random, bytes));
  const table = new Uint8Array(bundleTableBytes(lengths.length));
  encodeBundleTable(
    contents.map((content, file) => ({ file, bytes: content.length, crc32: crc32(content) })),
    table,
  );
  return Buffer.concat([table, ...contents]);
}

function* dataSamples(random: Random): Generator<Sample> {
  for (let i = 0; i < 24; i++) {
    const raw = contentOf(random, 1 + random.below(i < 20 ? 300 : 12_000));
    yield dataSample("CHUNK", random, raw, "raw", raw);
    const bundle = bundleOf(
      random,
      Array.from({ length: 1 + random.below(6) }, () => random.below(60)),
    );
    yield dataSample("BUNDLE", random, bundle, "raw", bundle);
    const long = Buffer.concat([contentOf(random, 4096), Buffer.alloc(4096 * (1 + random.below(4)))]);
    // Of a hundred bytes, so that the payload is small.
    long.fill(0x61, 100, 4096);
    const packed = zstdCompressSync(long);
    if (packed.length < long.length) yield dataSample("CHUNK", random, long, "zstd", packed);
    const holes = Buffer.alloc(4096 * (2 + random.below(14)));
    // Pieces of data, each in a block of its own: tables of several extents that are small all the same.
    const slices = Array.from({ length: random.below(6) }, (_, block) => {
      const bytes = contentOf(random, 1 + random.below(12));
      const start = 4096 * block + random.below(16);
      return { start, bytes: bytes.subarray(0, Math.max(0, holes.length - start)) };
    }).filter(({ bytes }) => bytes.length > 0);
    for (const { start, bytes } of slices) holes.set(bytes, start);
    yield dataSample(
      "CHUNK",
      random,
      holes,
      "sparse",
      Buffer.concat([sparse.encodeTable(slices), ...slices.map(({ bytes }) => bytes)]),
    );
  }
}

function* messageSamples(name: MessageName, seed: number): Generator<Sample> {
  const bodies: Message[] = fc.sample(MESSAGES[name] as fc.Arbitrary<Message>, {
    seed: seed | 0,
    numRuns: 4 * SAMPLES,
  });
  let large = 0;
  let small = 0;
  for (const body of [...(MORE[name] ?? []), ...bodies]) {
    if (small === SAMPLES) return;
    try {
      const payload = Buffer.from(encodeMessage(name, body));
      if (payload.length <= LARGE_BYTES) small++;
      else if (++large > LARGE_SAMPLES) continue;
      yield { name, payload, frame: frameOf(name, payload), shape: shapeOf(payload) };
    } catch (thrown) {
      // One that is too large for a frame is none that a program sends.
      if (!(thrown instanceof LocalProtocolError)) throw thrown;
    }
  }
}

export function makeCorpus(seed: number): Corpus {
  const byName = new Map<FrameName, Sample[]>();
  for (const name of Object.keys(FRAME_TYPES) as FrameName[]) {
    if (name !== "CHUNK" && name !== "BUNDLE") byName.set(name, [...messageSamples(name, seed)]);
    else byName.set(name, []);
  }
  for (const sample of dataSamples(new Random(seed))) byName.get(sample.name)?.push(sample);
  return { byName, payloads: [...byName.values()].flat().map(({ payload }) => payload) };
}
