/**
 * The golden vectors of test/vectors: hex as another client would have to send it, and what it means. PROTOCOL.md shows
 * them too. Bytes stand in JSON as {"bytes": "hex"}.
 */
import { readFileSync } from "node:fs";
import type { ErrorCode } from "../../src/protocol/errors.ts";
import type { Encoding, FrameName, MessageName } from "../../src/protocol/header.ts";
import type { Receiver } from "./conversation.ts";

export interface ExpectedError {
  readonly error: ErrorCode;
}

export interface Vector<Expect> {
  readonly name: string;
  readonly description: string;
  readonly hex: string;
  readonly expect: Expect;
  /** Why the code does not do this yet. */
  readonly pending?: string;
}

export interface ExpectedGreeting {
  readonly min: number;
  readonly max: number;
  /** What a program that speaks version 1 makes of it, where that is an error. */
  readonly chosen?: ExpectedError;
}

export interface ExpectedHeader {
  readonly name: FrameName;
  readonly file: number;
  readonly offset: number;
  readonly payloadBytes: number;
  readonly payloadCrc32: number;
  readonly encoding: Encoding;
  readonly decodedBytes: number;
}

/** What a conversation hands out: a message with its body, a chunk, or a bundle. */
export type ExpectedEvent =
  | { readonly message: MessageName; readonly body: unknown }
  | {
      readonly chunk: {
        readonly file: number;
        readonly offset: number;
        readonly payload: string;
        readonly intact: boolean | null;
        /** Missing where it is raw. */
        readonly encoding?: Encoding;
        readonly decodedBytes?: number;
      };
    }
  | {
      readonly bundle: {
        readonly file: number;
        readonly files: readonly { readonly file: number; readonly crc32: number; readonly content: string }[];
        readonly intact: boolean;
      };
    };

/** Frames that reach one end of a conversation, which stands in a certain state. */
export interface FrameVector<Expect> extends Vector<Expect> {
  readonly receiver: Receiver;
  /** Of an encoded chunk: what it stands for, in hex; null where that can't be made of it. */
  readonly decoded?: string | null;
}

interface VectorFiles {
  readonly greeting: Vector<ExpectedGreeting | ExpectedError>;
  readonly headers: Vector<ExpectedHeader | ExpectedError>;
  readonly messages: FrameVector<ExpectedEvent[]>;
  readonly chunks: FrameVector<ExpectedEvent[]>;
  readonly liberal: FrameVector<ExpectedEvent[]>;
  readonly bad: FrameVector<ExpectedError>;
}

export interface VectorFile<V> {
  readonly description: string;
  readonly vectors: readonly V[];
}

export function vectorFile<N extends keyof VectorFiles>(name: N): VectorFile<VectorFiles[N]> {
  const text = readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8");
  return JSON.parse(text, (_key, value) =>
    typeof value?.bytes === "string" && Object.keys(value).length === 1 ? bytesOf(value.bytes) : value,
  );
}

/** A Uint8Array, not a Buffer: what the code under test hands out as well. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
