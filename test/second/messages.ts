/** PROTOCOL.md, Messages: which fields each has, and what they may be. */
import { Breach } from "./errors.ts";
import type { Name } from "./frames.ts";
import { decodeMap, type Fields, type Value } from "./msgpack.ts";

type Check = (value: Value | undefined) => boolean;

const integer =
  (min: number, max: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
const text: Check = (value) => typeof value === "string" && value.length <= 1024;
const boolean: Check = (value) => typeof value === "boolean";
const bytes =
  (min: number, max = min, step = 1): Check =>
  (value) =>
    value instanceof Uint8Array && value.length >= min && value.length <= max && value.length % step === 0;
const oneOf =
  (...words: (string | null)[]): Check =>
  (value) =>
    words.includes(value as string);
const either =
  (...checks: Check[]): Check =>
  (value) =>
    checks.some((check) => check(value));
const optional = (check: Check): Check => either((value) => value === undefined, check);
const list =
  (max: number, check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length <= max && value.every((of) => check(of as Value));
const map =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array) &&
    Object.entries(fields).every(([field, check]) => check((value as Fields)[field]));
const page = (fields: Readonly<Record<string, Check>>) => ({ files: list(1024, map(fields)) });
const tuple =
  (...checks: Check[]): Check =>
  (value) =>
    Array.isArray(value) && value.length === checks.length && checks.every((check, i) => check(value[i] as Value));

const MOST = Number.MAX_SAFE_INTEGER;
const u32 = integer(0, 2 ** 32 - 1);
const count = optional(integer(1, 1024));
const amount = integer(0, MOST);
const load = {
  clockMicros: amount,
  cpuMicros: amount,
  threadMicros: amount,
  busyMicros: amount,
  diskMicros: amount,
  heldMicros: amount,
  diskBytes: amount,
  cores: integer(1, 65_535),
};
const error = { code: integer(0, 65_535), message: text };
const measure: Check = (value) => typeof value === "number" && Number.isFinite(value) && value >= 0;
const chunkBytes: Check = (value) => integer(65_536, 16_777_216)(value) && (value as number) % 4096 === 0;
const streams = integer(1, 128);
const verify = optional(oneOf("crc", "full"));
const extent: Check = (value) =>
  tuple(u32, integer(0, MOST), integer(1, MOST))(value) &&
  Number.isSafeInteger(Number((value as number[])[1]) + Number((value as number[])[2]));
const extents = { chunks: list(1024, extent) };

const MESSAGES: Readonly<Record<Exclude<Name, "CHUNK" | "BUNDLE">, Readonly<Record<string, Check>>>> = {
  HELLO: {
    agent: text,
    role: oneOf("source", "sink"),
    purpose: oneOf("transfer", "discard", "scratch", "plan"),
    streams,
    chunkBytes,
    session: optional(bytes(16)),
    generation: optional(u32),
    keys: optional(list(64, bytes(16))),
    fresh: optional(boolean),
    overwrite: optional(oneOf("never", "if-different", "always", "rename")),
    preserveMode: optional(boolean),
    verify,
    delta: optional(boolean),
    ticket: optional(bytes(8)),
    proof: optional(bytes(32)),
    seal: optional(list(8, text)),
  },
  WELCOME: {
    agent: text,
    session: bytes(16),
    generation: u32,
    transfer: text,
    chunkBytes,
    windowBytes: integer(65_536, MOST),
    splitBytes: integer(1, MOST),
    streams,
    openFiles: integer(1, 65_535),
    openSmall: optional(integer(1, 65_535)),
    durability: oneOf("none", "commit", "checkpoint", "strict"),
    inOrder: optional(boolean),
    verify,
    proof: optional(bytes(32)),
    seal: optional(oneOf("aes-128-gcm", "chacha20-poly1305")),
  },
  OFFER: {
    settledBelow: u32,
    ...page({
      file: u32,
      name: bytes(0, 4096),
      size: either(oneOf(null), integer(0, MOST)),
      mtime: tuple(integer(-MOST, MOST), integer(0, 999_999_999)),
      mode: integer(0, 4095),
      key: optional(bytes(16)),
      kind: optional(oneOf("directory", "symlink")),
      target: optional(bytes(1, 4095)),
      whole: optional(boolean),
      quick: optional(boolean),
    }),
  },
  HAVE: {
    file: u32,
    offset: integer(0, MOST),
    crcs: bytes(4, 32_768, 4),
    digests: optional(bytes(16, 32_768, 16)),
  },
  PLAN: page({ file: u32, action: oneOf("send", "compare"), count }),
  DIGEST: page({ file: u32, blake3: bytes(32) }),
  SEAL: page({ file: u32, size: integer(0, MOST), crc32: u32, blake3: optional(bytes(32)) }),
  WITHDRAW: page({ file: u32, error: map(error) }),
  OUTCOME: page({
    file: u32,
    status: oneOf("committed", "unchanged", "failed", "planned"),
    count,
    size: optional(integer(0, MOST)),
    crc32: optional(u32),
    blake3: optional(bytes(32)),
    error: optional(map(error)),
    name: optional(bytes(1, 4095)),
    replaces: optional(boolean),
  }),
  FINISH: { files: u32 },
  RECEIPT: {
    files: u32,
    failed: u32,
    bytes: integer(0, MOST),
    durationMs: measure,
    cpuMicros: measure,
    load: optional(map(load)),
  },
  PING: { id: u32 },
  PONG: {
    id: u32,
    doing: optional(text),
    received: optional(list(128, integer(0, MOST))),
    limit: optional(integer(1, MOST)),
    load: optional(map(load)),
  },
  ERROR: error,
  ATTACH: {
    session: bytes(16),
    generation: u32,
    stream: integer(0, 127),
    attempt: u32,
    ticket: optional(bytes(8)),
    proof: optional(bytes(32)),
  },
  ATTACHED: { stream: integer(0, 127), proof: optional(bytes(32)) },
  ACK: extents,
  RESEND: extents,
};

/** The fields of a control frame's payload that PROTOCOL.md names, or E_BAD_MESSAGE. */
export function readMessage(name: Name, payload: Buffer): Fields {
  const all = decodeMap(payload);
  const named: Record<string, Value> = {};
  for (const [field, check] of Object.entries(MESSAGES[name as keyof typeof MESSAGES])) {
    const value = all[field];
    if (!check(value)) throw new Breach("E_BAD_MESSAGE", `${name} with a bad '${field}'`);
    if (value !== undefined) named[field] = value;
  }
  const { crcs, digests } = named;
  if (name === "HAVE" && digests !== undefined && (digests as Buffer).length !== (crcs as Buffer).length * 4) {
    throw new Breach("E_BAD_MESSAGE", "HAVE with another number of digests");
  }
  return named;
}
