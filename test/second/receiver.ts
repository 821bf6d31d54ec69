/** One end's view of what comes: greeting, then frames, each checked in the order that PROTOCOL.md gives. No sockets. */
import { crc32 } from "node:zlib";
import { decodeContent } from "./content.ts";
import { Breach } from "./errors.ts";
import {
  checkLength,
  chooseVersion,
  GREETING_BYTES,
  HEADER_BYTES,
  type Header,
  isData,
  readGreeting,
  readHeader,
} from "./frames.ts";
import { readMessage } from "./messages.ts";
import type { Fields } from "./msgpack.ts";
import { after, type End, opening } from "./states.ts";

export interface Frame extends Header {
  readonly payload: Buffer;
  /** Of a control frame; empty for others. */
  readonly fields: Fields;
  /** Of a data frame: what it stands for, null where it arrived damaged. */
  readonly content: Buffer | null;
}

export class Receiver {
  state = "start";
  chunkBytes = 16_777_216;
  peer: End;
  #bytes: Buffer = Buffer.alloc(0);
  #greeted: boolean;

  constructor(peer: End, greeted = false) {
    this.peer = peer;
    this.#greeted = greeted;
  }

  add(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }

  /** The next whole frame of what was added, or null. Throws what PROTOCOL.md says is wrong with it. */
  next(): Frame | null {
    if (!this.#greeted) {
      if (this.#bytes.length < GREETING_BYTES) return null;
      chooseVersion(readGreeting(this.#take(GREETING_BYTES)));
      this.#greeted = true;
    }
    if (this.#bytes.length < HEADER_BYTES) return null;
    const header = readHeader(this.#bytes);
    const { name } = header;
    const next = after(this.state, name, this.peer);
    if (next === null) throw new Breach("E_WRONG_STATE", `${name} in '${this.state}'`);
    checkLength(header, opening(this.state), this.chunkBytes);
    if (this.#bytes.length < HEADER_BYTES + header.wireBytes) return null;
    this.#take(HEADER_BYTES);
    const payload = this.#take(header.wireBytes);
    if (isData(name)) return { ...header, payload, fields: {}, content: decodeContent(header, payload) };
    if (crc32(payload) !== header.crc) throw new Breach("E_DAMAGED", `the payload of ${name}`);
    const fields = readMessage(name, payload);
    this.state = next;
    return { ...header, payload, fields, content: null };
  }

  #take(count: number): Buffer {
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }
}
