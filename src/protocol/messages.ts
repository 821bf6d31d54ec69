/**
 * Control messages: msgpack maps in the payload of a control frame, each checked against a schema when it arrives.
 * Fields that a schema doesn't know are ignored, so that a later minor version may add some. PROTOCOL.md has the prose.
 * OFFER, which comes in great numbers, has a short way besides: offer-page.ts writes it and offer-decoder.ts reads it.
 */
// Without its native part, which reads strings faster, of which messages have hardly any, and is slow to load.
import { Packr } from "msgpackr/pack";
import { Unpackr } from "msgpackr/unpack";
import * as v from "valibot";
import { HawserError, LocalProtocolError } from "./errors.ts";
import type { MessageName } from "./header.ts";
import {
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  CHUNK_BYTES_STEP,
  CHUNK_DIGEST_BYTES,
  CONTROL_PAYLOAD_BYTES_MAX,
  DIGEST_BYTES,
  FILE_BYTES_MAX,
  HAVE_CHUNKS_MAX,
  HAVE_DIGESTS_MAX,
  NAME_BYTES_MAX,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  PROOF_BYTES,
  RESUME_KEY_BYTES,
  RESUME_KEYS_MAX,
  SEALS_OFFERED_MAX,
  SESSION_ID_BYTES,
  STREAMS_MAX,
  TEXT_CHARS_MAX,
  TICKET_ID_BYTES,
} from "./limits.ts";
import { assertPlain } from "./msgpack-scan.ts";
import { decodePlainOffer } from "./offer-decoder.ts";
import { SEAL_KEY_BYTES, type SealCipher } from "./sealed.ts";

const integer = (min: number, max: number) => v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));
const bytes = (min: number, max: number) =>
  v.pipe(
    v.custom<Uint8Array>((value) => value instanceof Uint8Array),
    v.minLength(min),
    v.maxLength(max),
  );
const page = <T extends v.GenericSchema>(entry: T) => v.pipe(v.array(entry), v.maxLength(PAGE_ENTRIES_MAX));

const uint32 = integer(0, 0xffffffff);
const byteCount = integer(0, FILE_BYTES_MAX);
const text = v.pipe(v.string(), v.maxLength(TEXT_CHARS_MAX));
const chunkBytes = v.pipe(integer(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX), v.multipleOf(CHUNK_BYTES_STEP));
const resumeKey = bytes(RESUME_KEY_BYTES, RESUME_KEY_BYTES);
const sessionId = bytes(SESSION_ID_BYTES, SESSION_ID_BYTES);
const wholeDigest = bytes(DIGEST_BYTES, DIGEST_BYTES);
/** By which ticket a client comes in, and that it knows its token. */
const ticket = v.optional(bytes(TICKET_ID_BYTES, TICKET_ID_BYTES));
/** That an end knows the ticket's token: of this connection and this message only. */
const proof = v.optional(bytes(PROOF_BYTES, PROOF_BYTES));
/** How a file is checked before it is committed: by the CRC-32s of its chunks, or read back whole as well. */
const verify = v.optional(v.picklist(["crc", "full"]));
/** [file, offset, length]. */
const fileExtent = v.pipe(
  v.strictTuple([uint32, byteCount, integer(1, FILE_BYTES_MAX)]),
  v.check(([, offset, length]) => offset + length <= FILE_BYTES_MAX),
);
/** An error by its number in the error table, with a sentence. */
const failure = v.object({ code: integer(0, 0xffff), message: text });

/** What an end's time went into since the session began: times in microseconds. */
const load = v.object({
  /** How long that is. */
  clockMicros: byteCount,
  /** Of the processor, by all threads of its process. */
  cpuMicros: byteCount,
  /** The same by the thread that has the session's connections. */
  threadMicros: byteCount,
  /** In which this thread had something to do, whether or not it had a processor for it. */
  busyMicros: byteCount,
  /** In which it waited for a disk. */
  diskMicros: byteCount,
  /** In which streams were not read because what they had brought was not written yet: the mean over as many as were attached at once. */
  heldMicros: byteCount,
  /** Read from files or a pipe, or written. */
  diskBytes: byteCount,
  /** Processors that the process may use. */
  cores: integer(1, 0xffff),
});

const offeredFile = v.object({
  file: uint32,
  name: bytes(0, NAME_BYTES_MAX + 1),
  /** null while the source doesn't know it: SEAL then says it. */
  size: v.nullable(byteCount),
  /** Seconds since 1970 (negative before) and nanoseconds. */
  mtime: v.strictTuple([integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER), integer(0, 999_999_999)]),
  /** Permission bits. */
  mode: integer(0, 0o7777),
  /** What the file is known again by after an interruption; missing where that can't be. */
  key: v.optional(resumeKey),
  /** Missing: a file. Directories and links have no content, and their `size` is 0. */
  kind: v.optional(v.picklist(["directory", "symlink"])),
  /** Of a link: what it says. */
  target: v.optional(bytes(1, NAME_BYTES_MAX)),
  /** The file is sent whole, in a BUNDLE. */
  whole: v.optional(v.boolean()),
  /** What is there with the same size and time counts as the same. */
  quick: v.optional(v.boolean()),
});

