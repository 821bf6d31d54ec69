/** Frames in a run of bytes, without a look at what they mean: whoever is fuzzed need not be right. */
import { crc32 } from "node:zlib";
import { FRAME_TYPES, type FrameName } from "../../src/protocol/header.ts";
import { GREETING_BYTES, HEADER_BYTES } from "../../src/protocol/limits.ts";

const NAMES = new Map<number, FrameName>(Object.entries(FRAME_TYPES).map(([name, type]) => [type, name as FrameName]));

export interface WireFrame {
  readonly name: FrameName;
  /** Header and payload. */
  readonly bytes: Buffer;
}

/** Cuts what one end says into frames; its greeting comes first, and is kept apart. */
export class FrameCutter {
  #bytes: Buffer = Buffer.alloc(0);
  #greeted = false;
  readonly #onFrame: (frame: WireFrame) => void;

  constructor(onFrame: (frame: WireFrame) => void) {
    this.#onFrame = onFrame;
  }

  push(more: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? more : Buffer.concat([this.#bytes, more]);
    if (!this.#greeted) {
      if (this.#bytes.length < GREETING_BYTES) return;
      this.#greeted = true;
      this.#bytes = this.#bytes.subarray(GREETING_BYTES);
    }
    while (this.#bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + this.#bytes.readUInt32BE(16);
      if (this.#bytes.length < end) return;
      const name = NAMES.get(this.#bytes[0] as number);
      if (name !== undefined) this.#onFrame({ name, bytes: Buffer.from(this.#bytes.subarray(0, end)) });
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}

/** A control frame with this payload, whose header and CRCs are right. */
export function controlFrame(name: FrameName, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + payload.length);
  frame[0] = FRAME_TYPES[name];
  frame.writeUInt32BE(payload.length, 16);
  frame.writeUInt32BE(payload.length, 20);
  frame.writeUInt32BE(crc32(payload), 24);
  frame.writeUInt32BE(crc32(frame.subarray(0, 28)), 28);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

export const payloadOf = (frame: Buffer): Buffer => frame.subarray(HEADER_BYTES);
