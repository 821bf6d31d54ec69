/**
 * Changes a conversation: what its messages say, field by field, the bytes of its frames, and which frames come at all, how
 * often, when and on which connection.
 */
import { zstdDecompressSync } from "node:zlib";
import { Packr, Unpackr } from "msgpackr";
import { ENCODING_FLAGS, FRAME_TYPES } from "../../src/protocol/header.ts";
import { HEADER_BYTES } from "../../src/protocol/limits.ts";
import { Draft, mutate, mutateHeader, settleLengths, sumHeader } from "./mutations.ts";
import type { Random } from "./random.ts";
import type { Said, Tape } from "./tapes.ts";
import { varyContent } from "./variation.ts";
import { controlFrame, payloadOf } from "./wire.ts";

const packr = new Packr({ useRecords: false, structuredClone: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, structuredClone: false, int64AsType: "number", copyBuffers: true });

/** Names that must lead nowhere, or to trouble at most for whoever offers them. */
const NAMES = [
  ...[
    "..",
    "../outside.txt",
    "../../outside.txt",
    "/etc/hawser",
    "a/../../outside.txt",
    "up/outside.txt",
    "./a",
    "a//b",
  ],
  ...["tree/up/outside.txt", "tree/here/x", "tree", "tree/one/two", "a.bin", "a.bin/b", ".hawser", ".hawser/x", "a\0b"],
  ...[
    ".hawser/sessions.db",
    ".HAWSER/x",
    "\x1b[2J",
    "con",
    "x".repeat(255),
    "x".repeat(256),
    `${"d/".repeat(300)}e`,
    "",
  ],
].map((name) => Buffer.from(name));
const WORDS = [
  ...["source", "sink", "transfer", "discard", "plan", "send", "compare", "committed", "unchanged", "failed"],
  ...["planned", "directory", "symlink", "never", "if-different", "always", "rename", "full", "crc", "", "__proto__"],
];
const NUMBERS = [
  ...[0, 1, 2, 3, 15, 16, 255, 256, 1024, 4095, 4096, 65_535, 65_536, 131_072, 2 ** 24, 2 ** 31, 2 ** 32 - 1, 2 ** 32],
  ...[2 ** 40, 2 ** 53 - 65_536, 2 ** 53 - 1, 2 ** 53, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY],
];

/** One change of a value, as odd as msgpack allows. */
function changed(value: unknown, random: Random): unknown {
  if (random.oneIn(24)) return random.pick<unknown>([null, true, {}, [], "", 0, Buffer.alloc(0), [[[[[[[[[]]]]]]]]]]);
  if (typeof value === "number") {
    if (random.oneIn(2)) return value + random.below(5) - 2;
    return random.pick(NUMBERS);
  }
  if (typeof value === "string") return random.pick(WORDS);
  if (typeof value === "boolean") return !value;
  if (value instanceof Uint8Array) {
    if (random.oneIn(2)) return random.pick(NAMES);
    const bytes = Buffer.from(value);
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.word();
    return random.oneIn(3) ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes;
  }
  if (Array.isArray(value)) return changedList(value, random);
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return { file: 0 };
    const at = random.below(entries.length);
    const [key, inner] = entries[at] as [string, unknown];
    if (random.oneIn(16)) entries.splice(at, 1);
    else if (random.oneIn(32)) entries.push([random.pick(WORDS), inner]);
    else entries[at] = [key, changed(inner, random)];
    return Object.fromEntries(entries);
  }
  return random.pick(NUMBERS);
}

function changedList(list: readonly unknown[], random: Random): unknown[] {
  const copy = [...list];
  if (copy.length === 0) return random.oneIn(2) ? [{ file: 0 }] : [];
  const at = random.below(copy.length);
  switch (random.below(8)) {
    case 0:
      copy.splice(at, 1);
      break;
    case 1:
      copy.splice(at, 0, copy[random.below(copy.length)]);
      break;
    case 2:
      copy.push(...copy);
      break;
    case 3:
      copy.reverse();
      break;
    default:
      copy[at] = changed(copy[at], random);
  }
  return copy;
}

const DRAFT_BYTES = 512 * 1024;

