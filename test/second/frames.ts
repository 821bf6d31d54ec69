/** PROTOCOL.md, The greeting and Frames: bytes of both, made and taken apart. */
import { crc32 } from "node:zlib";
import { Breach } from "./errors.ts";
import { encode, type Fields } from "./msgpack.ts";

export const FRAMES = {
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

export type Name = keyof typeof FRAMES;
export const NAMES = Object.keys(FRAMES) as Name[];
export const isData = (name: Name): boolean => name === "CHUNK" || name === "BUNDLE";

export const HEADER_BYTES = 32;
export const GREETING_BYTES = 20;
const MAGIC = Buffer.from("894841575345520a", "hex");

export const RAW = 0;
export const ZSTD = 1;
export const SPARSE = 2;

export function greeting(lowest = 1, highest = 1): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt16BE(lowest, 8);
  bytes.writeUInt16BE(highest, 10);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 16)), 16);
  return bytes;
}

/** The range of versions in the first bytes of a connection. */
export function readGreeting(bytes: Buffer): { readonly lowest: number; readonly highest: number } {
  if (!bytes.subarray(0, 8).equals(MAGIC)) throw new Breach("E_NOT_HAWSER", "another program");
  if (crc32(bytes.subarray(0, 16)) !== bytes.readUInt32BE(16)) throw new Breach("E_DAMAGED", "the greeting");
  return { lowest: bytes.readUInt16BE(8), highest: bytes.readUInt16BE(10) };
}

/** As PROTOCOL.md says of both; E_VERSION where 1 is not among them. */
export function chooseVersion({ lowest, highest }: ReturnType<typeof readGreeting>): number {
  if (lowest > highest || lowest > 1 || highest < 1) throw new Breach("E_VERSION", `${lowest} to ${highest}`);
  return 1;
}

export interface Header {
  readonly name: Name;
  readonly flags: number;
  readonly file: number;
  readonly offset: number;
  readonly wireBytes: number;
  readonly decodedBytes: number;
  readonly crc: number;
}

export interface Raw {
  readonly type: number;
  readonly flags?: number;
  readonly reserved?: number;
  readonly file?: number;
  readonly offset?: number | bigint;
  readonly wireBytes?: number;
  readonly decodedBytes?: number;
  readonly crc?: number;
  readonly headerCrc?: number;
}

/** A frame with whatever is asked for in its header; what is left out is right. */
export function rawFrame(payload: Uint8Array, raw: Raw): Buffer {
  const { type, flags = 0, reserved = 0, file = 0, offset = 0 } = raw;
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = type;
  header[1] = flags;
  header.writeUInt16BE(reserved, 2);
  header.writeUInt32BE(file, 4);
  header.writeBigUInt64BE(BigInt(offset), 8);
  header.writeUInt32BE(raw.wireBytes ?? payload.length, 16);
  header.writeUInt32BE(raw.decodedBytes ?? raw.wireBytes ?? payload.length, 20);
  header.writeUInt32BE(raw.crc ?? crc32(payload), 24);
  header.writeUInt32BE(raw.headerCrc ?? crc32(header.subarray(0, 28)), 28);
  return Buffer.concat([header, payload]);
}

export const message = (name: Name, fields: Fields): Buffer => rawFrame(encode(fields), { type: FRAMES[name] });

/** Takes a header apart and checks it as far as it can be without a state (1 to 4 of PROTOCOL.md's list). */
export function readHeader(bytes: Buffer): Header {
  if (crc32(bytes.subarray(0, 28)) !== bytes.readUInt32BE(28)) throw new Breach("E_DAMAGED", "a header");
  const name = NAMES.find((name) => FRAMES[name] === bytes[0]);
  if (name === undefined) throw new Breach("E_ILLEGAL", `type ${bytes[0]}`);
  const flags = bytes.readUInt8(1);
  const [wireBytes, decodedBytes] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  const flagsMax = { CHUNK: SPARSE, BUNDLE: ZSTD }[name as string] ?? RAW;
  if (bytes.readUInt16BE(2) !== 0 || flags > flagsMax) throw new Breach("E_ILLEGAL", `${name} with flags ${flags}`);
  if (flags === RAW ? wireBytes !== decodedBytes : wireBytes >= decodedBytes) {
    throw new Breach("E_ILLEGAL", `${name} of ${wireBytes} bytes for ${decodedBytes}`);
  }
  const offset = Number(bytes.readBigUInt64BE(8));
  if (offset > Number.MAX_SAFE_INTEGER) throw new Breach("E_OUT_OF_RANGE", `offset ${offset}`);
  const file = bytes.readUInt32BE(4);
  if (name !== "CHUNK" && (offset !== 0 || (name !== "BUNDLE" && file !== 0))) {
    throw new Breach("E_ILLEGAL", `${name} with a place`);
  }
  return { name, flags, file, offset, wireBytes, decodedBytes, crc: bytes.readUInt32BE(24) };
}

/** The last of the list: what stands for its length. */
export function checkLength({ name, wireBytes, decodedBytes }: Header, opening: boolean, chunkBytes: number): void {
  const most = isData(name) ? chunkBytes : opening ? 4096 : 65_536;
  if (decodedBytes > most) throw new Breach("E_FRAME_TOO_LARGE", `${name} of ${decodedBytes} bytes`);
  if (wireBytes === 0) throw new Breach("E_ILLEGAL", `${name} without a payload`);
}