/** How many neighbours an entry stands for, from its file on. */
const count = v.optional(integer(1, PAGE_ENTRIES_MAX));

const plannedFile = v.object({
  file: uint32,
  action: v.picklist(["send", "compare"]),
  count,
});

const settledFile = v.object({
  file: uint32,
  /** `planned`: nothing was done, since the session's purpose is to say what would be. */
  status: v.picklist(["committed", "unchanged", "failed", "planned"]),
  /** Of files that were sent whole: as offered, with the CRC-32s of their BUNDLE. */
  count,
  size: v.optional(byteCount),
  crc32: v.optional(uint32),
  error: v.optional(failure),
  /** Where it is, if that is not the name that was offered. */
  name: v.optional(bytes(1, NAME_BYTES_MAX)),
  /** Whether something with this name gave way, or would. */
  replaces: v.optional(v.boolean()),
  /** Of what was committed in a session that verifies: what the sink read back. */
  blake3: v.optional(wholeDigest),
});

export const SCHEMAS = {
  HELLO: v.object({
    agent: text,
    role: v.picklist(["source", "sink"]),
    purpose: v.picklist(["transfer", "discard", "scratch", "plan"]),
    streams: integer(1, STREAMS_MAX),
    chunkBytes,
    /** Joins a session whose control connection broke, instead of opening one. */
    session: v.optional(sessionId),
    /** With `session`: which generation of it. */
    generation: v.optional(uint32),
    /** Of the first files that will be offered: a session that has one of them goes on. */
    keys: v.optional(v.pipe(v.array(resumeKey), v.maxLength(RESUME_KEYS_MAX))),
    /** What earlier runs left of these files is to be thrown away. */
    fresh: v.optional(v.boolean()),
    /** What to do where a name is taken by something else; `never` unless said. */
    overwrite: v.optional(v.picklist(["never", "if-different", "always", "rename"])),
    /** Permission bits are set as they are, and not as the sink's mask leaves them. */
    preserveMode: v.optional(v.boolean()),
    verify,
    /** Of what gives way to a file, the chunks that are the same need not be sent. */
    delta: v.optional(v.boolean()),
    ticket,
    proof,
    /** What this client can seal streams with, best first. */
    seal: v.optional(v.pipe(v.array(text), v.maxLength(SEALS_OFFERED_MAX))),
  }),
  WELCOME: v.object({
    agent: text,
    session: sessionId,
    /** Counts the times that the session was taken up: what belongs to an earlier one means nothing any more. */
    generation: uint32,
    /** Names the transfer in receipts, logs and history; it opens nothing. */
    transfer: text,
    chunkBytes,
    /** Bytes that each stream may have unacknowledged. */
    windowBytes: integer(CHUNK_BYTES_MIN, FILE_BYTES_MAX),
    /** Ranges of different streams should meet at multiples of this. */
    splitBytes: integer(1, FILE_BYTES_MAX),
    streams: integer(1, STREAMS_MAX),
    /** Files that may be offered and not settled. */
    openFiles: integer(1, 0xffff),
    /** The same of files that are sent whole, directories and links; as many where it is missing. */
    openSmall: v.optional(integer(1, 0xffff)),
    durability: v.picklist(["none", "commit", "checkpoint", "strict"]),
    /** Files, and the chunks of each, go in their order over all streams: the sink can't put anything later first. */
    inOrder: v.optional(v.boolean()),
    /** `full` where HELLO asked for it, and the sink can. */
    verify,
    proof,
    /** With what streams that are dialled under this control connection are sealed, of what HELLO offered. */
    seal: v.optional(v.picklist(Object.keys(SEAL_KEY_BYTES) as SealCipher[])),
  }),
  OFFER: v.object({
    /** All files below this index are settled, and the source knows it: the sink may forget them. */
    settledBelow: uint32,
    files: page(offeredFile),
  }),
  /** Chunks that are there already: neighbours from `offset` on, four bytes of CRC-32 each, big-endian. */
  HAVE: v.pipe(
    v.object({
      file: uint32,
      offset: byteCount,
      crcs: v.pipe(
        bytes(4, 4 * HAVE_CHUNKS_MAX),
        v.check((crcs) => crcs.length % 4 === 0),
      ),
      /** Of chunks that are not of an earlier run but of another file: the first bytes of the BLAKE3 of each. */
      digests: v.optional(bytes(CHUNK_DIGEST_BYTES, CHUNK_DIGEST_BYTES * HAVE_DIGESTS_MAX)),
    }),
    v.check(({ crcs, digests }) => digests === undefined || digests.length / CHUNK_DIGEST_BYTES === crcs.length / 4),
  ),
  PLAN: v.object({ files: page(plannedFile) }),
  DIGEST: v.object({ files: page(v.object({ file: uint32, blake3: wholeDigest })) }),
  SEAL: v.object({
    /** `blake3`: where the session verifies, of the file as it was read once more. */
    files: page(v.object({ file: uint32, size: byteCount, crc32: uint32, blake3: v.optional(wholeDigest) })),
  }),
  WITHDRAW: v.object({ files: page(v.object({ file: uint32, error: failure })) }),
  OUTCOME: v.object({ files: page(settledFile) }),
  FINISH: v.object({ files: uint32 }),
  RECEIPT: v.object({
    files: uint32,
    failed: uint32,
    bytes: byteCount,
    durationMs: v.pipe(v.number(), v.finite(), v.minValue(0)),
    /** CPU time of the sink's process while the session lived, in microseconds. */
    cpuMicros: v.pipe(v.number(), v.finite(), v.minValue(0)),
    load: v.optional(load),
  }),
  PING: v.object({ id: uint32 }),
  PONG: v.object({
    id: uint32,
    /** What this end is at, one word of PROTOCOL.md: why nothing moves, where nothing does. */
    doing: v.optional(text),
    /** On control: payload of chunks that came over each stream so far, by its number, whole or not, in bytes. */
    received: v.optional(v.pipe(v.array(byteCount), v.maxLength(STREAMS_MAX))),
    /** On control: what this end reads of the peer at most, all its connections together, in bytes a second. */
    limit: v.optional(integer(1, FILE_BYTES_MAX)),
    /** On control: what this end's time goes into. */
    load: v.optional(load),
  }),
  ERROR: failure,
  ATTACH: v.object({
    session: sessionId,
    generation: uint32,
    stream: integer(0, STREAMS_MAX - 1),
    /** Counts the dials of this stream: a later one takes an earlier one's place, never the other way round. */
    attempt: uint32,
    ticket,
    proof,
  }),
  ATTACHED: v.object({ stream: integer(0, STREAMS_MAX - 1), proof }),
  ACK: v.object({ chunks: page(fileExtent) }),
  RESEND: v.object({ chunks: page(fileExtent) }),
} as const satisfies Record<MessageName, v.GenericSchema>;