export class Mutator {
  readonly #tapes: readonly Tape[];
  readonly #payloads: readonly Buffer[];
  readonly #draft = new Draft(DRAFT_BYTES);

  constructor(tapes: readonly Tape[]) {
    this.#tapes = tapes;
    const frames = tapes.flatMap(({ said }) => said.map(({ frame }) => frame));
    this.#payloads = frames.flatMap((frame) => (frame === undefined ? [] : [payloadOf(frame.bytes).subarray(0, 4096)]));
  }

  /** What is said in the place of this, most often itself. `oneIn`: how seldom it is changed. */
  inPlaceOf(said: Said, oneIn: number, random: Random): Said[] {
    if (!random.oneIn(oneIn)) return [said];
    switch (random.below(16)) {
      case 0:
        return [];
      case 1:
        return [said, said];
      case 2:
        return Array.from({ length: 2 + random.below(20) }, () => said);
      case 3: {
        // On another connection than its own.
        return [{ ...said, connection: random.below(3) }];
      }
      case 4:
      case 5: {
        const other = this.#other(said.by, random);
        return random.oneIn(2) ? [other, said] : [said, other];
      }
      case 6:
        return [said, { ...said, frame: undefined }];
      default:
        return [this.#spoilt(said, random)];
    }
  }

  /** Something that the same end says elsewhere. */
  #other(by: Said["by"], random: Random): Said {
    for (;;) {
      const { said } = random.pick(this.#tapes);
      const other = random.pick(said);
      if (other.by === by && other.frame !== undefined) return random.oneIn(2) ? other : this.#spoilt(other, random);
    }
  }

  #spoilt(said: Said, random: Random): Said {
    if (said.frame === undefined) return said;
    const { name, bytes } = said.frame;
    const isMessage = name !== "CHUNK" && name !== "BUNDLE";
    if (isMessage && random.below(4) > 0) {
      let body: unknown = unpackr.unpack(payloadOf(bytes));
      const times = random.few(3);
      for (let i = 0; i < times; i++) body = changed(body, random);
      const payload = packr.pack(body);
      return { ...said, frame: { name, bytes: controlFrame(name, payload) } };
    }
    const draft = this.#draft;
    draft.set(random.oneIn(3) ? bytes : asRaw(bytes));
    if (random.oneIn(3) && varyContent(draft, name === "BUNDLE", random)) {
      return { ...said, frame: { name, bytes: Buffer.from(draft.content) } };
    }
    const times = random.few(3);
    const isHeader = random.oneIn(3);
    for (let i = 0; i < times; i++) {
      if (isHeader) mutateHeader(draft, random);
      else mutate(draft, HEADER_BYTES, random, this.#payloads);
    }
    if (draft.length >= HEADER_BYTES) {
      if (!isHeader) settleLengths(draft);
      if (!random.oneIn(8)) sumHeader(draft);
    }
    return { ...said, frame: { name, bytes: Buffer.from(draft.content) } };
  }
}

/** Of a compressed frame what it stands for, so that what is changed gets past the decompression. */
function asRaw(frame: Buffer): Buffer {
  if (frame[1] !== ENCODING_FLAGS.zstd) return frame;
  const decoded = zstdDecompressSync(payloadOf(frame));
  const raw = Buffer.concat([frame.subarray(0, HEADER_BYTES), decoded]);
  raw[1] = ENCODING_FLAGS.raw;
  raw.writeUInt32BE(decoded.length, 16);
  return raw;
}

/** What belongs to the session that it is said in, put in the place of what was recorded. */
export function withSession({ frame, ...said }: Said, session: Uint8Array, generation: number): Said {
  if (frame === undefined) return { ...said, frame };
  const { name, bytes } = frame;
  const isOpening = bytes[0] === FRAME_TYPES.ATTACH || bytes[0] === FRAME_TYPES.HELLO;
  if (!isOpening) return { ...said, frame };
  const body = unpackr.unpack(payloadOf(bytes));
  if (!(body?.session instanceof Uint8Array)) return { ...said, frame };
  return { ...said, frame: { name, bytes: controlFrame(name, packr.pack({ ...body, session, generation })) } };
}

export function sessionIn(welcome: Buffer): { readonly session: Uint8Array; readonly generation: number } {
  return unpackr.unpack(payloadOf(welcome));
}
