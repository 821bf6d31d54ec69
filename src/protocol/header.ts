/**
 * The fixed header before every payload; all numbers unsigned and big-endian.
 *
 * offset  bytes  field
 *      0      1  type (FRAME_TYPES)
 *      1      1  flags: how the payload of a CHUNK or BUNDLE frame is encoded (ENCODING_FLAGS); zero in control frames
 *      2      2  reserved, zero
 *      4      4  file: index of the file in the transfer; of a BUNDLE, the number of the bundle; zero in control frames
 *      8      8  offset of the payload in the file, in bytes; zero in all frames but CHUNK
 *     16      4  bytes of payload on the wire
 *     20      4  bytes of payload when decoded; the same unless a flag says that it is encoded
 *     24      4  CRC-32 of the decoded payload
 *     28      4  CRC-32 of bytes 0 to 27
 */
import { crc32 } from "./crc32.ts";
import { HawserError } from "./errors.ts";
import { HEADER_BYTES } from "./limits.ts";

/** What a frame is. 0 is no type, so that a run of zeros is not a frame. */
export const FRAME_TYPES = {
  HELLO: 1,
  WELCOME: 2,
  OFFER: 3,
  PLAN: 4,
  DIGEST: 5,
  SEAL: 6,
  WITHDRAW: 7,
  OUTCOME: 8,
  FINISH: 9,
  RECEIPT: 10,
  PING: 11,
  PONG: 12,
  ERROR: 13,
  ATTACH: 14,
  ATTACHED: 15,
  ACK: 16,
  RESEND: 17,
  HAVE: 18,
  CHUNK: 32,
  BUNDLE: 33,
} as const;

export type FrameName = keyof typeof FRAME_TYPES;
/** Frames that carry bytes of files; all others are control messages. */
export type DataName = "CHUNK" | "BUNDLE";
export type MessageName = Exclude<FrameName, DataName>;

export function isData(name: FrameName): name is DataName {
  return name === "CHUNK" || name === "BUNDLE";
}

const names = new Map<number, FrameName>(Object.entries(FRAME_TYPES).map(([name, type]) => [type, name as FrameName]));

/** How a chunk's bytes stand in a payload: as they are, as one zstd frame, or without their zeros (sparse.ts). */
export const ENCODING_FLAGS = { raw: 0, zstd: 0x01, sparse: 0x02 } as const;

export type Encoding = keyof typeof ENCODING_FLAGS;

const encodings = new Map<number, Encoding>(
  Object.entries(ENCODING_FLAGS).map(([encoding, flag]) => [flag, encoding as Encoding]),
);

interface PlainHeader {
  readonly name: FrameName;
  /** Index of the file in the transfer. */
  readonly file: number;
  /** Of the payload in the file, in bytes. */
  readonly offset: number;
  /** On the wire. */
  readonly payloadBytes: number;
  /** Of the payload when decoded. */
  readonly payloadCrc32: number;
}

/** Of an encoded payload what it is when decoded; the same as on the wire where it is raw. */
export interface Encoded {
  readonly encoding: Encoding;
  readonly decodedBytes: number;
}

export interface FrameHeader extends PlainHeader, Encoded {}

/** A bundle's table says where its contents lie: it may be compressed, and has no zeros to be left out. */
function mayBeEncoded(name: FrameName, encoding: Encoding): boolean {
  return encoding === "raw" || name === "CHUNK" || (name === "BUNDLE" && encoding === "zstd");
}

export function encodeHeader(header: PlainHeader & Partial<Encoded>): Uint8Array {
  // Out of Node's pool: a buffer of its own costs more than all that is written into it.
  const bytes = Buffer.allocUnsafe(HEADER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  view.setUint8(0, FRAME_TYPES[header.name]);
  view.setUint8(1, ENCODING_FLAGS[header.encoding ?? "raw"]);
  view.setUint16(2, 0);
  view.setUint32(4, header.file);
  view.setUint32(8, Math.floor(header.offset / 2 ** 32));
  view.setUint32(12, header.offset >>> 0);
  view.setUint32(16, header.payloadBytes);
  view.setUint32(20, header.decodedBytes ?? header.payloadBytes);
  view.setUint32(24, header.payloadCrc32);
  view.setUint32(28, crc32(bytes.subarray(0, 28)));
  return bytes;
}

/**
 * Decodes the header at `at`. Throws E_DAMAGED where its CRC is wrong (the path damaged it: only this connection is
 * lost), E_ILLEGAL where the CRC is right and a field is not (the peer breaks the protocol).
 */
export function decodeHeader(bytes: Uint8Array, at = 0): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES);
  if (view.getUint32(28) !== crc32(bytes.subarray(at, at + 28))) {
    throw new HawserError("E_DAMAGED", "a frame's header arrived damaged");
  }
  const type = view.getUint8(0);
  const name = names.get(type);
  if (name === undefined) throw new HawserError("E_ILLEGAL", `a frame of the unknown type ${type}`);
  const encoding = encodings.get(view.getUint8(1));
  if (encoding === undefined || !mayBeEncoded(name, encoding) || view.getUint16(2) !== 0) {
    throw new HawserError("E_ILLEGAL", `a ${name} frame with flags that version 1 does not define`);
  }
  const payloadBytes = view.getUint32(16);
  const decodedBytes = view.getUint32(20);
  if (encoding === "raw" && decodedBytes !== payloadBytes) {
    throw new HawserError("E_ILLEGAL", `a ${name} frame that declares two lengths`);
  }
  if (encoding !== "raw" && decodedBytes <= payloadBytes) {
    throw new HawserError("E_ILLEGAL", `a ${name} frame that is encoded and no shorter for it`);
  }
  const high = view.getUint32(8);
  if (high > 0x1fffff) throw new HawserError("E_OUT_OF_RANGE", `a ${name} frame's offset is above 2^53 - 1`);
  const file = view.getUint32(4);
  const offset = high * 2 ** 32 + view.getUint32(12);
  if ((name !== "CHUNK" && offset !== 0) || (!isData(name) && file !== 0)) {
    throw new HawserError("E_ILLEGAL", `a ${name} frame that names a file`);
  }
  return { name, file, offset, payloadBytes, payloadCrc32: view.getUint32(24), encoding, decodedBytes };
}
