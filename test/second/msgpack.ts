/** msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), as far as PROTOCOL.md allows it. */
import { Breach } from "./errors.ts";

export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | Fields;
export interface Fields {
  readonly [field: string]: Value;
}

/** Deeper than any message of PROTOCOL.md goes, by far. */
const DEPTH_MAX = 32;

const bytesOf = (...bytes: number[]) => Buffer.from(bytes);

function sized(bytes: 1 | 2 | 4, first: number, size: number): Buffer {
  const head = Buffer.alloc(1 + bytes);
  head[0] = first;
  head.writeUIntBE(size, 1, bytes);
  return head;
}

function float64(value: number): Buffer {
  const bytes = Buffer.alloc(9, 0xcb);
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function number(value: number): Buffer {
  if (!Number.isInteger(value) || Math.abs(value) > 0xffff_ffff) return float64(value);
  if (value >= 0) {
    if (value < 0x80) return bytesOf(value);
    if (value <= 0xff) return bytesOf(0xcc, value);
    return value <= 0xffff ? sized(2, 0xcd, value) : sized(4, 0xce, value);
  }
  if (value >= -32) return bytesOf(0x100 + value);
  if (value < -0x8000_0000) return float64(value);
  const bytes = Buffer.alloc(5, 0xd2);
  bytes.writeInt32BE(value, 1);
  return bytes;
}

export function encode(value: Value): Buffer {
  if (value === null) return bytesOf(0xc0);
  if (typeof value === "boolean") return bytesOf(value ? 0xc3 : 0xc2);
  if (typeof value === "number") return number(value);
  if (typeof value === "string") {
    const text = Buffer.from(value);
    const { length } = text;
    if (length < 32) return Buffer.concat([bytesOf(0xa0 | length), text]);
    return Buffer.concat([length <= 0xff ? sized(1, 0xd9, length) : sized(2, 0xda, length), text]);
  }
  if (value instanceof Uint8Array) {
    const { length } = value;
    const head = length <= 0xff ? sized(1, 0xc4, length) : length <= 0xffff ? sized(2, 0xc5, length) : null;
    return Buffer.concat([head ?? sized(4, 0xc6, length), value]);
  }
  if (Array.isArray(value)) {
    const { length } = value;
    return Buffer.concat([length < 16 ? bytesOf(0x90 | length) : sized(2, 0xdc, length), ...value.map(encode)]);
  }
  const fields = Object.entries(value as Fields);
  const head = fields.length < 16 ? bytesOf(0x80 | fields.length) : sized(2, 0xde, fields.length);
  return Buffer.concat([head, ...fields.flatMap(([key, of]) => [encode(key), encode(of)])]);
}

/** One map that fills `bytes` exactly. */
export function decodeMap(bytes: Buffer): Fields {
  const bad = (what: string) => new Breach("E_BAD_MESSAGE", what);
  let at = 0;
  const take = (count: number): Buffer => {
    if (count > bytes.length - at) throw bad("it ends too early");
    at += count;
    return bytes.subarray(at - count, at);
  };
  const uint = (count: 1 | 2 | 4) => take(count).readUIntBE(0, count);
  const text = (count: number) => take(count).toString("utf8");
  const list = (count: number, depth: number): Value[] => {
    if (count > bytes.length - at) throw bad("more entries than bytes");
    return Array.from({ length: count }, () => value(depth + 1));
  };
  const map = (count: number, depth: number): Fields => {
    const fields: Record<string, Value> = Object.create(null);
    for (let i = 0; i < count; i += 1) {
      const key = value(depth + 1);
      if (typeof key !== "string") throw bad("a key that is no text");
      if (key in fields) throw bad(`'${key}' twice`);
      fields[key] = value(depth + 1);
    }
    return fields;
  };
  const value = (depth: number): Value => {
    if (depth > DEPTH_MAX) throw bad("too deep");
    const first = uint(1);
    if (first < 0x80) return first;
    if (first < 0x90) return map(first & 15, depth);
    if (first < 0xa0) return list(first & 15, depth);
    if (first < 0xc0) return text(first & 31);
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return first === 0xc3;
      case 0xc4:
        return take(uint(1));
      case 0xc5:
        return take(uint(2));
      case 0xc6:
        return take(uint(4));
      case 0xca:
        return take(4).readFloatBE(0);
      case 0xcb:
        return take(8).readDoubleBE(0);
      case 0xcc:
        return uint(1);
      case 0xcd:
        return uint(2);
      case 0xce:
        return uint(4);
      case 0xcf:
        return Number(take(8).readBigUInt64BE(0));
      case 0xd0:
        return take(1).readInt8(0);
      case 0xd1:
        return take(2).readInt16BE(0);
      case 0xd2:
        return take(4).readInt32BE(0);
      case 0xd3:
        return Number(take(8).readBigInt64BE(0));
      case 0xd9:
        return text(uint(1));
      case 0xda:
        return text(uint(2));
      case 0xdb:
        return text(uint(4));
      case 0xdc:
        return list(uint(2), depth);
      case 0xdd:
        return list(uint(4), depth);
      case 0xde:
        return map(uint(2), depth);
      case 0xdf:
        return map(uint(4), depth);
      default:
        throw bad(`a value that begins with ${first.toString(16)}`);
    }
  };
  const whole = value(0);
  if (at !== bytes.length) throw bad("more than one value");
  if (typeof whole !== "object" || whole === null || Array.isArray(whole) || whole instanceof Uint8Array) {
    throw bad("no map");
  }
  return whole as Fields;
}