export type Message<N extends MessageName = MessageName> = v.InferOutput<(typeof SCHEMAS)[N]>;
export type OfferedFile = v.InferOutput<typeof offeredFile>;
export type PlannedFile = v.InferOutput<typeof plannedFile>;
export type SettledFile = v.InferOutput<typeof settledFile>;
export type FileExtent = v.InferOutput<typeof fileExtent>;
export type WireFailure = v.InferOutput<typeof failure>;

/** Maps as plain objects, and no extension of msgpackr's own: no records, no classes, no references. */
const packr = new Packr({ useRecords: false, structuredClone: false, variableMapSize: true });
const unpackr = new Unpackr({
  useRecords: false,
  structuredClone: false,
  int64AsType: "number",
  copyBuffers: true,
});

export function encodeMessage<N extends MessageName>(name: N, body: Message<N>): Uint8Array {
  const payload = packr.pack(body);
  if (payload.length > CONTROL_PAYLOAD_BYTES_MAX) {
    throw new LocalProtocolError(`a ${name} message of ${payload.length} bytes: it should have gone in pages`);
  }
  return payload;
}

/** The message in a payload whose CRC was right. Throws E_BAD_MESSAGE for anything that is not one of this name. */
export function decodeMessage<N extends MessageName>(name: N, payload: Uint8Array): Message<N> {
  if (name === "OFFER") {
    const plain = decodePlainOffer(payload);
    if (plain !== undefined) return plain as Message<N>;
  }
  let value: unknown;
  try {
    assertPlain(payload);
    value = unpackr.unpack(payload);
  } catch (cause) {
    throw new HawserError("E_BAD_MESSAGE", `a ${name} message that is not msgpack`, { cause });
  }
  const result = v.safeParse(SCHEMAS[name], value);
  if (!result.success) {
    const at = v.getDotPath(result.issues[0]);
    throw new HawserError("E_BAD_MESSAGE", `a ${name} message with a bad ${at ? `field '${at}'` : "body"}`);
  }
  return result.output as Message<N>;
}

/** Cuts a list into pages that each fit a control frame; `bytesOf` is an upper bound of an entry's size on the wire. */
export function* pages<T>(entries: Iterable<T>, bytesOf: (entry: T) => number): Generator<T[]> {
  let current: T[] = [];
  let total = 0;
  for (const entry of entries) {
    const size = bytesOf(entry);
    if (current.length > 0 && (total + size > PAGE_BYTES || current.length === PAGE_ENTRIES_MAX)) {
      yield current;
      current = [];
      total = 0;
    }
    current.push(entry);
    total += size;
  }
  if (current.length > 0) yield current;
}
